"""How costs on a target are printed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nas_prune.cli.output import percent

if TYPE_CHECKING:
    from nas_prune.space.search_space import SearchSpace
    from nas_prune.space.widths import Widths

_MOST_SHOWN = 6  # groups


def on_target(widths: "Widths") -> str:
    """The costs of widths on their target, to be added to a sentence; empty if there is none."""
    if widths.target is None:
        return ""
    from nas_prune.space.quantities import shown

    base = widths.target.base_cost.counts
    parts = [
        f"{kind} {shown(kind, cost)} ({percent(cost / base[kind])})"
        for kind, cost in widths.target.cost.counts.items()
    ]
    if widths.target.measured_ms is not None:
        parts.append(f"measured {shown('latency', widths.target.measured_ms * 10**6)}")
    where = f" on {widths.target.name}" if widths.target.name else ""
    return f"{where}: {', '.join(parts)}" if where else f", {', '.join(parts)}"


def unaligned_in(space: "SearchSpace", found: Sequence["Widths"]) -> str:
    """A sentence about groups whose width is none that the target wants in some of the widths; empty if all are."""
    wrong: dict[str, str] = {}
    for widths in found:
        for group, step in zip(widths.groups, space.steps_G, strict=bool(space.steps_G)):
            if group.width % step and not widths.is_gone(group):
                wrong[group.name] = f"{group.name} ({group.width})"
    if not wrong:
        return ""
    shown = ", ".join(list(wrong.values())[:_MOST_SHOWN]) + ", …" * (len(wrong) > _MOST_SHOWN)
    return (
        f"No widths that {space.target} wants, since they are too few or left whole: {shown}. "
        "nas-prune inspect --target says why."
    )


def target_columns(found: Sequence["Widths"]) -> tuple[list[str], list[list[str]]]:
    """Columns of a table for the costs on a target that some budget bounds.

    Args:
        found: the widths of its rows, those of the whole network left out.

    Returns:
        The headings, and the cells of the whole network and of each row; without any where there is no target.
    """
    from nas_prune.space.quantities import shown

    records = [one.target for one in found if one.target is not None]
    if len(records) < len(found) or not records:
        return [], [[] for _ in range(len(found) + 1)]
    base = records[0].base_cost.counts
    budgets = " ".join(one.budget or "" for one in found)
    kinds = [kind for kind in base if kind in budgets and all(kind in one.cost.counts for one in records)]
    has_measured = any(one.measured_ms is not None for one in records)
    headings = [heading for kind in kinds for heading in (kind, "")] + ["measured"] * has_measured
    rows = [[text for kind in kinds for text in (shown(kind, base[kind]), "")] + [""] * has_measured]
    for one in records:
        cells = [
            text
            for kind in kinds
            for text in (shown(kind, one.cost.counts[kind]), percent(one.cost.counts[kind] / base[kind]))
        ]
        measured = "–" if one.measured_ms is None else shown("latency", one.measured_ms * 10**6)
        rows.append(cells + [measured] * has_measured)
    return headings, rows
