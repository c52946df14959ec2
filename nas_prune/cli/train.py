"""`nas-prune train`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas_prune.cli.options import (
    data_options,
    machine,
    recipe_options,
    refuse_with_resume,
    run_options,
    workers_option,
)
from nas_prune.cli.output import (
    count,
    format_option,
    percent,
    print_json,
    print_table,
    showing_progress,
)
from nas_prune.runs.progress import is_main_process

if TYPE_CHECKING:
    from nas_prune.space.widths import Widths
    from nas_prune.training.config import TrainConfig
    from nas_prune.training.result import TrainResult


@click.command()
@click.option(
    "--widths", "widths_file", type=click.Path(path_type=Path), help="A widths file that a search wrote."
)
@click.option("--space", help="Needed again where the widths are of a network of your own.")
@click.option(
    "--schedule",
    type=click.Choice(["scratch-e", "scratch-b", "fine-tune", "rewind"]),
    default="scratch-b",
    show_default=True,
    help="From random weights: scratch-e, the recipe's epochs; scratch-b, the same total MACs as the whole network. "
    "From the search's weights: fine-tune, a quarter of the epochs at a hundredth of the rate; rewind, the recipe.",
)
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    help="The search that fine-tune and rewind inherit from.",
)
@click.option(
    "--teacher", type=click.Path(path_type=Path), help="A search or training whose network is to be imitated."
)
@click.option("--cap", type=float, help="Largest factor on the epochs of scratch-b; none by default.")
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="How many trainings.")
@workers_option
@data_options
@recipe_options
@run_options
@format_option
@click.pass_context
def command(context: click.Context, /, style: str, resume: Path | None, **given: Any) -> None:
    """Train found widths, from random weights or from those of their search."""
    from nas_prune.space.widths import read_widths
    from nas_prune.training.result import summary
    from nas_prune.training.run import resume_train, train

    with showing_progress() as progress:
        if resume is not None:
            refuse_with_resume(context)
            result = resume_train(
                resume,
                data_name=given["data_name"],
                space=given["space"],
                workers=given["workers"],
                progress=progress,
            )
        elif given["cap"] is not None and given["schedule"] != "scratch-b":
            raise click.UsageError(
                f"--cap must come with --schedule scratch-b, got {given['schedule']}, which has no multiplier."
            )
        elif given["source"] is not None and given["schedule"].startswith("scratch"):
            raise click.UsageError(
                f"--from must come with --schedule fine-tune or rewind, got {given['schedule']}, from random weights."
            )
        elif given["widths_file"] is None:
            raise click.UsageError(
                "--widths must name a widths file; `nas-prune search` writes them to RUN/widths/."
            )
        else:
            widths = read_widths(given["widths_file"])
            result = train(
                _config(given, widths),
                widths,
                given["out"],
                space=given["space"],
                workers=given["workers"],
                progress=progress,
            )
    if not is_main_process():
        return
    if style == "json":
        print_json({"run": str(result.run), **summary(result)})
    else:
        _print(result)
    if result.failed:
        context.exit(1)


def _config(given: dict[str, Any], widths: "Widths") -> "TrainConfig":
    from nas_prune.data.config import DataConfig
    from nas_prune.training.config import TrainConfig
    from nas_prune.training.recipe import changed, default_recipe, recipe_named
    from nas_prune.training.schedules import recipe_of

    known = widths.data
    data_name = given["data_name"] or (known.name if known else "digits")
    if given["data_name"] is None and data_name.startswith("folder:"):
        raise click.UsageError(
            f"--data must say where the images are, since the widths were found on {data_name}."
        )
    recorded = recipe_of(widths) if given["recipe_name"] is None else None
    named = recipe_named(given["recipe_name"]) if given["recipe_name"] else default_recipe(data_name)
    changes = {field: given[field] for field in ("epochs", "batch_size", "learning_rate")}
    return TrainConfig(
        data=DataConfig(
            name=data_name,
            image_size=widths.space.input_shape[1],
            max_images=known.max_images if given["max_images"] is None and known else given["max_images"],
            val_fraction=known.val_fraction if known else 0.1,
            stream=given["stream"],
        ),
        recipe=changed(recorded or named, **changes),
        schedule=given["schedule"],
        cap=given["cap"],
        seeds=tuple(range(given["seeds"])),
        data_seed=widths.seed or 0,
        inherits_from=_path(given["source"]),
        teacher=_path(given["teacher"]),
        **machine(given),
    )


def _path(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _print(result: "TrainResult") -> None:
    from nas_prune.training.config import resume_command
    from nas_prune.training.ranks import ALONE
    from nas_prune.training.result import mean_and_deviation

    config, widths = result.config, result.widths
    whole = "full width" if widths.cost == widths.base_cost else "the widths given"
    click.echo(
        f"{widths.space.name} at {widths.budget or whole}, {config.schedule} on {config.data.name}: "
        f"{config.epochs} epochs (the recipe's {config.recipe.epochs} × {config.epochs / config.recipe.epochs:.2f}), "
        f"{count(widths.cost.macs)} MACs, {count(widths.cost.params)} parameters\n"
    )
    rows = [
        [str(one.seed), percent(one.val_accuracy, 2), percent(one.test_accuracy, 2), f"{one.seconds:.0f} s"]
        for one in result.seeds
    ]
    print_table(["seed", "val. accuracy", "test accuracy", "time"], rows)
    mean, deviation = mean_and_deviation([one.test_accuracy for one in result.seeds])
    spread = "" if deviation is None else f" ± {100 * deviation:.2f}"
    seeds = "one seed" if deviation is None else f"mean ± standard deviation over {len(rows)} seeds"
    click.echo(f"\nTest accuracy {100 * mean:.2f}{spread} % ({seeds}), after the last epoch.")
    for seed, why in result.failed:
        again = resume_command("train", result.run, widths.space.name, ALONE)
        click.echo(f"Seed {seed} was not trained to its end: {why.rstrip('.')}. Try it again: {again}")
    click.echo(f"Run: {result.run}")
