"""Which steps of width a budget allows, best first, and which still fit behind them.

Most costs rise with every width. Latency need not: a layer whose channels fill the blocks that a device computes in can
be faster than a narrower one. There, every step is looked at, and a group may pass over widths that do not fit.

Shape suffixes: N plans, V columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_prune.space.bounds import Bounds

Plan = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Unit:
    """A step of one group from one allowed width to the next, with the score of its weakest channel.

    Of units of one score, those come first that leave the smaller `share` of their group.
    """

    column: int
    width: int
    score: float
    share: float


def with_all(least_V: Plan, units: Sequence[Unit]) -> Plan:
    """A plan with some units added."""
    plan = least_V.copy()
    for unit in units:
        plan[unit.column] = max(plan[unit.column], unit.width)
    return plan


def longest_run(least_V: Plan, units: Sequence[Unit], bounds: Bounds) -> Sequence[Unit]:
    """The longest run of best units that the bounds allow."""
    if not bounds.rise:
        plans_NV = np.tile(least_V, (len(units) + 1, 1))
        for number, unit in enumerate(units, start=1):
            plans_NV[number, unit.column] = unit.width
        fits_N = bounds.used(np.maximum.accumulate(plans_NV, axis=0)) <= 1
        return units[: int(np.flatnonzero(fits_N).max(initial=0))]
    low, high = 0, len(units)
    while low < high:
        middle = (low + high + 1) // 2
        if float(bounds.used(with_all(least_V, units[:middle]))) <= 1:
            low = middle
        else:
            high = middle - 1
    return units[:low]


def filled(plan_V: Plan, units: Sequence[Unit], bounds: Bounds) -> Plan:
    """Add units in order of score while one still fits; in the end no group alone can be wider within the bounds."""
    while True:
        before_V, plan_V = plan_V, _filled_once(plan_V, units, bounds)
        if bounds.rise or np.array_equal(before_V, plan_V):
            return plan_V


def _filled_once(plan_V: Plan, units: Sequence[Unit], bounds: Bounds) -> Plan:
    """One pass: a group of which no wider width fits is done."""
    waiting: dict[int, list[Unit]] = {}
    for unit in units:
        if unit.width > plan_V[unit.column]:
            waiting.setdefault(unit.column, []).append(unit)
    plan = plan_V.copy()
    while waiting:
        fits = _fit(plan, [own[0] for own in waiting.values()], bounds)
        own = {
            column: left if fit else _from_next_fitting(plan, left, bounds)
            for (column, left), fit in zip(waiting.items(), fits, strict=True)
        }
        waiting = {column: left for column, left in own.items() if left}
        if waiting:
            best = max(waiting, key=lambda column: (waiting[column][0].score, -waiting[column][0].share))
            plan[best] = waiting[best].pop(0).width
            if not waiting[best]:
                del waiting[best]
    return plan


def _fit(plan_V: Plan, each: Sequence[Unit], bounds: Bounds) -> list[bool]:
    """Whether each of some units fits by itself."""
    tried_NV = np.tile(plan_V, (len(each), 1))
    for number, unit in enumerate(each):
        tried_NV[number, unit.column] = unit.width
    return [bool(fits) for fits in bounds.used(tried_NV) <= 1]


def _from_next_fitting(plan_V: Plan, left: list[Unit], bounds: Bounds) -> list[Unit]:
    """A group's units from the first on that fits; none where costs rise with widths, since the first does not."""
    fits = [] if bounds.rise else _fit(plan_V, left, bounds)
    return left[fits.index(True) :] if True in fits else []
