"""Optimal Brain Surgeon, against trying every weight, and the loss of a real network."""

from collections.abc import Mapping
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_prune.data import normalise
from nas_prune.patterns.cut import cut_weights
from nas_prune.patterns.methods import obs
from nas_prune.patterns.methods import sample_gradients as module
from nas_prune.patterns.methods.contract import Evidence, Scope
from nas_prune.patterns.methods.magnitude import MAGNITUDE
from nas_prune.patterns.methods.obs import OBS, made_up_for, one_by_one
from nas_prune.space.budget import Budget
from nas_prune.space.load import load_space
from tests.patterns.methods.test_obd import separable
from tests.patterns.methods.test_sample_gradients import all_gradients, evidence_of, fresh

Array = NDArray[np.float64]
RIDGE = 1e-4


def problem(seed: int, size: int = 7, images: int = 5) -> tuple[Array, Array]:
    """Weights and mean products of gradients, of fewer images than weights."""
    rng = np.random.default_rng(seed)
    gradients = rng.normal(size=(images, size))
    return rng.normal(size=size), gradients.T @ gradients / images


def with_ridge(second: Array) -> Array:
    ridge: float = RIDGE * second.diagonal()[second.diagonal() > 0].mean()
    return np.asarray(second + ridge * np.eye(len(second)))


def least(weights: Array, whole: Array, gone: list[int]) -> tuple[float, Array]:
    """The smallest rise of the loss if some weights are to be 0, and all weights there."""
    stays = [place for place in range(len(weights)) if place not in gone]
    move = -weights.copy()
    move[stays] = np.linalg.solve(whole[np.ix_(stays, stays)], whole[np.ix_(stays, gone)] @ weights[gone])
    return float(move @ whole @ move / 2), weights + move


def tried(weights: Array, second: Array) -> tuple[list[int], list[float]]:
    """The order in which weights go, and the rise at each turn, from trying every weight that is left."""
    whole, order, reached, rises = with_ridge(second), list[int](), 0.0, list[float]()
    for _ in weights:
        left = [place for place in range(len(weights)) if place not in order]
        losses = [least(weights, whole, [*order, place])[0] for place in left]
        order.append(left[int(np.argmin(losses))])
        rises.append(min(losses) - reached)
        reached = min(losses)
    return order, rises


def blocks(*arrays: Array) -> list[Tensor]:
    return [torch.from_numpy(one)[None] for one in arrays]


@pytest.mark.parametrize("seed", range(5))
def test_weights_go_in_the_order_of_trying_every_one(seed: int) -> None:
    weights, second = problem(seed)
    (found,) = one_by_one(*blocks(weights, second))
    order, rises = tried(weights, second)
    assert found.argsort().tolist() == order
    assert found[order].tolist() == pytest.approx(np.maximum.accumulate(rises), rel=1e-6)


def test_the_largest_rise_so_far_counts() -> None:
    falls = 0
    for seed in range(5):
        weights, second = problem(seed)
        _, rises = tried(weights, second)
        falls += int((np.diff(rises) < 0).sum())
    assert falls  # else the order of the tests above would not need it


def test_blocks_do_not_depend_on_each_other() -> None:
    problems = [problem(seed) for seed in range(3)]
    weights, second = (torch.from_numpy(np.stack(one)) for one in zip(*problems, strict=True))
    alone = torch.cat([one_by_one(weights[i : i + 1], second[i : i + 1]) for i in range(3)])
    assert torch.allclose(one_by_one(weights, second), alone, rtol=1e-9)


def test_the_unit_of_the_loss_does_not_matter() -> None:
    weights, second = blocks(*problem(0))
    found, small = one_by_one(weights, second), one_by_one(weights, second * 1e-30)
    assert torch.allclose(small, found * 1e-30, rtol=1e-6, atol=0)


def test_equal_rises_keep_the_order_of_their_turns() -> None:
    weights = torch.ones(1, 6, dtype=torch.float64)
    (found,) = one_by_one(weights, torch.eye(6, dtype=torch.float64)[None])
    assert len(set(found.tolist())) == 6
    assert found.tolist() == pytest.approx([(1 + RIDGE) / 2] * 6)


