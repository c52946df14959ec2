"""What each method computes, against hand arithmetic or another way to the same number."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from nas_prune.search.methods import reconstruction
from nas_prune.search.methods.contract import Evidence, PenaltyTarget
from nas_prune.search.methods.controls import RANDOM, UNIFORM
from nas_prune.search.methods.filters import FPGM, L1_NORM
from nas_prune.search.methods.gates import gated
from nas_prune.search.methods.layer_channels import readers
from nas_prune.search.methods.learned_gates import (
    Gates,
    accelerated,
    gates_of,
    put_in,
    taken_out,
)
from nas_prune.search.methods.random_weights import RANDOM_WEIGHTS
from nas_prune.search.methods.reconstruction import _by_channel, _parts, _windows, regression, surgeon, thinet
from nas_prune.search.methods.slimming import channel_costs
from nas_prune.search.methods.slopes import _slopes
from nas_prune.space.budget import Budget
from nas_prune.space.cut import cut
from nas_prune.space.load import load_space
from nas_prune.space.scores import shares_below, within_groups
from tests.search.methods.contract import space_of
from tests.search.methods.evidence import evidence
from tests.surgery import images_of, lively, outputs


def small() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 3, 1), nn.ReLU(), nn.Conv2d(3, 2, 1), nn.Flatten(), nn.Linear(128, 10))


SMALL = load_space(small, (1, 8, 8))


def test_the_l1_norm_of_a_filter_is_a_share_of_the_mean() -> None:
    model = SMALL.build(seed=0)
    with torch.no_grad():
        model.get_parameter("2.weight").copy_(
            torch.tensor([[1.0, -2.0, 3.0], [0.0, 1.0, 1.0]]).view(2, 3, 1, 1)
        )
    scores = L1_NORM.scores(evidence(model, SMALL, [1]))
    assert scores[1] is not None
    assert scores[1].tolist() == [1.5, 0.5]


def test_the_filter_nearest_to_the_others_scores_lowest() -> None:
    model = SMALL.build(seed=0)
    with torch.no_grad():
        model.get_parameter("0.weight").copy_(torch.tensor([0.0, 1.0, 5.0]).view(3, 1, 1, 1))
    scores = FPGM.scores(evidence(model, SMALL, [0]))
    assert scores[0] is not None
    assert scores[0].tolist() == pytest.approx([6 / (20 / 3), 5 / (20 / 3), 9 / (20 / 3)])


@pytest.mark.parametrize("name", ["resnet20", "depthwise and grouped", "dense"])
def test_a_slope_is_what_the_scales_gradients_say(name: str) -> None:
    space = space_of(name)
    model = space.build(seed=0).double().eval()
    columns = range(len(space.groups))
    given = evidence(model, space, columns)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.2, 0.5)
    images = torch.rand(4, 1, 8, 8, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 3])
    factors = {c: torch.ones(4, space.base_G[c], dtype=torch.float64, requires_grad=True) for c in columns}
    with gated(model, space, columns, lambda: factors):
        loss = nn.functional.cross_entropy(model(images), labels, reduction="sum")
    slopes = torch.autograd.grad(loss, list(factors.values()))
    plain = nn.functional.cross_entropy(model(images), labels, reduction="sum")
    assert loss.item() == pytest.approx(plain.item(), rel=1e-12)
    plain.backward()
    column = next(c for c, group in enumerate(space.groups) if group.is_gated)
    if name != "dense":  # there the norms hold channels of other groups too
        total = torch.zeros(space.base_G[column], dtype=torch.float64)
        for path, kind in itertools.product(space.groups[column].norms, ("weight", "bias")):
            parameter = model.get_parameter(f"{path}.{kind}")
            assert parameter.grad is not None
            total += parameter.detach() * parameter.grad
        assert torch.allclose(slopes[column].sum(0), total, atol=1e-10)
    assert all(slope.shape == factors[c].shape for c, slope in zip(columns, slopes, strict=True))
    assert given.columns == tuple(columns)


LAYERS = [
    nn.Conv2d(6, 4, 3, padding=1),
    nn.Conv2d(6, 4, (3, 1), stride=2, padding=(1, 0), bias=False),
    nn.Conv2d(6, 8, 3, padding="same", dilation=2, groups=2),
    nn.Conv2d(6, 6, 3, groups=6, padding=1),
]


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_what_inputs_contribute_adds_up_to_the_output(layer: nn.Conv2d) -> None:
    image = torch.rand(5, 6, 7, 7)
    with torch.no_grad():
        output = layer(image)
        windows = _windows(layer, image)
        assert windows.shape[2:4] == output.shape[2:]
        places = list(itertools.product(range(5), range(output.shape[2]), range(output.shape[3])))
        at = torch.tensor(places).T
        for channel in range(output.shape[1]):
            rows = windows.movedim(1, 3)[at[0], at[1], at[2]].flatten(2)
            parts = _parts(rows, layer.weight, torch.full((len(places),), channel))
            bias = 0 if layer.bias is None else layer.bias[channel]
            assert torch.allclose(parts.sum(1) + bias, output[at[0], channel, at[1], at[2]], atol=1e-6)


def test_what_flattened_channels_contribute_is_added_up() -> None:
    (place,) = readers(SMALL, 1)
    assert place.path == "4"
    parts = torch.arange(256.0).view(2, 128)
    by_channel = _by_channel(parts, place, 2)
    assert by_channel.tolist() == parts.view(2, 2, 64).sum(2).tolist()


def scores_of(method: "object", gram: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    found = []
    monkeypatch.setattr(reconstruction, "_of_grams", lambda _, score: found.append(score(gram)))
    method(None)  # type: ignore[operator]
    result: np.ndarray = found[0]
    return result


def test_thinet_removes_what_is_missed_least(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = np.random.default_rng(0).normal(size=(200, 4))
    parts[:, 3] = -parts[:, 0]  # together they are not missed at all
    gram = parts.T @ parts
    scores = scores_of(thinet, gram, monkeypatch)

    def missing(removed: list[int]) -> float:
        return float(np.square(parts[:, removed].sum(1)).sum())

    removed: list[int] = []
    while len(removed) < 4:
        removed.append(min(set(range(4)) - set(removed), key=lambda c: missing([*removed, c])))
    assert np.argsort(scores, kind="stable").tolist() == sorted(range(4), key=lambda c: (scores[c], c))
    assert [scores[c] for c in removed] == sorted(scores)
    assert scores[removed[0]] == pytest.approx(missing(removed[:1]) / np.square(parts.sum(1)).sum())


def missed(parts: np.ndarray, removed: list[int]) -> float:
    """Half the squares of the output that channels leave over when the others make up for them."""
    target = parts.sum(1)
    others = np.delete(parts, removed, axis=1)
    factors, *_ = np.linalg.lstsq(others, target, rcond=None)
    return float(np.square(others @ factors - target).sum() / 2)


def test_the_surgeon_removes_one_by_one_what_the_others_make_up_for_best(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = np.random.default_rng(0).normal(size=(200, 5)) @ np.random.default_rng(1).normal(size=(5, 5))
    scores = scores_of(surgeon, parts.T @ parts, monkeypatch)
    removed: list[int] = []
    worst, before = 0.0, 0.0
    while len(removed) < 4:
        left = sorted(set(range(5)) - set(removed))
        removed.append(min(left, key=lambda c: missed(parts, [*removed, c])))
        after = missed(parts, removed)
        worst = max(worst, after - before)
        assert scores[removed[-1]] == pytest.approx(worst, rel=0.02)
        before = after
    assert np.argsort(scores, kind="stable").tolist()[:4] == removed


def test_the_surgeon_keeps_one_of_two_that_stand_in_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scored once, both of each pair would look useless, and both would go."""
    rng = np.random.default_rng(0)
    single = rng.normal(size=(4000, 6)) * [3, 3, 3, 1, 1, 1]
    parts = np.concatenate([single, single[:, :3] + 0.01 * rng.normal(size=(4000, 3))], axis=1)
    scores = scores_of(surgeon, parts.T @ parts / len(parts), monkeypatch)
    removed = np.argsort(scores, kind="stable")[:3].tolist()
    assert {channel % 6 for channel in removed} == {0, 1, 2}
    assert missed(parts, removed) < 1e-3 * np.square(parts.sum(1)).sum() / 2


