"""What comparisons of single weights gave: a table and a picture for a study's page.

    python tools/patterns_table.py vgg11-digits resnet20-digits --out weights-or-pattern.png

Reads runs of `nas-prune compare` over patterns, finished or not, and leaves out what is missing. Columns are budgets; a
star marks p < 0.05 after Holm's correction over the arms of a budget, against the arm that stands beside.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nas_prune.comparison.pattern_result import (
    PatternComparison,
    mean_and_spread,
    read_pattern_comparison,
)
from nas_prune.comparison.statistics import LEVEL
from nas_prune.runs.figure import save
from nas_prune.space.budget import Budget
from nas_prune.training.result import Trained

# Of which arms there is a line, and in which colour and style: same colour, same weights that are there.
LINES = {
    "fine-tuned": ("tab:orange", "o-"),
    "scratch-e": ("tab:blue", "s--"),
    "scratch-b": ("tab:blue", "s-"),
    "guided": ("tab:green", "^-"),
    "uniform": ("tab:red", "v-"),
    "widths-macs": ("0.5", "x--"),
    "slimming-macs": ("0.2", "+--"),
}
# Of the MACs of a budget's patterns, and of other numbers of weights.
DENSE = ("widths-macs", "slimming-macs")


def table(result: PatternComparison) -> str:
    """Arms by budgets, in Markdown: mean ± deviation of test scores, and a star where an arm differs."""
    budgets = result.config.budgets
    lines = [
        f"| arm | beside | {' | '.join(map(str, budgets))} |",
        f"|---|---|{'--:|' * len(budgets)}",
    ]
    compared = {str(budget): result.compared(budget) for budget in budgets}
    for arm in result.config.chosen:
        cells = [_cell(result, budget, arm.name) for budget in budgets]
        stars = [
            "*" if (found := compared[str(budget)].get(arm.name)) is not None and found.holm < LEVEL else ""
            for budget in budgets
        ]
        marked = [f"{cell}{star}" for cell, star in zip(cells, stars, strict=True)]
        lines.append(f"| `{arm.name}` | {arm.beside or '–'} | {' | '.join(marked)} |")
    return "\n".join(lines)


def _cell(result: PatternComparison, budget: Budget, arm: str) -> str:
    own = result.of(budget, arm)
    if not own:
        return "–"
    mean, deviation = mean_and_spread([result.metric.score(one.test_score) for one in own.values()])
    spread = "" if deviation is None else f" ± {result.metric.bare(deviation)}"
    missing = "" if len(own) == result.config.seeds else f" (n = {len(own)})"
    return f"{result.metric.bare(mean)}{spread}{missing}"


def sentences(result: PatternComparison) -> str:
    """The differences that were found, and how many were not."""
    lines, unseen, untested = [], 0, 0
    for budget in result.config.budgets:
        for arm, found in result.compared(budget).items():
            if found.verdict == "not tested":
                untested += 1
                continue
            if not found.holm < LEVEL:
                unseen += 1
                continue
            one = found.contrast
            beside = next(other.beside for other in result.config.chosen if other.name == arm)
            ends = f"95 % {100 * one.low:+.2f} to {100 * one.high:+.2f}, n = {one.n}"
            lines.append(
                f"- {budget}: {arm} − {beside} {100 * one.difference:+.2f} points ({ends}), p = {found.holm:.2g}."
            )
        lines += [f"- {budget}: {note}" for note in result.notes(budget)]
    lines += [f"- {unseen} other contrasts: no difference found."] if unseen else []
    return "\n".join([*lines, *([f"- {untested} contrasts: not tested."] if untested else [])])


def draw(results: list[PatternComparison], path: Path) -> None:
    """Test scores against the share of weights that are there, a panel for each comparison.

    Narrow networks have the MACs of the patterns, and stand at the share of weights that they have.
    """
    figure = Figure(figsize=(4.8 * len(results), 3.9), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, result in zip(figure.subplots(1, len(results), squeeze=False)[0], results, strict=True):
        _panel(axes, result)
    save(figure, path)


def _panel(axes: Axes, result: PatternComparison) -> None:
    shares = {
        str(budget): fmean(one.density for one in own)
        if (own := result.patterns[str(budget)])
        else budget.share
        for budget in result.config.budgets
    }
    for arm, (colour, style) in LINES.items():
        points = [
            (100 * share, *mean_and_spread([100 * one.test_score for one in own.values()]))
            for budget in result.config.budgets
            if (own := result.of(budget, arm))
            and (share := _dense_share(result, own) if arm in DENSE else shares[str(budget)]) is not None
        ]
        if points:
            x, means, spreads = zip(*points, strict=True)
            errors = [spread or 0.0 for spread in spreads]
            axes.errorbar(x, means, yerr=errors, fmt=style, color=colour, capsize=2, ms=4, lw=1.2, label=arm)
    whole = [100 * one.test_score for one in result.of(result.config.budgets[0], "whole").values()]
    if whole:
        axes.axhline(fmean(whole), color="0.7", lw=1, label="whole")
    axes.set_xscale("log")
    ticks = [100 * share for share in shares.values() if share is not None]
    axes.set_xticks(ticks, [f"{tick:.0f}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("weights that are there, %")
    axes.set_ylabel(f"test {result.metric.name}, %")
    counts = sorted({len(own) for own in result.trained.values()} or {0})
    title = f"{result.run.name}, n = {'–'.join(map(str, dict.fromkeys((counts[0], counts[-1]))))}"
    axes.set_title(title, fontsize=10)
    axes.grid(color="0.92")
    axes.legend(frameon=False, fontsize=8)


def _dense_share(result: PatternComparison, own: Mapping[int, Trained]) -> float | None:
    """The share of a whole network's parameters that narrow networks have; None where none was trained."""
    whole = result.of(result.config.budgets[0], "whole")
    if not whole:
        return None
    return fmean(one.params for one in own.values()) / fmean(one.params for one in whole.values())


def main() -> None:
    """Print tables and differences, and draw them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, help="of the picture")
    options = parser.parse_args()
    results = [read_pattern_comparison(run) for run in options.runs]
    for result in results:
        print(f"## {result.run.name}\n\n{table(result)}\n\n{sentences(result)}\n")
    if options.out is not None:
        draw(results, options.out)


if __name__ == "__main__":
    main()
