"""`nas-prune guide --evaluate`: a guideline judged by networks trained from it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas_prune.cli.options import (
    Function,
    machine,
    narrowing_options,
    positive,
    refuse_with_resume,
    workers_option,
)
from nas_prune.cli.output import percent, print_json, print_table, showing_progress

if TYPE_CHECKING:
    from nas_prune.comparison.evaluate_result import EvaluateConfig, EvaluateResult
    from nas_prune.guideline.apply import Pattern


def evaluate_options(function: Function) -> Function:
    """What is judged: on which network, at which cost, by how many networks."""
    for option in (
        click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True),
        workers_option,
        click.option(
            "--direct",
            multiple=True,
            type=click.Path(path_type=Path),
            help="Widths found on these images themselves, to be trained beside them; repeatable.",
        ),
        click.option(
            "--networks",
            type=click.IntRange(2, 1000),
            default=10,
            show_default=True,
            help="Of each population.",
        ),
        narrowing_options,
        click.option("--image-size", type=int, help="Resize images to this many pixels a side (at least 8)."),
        click.option("--budget", help="What the networks may cost: macs<=50%, params<=1.2M, channels<=40%."),
        click.option(
            "--evaluate", "is_judged", is_flag=True, help="Train networks drawn from it beside controls."
        ),
    ):
        function = option(function)
    return function


def evaluate(context: click.Context, style: str, given: dict[str, Any]) -> None:
    """Judge a guideline, or go on with that."""
    from nas_prune.comparison.evaluate import evaluate_guideline, resume_evaluation
    from nas_prune.comparison.evaluate_result import summary
    from nas_prune.space.widths import read_widths

    resume = given["resume"]
    with showing_progress() as progress:
        if resume is not None:
            refuse_with_resume(context)
            result = resume_evaluation(
                resume,
                data_name=given["data_name"],
                space=_one(given["spaces"]) if given["spaces"] else None,
                workers=given["workers"],
                progress=progress,
            )
        else:
            config, pattern = _config(given)
            direct = [read_widths(path) for path in given["direct"]]
            result = evaluate_guideline(
                config,
                given["out"],
                pattern=pattern,
                direct=direct,
                workers=given["workers"],
                progress=progress,
            )
    if style == "json":
        print_json({"run": str(result.run), **summary(result)})
    else:
        _print(result)
    if result.failed:
        context.exit(1)


def _one(spaces: tuple[str, ...]) -> str:
    if len(spaces) != 1:
        raise click.UsageError(
            f"--space must name the one network to judge the guideline on, got {', '.join(spaces) or 'none'}."
        )
    return spaces[0]


def _config(given: dict[str, Any]) -> "tuple[EvaluateConfig, Pattern]":
    from nas_prune.comparison.evaluate_result import EvaluateConfig
    from nas_prune.data.config import DataConfig
    from nas_prune.guideline.apply import guideline_named
    from nas_prune.guideline.fit import fit_guideline
    from nas_prune.training.recipe import changed, default_recipe, recipe_named

    space = _one(given["spaces"])
    if given["budget"] is None:
        raise click.UsageError("--budget must say what the networks may cost, e.g. --budget 'macs<=50%'.")
    if bool(given["sources"]) == (given["guideline"] is not None):
        raise click.UsageError(
            "name runs to fit a guideline to, or a guideline with --guideline, one of the two."
        )
    pattern: Pattern
    if given["guideline"] is not None:
        pattern = guideline_named(given["guideline"])
    else:
        fitting = {name: given[name] for name in ("model", "match", "cost", "confidence", "spaces")}
        pattern = fit_guideline(given["sources"], **fitting)
    data_name = given["data_name"] or "digits"
    recipe = recipe_named(given["recipe_name"]) if given["recipe_name"] else default_recipe(data_name)
    config = EvaluateConfig(
        guideline=given["guideline"] or "guideline.yaml",
        space=space,
        width_multiplier=given["width_multiplier"],
        groups=given["groups"],
        budget=given["budget"],
        networks=given["networks"],
        data=DataConfig(
            name=data_name,
            image_size=given["image_size"],
            max_images=given["max_images"],
            stream=given["stream"],
        ),
        recipe=changed(
            recipe,
            epochs=positive("--epochs", given["epochs"]),
            batch_size=given["batch_size"],
            learning_rate=given["learning_rate"],
        ),
        seed=given["seed"],
        **machine(given),
    )
    return config, pattern


def _print(result: "EvaluateResult") -> None:
    from nas_prune.cli.output import count
    from nas_prune.comparison.evaluate_result import AXES, DIRECT, title
    from nas_prune.training.result import mean_and_deviation

    click.echo(f"{title(result.config)}: {result.config.recipe.epochs} epochs from scratch each\n")
    rows = []
    for name, own in result.populations.items():
        mean, deviation = mean_and_deviation([1 - one.test_accuracy for one in own])
        ordered = sorted(1 - one.test_accuracy for one in own)
        rows.append(
            [
                name,
                str(len(own)),
                count(sum(one.macs for one in own) // len(own)),
                count(sum(one.params for one in own) // len(own)),
                percent((ordered[(len(own) - 1) // 2] + ordered[len(own) // 2]) / 2, 2),
                f"{100 * mean:.2f} ± {100 * (deviation or 0):.2f} %",
            ]
        )
    print_table(["population", "n", "MACs", "parameters", "median error", "mean ± std"], rows)
    click.echo()
    rows = []
    for axis, found in result.compared().items():
        for name, one in found.items():
            rows.append(
                [
                    f"{name} at matched {AXES[axis]}" if axis in AXES else name,
                    f"{100 * one.difference:+.2f} points",
                    f"{100 * one.low:+.2f} to {100 * one.high:+.2f}",
                    f"{one.ks:.2f}",
                    f"{one.p_value:.2g}",
                    one.verdict,
                ]
            )
    headings = ["guided beside", "median error", "90 % interval", "KS", "p", "guided is"]
    print_table(headings, rows)
    if DIRECT in result.populations:
        click.echo(
            "direct: widths that a search on these images found; what they cost is theirs, matched to nothing."
        )
    for note in result.notes:
        click.echo(f"Note: {note}")
    for name, why in result.failed:
        click.echo(f"Not trained to its end: {name}: {why}")
    click.echo(f"\nPicture: {result.run / 'edf.png'}\nRun: {result.run}")
