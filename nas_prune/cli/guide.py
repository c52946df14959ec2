"""`nas-prune guide`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas_prune.cli.evaluate import evaluate, evaluate_options
from nas_prune.cli.options import data_options, recipe_options, run_options
from nas_prune.cli.output import format_option, print_json, print_table, showing_progress

if TYPE_CHECKING:
    from nas_prune.guideline.apply import Pattern
    from nas_prune.guideline.artefact import Cell, Guideline


@click.command()
@click.argument("sources", nargs=-1, metavar="[RUN]...", type=click.Path(path_type=Path))
@click.option(
    "--guideline", help="Take this guideline: a file, or uniform, smart-ratio, erk, bottleneck-first."
)
@click.option(
    "--model",
    type=click.Choice(
        ["auto", "uniform", "stage-means", "stage-role", "stage-role-slope", "stage-role-shape"]
    ),
    default="auto",
    show_default=True,
    help="The form of the pattern. auto: the one that foretells runs left out best; uniform where runs do not agree.",
)
@click.option(
    "--match",
    type=click.Choice(["output", "input"]),
    default="output",
    show_default=True,
    help="From which end stages are counted where networks have different numbers of them.",
)
@click.option("--cost", help="Use only runs driven by this cost (macs, params, …); all pools them.")
@click.option("--confidence", type=float, default=0.9, show_default=True, help="Of all intervals together.")
@click.option(
    "--space",
    "spaces",
    multiple=True,
    help="With --evaluate, the network to judge it on. Otherwise, for runs of a network of your own: its name again.",
)
@evaluate_options
@data_options
@recipe_options
@run_options
@format_option
@click.pass_context
def command(context: click.Context, /, style: str, *, is_judged: bool, **given: Any) -> None:
    """Say what found widths have in common: in words, numbers and a picture.

    RUN is a directory that `nas-prune search` wrote, or a widths file. --out guideline.yaml writes the guideline
    there and its picture beside it.

    With --evaluate, networks drawn from the guideline (of RUNs, or the one given with --guideline) are trained briefly
    from scratch beside uniform and random ones of the same parameters and the same MACs, and their errors are
    compared; --out is then the run's directory. Options from --budget on are for that.
    """
    _refuse_unfitted(context, given["guideline"])
    if is_judged:
        evaluate(context, style, given)
        return
    _refuse_unused(context)
    from nas_prune.guideline.apply import guideline_named

    sources, guideline, out = given["sources"], given["guideline"], given["out"]
    if bool(sources) == (guideline is not None):
        raise click.UsageError(
            "name the runs to fit a guideline to, or one to show with --guideline, one of the two."
        )
    if guideline is not None:
        if out is not None:
            raise click.UsageError("--out must come with runs to fit a guideline to, got --guideline.")
        _show(guideline_named(guideline), style, None)
        return
    _refuse_existing(out)
    _show(fit(sources, out, **{name: given[name] for name in _FITTING}), style, out)


_FITTING = ("model", "match", "cost", "confidence", "spaces")
_PLAIN = {"sources", "guideline", "style", "out", *_FITTING}


def _refuse_unfitted(context: click.Context, guideline: str | None) -> None:
    """Refuse what decides a fit where a guideline is given."""
    names = [name for name in _FITTING if name != "spaces" and _is_typed(context, name)]
    if guideline is not None and names:
        raise click.UsageError(f"--{', --'.join(names)} must come with runs to fit, got --guideline.")


def _is_typed(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE


def _refuse_unused(context: click.Context) -> None:
    """Refuse what only --evaluate uses."""
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name not in _PLAIN and _is_typed(context, parameter.name or "")
    ]
    if given:
        raise click.UsageError(f"{', '.join(given)} must come with --evaluate, which trains networks.")


def _refuse_existing(out: Path | None) -> None:
    for path in () if out is None else (out, out.with_suffix(".png")):
        if path.exists():
            raise click.UsageError(
                f"--out must be a new file, got {path}, which exists. Choose another name."
            )
    if out is not None and out.suffix not in (".yaml", ".yml"):
        raise click.UsageError(f"--out must end in .yaml, got {out}.")
    if out is not None and not out.parent.is_dir():
        raise click.UsageError(f"--out must be in a directory that exists, got {out}.")


def fit(sources: tuple[Path, ...], out: Path | None, **given: Any) -> "Guideline":
    """Fit a guideline and, where that is asked for, write it and its picture."""
    from nas_prune.guideline import fit_guideline
    from nas_prune.guideline.sources import read_sources

    with showing_progress() as progress, progress.waiting("fitting"):
        read, notes = read_sources(sources, spaces=given["spaces"])
        fitted = fit_guideline(read, notes=notes, **given)
        if out is not None:
            from nas_prune.guideline.figure import draw_guideline

            fitted.write(out)
            draw_guideline(
                fitted, out.with_suffix(".png"), sources=[one for one in read if one.record in fitted.sources]
            )
    return fitted


def _show(pattern: "Pattern", style: str, out: Path | None) -> None:
    from nas_prune.guideline.artefact import Guideline
    from nas_prune.guideline.explain import sentences

    said = sentences(pattern)
    if style == "json":
        content = pattern.model_dump(mode="json") if isinstance(pattern, Guideline) else {}
        print_json({"sentences": said, **content})
        return
    for sentence in said:
        click.echo(sentence)
    if isinstance(pattern, Guideline):
        _print(pattern)
    if out is not None:
        click.echo(f"\nGuideline: {out}, picture: {out.with_suffix('.png')}")


def _print(guideline: "Guideline") -> None:
    if guideline.cells:
        click.echo()
        keep = "keep ratio" if guideline.uniform_keep else "times uniform"
        print_table(
            [
                "stage",
                "role",
                keep,
                "× uniform",
                f"{100 * guideline.confidence:.4g} % interval",
                "slope",
                "runs beyond uniform",
            ],
            [_row(guideline, cell) for cell in guideline.cells],
            left=2,
        )
    if guideline.sources:
        click.echo(
            f"\nModel: {guideline.model}, from {len(guideline.sources)} widths. {_tested(guideline)}".rstrip()
        )
    for note in guideline.notes:
        click.echo(f"Note: {note}")


def _row(guideline: "Guideline", cell: "Cell") -> list[str]:
    from math import exp

    ends = guideline.interval(cell)
    runs = (cell.up if cell.log_ratio > 0 else cell.of - cell.up, cell.of)
    return [
        str(cell.stage),
        cell.role or "all",
        f"{guideline.keep_ratio(cell):.3f}",
        f"{exp(cell.log_ratio):.2f}",
        "–" if ends is None else f"{ends[0]:.2f} to {ends[1]:.2f}",
        f"{cell.slope:+.2f}" if cell.slope else "–",
        f"{runs[0]} of {runs[1]}" if cell.of else "–",
    ]


def _tested(guideline: "Guideline") -> str:
    said = []
    evidence = guideline.pattern
    if evidence is not None and evidence.p_value is not None:
        found = "A pattern" if evidence.is_found else "No pattern"
        said.append(f"{found} (p = {evidence.p_value:.2g}, {evidence.test}).")
    if guideline.errors:
        errors = ", ".join(f"{name} {error:.3f}" for name, error in guideline.errors.items())
        said.append(f"Error in log keep ratio of runs left out: {errors}.")
    return " ".join(said)
