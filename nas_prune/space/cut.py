"""Cutting channel scores at a budget: the pure plan of which channels stay.

Units are what is added at a time: one channel, a divisor's worth, or a whole residual block. A column is a searchable
group or, behind the last of those, a block that can go; a plan is a width for each group and 1 or 0 for each block.

Shape suffixes: G searchable groups, V columns (groups alone, where no block is searched).
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_prune.errors import BadInputError, BudgetError
from nas_prune.space.bounds import Bound, bounds_of, check_known
from nas_prune.space.budget import Budget
from nas_prune.space.cost import Cost
from nas_prune.space.filling import Unit, filled, longest_run, with_all
from nas_prune.space.names import known_spaces
from nas_prune.space.quantities import shown
from nas_prune.space.scores import Scores, shares_of
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.widths import Widths


@dataclass(frozen=True, slots=True)
class Cut:
    """What stays at one budget.

    Attributes:
        budget: the budget.
        limit: the most it allows here, of several bounds the one that is used up most; where the method decides, the
            count.
        count: what is reached of that, at most the limit; where the method decides, of MACs.
        widths_G: a width for each searchable group.
        kept_G: the indices kept of each group, sorted.
        removed: paths of the blocks that go.
        at_floor: columns of groups of which the threshold alone, or the method itself, would leave nothing.
        tied_at_zero: how many channels above the floors, or blocks, stay although the method itself would let them go:
            they score alike, so that the cut had to choose.
    """

    budget: Budget
    limit: int
    count: int
    widths_G: tuple[int, ...]
    kept_G: tuple[NDArray[np.int64], ...]
    removed: tuple[str, ...] = ()
    at_floor: tuple[int, ...] = ()
    tied_at_zero: int = 0

    @property
    def gap(self) -> float:
        """The share of the budget left unused because no further channel fits."""
        return 1 - self.count / self.limit


def least_cost(space: SearchSpace, searched: Sequence[int]) -> Cost:
    """What the network costs with every searched group at its floor and without every searched block."""
    plan, groups = _least(space, searched), len(space.groups)
    return space.cost_at(plan[:groups].tolist(), _removed(space, plan))


def feasible_range(space: SearchSpace, budget: Budget, searched: Sequence[int]) -> tuple[int, int]:
    """The smallest and the whole network's cost, of the first bound of a budget, that the searched groups can reach."""
    bound = bounds_of(space, budget, searched).each[0]
    return _range(space, bound, searched)


def _range(space: SearchSpace, bound: Bound, searched: Sequence[int]) -> tuple[int, int]:
    return int(bound.cost(_least(space, searched))), int(bound.cost(_most(space, searched)))


def check_feasible(
    space: SearchSpace,
    budget: Budget,
    searched: Sequence[int],
    *,
    wider: Sequence[int] = (),
    method: str = "uniform",
) -> None:
    """Refuse a budget that no widths of the searched groups meet.

    Args:
        space: the network, for its images.
        budget: the bound.
        searched: the columns that are searched.
        wider: those that would be with `--groups all`.
        method: which `nas-prune inspect` shows the same range for.

    Raises:
        BudgetError: with the feasible range, what would be feasible, and the command that shows it.
    """
    if budget.is_own:
        return
    check_known(space, budget)
    for one in budget.bounds:
        _check_bound(space, one, searched, wider=wider, method=method, budget=budget)


def _check_bound(
    space: SearchSpace,
    one: Budget,
    searched: Sequence[int],
    *,
    wider: Sequence[int],
    method: str,
    budget: Budget,
) -> None:
    smallest, largest = feasible_range(space, one, searched)
    limit = space.limit(one, searched)
    if largest == 0:
        raise BudgetError(
            f"budget {budget} must bound something, got blocks without channels of their own. Bound macs or params."
        )
    if limit < smallest:
        kind = one.kind
        raise BudgetError(
            f"budget {budget} must be one that the searched groups can meet, got {shown(kind, limit)} where "
            f"{_from_to(kind, smallest, largest)} are feasible ({least_share(smallest, largest)} to 100 %). "
            f"{_advice(space, one, searched, wider)}{_shown_by(space, method)}"
        )