def test_a_weight_of_zero_goes_first_and_makes_up_for_none() -> None:
    weights, second = problem(0)
    weights[2] = 0
    (found,) = one_by_one(*blocks(weights, second))
    others = [0, 1, 3, 4, 5, 6]
    order, rises = tried(weights, second)
    assert order[0] == 2
    assert float(found[2]) < float(found[others].min())
    assert found[order].tolist() == pytest.approx(np.maximum.accumulate(rises), rel=1e-6)


def test_a_large_weight_of_no_consequence_changes_nothing_for_the_others() -> None:
    weights, second = problem(0)
    alone = one_by_one(*blocks(weights, second))[0]
    wider = np.zeros((8, 8))
    wider[:7, :7] = second
    (found,) = one_by_one(*blocks(np.append(weights, 1e3), wider))
    assert found[:7].tolist() == pytest.approx(alone.tolist(), rel=1e-6)
    assert float(found[7]) < float(found[:7].min())


def test_weights_that_stay_are_at_the_constrained_minimum() -> None:
    for seed in range(3):
        weights, second = problem(seed)
        stays = np.random.default_rng(seed).random(7) < 0.6
        gone = np.flatnonzero(~stays)
        weights_MB, second_MBB = blocks(weights, second)
        (found,) = made_up_for(weights_MB, second_MBB, torch.from_numpy(stays)[None])
        whole = with_ridge(second)
        assert found.numpy() == pytest.approx(least(weights, whole, gone.tolist())[1], rel=1e-6, abs=1e-9)
        inverse = np.linalg.inv(whole)
        closed = -inverse[:, gone] @ np.linalg.solve(inverse[np.ix_(gone, gone)], weights[gone])
        assert found.numpy() == pytest.approx(weights + closed, rel=1e-5, abs=1e-7)
        assert found[~stays].tolist() == [0.0] * len(gone)


