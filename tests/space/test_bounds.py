"""Budgets of several bounds, and on costs that a target supplies."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from nas_prune.errors import BudgetError
from nas_prune.space.bounds import bounds_of
from nas_prune.space.budget import Budget
from nas_prune.space.cut import check_feasible, cut, feasible_range, matched
from nas_prune.space.load import load_space
from nas_prune.space.search_space import SearchSpace

SPACE = load_space("resnet20", (3, 8, 8), num_classes=4)
COLUMNS = SPACE.searched("all")


@dataclass(frozen=True, slots=True)
class Staircase:
    """A cost of a device that computes channels eight at a time: what other rooms supply, made by hand."""

    per_step: int = 1000

    def __call__(self, vectors_NV: ArrayLike, /) -> NDArray[np.int64]:
        """Each group costs as much as its next multiple of eight."""
        steps = -(-np.asarray(vectors_NV, dtype=np.int64)[..., : len(SPACE.groups)] // 8)
        return np.asarray(self.per_step * steps.sum(axis=-1))

    def real(self, vectors_NV: ArrayLike, /) -> NDArray[np.float64]:
        """The line through the edges of the steps."""
        widths = np.asarray(vectors_NV, dtype=np.float64)[..., : len(SPACE.groups)]
        return np.asarray(self.per_step * widths.sum(axis=-1) / 8)


AIMED = SPACE.aimed("stairs", [8] * len(SPACE.groups), {"latency": Staircase()})


def test_every_bound_of_a_budget_holds() -> None:
    budget = Budget.parse("macs<=60%, params<=30%, activations<=70%")
    found = matched(SPACE, COLUMNS, budget)
    cost, base = SPACE.cost_at(found.widths_G), SPACE.cost_at(SPACE.base_G)
    shares = (cost.macs / base.macs, cost.params / base.params, cost.activations / base.activations)
    assert all(share <= bound for share, bound in zip(shares, (0.6, 0.3, 0.7), strict=True))
    assert found.limit == int(0.3 * base.params)  # what is printed is of the bound that is used up most
    assert found.count == cost.params


@given(st.integers(0, 10**6), st.floats(0.2, 1), st.floats(0.2, 1))
def test_several_bounds_together_are_met_by_random_widths(seed: int, macs: float, params: float) -> None:
    budget = Budget("macs", macs, more=(Budget("params", params),))
    found = matched(SPACE, COLUMNS, budget, np.random.default_rng(seed))
    cost, base = SPACE.cost_at(found.widths_G), SPACE.cost_at(SPACE.base_G)
    assert cost.macs <= Budget("macs", macs).limit(base.macs)
    assert cost.params <= Budget("params", params).limit(base.params)


def test_a_bound_beside_a_tighter_one_changes_nothing() -> None:
    alone = matched(SPACE, COLUMNS, Budget.parse("params<=25%"))
    beside = matched(SPACE, COLUMNS, Budget.parse("macs<=99%, params<=25%"))
    assert alone.widths_G == beside.widths_G


def test_a_count_that_is_the_limit_fits_and_one_more_does_not() -> None:
    exact = SPACE.cost_at(SPACE.base_G).params
    bounds = bounds_of(SPACE, Budget("params", absolute=exact), COLUMNS)
    assert float(bounds.used(SPACE.base_G)) == 1
    bounds = bounds_of(SPACE, Budget("params", absolute=exact - 1), COLUMNS)
    assert float(bounds.used(SPACE.base_G)) > 1


def test_a_cost_of_a_target_is_bounded_and_its_alignment_kept() -> None:
    found = matched(AIMED, COLUMNS, Budget.parse("latency<=50%"))
    whole = int(Staircase()(SPACE.base_G))
    assert found.count == int(Staircase()(found.widths_G)) <= whole // 2
    assert all(width % 8 == 0 for width in found.widths_G)


def test_one_bound_that_cannot_be_met_is_named_with_its_own_range() -> None:
    budget = Budget.parse("macs<=90%, latency<=1ns")
    low, high = feasible_range(AIMED, Budget.parse("latency<=50%"), COLUMNS)
    with pytest.raises(BudgetError, match=rf"got 1 ns where {low / 1000:.1f} us to {high / 1000:.1f}? us"):
        check_feasible(AIMED, budget, COLUMNS)


@pytest.mark.parametrize("space", [SPACE, AIMED])
def test_a_cost_that_nobody_knows_is_refused_with_what_to_do(space: SearchSpace) -> None:
    budget = Budget.parse("macs<=50%, memory<=10KiB" if space is AIMED else "latency<=3ms")
    with pytest.raises(BudgetError, match="must be known to be bounded"):
        cut(space, [np.ones(size) for size in space.base_G], budget)


@dataclass(frozen=True, slots=True)
class Blocks:
    """A device on which a group whose channels fill blocks of eight takes half the time."""

    def __call__(self, vectors_NV: ArrayLike, /) -> NDArray[np.int64]:
        """Nanoseconds."""
        widths = np.asarray(vectors_NV, dtype=np.int64)[..., : len(SPACE.groups)]
        ns: NDArray[np.int64] = np.asarray(np.where(widths % 8, 2000, 1000) * widths).sum(axis=-1)
        return ns

    def real(self, vectors_NV: ArrayLike, /) -> NDArray[np.float64]:
        """Of blocks that are filled."""
        widths = np.asarray(vectors_NV, dtype=np.float64)[..., : len(SPACE.groups)]
        return np.asarray(1000 * widths.sum(axis=-1))


@pytest.mark.parametrize("share", [0.2, 0.35, 0.5, 0.65, 0.8, 0.95])
@pytest.mark.parametrize("seed", [None, 0, 1])
def test_no_group_could_be_wider_and_still_fit_where_wider_may_be_faster(
    share: float, seed: int | None
) -> None:
    space = SPACE.aimed("blocks", [1] * len(SPACE.groups), {"latency": Blocks()})
    rng = None if seed is None else np.random.default_rng(seed)
    found = matched(space, COLUMNS, Budget("latency", share), rng)
    assert found.count == int(Blocks()(found.widths_G)) <= found.limit
    for column in COLUMNS:
        wider = [list(found.widths_G) for _ in range(found.widths_G[column], space.base_G[column])]
        for number, one in enumerate(wider, start=1):
            one[column] += number
        assert not wider or int(Blocks()(wider).min()) > found.limit


def test_the_longest_run_is_found_beyond_plans_that_do_not_fit() -> None:
    space = SPACE.aimed("blocks", [1] * len(SPACE.groups), {"latency": Blocks()})
    whole = int(Blocks()(SPACE.base_G))
    found = matched(
        space, COLUMNS, Budget("latency", absolute=whole)
    )  # one channel less takes nearly twice as long
    assert found.widths_G == SPACE.base_G


def test_widths_are_priced_anew_on_their_target_and_keep_what_was_measured() -> None:
    widths = AIMED.widths([8] * len(SPACE.groups), budget="latency<=50%")
    assert widths.target is not None
    wrong = widths.target.cost.model_copy(update={"latency_ms": 1e-6})
    record = widths.target.model_copy(update={"cost": wrong, "measured_ms": 3.5})
    priced = AIMED.priced(widths.model_copy(update={"target": record})).target
    assert priced is not None
    assert (priced.cost, priced.measured_ms) == (widths.target.cost, 3.5)


@pytest.mark.parametrize("text", ["macs<=1e999999K", "size<=9e15GiB"])
def test_numbers_beyond_all_networks_are_refused(text: str) -> None:
    with pytest.raises(BudgetError, match=r"must be below 2\^53"):
        Budget.parse(text)