def test_a_channel_stays_in_the_regression_up_to_its_strength(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.linear_model import Lasso

    parts = np.random.default_rng(0).normal(size=(200, 4)) * [1, 2, 3, 0.0]
    scores = scores_of(regression, parts.T @ parts, monkeypatch)
    target = parts.sum(1)
    strongest = np.abs(parts.T @ target).max() / len(parts)
    for strength in (0.05, 0.2, 0.5):
        factors = Lasso(alpha=strength * strongest, fit_intercept=False, tol=1e-10).fit(parts, target).coef_
        assert (scores > strength).tolist() == (np.abs(factors) > 1e-9).tolist()


def test_the_regression_tells_all_channels_of_a_wide_layer_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path of so many steps at most would leave the last of them at zero."""
    parts = np.random.default_rng(0).normal(size=(2000, 560)) * np.linspace(0.2, 2, 560)
    scores = scores_of(regression, parts.T @ parts, monkeypatch)
    assert len(np.unique(scores)) == 560
    assert scores.min() > 0


@pytest.mark.parametrize("budget", ["macs<=50%", "params<=30%", "channels<=40%"])
def test_uniform_keeps_one_share_of_every_group(budget: str) -> None:
    space = space_of("vgg11")
    result = cut(space, UNIFORM.scores(evidence(space.build(seed=0), space, range(8))), Budget.parse(budget))
    shares = np.array(result.widths_G) / np.array(space.base_G)
    assert np.ptp(shares) <= 2 / 8
    assert np.ptp(shares[2:]) <= 1 / 16
    assert result.gap < 0.01


def test_random_gives_each_seed_widths_of_its_own_at_one_cost() -> None:
    space, budget = space_of("vgg11"), Budget.parse("macs<=50%")
    model = space.build(seed=0)
    cuts = [cut(space, RANDOM.scores(evidence(model, space, range(8), seed)), budget) for seed in (0, 1)]
    assert all(one.gap < 0.01 for one in cuts)
    keeps = [np.array(one.widths_G) / np.array(space.base_G) for one in cuts]
    assert np.abs(keeps[0] - keeps[1]).max() > 0.2


def test_local_scores_keep_the_order_and_one_share() -> None:
    local = within_groups([np.array([0.1, 0.3, 0.2]), None, np.array([9.0, 8.0])])
    assert local[1] is None
    assert local[0] is not None
    assert local[2] is not None
    assert np.argsort(local[0]).tolist() == [0, 2, 1]
    assert sorted(local[2]) == sorted(shares_below(2, 1.0))


def test_costs_of_channels_are_what_the_network_saves() -> None:
    space = space_of("resnet20")
    columns = range(len(space.groups))
    costs = channel_costs(space, columns, "params")
    base = list(space.base_G)
    saved = {}
    for column in columns:
        narrower = [*base[:column], base[column] - 1, *base[column + 1 :]]
        saved[column] = space.cost_at(base).params - space.cost_at(narrower).params
    first = saved[0] / costs[0]
    assert all(saved[column] / costs[column] == pytest.approx(first) for column in columns)
    assert sum(costs[c] * base[c] for c in columns) / sum(base) == pytest.approx(1)


def test_a_factor_moves_by_the_accelerated_proximal_gradient() -> None:
    model = SMALL.build(seed=0)
    put_in(model, SMALL, Gates(SMALL, [0], 1.0))
    factor = gates_of(model).of(0)
    penalty = accelerated(PenaltyTarget(SMALL, (0,), 0.5))
    for _ in range(2):
        factor.grad = torch.tensor([0.0, 1.0, -20.0])
        penalty(model, 0.1)
    # by hand, for the first: z = 1, S = 0.95, v = -0.05, λ = 0.905; then S = 0.855, v = -0.095, λ = 0.7695
    assert factor.tolist() == pytest.approx([0.7695, 0.3085, 9.9895], rel=1e-5)
    assert factor.grad is None


def test_a_sequential_network_runs_with_factors() -> None:
    model, images = SMALL.build(seed=0).eval(), torch.rand(2, 1, 8, 8)
    before = model(images)
    put_in(model, SMALL, Gates(SMALL, [0, 1], 1.0))
    assert torch.equal(model(images), before)


def test_factors_on_random_weights_move_by_adam_and_their_mean_is_pulled_to_a_half() -> None:
    """Beside PyTorch's own Adam on the paper's objective."""
    model = SMALL.build(seed=0)
    RANDOM_WEIGHTS.sparsity.prepare(model, SMALL, [0, 1])  # type: ignore[union-attr]
    penalty = RANDOM_WEIGHTS.sparsity.penalty(PenaltyTarget(SMALL, (0, 1), 0.5))  # type: ignore[union-attr]
    factors = gates_of(model).factors
    theirs = [torch.ones(3, requires_grad=True), torch.ones(2, requires_grad=True)]
    adam = torch.optim.Adam(theirs, lr=0.01)
    slopes = [torch.tensor([0.0, 3.0, -0.01]), torch.tensor([0.02, 0.0])]
    for _ in range(50):
        adam.zero_grad()
        loss = sum((slope * one).sum() for slope, one in zip(slopes, theirs, strict=True))
        (loss + 0.5 * (torch.cat(theirs).mean() - 0.5) ** 2).backward()
        adam.step()
        for own, factor, slope in zip(theirs, factors, slopes, strict=True):
            own.data.clamp_(0, 1)
            factor.grad = slope.clone()
        penalty(model, 0.1)
    for own, factor in zip(theirs, factors, strict=True):
        assert factor.tolist() == pytest.approx(own.tolist(), abs=1e-5)
        assert factor.grad is None
    assert 0.45 < factors[0][1].item() < 0.55


def test_the_mean_of_factors_on_random_weights_ends_at_the_target() -> None:
    """Without a slope of the loss the penalty alone moves them; an L1 penalty would take all to zero."""
    model = SMALL.build(seed=0)
    RANDOM_WEIGHTS.sparsity.prepare(model, SMALL, [0, 1])  # type: ignore[union-attr]
    penalty = RANDOM_WEIGHTS.sparsity.penalty(PenaltyTarget(SMALL, (0, 1), 0.5))  # type: ignore[union-attr]
    for _ in range(400):
        for factor in gates_of(model).factors:
            factor.grad = torch.zeros_like(factor)
        penalty(model, 0.1)
    assert torch.cat(list(gates_of(model).factors)).tolist() == pytest.approx([0.5] * 5, abs=0.01)


@pytest.mark.parametrize("name", ["vgg11", "resnet20", "dense", "depthwise and grouped"])
def test_a_network_takes_its_factors_in(name: str) -> None:
    space = space_of(name)
    columns = range(len(space.groups))
    model = lively(space)
    images = images_of(space)
    before = outputs(model, space)
    put_in(model, space, Gates(space, columns, 1.0))
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(outputs(model, space), before)
    with torch.no_grad():
        for factor in gates_of(model).factors:
            factor.uniform_(0.2, 1.5, generator=generator)
        with_factors = model(images)
        plain = taken_out(model.float(), space).double()
        assert (plain(images) - with_factors).abs().max() < 1e-5 * with_factors.abs().max()
    assert (before - with_factors).abs().max() > 0.001 * before.abs().max()
    assert {n for n, _ in plain.named_parameters()} == {n for n, _ in space.template.named_parameters()}


def test_slopes_are_of_every_image() -> None:
    given: Evidence = evidence(SMALL.build(seed=0), SMALL, [0, 1])
    batches = list(_slopes(given, lambda sample, model: sample.loss(model)))
    assert sum(len(batch[0]) for batch in batches) == len(given.data.train)
    assert {batch[1].shape[1] for batch in batches} == {2}


def test_hard_concrete_gates_open_as_often_as_they_should() -> None:
    from nas_prune.search.methods.hard_concrete import chance_of_open, prepare

    model = SMALL.build(seed=0)
    prepare(model, SMALL, [0])
    gates = gates_of(model)
    with torch.no_grad():
        gates.factors[0].copy_(torch.tensor([-3.0, 0.0, 2.0]))
        torch.manual_seed(0)
        seen = []
        for _ in range(2000):
            model.train()(torch.zeros(1, 1, 8, 8))
            seen.append(gates.of(0))
        opened = (torch.stack(seen) > 0).float().mean(0)
        assert torch.allclose(opened, chance_of_open(gates.factors[0]), atol=0.03)
        assert chance_of_open(torch.zeros(1)).item() == pytest.approx(0.8318, abs=1e-4)
        assert torch.equal(model.eval()(torch.ones(1, 1, 8, 8)), model(torch.ones(1, 1, 8, 8)))
        assert gates.of(0).tolist() == pytest.approx([0, 0.5, 0.8808 * 1.2 - 0.1], abs=1e-4)
