"""Costs of masks against a recount, and cuts against brute force: a budget is met to the weight."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nas_prune.errors import BudgetError, NasPruneError
from nas_prune.patterns.costs import PatternCost, PatternCosts
from nas_prune.patterns.cut import PatternCut, cut_weights
from nas_prune.patterns.layers import weight_layers
from nas_prune.space.budget import Budget
from tests.networks import known
from tests.patterns.conftest import costs_for, drawn, random_scores, small_space

COSTS = costs_for(small_space())
BUDGETS = [
    "nonzero<=30%", "nonzero<=3", "nonzero<=100%", "macs<=25%", "macs<=1%", "macs<=3000", "size<=50%", "size<=94%",
    "size<=99.9%", "nonzero<=40%, macs<=20%", "macs<=60%, size<=40%", "nonzero<=90%, macs<=90%, size<=90%",
]  # fmt: skip


def recounted(costs: PatternCosts, masks: Mapping[str, Tensor]) -> PatternCost:
    """Weight by weight; a bit for each weight beside those that are there, or all of them without."""
    bits, nonzero, macs = 0, 0, costs.layers.dense_macs
    for layer in costs.layers.layers:
        there = [bool(one) for one in masks[layer.name].flatten().tolist()]
        nonzero += sum(there)
        macs += layer.uses * sum(there)
        padded = (len(there) + 7) // 8 * 8
        bits += min(8 * costs.weight_bytes * len(there), 8 * costs.weight_bytes * sum(there) + padded)
    return PatternCost(nonzero, macs, bits // 8 + costs.layers.dense_params * costs.weight_bytes)


def within(costs: PatternCosts, budget: Budget, cost: PatternCost) -> bool:
    return all(cost.of(bound.kind) <= costs.limit(bound) for bound in budget.bounds)


def test_the_whole_network_costs_what_the_cost_model_says() -> None:
    space = known("torchvision:mobilenet_v2")
    costs, cost = costs_for(space), space.cost_at(space.base_G)
    assert costs.whole == PatternCost(sum(costs.layers.sizes), cost.macs, 4 * cost.params)
    assert replace(costs, weight_bytes=1).whole.size_bytes == cost.params
    assert costs.least.nonzero == len(costs.layers.layers)


@pytest.mark.parametrize("kind", ["nonzero", "macs", "size"])
def test_the_least_share_that_is_named_can_be_asked_for(kind: str) -> None:
    with pytest.raises(BudgetError, match="must leave each layer a weight") as found:
        COSTS.check(Budget.parse(f"{kind}<=0.001%"))
    named = str(found.value).split(f"({kind}; ")[1].split(" %)")[0]
    COSTS.check(Budget.parse(f"{kind}<={named}%"))


@pytest.mark.parametrize("density", [0.02, 0.3, 0.96, 0.98, 1.0])
@pytest.mark.parametrize("weight_bytes", [1, 4])
def test_costs_are_those_of_a_recount(density: float, weight_bytes: int) -> None:
    costs = replace(COSTS, weight_bytes=weight_bytes)
    masks = drawn(costs.layers, density)
    assert costs.at([int(mask.sum()) for mask in masks.values()]) == recounted(costs, masks)


def test_layers_that_are_kept_dense_cost_as_much_as_ever() -> None:
    space = small_space()
    kept = PatternCosts(weight_layers(space, ["0"]))
    assert kept.whole.macs == COSTS.whole.macs
    assert kept.whole.size_bytes == COSTS.whole.size_bytes
    assert kept.least.macs == COSTS.least.macs + 53 * 36


@pytest.mark.parametrize("text", BUDGETS)
def test_a_budget_is_met_to_the_weight(text: str) -> None:
    budget, scores = Budget.parse(text), random_scores(COSTS.layers)
    cut = cut_weights(COSTS, scores, budget)
    assert cut.cost == recounted(COSTS, cut.masks)
    assert within(COSTS, budget, cut.cost)
    kept = {name: int(mask.sum()) for name, mask in cut.masks.items()}
    for layer in COSTS.layers.layers:
        more = {**kept, layer.name: kept[layer.name] + 1}
        assert more[layer.name] > layer.size or not within(COSTS, budget, COSTS.at([*more.values()]))
    assert cut.count == max(
        (cut.cost.of(bound.kind) for bound in budget.bounds),
        key=lambda count: [
            count / COSTS.limit(bound) for bound in budget.bounds if cut.cost.of(bound.kind) == count
        ],
    )
    assert cut.gap == pytest.approx(1 - cut.count / cut.limit)


@pytest.mark.parametrize("text", BUDGETS)
def test_weights_stay_in_the_order_of_their_scores(text: str) -> None:
    cut = cut_weights(COSTS, scores := random_scores(COSTS.layers), Budget.parse(text))
    assert same_masks(cut, greedy(COSTS, scores, Budget.parse(text)))
    for layer in COSTS.layers.layers:
        gone = scores[layer.name][~cut.masks[layer.name]]
        assert not gone.numel() or float(scores[layer.name][cut.masks[layer.name]].min()) > float(gone.max())


def greedy(costs: PatternCosts, scores: Mapping[str, Tensor], budget: Budget) -> dict[str, Tensor]:
    """One weight after another, the best first, each layer's best before all: the rule in its plainest form."""
    masks = {name: torch.zeros(one.shape, dtype=torch.bool) for name, one in scores.items()}
    places = [
        (-float(score), number, place, name)
        for number, (name, one) in enumerate(scores.items())
        for place, score in enumerate(one.flatten())
    ]
    firsts = [min(one for one in places if one[3] == name) for name in scores]
    kept = dict.fromkeys(scores, 0)
    for _, _, place, name in [*firsts, *sorted(set(places) - set(firsts))]:
        more = {**kept, name: kept[name] + 1}
        if more[name] == 1 or within(costs, budget, costs.at([*more.values()])):
            masks[name].view(-1)[place], kept = True, more
    return masks


