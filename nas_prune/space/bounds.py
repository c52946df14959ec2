"""What a budget asks of one network: each of its bounds as a function of plans and the most it may come to.

A plan is a width for each searchable group and, where blocks are searched, 1 or 0 for each block behind them.

Shape suffixes: N plans, V columns (groups, and blocks where any is searched).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas_prune.errors import BudgetError
from nas_prune.space.budget import Budget
from nas_prune.space.cost import CostFunction, Polynomial
from nas_prune.space.quantities import COUNTED
from nas_prune.space.search_space import SearchSpace


@dataclass(frozen=True, slots=True)
class Bound:
    """One bound of a budget on a network.

    Attributes:
        budget: the bound by itself, as it was written.
        cost: what it bounds, as a function of plans.
        limit: the most that this may come to.
    """

    budget: Budget
    cost: CostFunction
    limit: int

    @property
    def kind(self) -> str:
        """The name of the cost."""
        return self.budget.kind


@dataclass(frozen=True, slots=True)
class Bounds:
    """All bounds of a budget on a network; they hold together."""

    each: tuple[Bound, ...]

    @property
    def rise(self) -> bool:
        """Whether no cost falls as a width grows; a latency may, where wider layers fill a device's blocks."""
        return all(bound.kind != "latency" for bound in self.each)

    def used(self, plans_NV: ArrayLike) -> NDArray[np.float64]:
        """The largest share of any limit that each plan takes: it fits if that is at most 1, exactly."""
        shares = [np.asarray(bound.cost(plans_NV)) / max(1, bound.limit) for bound in self.each]
        return np.asarray(np.max(shares, axis=0))

    def tightest(self, plan_V: ArrayLike) -> Bound:
        """The bound of which one plan takes the largest share."""
        return max(self.each, key=lambda bound: float(bound.cost(plan_V)) / max(1, bound.limit))


def bounds_of(space: SearchSpace, budget: Budget, searched: Sequence[int]) -> Bounds:
    """A budget on a network.

    Args:
        space: the network.
        budget: the bounds; of the method's own choice, the MACs of the whole network.
        searched: the columns that are searched: a bound on channels is on those.

    Raises:
        BudgetError: a bound is on a cost that nobody has said for this network.
    """
    if budget.is_own:
        whole = int(space.cost.macs(space.base_G))
        return Bounds((Bound(budget, cost_of(space, "macs", searched), max(1, whole)),))
    return Bounds(
        tuple(
            Bound(one, cost_of(space, one.kind, searched), space.limit(one, searched))
            for one in budget.bounds
        )
    )


def cost_of(space: SearchSpace, kind: str, searched: Sequence[int]) -> CostFunction:
    """A cost as a function of plans; channels are those of the searched groups, or within searched blocks.

    Raises:
        BudgetError: nobody has said what it is for this network.
    """
    groups = len(space.groups)
    if kind not in COUNTED:
        return space.cost_function(kind)
    if max(searched, default=0) < groups:
        if kind != "channels":
            return space.cost_function(kind)
        return Polynomial.of({(column,): 1 for column in searched}, groups)
    cost = space.switched(kind)
    if kind == "channels":
        counted = space.groups_in(searched)
        return replace(cost, whole=Polynomial.of({(column,): 1 for column in counted}, groups))
    return cost


def check_known(space: SearchSpace, budget: Budget) -> None:
    """Refuse a budget on a cost that nobody has said for a network.

    Raises:
        BudgetError: it is so.
    """
    for one in () if budget.is_own else budget.bounds:
        try:
            space.cost_function(one.kind)
        except BudgetError as error:
            raise BudgetError(f"budget {budget} must bound costs that are known: {error}") from None