def _from_to(kind: str, smallest: int, largest: int) -> str:
    low, high = shown(kind, smallest), shown(kind, largest)
    unit = f" {kind}"
    return f"{low.removesuffix(unit)} to {high.removesuffix(unit)}"


def least_share(smallest: int, largest: int) -> str:
    """The smallest share that can be reached, rounded up: as a budget it is feasible.

    Example:
        >>> least_share(1, 3)
        '33.34 %'
    """
    return f"{-(-10_000 * smallest // largest) / 100:.4g} %"


def _advice(space: SearchSpace, budget: Budget, searched: Sequence[int], wider: Sequence[int]) -> str:
    """Which budget, and which groups, would do."""
    least = _least_budget(space, budget, searched)
    smallest, _ = feasible_range(space, budget, wider or searched)
    with_all = _least_budget(space, budget, wider or searched)
    looser = f" Or loosen {space.limits.words}." if space.limits else ""
    if with_all == least:
        return f"Raise it to {least}.{looser}"
    if space.limit(budget, wider) < smallest:
        return f"Raise it to {least}, or search residual streams too and raise it to {with_all} ({_HOW_ALL}).{looser}"
    return (
        f"Search residual streams too, which reaches {with_all} ({_HOW_ALL}), or raise it to {least}.{looser}"
    )


_HOW_ALL = "--groups all, in a file groups: all"


def _least_budget(space: SearchSpace, budget: Budget, searched: Sequence[int]) -> str:
    share = least_share(*feasible_range(space, budget, searched))
    return f"{budget.kind}<={share.replace(' ', '')}"


def _shown_by(space: SearchSpace, method: str) -> str:
    """The command that shows the same range; none for a network that has no name, or takes no images."""
    named = space.reference
    if named.part or not named.call.is_plain or len(named.input_shape) != 3:
        return ""
    _, height, width = named.input_shape
    if height != width or not (":" in named.name or named.name in known_spaces()):
        return ""
    options = [*named.options, "--method", method, *space.limits.options]
    options += [] if space.target_typed is None else ["--target", space.target_typed]
    return f" All ranges: nas-prune inspect {shlex.join(options)}"


def cut(space: SearchSpace, scores: Scores, budget: Budget, zero: float | None = None) -> Cut:
    """Keep the best channels that a budget allows.

    One global threshold is lowered until the next channel would break the budget; then single channels are
    added in the order of their scores as long as any still fits. Every group keeps its floor.

    Args:
        space: the network.
        scores: for each column the score of each channel (of the block), or None for what is left whole.
        budget: the bound.
        zero: what scores as much or less goes where the budget is the method's own.

    Returns:
        The widths and the channels kept.

    Raises:
        BudgetError: no widths meet the budget.
    """
    searched = [column for column, values in enumerate(scores) if values is not None]
    units, plan = _units(space, scores), _least(space, searched)
    if budget.is_own:
        assert zero is not None
        plan = with_all(plan, [unit for unit in units if unit.score > zero])
        threshold = float(np.nextafter(zero, np.inf))
        bound = bounds_of(space, budget, searched).each[0]
    else:
        check_feasible(space, budget, searched)
        bounds = bounds_of(space, budget, searched)
        best = longest_run(plan, units, bounds)
        plan = filled(with_all(plan, best), units, bounds)
        threshold = best[-1].score if best else np.inf
        bound = bounds.tightest(plan)
    count = int(bound.cost(plan))
    groups = len(space.groups)
    widths_G = tuple(int(width) for width in plan[:groups])
    return Cut(
        budget,
        count if budget.is_own else bound.limit,
        count,
        widths_G=widths_G,
        kept_G=best_channels(scores[:groups], widths_G),
        removed=_removed(space, plan),
        at_floor=_at_floor(scores[:groups], threshold, zero or 0.0),
        tied_at_zero=0 if zero is None else _tied_at_zero(space, scores, plan, zero),
    )


def best_channels(scores_G: Scores, widths_G: Sequence[int]) -> tuple[NDArray[np.int64], ...]:
    """The indices of each group's best channels, as many as its width, sorted; the first ones where none are scored."""
    return tuple(
        np.arange(width) if values is None else np.sort(np.argsort(-values, kind="stable")[:width])
        for values, width in zip(scores_G, widths_G, strict=True)
    )


