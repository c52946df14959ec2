"""`nas-prune guide`."""

from dataclasses import asdict
from pathlib import Path
from re import findall
from typing import TYPE_CHECKING, Any, Literal

import click

from nas_prune.cli.evaluate import refuse_fitting
from nas_prune.cli.examples import examples
from nas_prune.cli.guide_patterns import are_patterns, guide_of_patterns
from nas_prune.cli.option_types import FITTED_OR_STUDY, GUIDELINE, NETWORK, FitOptions
from nas_prune.cli.options import fit_options, format_option, was_typed
from nas_prune.cli.output import echo, print_json, print_table, showing_progress
from nas_prune.cli.suggestions import guidelines

if TYPE_CHECKING:
    from nas_prune.guideline.apply import Pattern
    from nas_prune.guideline.artefact import Cell, Guideline
    from nas_prune.guideline.sources import Source


@click.command(
    epilog=examples(
        "nas-prune guide runs/resnet20-slimming-* --out guideline.yaml",
        "nas-prune guide --guideline erk",
    )
)
@click.argument("sources", nargs=-1, metavar="[RUN]...", type=FITTED_OR_STUDY)
@click.option(
    "--guideline",
    type=GUIDELINE,
    shell_complete=guidelines,
    help="Show this guideline: a file, or uniform, smart-ratio, erk, bottleneck-first.",
)
@fit_options
@click.option(
    "--by",
    type=click.Choice(["depth"]),
    help="Let each stage and role change with the network's number of layers; needs runs of three networks of one "
    "family.",
)
@click.option(
    "--space",
    "spaces",
    type=NETWORK,
    multiple=True,
    help="The network's name, needed for runs of a network of your own.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="File to write the guideline to; its picture is written next to it.",
)
@format_option
@click.pass_context
def command(
    context: click.Context,
    /,
    *,
    sources: tuple[Path, ...],
    guideline: str | None,
    fitting: FitOptions,
    by: "Literal['depth'] | None",
    spaces: tuple[str, ...],
    out: Path | None,
    style: str,
) -> None:
    """Say what found widths have in common: in words, numbers and a picture.

    RUN is a directory that `nas-prune search` wrote, or a widths file; or one directory of `nas-prune study run`, whose
    trials are taken together; or what `nas-prune sparsify` wrote, for a guideline of single weights. Widths found at
    bounds on several costs give a guideline for each cost.
    """
    from nas_prune.guideline.apply import guideline_named
    from nas_prune.runs.settings import command_of

    refuse_fitting(context, guideline)
    if guideline is not None and by is not None:
        raise click.UsageError("--by must come with runs to fit, got --guideline.")
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
    if are_patterns(sources):
        typed = [name for name in ("model", "match", "cost", "by") if was_typed(context, name)]
        if typed:
            raise click.UsageError(
                f"--{', --'.join(typed)} must come with widths, got patterns of single weights."
            )
        guide_of_patterns(
            sources, out, style, confidence=fitting.confidence, with_guesses=fitting.with_guesses
        )
        return
    if len(sources) == 1 and command_of(sources[0]) == "study":
        typed = [name for name in ("model", "match", "cost", "confidence", "by") if was_typed(context, name)]
        if typed:
            raise click.UsageError(f"--{', --'.join(typed)} must come with searches, got a study.")
        _show(_of_study(sources[0], out, spaces), style, out)
        return
    fitted = _fit(sources, out, spaces, by=by, **asdict(fitting))
    if len(fitted) == 1:
        _show(next(iter(fitted.values())), style, out)
    else:
        _show_each(fitted, style, out)


def _of_study(folder: Path, out: Path | None, spaces: tuple[str, ...]) -> "Guideline":
    """The guideline of a study's rule; if asked for, written with its picture."""
    from nas_prune.study.context import load_study
    from nas_prune.study.location import StudyLocation
    from nas_prune.study.rule_guideline import guideline_of_study

    with showing_progress() as progress, progress.waiting("fitting"):
        context = load_study(folder, space=spaces[0] if spaces else None, progress=progress)
        found = guideline_of_study(StudyLocation(folder), context)
        if out is not None:
            from nas_prune.guideline.figure import draw_guideline

            found.write(out)
            draw_guideline(found, out.with_suffix(".png"))
    return found


def _refuse_existing(out: Path | None) -> None:
    from nas_prune.runs.files import check_new

    if out is None:
        return
    if out.suffix not in (".yaml", ".yml"):
        raise click.UsageError(f"--out must end in .yaml, got {str(out)!r}.")
    check_new(out)
    check_new(out.with_suffix(".png"))


