"""Pictures of patterns: densities along the depth, kernel positions by stage, the masks of a first layer."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import FuncFormatter

from nas_prune.patterns.guideline import PatternGuideline
from nas_prune.patterns.methods.controls import erk_weight
from nas_prune.patterns.pattern import KernelMap, LayerPattern, Pattern
from nas_prune.runs.figure import BLACK, COLOURS, MARKERS, save
from nas_prune.training.masks import Masks

_MOST_PLACES = 5  # of a kernel's side that numbers fit into
_MOST_FILTERS, _MOST_INPUTS = 64, 16  # of a first layer that are drawn


def draw_patterns(patterns: Sequence[Pattern], path: Path) -> None:
    """Write `patterns_figure` as PNG."""
    save(patterns_figure(patterns), path)


def patterns_figure(patterns: Sequence[Pattern], names: Sequence[str] | None = None) -> Figure:
    """Densities along the depth beside those of Erdős–Rényi kernels, and below them kernel positions by stage.

    Args:
        patterns: of one network.
        names: a name for each; None for its budget.
    """
    labels = list(names or [pattern.budget or "as given" for pattern in patterns])
    stages = sorted({(one.stage, one.shape) for one in _square(patterns[0])})
    depth = len(patterns[0].layers)
    width = min(16.0, max(7.0, 2 + 0.28 * depth, 1.5 + 1.5 * len(stages)))
    rows = len(patterns) if stages else 0
    figure = Figure(figsize=(width, 3.6 + 1.6 * rows), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    if not rows:
        _densities(figure.subplots(), patterns, labels)
        return figure
    above, below = cast("Sequence[SubFigure]", figure.subfigures(2, 1, height_ratios=[3.6, 1.6 * rows]))
    _densities(above.subplots(), patterns, labels)
    grid = below.subplots(rows, len(stages), squeeze=False)
    for axes_S, pattern, label in zip(grid, patterns, labels, strict=True):
        for axes, key in zip(axes_S, stages, strict=True):
            _positions(axes, next(one for one in pattern.kernels if (one.stage, one.shape) == key))
        axes_S[0].set_ylabel(label.replace(", ", ",\n"), fontsize=8)
    below.suptitle("Positions of kernels that stay, in % of the stage's kernels", fontsize=9)
    return figure


def _square(pattern: Pattern) -> list[KernelMap]:
    return [one for one in pattern.kernels if len(one.shape) == 2]


def _densities(axes: Axes, patterns: Sequence[Pattern], labels: Sequence[str]) -> None:
    layers = patterns[0].layers
    for number, (pattern, label) in enumerate(zip(patterns, labels, strict=True)):
        colour = COLOURS[number % len(COLOURS)]
        shares = [100 * layer.density for layer in pattern.layers]
        erk = [100 * share for share in erk_densities(layers, pattern.cost.nonzero)]
        marker = MARKERS[number % len(MARKERS)]
        axes.plot(
            shares, color=colour, marker=marker, ms=4, label=f"{label} ({100 * pattern.density:.3g} % stay)"
        )
        axes.plot(erk, color=colour, linestyle=":", linewidth=1, label="_")
    axes.plot(
        [], [], color=BLACK, linestyle=":", linewidth=1, label="Erdős–Rényi kernels with as many weights"
    )
    axes.set_yscale("log")
    for axis in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        axis(FuncFormatter(_percent))
    axes.set_ylabel("weights that stay, %")
    axes.set_xticks(
        range(len(layers)), [layer.name.removesuffix(".weight") for layer in layers], rotation=90, fontsize=6
    )
    axes.grid(color="0.9")
    axes.legend(fontsize=7, frameon=False)


def _percent(value: float, _: int) -> str:
    """Only 1, 2 and 5 times powers of ten, or ticks would lie on each other."""
    return f"{value:g}" if f"{value:e}"[0] in "125" and value == float(f"{value:.0e}") else ""


def erk_densities(layers: Sequence[LayerPattern], nonzero: int) -> list[float]:
    """Densities in proportion to (sum of a layer's sizes) / (their product), none above 1, with so many weights in all.

    Source: Evci et al., ICML 2020, section 3.
    """
    sizes = np.array([layer.size for layer in layers], dtype=float)
    raw = np.array([erk_weight(layer) for layer in layers])
    low, high = 0.0, float(1 / raw.min())
    for _ in range(100):
        factor = (low + high) / 2
        low, high = (factor, high) if (sizes * np.minimum(1, factor * raw)).sum() < nonzero else (low, factor)
    return [float(share) for share in np.minimum(1, high * raw)]


def _positions(axes: Axes, one: KernelMap) -> None:
    shares = 100 * np.array(one.kept).reshape(one.shape)
    top = max(float(shares.max()), 1e-9)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=2 * top)
    _write_numbers(axes, [[_short(share) for share in row] for row in shares], 6)
    most = "" if max(one.shape) <= _MOST_PLACES else f", up to {_short(top)} %"
    axes.set_title(f"stage {one.stage}, {one.shape[0]}×{one.shape[1]}{most}", fontsize=8)


def _short(share: float) -> str:
    return f"{share:.0f}" if share >= 9.5 else f"{share:.2g}"


def _write_numbers(axes: Axes, texts: Sequence[Sequence[str]], size: int) -> None:
    """A number in each position of a kernel, unless they would run into each other; no ticks."""
    axes.set_xticks([])
    axes.set_yticks([])
    if max(len(texts), len(texts[0])) > _MOST_PLACES:
        return
    for row, line in enumerate(texts):
        for column, text in enumerate(line):
            axes.text(column, row, text, ha="center", va="center", fontsize=size)


def draw_guideline(found: PatternGuideline, path: Path) -> None:
    """Write `guideline_figure` as PNG."""
    save(guideline_figure(found), path)


def guideline_figure(found: PatternGuideline) -> Figure:
    """The densities of a guideline with their intervals, and below them kernel positions by stage."""
    cells = found.positions
    height = max(2.4, 1 + 0.24 * len(found.densities))
    size = (min(16.0, max(6.4, 1.5 + 1.7 * len(cells))), height + 2.2 * bool(cells))
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    if not cells:
        _odds(figure.subplots(), found)
        return figure
    above, below = cast("Sequence[SubFigure]", figure.subfigures(2, 1, height_ratios=[height, 2.2]))
    _odds(above.subplots(), found)
    top = max(0.1, *(abs(value) for cell in cells for value in cell.log_odds))
    for axes, cell in zip(below.subplots(1, len(cells), squeeze=False)[0], cells, strict=True):
        odds = np.array(cell.log_odds).reshape(cell.shape)
        axes.imshow(odds, cmap="RdBu", vmin=-1.6 * top, vmax=1.6 * top)
        _write_numbers(axes, [[f"{factor:.2f}" for factor in row] for row in np.exp(odds)], 7)
        axes.set_title(f"stage {cell.stage} from the last", fontsize=8)
    agree = "" if found.of_positions.is_found else " (sources do not agree: not applied)"
    below.suptitle(f"Positions of kernels, × odds of their stage{agree}", fontsize=9)
    return figure


def _odds(axes: Axes, found: PatternGuideline) -> None:
    labels = [
        cell.kind if cell.kind in ("first", "linear") else f"{cell.kind}, stage {cell.stage} from the last"
        for cell in found.densities
    ]
    for place, cell in enumerate(found.densities):
        axes.plot(np.exp(cell.log_odds), place, "o", color=BLACK)
        if cell.low is not None and cell.high is not None:
            axes.plot(np.exp([cell.low, cell.high]), [place, place], color=BLACK)
    axes.set_xscale("log")
    for setter in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        setter(FuncFormatter(_percent))
    axes.axvline(1, color="0.7")
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.invert_yaxis()
    agree = "" if found.of_densities.is_found else " (sources do not agree: not applied)"
    axes.set_xlabel(f"odds of a weight to stay, × those of all weights{agree}", fontsize=9)


def first_layer_figure(pattern: Pattern, masks: Masks) -> Figure | None:
    """Which weights of the network's first layer stay: a column for each filter, a row for each input channel.

    None where that layer stays dense, is no convolution of images, or has kernels of one position.
    """
    layer = next((one for one in pattern.layers if one.is_first and len(one.shape) == 4), None)
    if layer is None or layer.shape[2] * layer.shape[3] == 1:
        return None
    whole_OIHW = masks[layer.name].transpose(0, layer.out_dim).cpu().numpy()
    mask_OIHW = whole_OIHW[:_MOST_FILTERS, :_MOST_INPUTS]
    filters, inputs, height, width = mask_OIHW.shape
    canvas = np.full((inputs * (height + 1) - 1, filters * (width + 1) - 1), 0.5)
    for (number, channel), _ in np.ndenumerate(mask_OIHW[:, :, 0, 0]):
        top, left = channel * (height + 1), number * (width + 1)
        canvas[top : top + height, left : left + width] = 1 - mask_OIHW[number, channel]
    figure = Figure(
        figsize=(min(16.0, max(6.4, 1 + 0.22 * filters)), 0.9 + 0.22 * inputs), dpi=120, layout="constrained"
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.imshow(canvas, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="equal")
    axes.set_xticks([])
    axes.set_yticks([])
    shown = f"{_counted(filters, whole_OIHW.shape[0], 'filter')} of {layer.name}"
    read = _counted(inputs, whole_OIHW.shape[1], "input channel")
    axes.set_xlabel(f"{shown}, {read}; black: stays", fontsize=8)
    return figure


def _counted(shown: int, total: int, what: str) -> str:
    return f"{shown} of {total} {what}s" if shown < total else f"{total} {what}{'s' * (total != 1)}"