def matched(
    space: SearchSpace, columns: Sequence[int], bound: Budget, rng: np.random.Generator | None = None
) -> Cut:
    """Widths of no search that meet a bound from below, filled like those of searches: what these are compared with.

    Args:
        space: the network.
        columns: the groups that are narrowed.
        bound: what the widths may cost.
        rng: draws a share of its own for each group; uniform widths if None.
    """
    shares = np.ones(len(columns)) if rng is None else 1 - rng.random(len(columns))
    own = dict(zip(columns, shares.tolist(), strict=True))
    scores = [
        shares_of(space, column, own[column]) if column in own else None
        for column in range(len(space.groups))
    ]
    return cut(space, scores, bound)


def carried(space: SearchSpace, columns: Sequence[int], bound: Budget, widths: Widths) -> Cut:
    """Widths that keep of each group what others do of theirs, by one factor for all, and meet a bound from below.

    Args:
        space: the network.
        columns: the groups that are narrowed.
        bound: what the widths may cost.
        widths: of the same network at another width multiplier.

    Raises:
        BadInputError: the widths are of other groups.
        BudgetError: no widths meet the bound.
    """
    kept = {group.name: group.width / group.base for group in widths.groups}
    names = [group.name for group in space.groups]
    if list(kept) != names:
        raise BadInputError(
            f"widths must be of the groups of {space.reference.name} to be carried to it, got those of "
            f"{widths.space.name}, of {len(kept)} groups where it has {len(names)}. Fit a guideline to them instead."
        )
    scores = [
        shares_of(space, column, kept[name]) if column in columns else None
        for column, name in enumerate(names)
    ]
    return cut(space, scores, bound)


def _removed(space: SearchSpace, plan_V: NDArray[np.int64]) -> tuple[str, ...]:
    gone = np.flatnonzero(plan_V[len(space.groups) :] == 0)
    return tuple(space.blocks[number].path for number in gone)


def _at_floor(scores_G: Scores, threshold: float, zero: float) -> tuple[int, ...]:
    """The columns of which the threshold, the lowest score that stays by itself, or the method would leave nothing."""
    best = {column: values.max() for column, values in enumerate(scores_G) if values is not None}
    return tuple(column for column, value in best.items() if value < threshold or value <= zero)


def _tied_at_zero(space: SearchSpace, scores_V: Scores, plan_V: NDArray[np.int64], zero: float) -> int:
    """How many of those that stay score zero beside others that go."""
    stay, go = 0, 0
    for column, values in enumerate(scores_V):
        if values is not None:
            floor = space.floor_G[column] if column < len(space.groups) else 0
            alive = max(floor, int((values > zero).sum()))
            stay += max(0, int(plan_V[column]) - alive)
            go += len(values) - max(alive, int(plan_V[column]))
    return stay if go else 0


def _most(space: SearchSpace, searched: Sequence[int]) -> NDArray[np.int64]:
    """The plan of the whole network."""
    has_blocks = max(searched, default=0) >= len(space.groups)
    return np.array([*space.base_G, *(1 for _ in (space.blocks if has_blocks else ()))])


def _least(space: SearchSpace, searched: Sequence[int]) -> NDArray[np.int64]:
    """The plan in which every searched group is at its floor and every searched block gone."""
    plan, groups = _most(space, searched), len(space.groups)
    for column in searched:
        plan[column] = space.floor_G[column] if column < groups else 0
    return plan


def _units(space: SearchSpace, scores: Scores) -> list[Unit]:
    """Every step above the floors, best first; within a group in order of width."""
    units = []
    for column, values in enumerate(scores):
        if values is None:
            continue
        best_first = -np.sort(-np.asarray(values, dtype=np.float64))
        is_block = column >= len(space.groups)
        _, *steps = (0, 1) if is_block else space.allowed_G[column]
        base = 1 if is_block else space.base_G[column]
        units += [Unit(column, width, float(best_first[width - 1]), width / base) for width in steps]
    return sorted(units, key=lambda unit: (-unit.score, unit.share))