def _fit(
    sources: tuple[Path, ...], out: Path | None, spaces: tuple[str, ...], **fitting: Any
) -> dict[str, "Guideline"]:
    """Fit a guideline for each cost that drove some of the widths; if asked for, write them and their pictures."""
    from nas_prune.guideline.files import read_sources
    from nas_prune.guideline.fit import by_cost, fit_guidelines

    with showing_progress() as progress, progress.waiting("fitting"):
        read, notes = read_sources(sources, spaces=spaces, with_guesses=fitting["with_guesses"])
        costs = by_cost(read) if fitting["cost"] is None else [fitting["cost"]]
        files = {cost: _file_of(cost, out, is_alone=len(costs) == 1) for cost in costs} if out else {}
        for file in files.values():
            _refuse_existing(file)
        found = fit_guidelines(read, notes=notes, **fitting)
        for cost, file in files.items():
            _write(found[cost], read, file)
    return found


def _file_of(cost: str, out: Path, *, is_alone: bool) -> Path:
    """Where the guideline of a cost is written: `guideline-macs.yaml` where there are several."""
    return out if is_alone else out.with_stem(f"{out.stem}-{'-'.join(findall('[a-z]+', cost))}")


def _write(guideline: "Guideline", sources: "list[Source]", file: Path) -> None:
    from nas_prune.guideline.figure import draw_guideline

    guideline.write(file)
    used = [one for one in sources if one.record in guideline.sources]
    draw_guideline(guideline, file.with_suffix(".png"), sources=used)


def _show_each(found: dict[str, "Guideline"], style: str, out: Path | None) -> None:
    """The guidelines of several costs, each under what it is of."""
    if style == "json":
        print_json({"by_cost": {cost: _plain(guideline) for cost, guideline in found.items()}})
        return
    total = sum(len(guideline.sources) for guideline in found.values())
    for number, (cost, guideline) in enumerate(found.items()):
        own = f"From {len(guideline.sources)} of {total} widths, found at bounds on {cost}:\n"
        echo(f"\n{own}" if number else own)
        _show(guideline, style, None if out is None else _file_of(cost, out, is_alone=False))
    echo(
        "\nThe pattern depends on the cost that drove a search: use the guideline of the cost that you will bound. "
        "--cost chooses one, --cost all pools them."
    )


def _show(pattern: "Pattern", style: str, out: Path | None) -> None:
    from nas_prune.guideline.artefact import Guideline
    from nas_prune.guideline.explain import sentences

    if style == "json":
        print_json(_plain(pattern))
        return
    for sentence in sentences(pattern):
        echo(sentence)
    if isinstance(pattern, Guideline):
        _print(pattern)
    if out is not None:
        echo(f"\nGuideline: {out}, picture: {out.with_suffix('.png')}")


def _plain(pattern: "Pattern") -> dict[str, Any]:
    """A guideline as plain JSON, with what it says."""
    from nas_prune.guideline.artefact import Guideline
    from nas_prune.guideline.explain import sentences

    content = pattern.model_dump(mode="json") if isinstance(pattern, Guideline) else {}
    return {"sentences": sentences(pattern), **content}


def _print(guideline: "Guideline") -> None:
    if guideline.cells:
        echo()
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
    if guideline.sources and guideline.errors:  # a study is compared with no other model
        echo(
            f"\nModel: {guideline.model}, from {len(guideline.sources)} widths. {_tested(guideline)}".rstrip()
        )
    for note in guideline.notes:
        echo(f"Note: {note}")


def _row(guideline: "Guideline", cell: "Cell") -> list[str]:
    from math import exp

    ends = guideline.interval(cell)
    runs = (cell.up if cell.log_ratio > 0 else cell.of - cell.up, cell.of)
    return [
        str(cell.stage),
        cell.role or "all",
        f"{guideline.keep_ratio(cell):.3f}",
        f"{exp(cell.log_ratio):.2f}",
        f"{ends[0]:.2f} to {ends[1]:.2f}" if ends else "not known" if cell.of else "–",
        f"{cell.slope:+.2f}" if cell.slope else "–",
        f"{runs[0]} of {runs[1]}" if cell.of else "–",
    ]


def _tested(guideline: "Guideline") -> str:
    said = []
    evidence = guideline.pattern
    if evidence is not None and evidence.p_value is not None:
        found = "A pattern" if evidence.is_found else "No pattern"
        missed = ""
        if evidence.smallest is not None:
            missed = (
                f"; one of deviation {evidence.smallest:.2f} would have been found in four of five repeats"
            )
        said.append(f"{found} (p = {evidence.p_value:.2g}, {evidence.test}{missed}).")
    if guideline.errors:
        errors = ", ".join(f"{name} {error:.3f}" for name, error in guideline.errors.items())
        said.append(f"Error in log keep ratio of runs left out: {errors}.")
    return " ".join(said)
