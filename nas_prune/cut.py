"""Cutting channel scores at a budget: the pure plan of which channels stay.

Units are what is added at a time: one channel, or a divisor's worth. Shape suffix G: searchable groups.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_prune.budget import Budget, with_suffix
from nas_prune.cost import Polynomial
from nas_prune.errors import BudgetError
from nas_prune.methods.contract import Scores
from nas_prune.space import SearchSpace


@dataclass(frozen=True, slots=True)
class Cut:
    """What stays at one budget.

    Attributes:
        budget: the budget.
        limit: the largest count it allows here.
        count: the count reached, at most the limit.
        widths_G: a width for each searchable group.
        kept_G: the indices kept of each group, sorted.
        held: columns of groups of which the threshold alone would leave nothing, or whose channels all score zero or
            less.
    """

    budget: Budget
    limit: int
    count: int
    widths_G: tuple[int, ...]
    kept_G: tuple[NDArray[np.int64], ...]
    held: tuple[int, ...] = ()

    @property
    def gap(self) -> float:
        """The share of the budget left unused because no further channel fits."""
        return 1 - self.count / self.limit


@dataclass(frozen=True, slots=True)
class _Unit:
    """A step of one group from one allowed width to the next, with the score of its weakest channel.

    Of units of one score, those come first that leave the smaller `share` of their group.
    """

    column: int
    width: int
    score: float
    share: float


def feasible_range(space: SearchSpace, budget: Budget, searched: Sequence[int]) -> tuple[int, int]:
    """The smallest and largest count of a budget's cost that the searched groups can reach."""
    count = _counter(space, budget, searched)
    return int(count(np.array(space.floor_at(searched)))), int(count(np.array(space.base_G)))


def check_feasible(space: SearchSpace, budget: Budget, searched: Sequence[int]) -> None:
    """Refuse a budget that no widths of the searched groups meet.

    Raises:
        BudgetError: with the feasible range.
    """
    smallest, largest = feasible_range(space, budget, searched)
    limit = space.limit(budget, searched)
    if limit < smallest:
        raise BudgetError(
            f"budget {budget} allows {with_suffix(limit)} {budget.kind}, less than the searched groups can reach: "
            f"feasible are {smallest:,} to {largest:,} ({100 * smallest / largest:.3g} % to 100 %). "
            f"{_advice(space, searched)}"
        )


def _advice(space: SearchSpace, searched: Sequence[int]) -> str:
    left = set(range(len(space.groups))) - set(searched)
    more = any(space.groups[column].role == "stream" and space.groups[column].is_gated for column in left)
    return "Raise it, or search residual streams too (--groups all)." if more else "Raise it."


def cut(space: SearchSpace, scores: Scores, budget: Budget) -> Cut:
    """Keep the best channels that a budget allows.

    One global threshold is lowered until the next channel would break the budget; then single channels are
    added in the order of their scores as long as any still fits. Every group keeps its floor.

    Args:
        space: the network.
        scores: for each searchable group the score of each channel, or None for a group that is left whole.
        budget: the bound.

    Returns:
        The widths and the channels kept.

    Raises:
        BudgetError: no widths meet the budget.
    """
    searched = [column for column, values in enumerate(scores) if values is not None]
    check_feasible(space, budget, searched)
    count, limit = _counter(space, budget, searched), space.limit(budget, searched)
    units = _units(space, scores)
    widths, number = _threshold(np.array(space.floor_at(searched)), units, count, limit)
    widths = _fill(widths, units, count, limit)
    kept = tuple(
        np.arange(width) if values is None else np.sort(np.argsort(-values, kind="stable")[:width])
        for values, width in zip(scores, widths, strict=True)
    )
    held = _held(scores, units[number - 1].score if number else np.inf)
    return Cut(budget, limit, int(count(widths)), tuple(int(width) for width in widths), kept, held)


def _held(scores: Scores, threshold: float) -> tuple[int, ...]:
    best = {column: values.max() for column, values in enumerate(scores) if values is not None}
    return tuple(column for column, value in best.items() if value < threshold or value <= 0)


def _counter(space: SearchSpace, budget: Budget, searched: Sequence[int]) -> Polynomial:
    if budget.kind != "channels":
        return space.cost.kind(budget.kind)
    return Polynomial.of({(column,): 1 for column in searched}, len(space.groups))


def _units(space: SearchSpace, scores: Scores) -> list[_Unit]:
    """Every step above the floors, best first; within a group in order of width."""
    units = []
    for column, values in enumerate(scores):
        if values is None:
            continue
        best_first = -np.sort(-np.asarray(values, dtype=np.float64))
        base, floor = space.base_G[column], space.floor_G[column]
        steps = [width for width in range(floor + 1, base + 1) if width % space.divisor == 0 or width == base]
        units += [_Unit(column, width, float(best_first[width - 1]), width / base) for width in steps]
    return sorted(units, key=lambda unit: (-unit.score, unit.share))


def _threshold(
    floor_G: NDArray[np.int64], units: Sequence[_Unit], count: Polynomial, limit: int
) -> tuple[NDArray[np.int64], int]:
    """The widths of the longest run of best units that the limit allows, by bisection; and how long it is."""

    def taken(number: int) -> NDArray[np.int64]:
        widths = floor_G.copy()
        for unit in units[:number]:
            widths[unit.column] = max(widths[unit.column], unit.width)
        return widths

    low, high = 0, len(units)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if int(count(taken(middle))) <= limit else (low, middle - 1)
    return taken(low), low


def _fill(
    widths_G: NDArray[np.int64], units: Sequence[_Unit], count: Polynomial, limit: int
) -> NDArray[np.int64]:
    """Add units in order of score while one still fits; a group whose next unit does not fit is done."""
    waiting: dict[int, list[_Unit]] = {}
    for unit in units:
        if unit.width > widths_G[unit.column]:
            waiting.setdefault(unit.column, []).append(unit)
    widths = widths_G.copy()
    while waiting:
        columns = list(waiting)
        tried_NG = np.repeat(widths[None], len(columns), axis=0)
        tried_NG[np.arange(len(columns)), columns] = [waiting[column][0].width for column in columns]
        fits = count(tried_NG) <= limit
        waiting = {column: waiting[column] for column, fit in zip(columns, fits, strict=True) if fit}
        if waiting:
            best = max(waiting, key=lambda column: (waiting[column][0].score, -waiting[column][0].share))
            widths[best] = waiting[best].pop(0).width
            if not waiting[best]:
                del waiting[best]
    return widths
