"""`nas-prune transfer`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas_prune.cli.options import (
    SPACE_HELP,
    data_options,
    machine,
    narrowing_options,
    positive,
    recipe_options,
    refuse_with_resume,
    run_options,
    was_typed,
    workers_option,
)
from nas_prune.cli.output import format_option, showing_progress

if TYPE_CHECKING:
    from nas_prune.comparison.config import CompareConfig
    from nas_prune.comparison.transfer import Target


@click.command()
@click.option(
    "--guideline", help="A file that `guide` wrote, or uniform, smart-ratio, erk, bottleneck-first."
)
@click.option("--space", help=f"The network to carry it to. {SPACE_HELP}")
@click.option("--budget", help="What the widths may cost: macs<=50%, params<=1.2M, channels<=40%.")
@click.option("--image-size", type=int, help="Resize images to this many pixels a side (at least 8).")
@narrowing_options
@click.option(
    "--direct",
    is_flag=False,
    flag_value="slimming",
    metavar="[METHOD]",
    help="Search on these images too, by slimming or the method named, and train what that finds.",
)
@click.option(
    "--schedule",
    type=click.Choice(["scratch-e", "scratch-b"]),
    default="scratch-e",
    show_default=True,
    help="The same epochs for all, or the whole network's total MACs.",
)
@click.option(
    "--cap",
    type=click.FloatRange(min=1, max=10_000),
    help="Largest factor on the epochs of scratch-b; none by default.",
)
@click.option("--seeds", type=click.IntRange(min=1), default=5, show_default=True, help="Trainings of each.")
@workers_option
@data_options
@recipe_options
@run_options
@format_option
@click.pass_context
def command(context: click.Context, /, style: str, resume: Path | None, **given: Any) -> None:
    """Carry a guideline to other images: what does that save, and what does it cost?

    The guideline's widths are trained from random weights, beside uniform ones of the same parameters and of the same
    MACs and, with --direct, beside those of a search on these images. With --resume it goes on where it was stopped;
    --seeds and --direct may be added then.
    """
    from nas_prune.cli.compare import conclude
    from nas_prune.comparison.transfer import resume_transfer, transfer
    from nas_prune.guideline.apply import guideline_named

    with showing_progress() as progress:
        if resume is not None:
            refuse_with_resume(context, ("seeds", "direct"), "Only seeds and --direct can be added.")
            result = resume_transfer(
                resume,
                seeds=given["seeds"] if was_typed(context, "seeds") else None,
                direct=given["direct"],
                data_name=given["data_name"],
                space=given["space"],
                workers=given["workers"],
                progress=progress,
            )
        else:
            for name, example in (
                ("guideline", "guideline.yaml"),
                ("space", "vgg19"),
                ("budget", "'params<=20%'"),
            ):
                if given[name] is None:
                    raise click.UsageError(f"--{name} must be given, e.g. --{name} {example}.")
            result = transfer(
                _config(given),
                _target(given),
                (Path(given["guideline"]).name, guideline_named(given["guideline"])),
                given["out"],
                direct=given["direct"],
                workers=given["workers"],
                progress=progress,
            )
    conclude(context, result, style)


def _target(given: dict[str, Any]) -> "Target":
    from nas_prune.comparison.transfer import Target

    return Target(given["space"], given["budget"], given["width_multiplier"], given["groups"])


def _config(given: dict[str, Any]) -> "CompareConfig":
    from nas_prune.comparison.config import CompareConfig
    from nas_prune.data.config import DataConfig
    from nas_prune.training.recipe import changed, default_recipe, recipe_named

    name = given["data_name"] or "digits"
    recipe = recipe_named(given["recipe_name"]) if given["recipe_name"] else default_recipe(name)
    return CompareConfig(
        command="transfer",
        data=DataConfig(
            name=name, image_size=given["image_size"], max_images=given["max_images"], stream=given["stream"]
        ),
        recipe=changed(
            recipe,
            epochs=positive("--epochs", given["epochs"]),
            batch_size=given["batch_size"],
            learning_rate=given["learning_rate"],
        ),
        cap=given["cap"],
        seeds=given["seeds"],
        schedule=given["schedule"],
        **machine(given),
    )
