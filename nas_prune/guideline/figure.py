"""The picture of a guideline: keep ratios along the depth, their intervals, every source, and uniform widths."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nas_prune.guideline.artefact import Cell, Guideline
from nas_prune.guideline.sources import Source, aligned
from nas_prune.runs.figure import BLACK, BLUE, save

_INK, _BAND, _THIN = BLUE, "#9ecae1", "0.55"


@dataclass(frozen=True, slots=True)
class _Slot:
    """Where a cell lies in the picture: from `start` to `end`, counted in stages."""

    cell: Cell
    start: float
    end: float


def draw_guideline(guideline: Guideline, path: Path, *, sources: Sequence[Source] = ()) -> None:
    """Write `guideline_figure` as PNG."""
    save(guideline_figure(guideline, sources=sources), path)


def guideline_figure(guideline: Guideline, *, sources: Sequence[Source] = ()) -> Figure:
    """Keep ratios at the budget that a guideline was made for; relative to uniform widths if it is for any budget.

    Args:
        guideline: the guideline.
        sources: the widths that it was fitted to; each is a thin line.
    """
    num_stages = guideline.num_stages or 1 + max((cell.stage for cell in guideline.cells), default=0)
    slots = _slots(guideline, num_stages)
    figure = Figure(figsize=(max(6.4, 1.5 + 1.5 * max(1, num_stages)), 4.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, source in enumerate(sources):
        places, keeps = _line(guideline, source, slots)
        label = f"the {len(sources)} sources" if number == 0 else None
        axes.plot(
            places,
            keeps,
            color=_THIN,
            linewidth=0.8,
            alpha=0.9,
            marker=".",
            markersize=3,
            label=label,
            zorder=3,
        )
    uniform = guideline.uniform_keep or 1.0
    axes.axhline(
        uniform, color=BLACK, linestyle="--", linewidth=1.2, label=f"uniform ({uniform:.2f})", zorder=1
    )
    for number, slot in enumerate(slots):
        _draw_cell(guideline, slot, axes, is_first=number == 0)
    for stage in range(num_stages):
        if stage % 2:
            axes.axvspan(stage, stage + 1, color="0.95", zorder=0)
    axes.set_xlim(0, max(1, num_stages))
    axes.set_xticks([(s.start + s.end) / 2 for s in slots], [_name(s.cell) for s in slots], fontsize=8)
    axes.set_xlabel(f"stage, counted from the {guideline.match} (0: highest resolution); depth within it")
    axes.set_ylabel("keep ratio (width / base width)" if guideline.uniform_keep else "width / uniform width")
    axes.set_ylim(bottom=0, top=1.05 if guideline.uniform_keep else None)
    axes.grid(axis="y", color="0.88", linewidth=0.6)
    axes.set_title(_title(guideline), loc="left", fontsize=10)
    figure.legend(fontsize=8, loc="outside lower center", frameon=False, ncols=4)
    return figure


def _slots(guideline: Guideline, num_stages: int) -> list[_Slot]:
    slots = []
    for stage in range(num_stages):
        own = sorted(
            (cell for cell in guideline.cells if cell.stage == stage),
            key=lambda cell: _ORDER.index(cell.role),
        )
        for number, cell in enumerate(own):
            width = 1 / len(own)
            slots.append(_Slot(cell, stage + number * width + 0.06, stage + (number + 1) * width - 0.06))
    return slots


_ORDER = ("stem", None, "stream", "inner", "growth", "selection", "head")


def _name(cell: Cell) -> str:
    return f"{cell.stage}" if cell.role is None else f"{cell.stage}\n{cell.role}"


def _draw_cell(guideline: Guideline, slot: _Slot, axes: Axes, *, is_first: bool) -> None:
    cell = slot.cell
    places = np.array(sorted({0.0, *(place for place, _ in cell.shape), 1.0}))
    across = slot.start + (slot.end - slot.start) * places
    keep = guideline.uniform_keep or 1.0
    most = 1.0 if guideline.uniform_keep else np.inf
    along = np.array([cell.log_ratio_at(place) for place in places])
    if cell.low is not None and cell.high is not None:
        low, high = (
            np.minimum(most, keep * np.exp(bound + along - cell.log_ratio)) for bound in (cell.low, cell.high)
        )
        label = f"{100 * guideline.confidence:.4g} % intervals of stage levels" if is_first else None
        axes.fill_between(across, low, high, color=_BAND, alpha=0.8, linewidth=0, label=label, zorder=3)
    line = np.minimum(most, keep * np.exp(along))
    axes.plot(across, line, color=_INK, linewidth=2.6, label="guideline" if is_first else None, zorder=4)


def _line(guideline: Guideline, source: Source, slots: Sequence[_Slot]) -> tuple[list[float], list[float]]:
    """Where the groups of a source lie in the picture, and their keep ratios."""
    points = []
    for column, log_keep in zip(source.setting.columns, source.log_keep_S, strict=True):
        group = source.setting.space.groups[column]
        stage = aligned(group.stage, source.setting.num_stages, guideline.num_stages, guideline.match)
        own = [s for s in slots if s.cell.stage == stage and s.cell.role in (group.role, None)]
        start, end = (own[0].start, own[0].end) if own else (stage + 0.06, stage + 0.94)
        points.append((start + (end - start) * group.position, exp(log_keep)))
    points.sort(key=lambda point: point[0])
    return [x for x, _ in points], [y for _, y in points]


def _title(guideline: Guideline) -> str:
    networks = ", ".join(dict.fromkeys(source.network for source in guideline.sources))
    data = ", ".join(dict.fromkeys(source.data for source in guideline.sources))
    what = f"guideline from {networks} on {data}" if networks else "guideline written by hand"
    return f"{what} ({guideline.model}{f', {guideline.cost}' if guideline.cost else ''})"
