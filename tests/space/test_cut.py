"""Cutting scores at budgets: exact hits, filling from below, floors."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nas_prune.errors import BadInputError, BudgetError
from nas_prune.space.budget import Budget
from nas_prune.space.cut import carried, check_feasible, cut, matched
from nas_prune.space.load import load_space
from nas_prune.space.search_space import SearchSpace

VGG = load_space("vgg11", (1, 8, 8), width_multiplier=0.25)
RESNET = load_space("resnet20", (3, 16, 16))


def random_scores(space: SearchSpace, seed: int) -> list[NDArray[np.float64] | None]:
    rng = np.random.default_rng(seed)
    return [rng.random(base) * rng.uniform(0.2, 1) for base in space.base_G]


def test_a_share_of_channels_keeps_the_best_of_all_layers_together() -> None:
    scores = random_scores(VGG, 0)
    result = cut(VGG, scores, Budget.parse("channels<=40%"))
    everything = np.sort(np.concatenate([values for values in scores if values is not None]))[::-1]
    assert sum(result.widths_G) == int(0.4 * len(everything))
    threshold = everything[sum(result.widths_G) - 1]
    assert all(
        (values[kept] >= threshold).all()
        for values, kept in zip(scores, result.kept_G, strict=True)
        if values is not None
    )


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 1000), st.sampled_from(["macs", "params", "channels", "activations"]), st.integers(30, 100)
)
def test_a_budget_is_met_from_below_and_nothing_more_fits(seed: int, kind: str, share: int) -> None:
    scores = random_scores(RESNET, seed)
    result = cut(RESNET, scores, Budget.parse(f"{kind}<={share}%"))
    count = RESNET.cost.kind(kind)
    assert result.count == int(count(result.widths_G)) <= result.limit
    for column, base in enumerate(RESNET.base_G):
        assert 1 <= result.widths_G[column] <= base
        if result.widths_G[column] < base:
            one_more = [w + (c == column) for c, w in enumerate(result.widths_G)]
            assert int(count(one_more)) > result.limit


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_kept_channels_are_the_best_of_their_group(seed: int) -> None:
    scores = random_scores(VGG, seed)
    result = cut(VGG, scores, Budget.parse("params<=30%"))
    for values, kept, width in zip(scores, result.kept_G, result.widths_G, strict=True):
        assert values is not None
        assert len(kept) == width
        assert sorted(kept.tolist()) == kept.tolist()
        left = np.delete(values, kept)
        assert not len(left) or values[kept].min() >= left.max()


def test_larger_budgets_are_wider_before_filling_and_never_cost_less() -> None:
    scores = random_scores(RESNET, 1)
    counts = [cut(RESNET, scores, Budget.parse(f"macs<={share}%")).count for share in (20, 40, 60, 80, 100)]
    assert all(small < large for small, large in pairwise(counts))
    assert counts[-1] == int(RESNET.cost.macs(RESNET.base_G))


def test_a_layer_whose_every_score_is_the_lowest_keeps_its_floor() -> None:
    scores = random_scores(VGG, 2)
    scores[3] = np.zeros(VGG.base_G[3])
    result = cut(VGG, scores, Budget.parse("channels<=30%"))
    assert result.widths_G[3] == 1


def test_channels_that_a_method_would_let_go_and_a_budget_keeps_are_counted() -> None:
    """They score alike: which of them stay the method does not say."""
    scores = [np.where(np.arange(base) < base // 2, 1.0, 0.3) for base in VGG.base_G]
    scores[2][:] = 0.3
    result = cut(VGG, scores, Budget.parse("channels<=60%"), zero=0.3)
    alive = [max(1, int((values > 0.3).sum())) for values in scores]
    assert result.tied_at_zero == sum(result.widths_G) - sum(alive) > 0
    assert result.at_floor == (2,)
    assert cut(VGG, scores, Budget.parse("channels<=30%"), zero=0.3).tied_at_zero == 0
    assert cut(VGG, scores, Budget.parse("channels<=100%"), zero=0.3).tied_at_zero == 0
    assert cut(VGG, scores, Budget.parse("channels<=60%")).tied_at_zero == 0


def test_blocks_that_a_method_would_let_go_and_a_budget_keeps_are_counted() -> None:
    count = len(RESNET.blocks)
    scores = [*(None for _ in RESNET.groups), *(np.zeros(1) for _ in range(count))]
    result = cut(RESNET, scores, Budget.parse("macs<=75%"), zero=0.0)
    assert result.tied_at_zero == count - len(result.removed) > 0


def test_groups_without_scores_stay_whole() -> None:
    scores = random_scores(RESNET, 3)
    scores[0] = None
    result = cut(RESNET, scores, Budget.parse("macs<=50%"))
    assert result.widths_G[0] == RESNET.base_G[0]
    assert result.kept_G[0].tolist() == list(range(RESNET.base_G[0]))


def test_a_divisor_is_kept_and_the_budget_too() -> None:
    import dataclasses

    space = dataclasses.replace(RESNET, divisor=8)
    result = cut(space, random_scores(space, 4), Budget.parse("macs<=60%"))
    assert all(width % 8 == 0 for width in result.widths_G)
    assert result.count <= result.limit


def test_an_absolute_budget_above_the_network_keeps_it_whole() -> None:
    result = cut(VGG, random_scores(VGG, 5), Budget.parse("params<=900M"))
    assert result.widths_G == VGG.base_G


def test_a_budget_below_the_feasible_range_names_the_range() -> None:
    with pytest.raises(
        BudgetError, match=r"budget macs<=1K must .* got 1,000 macs where 25,146 to 10,203,776 are feasible"
    ):
        check_feasible(RESNET, Budget.parse("macs<=1000"), range(12))


def test_a_budget_at_the_smallest_network_is_feasible() -> None:
    smallest = int(RESNET.cost.macs(RESNET.floor_G))
    result = cut(RESNET, random_scores(RESNET, 6), Budget("macs", absolute=smallest))
    assert result.widths_G == RESNET.floor_G


@pytest.mark.parametrize("seed", range(4))
def test_the_result_is_that_of_walking_all_channels_best_first(seed: int) -> None:
    """A plain reference: take each channel in order of score if it still fits and its better ones were taken."""
    scores = random_scores(RESNET, seed)
    limit = RESNET.limit(Budget.parse("macs<=40%"))
    widths, closed = [1] * len(scores), set[int]()
    ranked = [np.sort(values)[::-1] for values in scores if values is not None]
    units = [
        (ranked[column][width - 1], column, width)
        for column in range(12)
        for width in range(2, len(ranked[column]) + 1)
    ]
    for _, column, width in sorted(units, key=lambda unit: -unit[0]):
        wider = [width if c == column else w for c, w in enumerate(widths)]
        if column in closed or int(RESNET.cost.macs(wider)) > limit:
            closed.add(column)
        else:
            widths = wider
    assert cut(RESNET, scores, Budget.parse("macs<=40%")).widths_G == tuple(widths)


@pytest.mark.parametrize("name", ["vgg16", "resnet20"])
def test_shares_of_a_narrower_network_hold_in_a_wider_one(name: str) -> None:
    narrow, wide = load_space(name, (3, 32, 32), width_multiplier=0.5), load_space(name, (3, 32, 32))
    columns, bound = wide.searched("inner"), Budget.parse("macs<=40%")
    rng = np.random.default_rng(0)
    drawn = matched(narrow, columns, bound, rng)
    found = carried(wide, columns, bound, narrow.widths(drawn.widths_G))
    assert found.count <= wide.limit(bound)
    assert found.gap < 0.01
    theirs = np.array(drawn.widths_G)[list(columns)] / np.array(narrow.base_G)[list(columns)]
    ours = np.array(found.widths_G)[list(columns)] / np.array(wide.base_G)[list(columns)]
    ratios = ours[theirs < 0.9] / theirs[theirs < 0.9]
    assert ratios.std() / ratios.mean() < 0.12  # one factor for all, but for whole channels


def test_shares_of_another_network_are_refused() -> None:
    vgg, resnet = load_space("vgg16", (3, 32, 32)), RESNET
    with pytest.raises(BadInputError, match="Fit a guideline to them instead"):
        carried(vgg, vgg.searched("inner"), Budget.parse("macs<=40%"), resnet.widths(resnet.base_G))