def same_masks(cut: PatternCut, masks: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(mask, masks[name]) for name, mask in cut.masks.items())


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.integers(0, 6), min_size=402, max_size=402),
    st.integers(10, 1000).map(lambda share: f"macs<={share / 10}%"),
)
def test_equal_scores_stay_by_their_place(values: list[int], text: str) -> None:
    pieces = np.split(np.array(values, dtype=np.float32), np.cumsum(COSTS.layers.sizes)[:-1])
    scores = {
        layer.name: torch.from_numpy(piece).reshape(layer.shape)
        for layer, piece in zip(COSTS.layers.layers, pieces, strict=True)
    }
    budget = Budget.parse(text)
    assert same_masks(cut_weights(COSTS, scores, budget), greedy(COSTS, scores, budget))


def test_a_larger_budget_keeps_what_a_smaller_one_does() -> None:
    scores = random_scores(COSTS.layers)
    cuts = [
        cut_weights(COSTS, scores, Budget("nonzero", absolute=count)) for count in (3, 4, 10, 57, 201, 402)
    ]
    for small, large in pairwise(cuts):
        assert all(bool((~small.masks[name] | large.masks[name]).all()) for name in small.masks)
        assert (small.cost.nonzero, small.gap) == (small.limit, 0)
    assert cuts[-1].cost == COSTS.whole


def test_each_layer_keeps_its_best_weight_and_layers_at_the_floor_are_named() -> None:
    scores = random_scores(COSTS.layers)
    scores["2.weight"] -= 1000
    cut = cut_weights(COSTS, scores, Budget("nonzero", absolute=30))
    assert cut.at_floor == ("2.weight",)
    assert int(cut.masks["2.weight"].sum()) == 1
    assert int(scores["2.weight"].argmax()) == int(cut.masks["2.weight"].flatten().int().argmax())
    assert cut_weights(COSTS, scores, Budget("nonzero", absolute=402)).at_floor == ()


def test_the_layer_of_the_best_weight_is_never_held_at_the_floor() -> None:
    scores = {
        layer.name: torch.full(layer.shape, float(-number))
        for number, layer in enumerate(COSTS.layers.layers)
    }
    cut = cut_weights(COSTS, scores, Budget("nonzero", absolute=3))
    assert cut.at_floor == ("2.weight", "6.weight")


def test_own_keeps_what_scores_more_than_nothing() -> None:
    scores = {layer.name: torch.zeros(layer.shape) for layer in COSTS.layers.layers}
    scores["0.weight"].view(-1)[:5] = torch.tensor([1.0, -1.0, 0.0, 2.0, 1e-9])
    scores["2.weight"].view(-1)[7] = 3.0
    cut = cut_weights(COSTS, scores, Budget.parse("own"), zero=0.0)
    assert [int(mask.sum()) for mask in cut.masks.values()] == [3, 1, 1]
    assert cut.at_floor == ("6.weight",)
    assert (cut.limit, cut.count, cut.gap) == (5, 5, 0)


def test_infinite_scores_are_the_first_and_the_last() -> None:
    scores = random_scores(COSTS.layers)
    scores["0.weight"].view(-1)[9], scores["2.weight"].view(-1)[9] = float("inf"), float("-inf")
    cut = cut_weights(COSTS, scores, Budget("nonzero", absolute=401))
    assert bool(cut.masks["0.weight"].view(-1)[9])
    assert not bool(cut.masks["2.weight"].view(-1)[9])


def test_scores_that_are_no_numbers_are_refused() -> None:
    scores = random_scores(COSTS.layers)
    scores["2.weight"].view(-1)[3] = float("nan")
    with pytest.raises(NasPruneError, match="scores must be numbers, got some of 2.weight that are none"):
        cut_weights(COSTS, scores, Budget.parse("nonzero<=50%"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonzero<=2", r"takes 3 \(nonzero; 0.75 %\), got 2. Ask for more"),
        ("nonzero<=50%, macs<=0.1%", r"takes 46 \(macs; 0.95 %\), got 4. Ask for more"),
        ("size<=1%", r"takes 127 \(size; 7.6 %\), got 16. Ask for more"),
        ("params<=50%", "of single weights must bound nonzero, macs, size, got params<=50%"),
        ("nonzero<=50%, latency<=3ms", "must bound nonzero, macs, size, got latency<=3ms"),
    ],
)
def test_a_budget_that_no_pattern_meets_is_refused_with_the_least(text: str, said: str) -> None:
    with pytest.raises(BudgetError, match=said):
        cut_weights(COSTS, random_scores(COSTS.layers), Budget.parse(text))


@cache
def wide() -> PatternCosts:
    """Two million weights."""
    return costs_for(small_space(500))


@pytest.mark.parametrize("text", ["nonzero<=10%", "macs<=7%", "size<=99%", "macs<=30%, size<=40%"])
def test_millions_of_weights_are_cut_to_the_same_rule(text: str) -> None:
    costs, budget = wide(), Budget.parse(text)
    cut = cut_weights(costs, random_scores(costs.layers), budget)
    kept = [int(mask.sum()) for mask in cut.masks.values()]
    assert within(costs, budget, costs.at(kept))
    for number, layer in enumerate(costs.layers.layers):
        more = [count + (place == number) for place, count in enumerate(kept)]
        assert more[number] > layer.size or not within(costs, budget, costs.at(more))