def by_hand(evidence: Evidence, masks: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Scores and settled weights, block after block, from all gradients at once."""
    gradients, weights = all_gradients(evidence), evidence.weights()
    scores, settled = ({name: torch.zeros_like(own) for name, own in weights.items()} for _ in range(2))
    for layer in evidence.costs.layers.layers:
        own, masked, gradient = weights[layer.name], masks[layer.name], gradients[layer.name]
        for number in range(layer.shape[layer.out_dim]):
            of_filter = own.select(layer.out_dim, number)
            row, shape = of_filter.flatten(), of_filter.shape
            stays = masked.select(layer.out_dim, number).flatten()
            rows = gradient.select(1 + layer.out_dim, number).flatten(1).double()
            count = -(-len(row) // 64)
            size = -(-len(row) // count)
            of_row, new = torch.zeros(len(row)), torch.zeros(len(row))
            for start in range(0, len(row), size):
                part = slice(start, start + size)
                second = (rows[:, part].T @ rows[:, part] / len(rows))[None]
                of_row[part] = one_by_one(row[None, part].double(), second)[0]
                new[part] = made_up_for(row[None, part].double(), second, stays[None, part])[0]
            scores[layer.name].select(layer.out_dim, number).copy_(of_row.reshape(shape))
            settled[layer.name].select(layer.out_dim, number).copy_(new.reshape(shape))
    return scores, settled


@pytest.mark.parametrize("most", [2**20, 200])
@pytest.mark.parametrize("name", ["plain", "grouped", "transposed", "wide"])
def test_a_block_is_of_neighbouring_weights_of_a_filter(
    name: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IMAGES", 20)
    monkeypatch.setattr(module, "_MOST_IMAGES", 8)
    monkeypatch.setattr(obs, "_MOST_WEIGHTS", most)
    evidence = wide() if name == "wide" else fresh(name)
    generator = torch.Generator().manual_seed(0)
    masks = {
        name: torch.rand(one.shape, generator=generator) < 0.5 for name, one in evidence.weights().items()
    }
    assert OBS.settled is not None
    found, moved = OBS.scores(evidence), OBS.settled(evidence, masks)
    scores, settled = by_hand(evidence, masks)
    assert list(found) == list(moved) == [layer.name for layer in evidence.costs.layers.layers]
    for weight, expected in scores.items():
        assert found[weight].float().numpy() == pytest.approx(expected.numpy(), rel=1e-2, abs=1e-12)
        assert moved[weight].numpy() == pytest.approx(settled[weight].numpy(), rel=1e-2, abs=1e-4)


def wide() -> Evidence:
    """Filters of 72 and 135 weights: of two blocks of 36, and of three of 45."""
    convs = (nn.Conv2d(1, 8, 3), nn.Conv2d(8, 15, 3), nn.ReLU(), nn.Conv2d(15, 4, 3))
    space = load_space(lambda: nn.Sequential(*convs, nn.Flatten(), nn.Linear(16, 10)), (1, 8, 8))
    return evidence_of(space.build(seed=0), space)


@pytest.mark.parametrize("scope", ["global", "local"])
def test_weights_of_no_consequence_score_lowest_and_those_that_have_gone_lower(scope: Scope) -> None:
    scores = OBS.scores(separable(scope))
    alive, dead = scores["2.weight"][:, :16], scores["2.weight"][:, 16:]
    gone = scores["0.weight"][1]
    assert float(alive.min()) > float(dead.max())
    assert float(dead.min()) > float(gone.max())


@cache
def trained() -> Evidence:
    """A small network that knows its digits."""
    space = load_space(
        lambda: nn.Sequential(
            *(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True)),
            *(nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
            *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10)),
        ),
        (1, 8, 8),
    )
    evidence = evidence_of(space.build(seed=0), space)
    images, labels = everything(evidence)
    optimiser = torch.optim.SGD(evidence.model.parameters(), momentum=0.9, weight_decay=5e-4)
    generator = torch.Generator().manual_seed(0)
    for rate in (0.1, 0.1, 0.1, 0.05, 0.02, 0.01):
        optimiser.param_groups[0]["lr"] = rate
        for places in torch.randperm(len(images), generator=generator).split(32):
            optimiser.zero_grad()
            nn.functional.cross_entropy(evidence.model.train()(images[places]), labels[places]).backward()
            optimiser.step()
    return evidence


def everything(evidence: Evidence) -> tuple[Tensor, Tensor]:
    part, data = evidence.data.train, evidence.data
    return normalise(part.sample(), data.mean, data.std), part.labels


@torch.no_grad()
def loss_with(evidence: Evidence, weights: Mapping[str, Tensor]) -> float:
    images, labels = everything(evidence)
    scores = torch.func.functional_call(evidence.model.eval(), dict(weights), (images,))
    return float(nn.functional.cross_entropy(scores, labels))


@pytest.mark.parametrize("share", [0.5, 0.3])
def test_a_real_network_loses_less_than_by_magnitude(share: float) -> None:
    evidence = trained()
    weights, budget = evidence.weights(), Budget("nonzero", share=share)
    large = cut_weights(evidence.costs, MAGNITUDE.scores(evidence), budget)
    found = cut_weights(evidence.costs, OBS.scores(evidence), budget)
    assert OBS.settled is not None
    settled = OBS.settled(evidence, found.masks)
    assert large.cost.nonzero == found.cost.nonzero == sum(int((one != 0).sum()) for one in settled.values())
    whole, by_size = loss_with(evidence, weights), loss_with(evidence, masked(weights, large.masks))
    made_up, alone = loss_with(evidence, settled), loss_with(evidence, masked(weights, found.masks))
    assert whole < 0.2
    assert made_up < by_size
    assert made_up < alone
    assert made_up < 0.3


def masked(weights: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: weights[name] * masks[name] for name in weights}


def test_weights_that_have_gone_stay_zero_even_if_a_mask_would_let_them_back() -> None:
    evidence = fresh("plain")
    with torch.no_grad():
        evidence.model.get_parameter("3.weight")[2, 1, 1, 1] = 0
    masks = {name: torch.ones_like(one, dtype=torch.bool) for name, one in evidence.weights().items()}
    masks["3.weight"][:, 0] = False
    assert OBS.settled is not None
    moved, before = OBS.settled(evidence, masks)["3.weight"], evidence.weights()["3.weight"]
    assert float(moved[2, 1, 1, 1]) == 0
    assert int((moved == 0).sum()) == 6 * 9 + 1
    assert bool((moved[:, 1:] - before[:, 1:]).abs().amax((1, 2, 3)).min() > 0.01)
