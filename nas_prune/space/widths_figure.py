"""Figures of widths."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nas_prune.errors import BudgetError
from nas_prune.runs.colours import Look, look_of_budget
from nas_prune.runs.figure import save
from nas_prune.space.budget import Budget
from nas_prune.space.widths import GroupWidth, Widths


def draw_widths(widths: Sequence[Widths], path: Path, *, searched: Sequence[int] | None = None) -> None:
    """Write `widths_figure` as PNG."""
    save(widths_figure(widths, searched=searched), path)


def widths_figure(
    widths: Sequence[Widths],
    *,
    searched: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    looks: Sequence[Look] | None = None,
) -> Figure:
    """Keep ratios along the depth, one line for each widths artefact; stages are marked.

    Args:
        widths: artefacts of one space.
        searched: the numbers of the groups to draw; None for all.
        names: a name for each artefact; None for its budget.
        looks: of each line; None for those of their budgets, which are the same in every picture.
    """
    columns = list(range(len(widths[0].groups))) if searched is None else list(searched)
    groups = [widths[0].groups[column] for column in columns]
    size = (min(16.0, max(6.4, 1.6 + 0.28 * len(groups))), 4.2 + 0.2 * len(widths))
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _mark_stages(axes, groups)
    has_removed = False
    for number, one in enumerate(widths):
        removed = [one.is_gone(one.groups[column]) for column in columns]
        ratios = [
            0 if is_removed else one.groups[column].keep_ratio
            for column, is_removed in zip(columns, removed, strict=True)
        ]
        look = looks[number] if looks else look_of(one)
        name = names[number] if names else one.budget or "as given"
        label = f"{name}  ({one.cost.macs / 1e6:#.3g}M MACs, {one.cost.params / 1e3:,.0f}K params)"
        axes.plot(
            range(len(groups)),
            ratios,
            label=label,
            color=look.colour,
            marker=look.marker,
            linestyle=look.dashes,
            markersize=4.5,
            linewidth=max(
                1.2, 3.0 - 0.6 * number
            ),  # the first is the thickest, so that it shows below others
        )
        has_removed = has_removed or any(removed)
    _name_axes(axes, groups, widths[0])
    if has_removed:
        axes.set_xlabel("channel group, in order of depth (0: its block is gone)")
    figure.legend(fontsize=8, loc="outside lower center", frameon=False)
    return figure


def look_of(one: Widths) -> Look:
    """How widths are drawn wherever their budget alone tells them from others.

    A bound that is no share counts as the share that its cost was found to be; several bounds as the share of MACs.
    """
    try:
        budget = Budget.parse(one.budget or "")
    except BudgetError:  # widths of no budget
        budget = Budget("macs")
    if budget.share is not None and not budget.more:
        return look_of_budget(budget.kind, budget.share)
    kind = budget.kind if hasattr(one.cost, budget.kind) and not budget.more else "macs"
    return look_of_budget(kind, getattr(one.cost, kind) / getattr(one.base_cost, kind))


def _mark_stages(axes: Axes, groups: Sequence[GroupWidth]) -> None:
    """Shade every second stage, and write the name of each above it."""
    start = 0
    for number in range(1, len(groups) + 1):
        if number == len(groups) or groups[number].stage != groups[start].stage:
            if groups[start].stage % 2:
                axes.axvspan(start - 0.5, number - 0.5, color="0.92", zorder=0)
            middle = (start + number - 1) / 2
            axes.text(middle, 1.075, f"stage {groups[start].stage}", ha="center", fontsize=8, color="0.3")
            start = number


def _name_axes(axes: Axes, groups: Sequence[GroupWidth], one: Widths) -> None:
    axes.set_ylim(-0.03, 1.14)
    axes.set_xlim(-0.5, max(1, len(groups)) - 0.5)
    axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    axes.set_ylabel("keep ratio (width / base width)")
    axes.set_xlabel("channel group, in order of depth")
    axes.set_xticks([])
    if len(groups) <= 60:
        axes.set_xticks(range(len(groups)), [group.name for group in groups], rotation=90, fontsize=7)
    axes.grid(axis="y", color="0.85", linewidth=0.6)
    data = f" on {one.data.name}" if one.data else ""
    method = f", {one.method.words}" if one.method else ""
    axes.set_title(f"{one.space.name}{method}{data}", loc="left", fontsize=10)
