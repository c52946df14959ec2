"""`nas-prune guide` of patterns of single weights."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nas_prune.cli.output import counted, echo, print_json, print_table, showing_progress

if TYPE_CHECKING:
    from nas_prune.patterns.guideline import PatternGuideline


def are_patterns(sources: tuple[Path, ...]) -> bool:
    """Whether all sources are of single weights.

    Raises:
        click.UsageError: some are, and some are not.
    """
    from nas_prune.runs.kinds import kind_of

    are = [kind_of(source) in ("sparsify", "pattern") for source in sources]
    if any(are) and not all(are):
        raise click.UsageError(
            f"RUN must be of widths or of single weights, all of one kind, got {sources[are.index(True)]} and "
            f"{sources[are.index(False)]}."
        )
    return bool(are) and all(are)


def guide_of_patterns(
    sources: tuple[Path, ...], out: Path | None, style: str, *, confidence: float, with_guesses: bool
) -> None:
    """Fit a guideline to patterns, write it and its picture if asked for, and print what it says."""
    from nas_prune.patterns.fit import fit_patterns, patterns_in

    with showing_progress() as progress, progress.waiting("fitting"):
        patterns, notes = patterns_in(sources, with_guesses=with_guesses)
        found = fit_patterns(patterns, notes=notes, confidence=confidence)
    if out is not None:
        from nas_prune.patterns.figure import draw_guideline

        found.write(out)
        draw_guideline(found, out.with_suffix(".png"))
    if style == "json":
        print_json(found.model_dump(mode="json"))
        return
    _print(found)
    if out is not None:
        echo(f"\nGuideline: {out}, picture: {out.with_suffix('.png')}")
        echo(
            f"Next:      nas-prune sparsify --space NAME --method guided --guideline {out} --budget 'nonzero<=10%'"
        )


def _print(found: "PatternGuideline") -> None:
    from nas_prune.patterns.words import sentences

    low, high = found.covers
    echo(
        f"From {counted(len(found.sources), 'pattern')} with {100 * low:.3g} to {100 * high:.3g} % of the weights; "
        f"independent: each {found.level}.\n"
    )
    for sentence in sentences(found):
        echo(sentence)
    echo(
        "\nDensities: odds of a weight to stay beside those of all weights; stages are counted from the last, 0.\n"
    )
    print_table(
        ["layers", "stage", "× odds", f"{100 * found.confidence:.4g} % interval", "sources"],
        [
            [
                cell.kind,
                "–" if cell.kind in ("first", "linear") else str(cell.stage),
                _times(cell.log_odds),
                "not known"
                if cell.low is None or cell.high is None
                else f"{_times(cell.low)} to {_times(cell.high)}",
                str(cell.of),
            ]
            for cell in found.densities
        ],
        left=2,
    )
    for cell in found.positions:
        width = cell.shape[1]
        rows = [cell.log_odds[start : start + width] for start in range(0, len(cell.log_odds), width)]
        half = "" if cell.half_width is None else f", × or ÷ {_times(cell.half_width)}"
        echo(f"\nPositions of {cell.shape[0]}×{width} kernels in stage {cell.stage}: × odds{half}\n")
        for row in rows:
            echo("  " + "  ".join(f"{_times(value):>5}" for value in row))
    for note in found.notes:
        echo(f"\nNote: {note}")


def _times(log_odds: float) -> str:
    from math import exp

    return f"{exp(log_odds):.3g}"
