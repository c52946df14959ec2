"""Controls, and scores as they are compared over layers."""

from math import sqrt

import pytest
import torch
from torch import Tensor

from nas_prune.data import load_data
from nas_prune.patterns.costs import PatternCosts
from nas_prune.patterns.cut import Scores, cut_weights
from nas_prune.patterns.methods.contract import Evidence, PatternMethod, compared, within_layer
from nas_prune.patterns.methods.controls import ERK, RANDOM, UNIFORM
from nas_prune.space.budget import Budget
from nas_prune.space.search_space import SearchSpace
from tests.networks import known
from tests.patterns.conftest import costs_for, small_space


def evidence(space: SearchSpace, seed: int = 0) -> Evidence:
    return Evidence(space.build(seed=0), space, costs_for(space), load_data("digits", max_images=50), seed)


def densities(costs: PatternCosts, scores: Scores, text: str) -> list[float]:
    cut = cut_weights(costs, scores, Budget.parse(text))
    return [float(cut.masks[layer.name].double().mean()) for layer in costs.layers.layers]


@pytest.mark.parametrize("text", ["nonzero<=10%", "nonzero<=55%", "macs<=20%"])
def test_uniform_leaves_the_same_share_of_every_layer(text: str) -> None:
    own = evidence(known("resnet20", (1, 8, 8)))
    found = densities(own.costs, UNIFORM.scores(own), text)
    share = float(text.split("<=")[1][:-1]) / 100
    sizes = own.costs.layers.sizes
    assert all(abs(one - share) <= 2 / size + 1e-3 for one, size in zip(found, sizes, strict=True))


@pytest.mark.parametrize("percent", [1, 5, 40, 90])
def test_erk_is_in_proportion_to_sums_over_products_until_a_layer_is_whole(percent: int) -> None:
    own = evidence(known("resnet20", (1, 8, 8)))
    found = densities(own.costs, ERK.scores(own), f"nonzero<={percent}%")
    raw = [sum(layer.shape) / layer.size for layer in own.costs.layers.layers]
    factors = [one / weight for one, weight in zip(found, raw, strict=True) if one < 1]
    slack = [2 / (layer.size * weight) for layer, weight in zip(own.costs.layers.layers, raw, strict=True)]
    assert max(factors) - min(factors) <= 2 * max(slack)
    assert all(weight * max(factors) >= 1 - 1e-2 for one, weight in zip(found, raw, strict=True) if one == 1)
    assert (1.0 in found) == (percent > 1)


def test_random_densities_differ_by_layer_and_by_seed() -> None:
    space = known("resnet20", (1, 8, 8))
    one, other = (evidence(space, seed) for seed in (0, 1))
    found = densities(one.costs, RANDOM.scores(one), "nonzero<=20%")
    assert max(found) > 3 * min(found)
    assert found != densities(other.costs, RANDOM.scores(other), "nonzero<=20%")
    assert found == densities(one.costs, RANDOM.scores(one), "nonzero<=20%")


@pytest.mark.parametrize("method", [UNIFORM, RANDOM, ERK])
def test_controls_draw_by_the_seed_alone(method: PatternMethod) -> None:
    scores, space = method.scores, small_space()
    one, again, other = scores(evidence(space)), scores(evidence(space)), scores(evidence(space, 1))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert all(not torch.equal(one[name], other[name]) for name in one)
    first, second = one["0.weight"].flatten().argsort(), one["2.weight"].flatten()[:54].argsort()
    assert not torch.equal(first, second)  # layers are drawn apart


def test_scores_of_all_layers_are_as_they_are_where_they_are_compared_as_such() -> None:
    scores = {"a": torch.tensor([1.0, 2.0])}
    assert compared(scores, {}, "global")["a"] is scores["a"]


def test_deviations_are_those_of_weights_that_are_there() -> None:
    weights = {"a": torch.tensor([0.0, 0.0, 3.0, 1.0]), "b": torch.tensor([10.0, -10.0, 0.0, 0.0])}
    found = compared({name: one.abs() for name, one in weights.items()}, weights, "deviation")
    assert found["a"].tolist() == [0, 0, 3, 1]
    assert found["b"].tolist() == [1, 1, 0, 0]
    by_hand = torch.tensor([1.0, 2.0, 6.0])
    found = compared({"a": by_hand}, {"a": by_hand}, "deviation")
    assert found["a"].tolist() == pytest.approx([one / sqrt(14 / 3) for one in (1, 2, 6)])


@pytest.mark.parametrize("text", ["nonzero<=10%", "nonzero<=70%", "size<=50%"])
def test_local_scores_leave_the_same_share_of_every_layer_in_the_same_order(text: str) -> None:
    costs = costs_for(known("resnet20", (1, 8, 8)))
    generator = torch.Generator().manual_seed(0)
    scores = {
        layer.name: torch.randn(layer.shape, generator=generator) * 10.0**number
        for number, layer in enumerate(costs.layers.layers)
    }
    local = compared(scores, scores, "local")
    cut = cut_weights(costs, local, Budget.parse(text))
    shares = [float(cut.masks[layer.name].double().mean()) for layer in costs.layers.layers]
    assert max(shares) - min(shares) < 0.02
    for name, mask in cut.masks.items():
        assert float(scores[name][mask].min()) > float(scores[name][~mask].max())


def test_equal_scores_within_a_layer_are_ranked_by_their_place() -> None:
    found = within_layer(torch.tensor([[1.0, 1.0], [2.0, 1.0]]))
    assert found.tolist() == [[4 / 1.5, 4 / 2.5], [8.0, 4 / 3.5]]


@pytest.mark.gpu
def test_a_rank_is_made_where_the_scores_are() -> None:
    scores = torch.rand(4, 5)
    found: Tensor = within_layer(scores.to("cuda"))
    assert found.device.type == "cuda"
    assert torch.equal(found.cpu(), within_layer(scores))
