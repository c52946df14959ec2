"""Applying a guideline: widths of any network at any budget, and widths drawn around it.

Shape suffixes: G searchable groups, S those that are searched, N draws.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, nan
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nas_prune.errors import GuidelineError
from nas_prune.guideline.artefact import Guideline, read_guideline
from nas_prune.guideline.hand import RULES, Rule
from nas_prune.guideline.shape import Shape, bend_beside, bend_of, shape_on
from nas_prune.guideline.sources import Setting, measure
from nas_prune.space.budget import Budget
from nas_prune.space.cut import Cut, check_feasible, cut
from nas_prune.space.scores import Scores, shares_of
from nas_prune.space.search_space import Groups, SearchSpace
from nas_prune.space.widths import MethodRecord, Widths

Floats: TypeAlias = "NDArray[np.float64]"
Pattern: TypeAlias = Guideline | Rule

_FAR = 2.0
_TOLERANCE = 1.05
_BELOW = log(4)  # how far below the sources' smallest budget a pattern is looked for, as a log keep ratio
_HALVINGS = 30


@dataclass(frozen=True, slots=True)
class Applied:
    """Widths that a guideline gives a network.

    Attributes:
        widths_G: a width for each searchable group.
        cut: how they were cut to the budget; None where none was asked for.
        share: the share that they keep of the cost that drove the guideline's sources; NaN if none is known.
        is_extrapolated: whether this share is outside what the sources kept.
        notes: what had to be guessed, in words.
        setting: the network and which of its groups were narrowed.
    """

    widths_G: tuple[int, ...]
    cut: Cut | None
    share: float
    is_extrapolated: bool
    notes: tuple[str, ...]
    setting: Setting

    @property
    def left_whole(self) -> tuple[str, ...]:
        """Names of the groups that were not narrowed."""
        groups = self.setting.space.groups
        return tuple(group.name for column, group in enumerate(groups) if column not in self.setting.columns)

    def artefact(self, name: str, **provenance: Any) -> Widths:
        """The widths with where they come from, for a file.

        Args:
            name: of the guideline.
            provenance: other fields of `Widths`.
        """
        return self.setting.space.widths(
            self.widths_G,
            left_whole=self.left_whole,
            budget=None if self.cut is None else str(self.cut.budget),
            method=MethodRecord(name="guideline", is_automatic=False, settings={"guideline": name}),
            **provenance,
        )


def guideline_named(name: str) -> Pattern:
    """A rule by its name, or the guideline in a file.

    Raises:
        GuidelineError: it is neither.
    """
    if name in RULES:
        return RULES[name]
    path = Path(name)
    if not path.suffix and not path.exists():
        raise GuidelineError(f"--guideline must be a file or one of {', '.join(RULES)}, got {name!r}.")
    return read_guideline(path)


def setting_of(space: SearchSpace, groups: Groups) -> Setting:
    """A network with the groups that a choice names searched.

    Raises:
        GuidelineError: there are none.
    """
    columns = space.searched(groups)
    if not columns:
        raise GuidelineError(
            f"{space.reference.name} must have groups to narrow, got none with --groups {groups}. Try --groups all."
        )
    return Setting(space, columns)


def check_reachable(space: SearchSpace, budget: Budget, groups: Groups) -> Setting:
    """A network with the groups that a choice names searched, which can meet a budget.

    Raises:
        GuidelineError: there are none.
        BudgetError: no widths of them meet the budget; with what would be feasible.
    """
    setting = setting_of(space, groups)
    wider = () if groups == "selections" else space.searched("all")
    check_feasible(space, budget, setting.columns, wider=wider)
    return setting


def apply_guideline(
    pattern: Pattern, space: SearchSpace, budget: "Budget | str | None" = None, *, groups: Groups = "inner"
) -> Applied:
    """The widths that a guideline gives a network.

    One multiplier on all of them meets the budget from below; then single channels are added while they still fit.
    Groups keep their floor and the space's divisor.

    Args:
        pattern: a guideline or a rule.
        space: the network, of any depth, family and images.
        budget: the bound; None for the keep ratios as the guideline has them, at any cost.
        groups: which groups are narrowed.

    Raises:
        GuidelineError: the budget is further than a factor of two from what the guideline's sources cover, or there is
            none and the guideline holds at no budget of its own.
        BudgetError: no widths meet the budget.
    """
    setting = setting_of(space, groups)
    _further(pattern, setting)
    if budget is None:
        return _as_it_is(pattern, setting)
    bound = Budget.parse(budget) if isinstance(budget, str) else budget
    if bound.is_own:
        raise GuidelineError("a guideline's budget must bound a cost, got own.")
    check_reachable(space, bound, groups)
    own = placed(pattern, setting, bound)
    found = cut(space, scores_of(setting, own.log_ratio_S), bound)
    return _applied(pattern, setting, found.widths_G, found, own.notes)


def sample_widths(
    pattern: Pattern,
    space: SearchSpace,
    budget: "Budget | str",
    *,
    count: int,
    rng: np.random.Generator,
    groups: Groups = "inner",
) -> list[tuple[int, ...]]:
    """Widths drawn around a guideline, all of them cut to the budget: what one more source might have found.

    A draw moves each cell by the guideline's spread there, and each group by the scatter of single layers.

    Args:
        pattern: a guideline or a rule.
        space: the network.
        budget: the bound.
        count: how many.
        rng: the generator of random numbers.
        groups: which groups are narrowed.
    """
    setting = setting_of(space, groups)
    bound = Budget.parse(budget) if isinstance(budget, str) else budget
    own = placed(pattern, setting, bound)
    draws_NS = own.log_ratio_S + min(1.0, own.growth) * scatter(pattern, setting, count, rng)
    return [cut(space, scores_of(setting, draw_S), bound).widths_G for draw_S in draws_NS]


def scatter(pattern: Pattern, setting: Setting, count: int, rng: np.random.Generator) -> Floats:
    """How draws differ from a guideline, N×S; a rule has the spread of a guideline written by hand."""
    guideline = pattern if isinstance(pattern, Guideline) else Guideline()
    shape = shape_on(guideline, setting)
    noise_NS = rng.normal(0, guideline.layer_spread, (count, len(setting.columns)))
    cells = list(dict.fromkeys(cell for cells in shape.cells_S for cell in cells))
    moved = {(cell.stage, cell.role): rng.normal(0, cell.spread, count) for cell in cells}
    for place, own in enumerate(shape.cells_S):
        if own:
            noise_NS[:, place] += np.mean([moved[cell.stage, cell.role] for cell in own], axis=0)
    return noise_NS


@dataclass(frozen=True, slots=True)
class Placed:
    """What a pattern says about each searched group at one budget.

    Attributes:
        log_ratio_S: log ratios to the uniform network of the same cost, up to a common constant.
        bend_S: how much of them is the shape along stages; the rest is a level and a slope of each stage and role.
        notes: what had to be guessed.
        growth: the factor on the guideline's log ratios at this budget; 0 for the whole network.
    """

    log_ratio_S: Floats
    bend_S: Floats
    notes: tuple[str, ...] = ()
    growth: float = 1.0


def placed(pattern: Pattern, setting: Setting, bound: Budget) -> Placed:
    """A pattern on a network at a budget."""
    if isinstance(pattern, Rule):
        ratio_S = pattern.log_ratio_S(setting)
        return Placed(ratio_S, bend_beside(setting, ratio_S))
    shape = shape_on(pattern, setting)
    if shape.reference is None or pattern.cost is None:
        return Placed(shape.level_S, shape.bend_S, shape.notes)
    at = _place(shape, setting, bound, measure(pattern.cost))
    growth = shape.growth(at)
    bend_S = bend_of(shape, setting, at)
    return Placed(shape.log_ratio_NS(np.array(at)), bend_S, shape.notes, growth)


def _place(shape: Shape, setting: Setting, bound: Budget, driver: str) -> float:
    """At which of its budgets a pattern is used: log keep ratio of the uniform network of the same cost.

    "Same" is in the cost that drove the sources; the bound may be on another one. Found by bisection, since the
    pattern decides what the network at the bound costs.
    """
    zeros_NS = np.zeros((1, len(setting.columns)))

    def of_same_cost(log_uniform: float) -> float:
        pattern_NS = shape.log_ratio_NS(np.array([log_uniform]))
        factor_N = setting.within(bound, pattern_NS)
        cost_N = setting.count(driver, np.exp(np.minimum(0.0, factor_N[:, None] + pattern_NS)))
        return float(setting.scaled(driver, zeros_NS, cost_N * (1 + 1e-12))[0])

    low, high = (shape.covers or (shape.reference or -1.0,))[0] - _BELOW, 0.0
    if of_same_cost(low) <= low:
        return low
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if of_same_cost(middle) > middle else (low, middle)
    return low


def scores_of(setting: Setting, log_ratio_S: Floats) -> Scores:
    """Scores that one threshold cuts to one multiple of the given widths."""
    shares = dict(zip(setting.columns, np.exp(log_ratio_S - log_ratio_S.max()), strict=True))
    return [
        shares_of(setting.space, column, float(shares[column])) if column in shares else None
        for column in range(len(setting.space.groups))
    ]


def _further(pattern: Pattern, setting: Setting) -> float:
    """How many times as deep, or as shallow, a network is as the guideline's sources, where that matters; 1 within.

    Raises:
        GuidelineError: it is more than a factor of two.
    """
    if isinstance(pattern, Rule) or pattern.depths is None:
        return 1.0
    low, high = pattern.depths
    beyond = max(1.0, low / setting.depth, setting.depth / high)
    if beyond > _FAR:
        raise GuidelineError(
            f"a network's number of layers must be within a factor of two of the guideline's {low} to {high}, got "
            f"{setting.depth}. Fit a guideline without --by depth, or with networks nearer to that depth."
        )
    return beyond


def _as_it_is(pattern: Pattern, setting: Setting) -> Applied:
    if isinstance(pattern, Rule) or pattern.uniform_keep is None:
        raise GuidelineError("--budget must be given, since the guideline holds for no budget of its own.")
    space, shape = setting.space, shape_on(pattern, setting)
    at = log(pattern.uniform_keep)
    keep_S = np.exp(np.minimum(0.0, at + shape.log_ratio_NS(np.array(at))))
    widths = list(space.base_G)
    for column, keep in zip(setting.columns, keep_S, strict=True):
        wanted = space.base_G[column] * float(keep)
        widths[column] = min(space.allowed_G[column], key=lambda width: abs(width - wanted))
    return _applied(pattern, setting, tuple(widths), None, shape.notes)


def _applied(
    pattern: Pattern, setting: Setting, widths_G: tuple[int, ...], found: Cut | None, notes: Sequence[str]
) -> Applied:
    """The widths, with how far they are from what the sources cover; refused beyond a factor of two."""
    if isinstance(pattern, Rule) or pattern.cost is None or pattern.covers_share is None:
        return Applied(widths_G, found, nan, is_extrapolated=False, notes=tuple(notes), setting=setting)
    kind = measure(pattern.cost)
    keep_S = np.array(widths_G, dtype=np.float64)[list(setting.columns)] / setting.base_S
    share = float(setting.count(kind, keep_S) / setting.count(kind, np.ones_like(keep_S)))
    low, high = pattern.covers_share
    beyond = max(low / share, share / high)
    covered = f"{100 * low:.3g} to {100 * high:.3g} %" if high > low * 1.01 else f"{100 * low:.3g} %"
    said = f"keeps {100 * share:.3g} % of the {kind}, and the guideline's sources kept {covered}"
    if beyond > _FAR:
        raise GuidelineError(
            "a budget must be within a factor of two of what the guideline covers, got "
            f"{found.budget if found else 'none'}, which {said}. Search nearer to that budget, or use "
            "a guideline that covers it."
        )
    more = (f"Extrapolated: this {said}.",) if beyond > _TOLERANCE and found else ()
    is_outside = max(beyond, _further(pattern, setting)) > _TOLERANCE
    return Applied(widths_G, found, share, is_outside, (*notes, *more), setting)
