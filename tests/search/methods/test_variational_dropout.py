"""Sparse variational dropout on channels: its divergence, its steps, its noise, its scores."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas_prune.search.methods.contract import PenaltyTarget
from nas_prune.search.methods.learned_gates import gates_of, taken_out
from nas_prune.search.methods.variational_dropout import (
    VARIATIONAL_DROPOUT,
    divergence,
    log_rate,
    penalty,
    prepare,
)
from nas_prune.space.budget import Budget
from nas_prune.space.cut import cut
from tests.search.methods.evidence import evidence
from tests.search.methods.test_formulas import SMALL


def noisy(mean: list[float], log_variance: list[float]) -> nn.Module:
    model = SMALL.build(seed=0)
    prepare(model, SMALL, [0])
    with torch.no_grad():
        gates_of(model).factors[0].copy_(torch.tensor([mean, log_variance]))
    return model


@pytest.mark.parametrize("log_alpha", [-8.0, -4.0, -1.0, 0.0, 1.0, 3.0, 8.0])
def test_the_divergence_is_that_from_a_prior_that_favours_no_scale(log_alpha: float) -> None:
    """E log|1 + √α z| - ½ log α + (γ + log 2) / 2, by the sum over a fine grid of z, at the paper's precision."""
    grid = np.linspace(-12, 12, 2_000_001)
    density = np.exp(-(grid**2) / 2) / math.sqrt(2 * math.pi) * (grid[1] - grid[0])
    moved = np.abs(1 + math.exp(log_alpha / 2) * grid)
    exact = density @ np.log(np.maximum(moved, 1e-12)) - log_alpha / 2 + (np.euler_gamma + math.log(2)) / 2
    assert divergence(torch.tensor(log_alpha)).item() == pytest.approx(exact, abs=0.01)


def test_factors_start_at_one_with_little_noise() -> None:
    model = SMALL.build(seed=0)
    prepare(model, SMALL, [0, 1])
    for factor in gates_of(model).factors:
        assert factor[0].tolist() == [1.0] * factor.shape[1]
        assert log_rate(factor).exp().max() < 0.01


def test_a_step_goes_down_the_loss_and_the_divergence_with_momentum() -> None:
    model = noisy([1.0, -0.2, 0.0], [-5.0, -1.0, -2.0])
    factor, step = gates_of(model).factors[0], penalty(PenaltyTarget(SMALL, (0,), 0.3))
    expected, velocity = factor.detach().clone().requires_grad_(), torch.zeros(2, 3)
    slope = torch.tensor([[0.1, -0.2, 0.3], [0.01, 0.02, -0.03]])
    for _ in range(2):
        (by_divergence,) = torch.autograd.grad(0.3 * divergence(log_rate(expected)).sum(), expected)
        velocity = 0.9 * velocity - 0.05 * (slope + by_divergence)
        expected = (expected + velocity).detach().requires_grad_()
        factor.grad = slope.clone()
        step(model, 0.05)
    assert torch.allclose(factor, expected, atol=1e-6)
    assert factor.grad is None


def test_the_variance_stays_within_bounds() -> None:
    model = noisy([1.0] * 3, [-5.0] * 3)
    gates_of(model).factors[0].grad = torch.tensor([[0.0] * 3, [1e3, 0.0, -1e3]])
    penalty(PenaltyTarget(SMALL, (0,), 0.1))(model, 0.1)
    assert gates_of(model).factors[0][1].tolist() == pytest.approx([-10.0, -5.0, 3.0], abs=0.1)


def test_noise_is_drawn_for_each_channel_of_each_image() -> None:
    model, seen = noisy([1.0, -0.5, 2.0], [-4.0, -1.0, 0.0]), list[Tensor]()
    model.get_submodule("0").register_forward_hook(lambda _, __, output: seen.append(output))
    images = torch.rand(1, 1, 8, 8).expand(4000, -1, -1, -1)
    torch.manual_seed(0)
    with torch.no_grad():
        model.train()(images)
        drawn = gates_of(model).of(0)
        plain = model.get_submodule("0").forward(images)
    assert torch.allclose(seen[0], plain * drawn[:, :, None, None])
    assert torch.allclose(drawn.mean(0), torch.tensor([1.0, -0.5, 2.0]), atol=0.05)
    assert torch.allclose(drawn.var(0).log(), torch.tensor([-4.0, -1.0, 0.0]), atol=0.1)
    assert torch.corrcoef(drawn.T).triu(1).abs().max() < 0.1


def test_every_pass_has_its_own_noise_and_evaluation_none() -> None:
    model, images = noisy([1.0, -0.5, 2.0], [-4.0, -1.0, 0.0]), torch.rand(2, 1, 8, 8)
    with torch.no_grad():
        torch.manual_seed(3)
        first, second = model.train()(images), model(images)
        torch.manual_seed(3)
        assert torch.equal(model(images), first)
        assert not torch.equal(first, second)
        still = taken_out(model, SMALL)(images)  # in training too: what was last drawn plays no part
        assert torch.allclose(model.eval()(images), still, atol=1e-6)
    assert gates_of(model).of(0).tolist() == [1.0, -0.5, 2.0]


def test_a_score_is_how_far_the_rate_is_below_where_the_paper_drops() -> None:
    model = noisy([1.0, -0.1, math.exp(-2)], [-2.0, 0.0, -1.0])
    scores = VARIATIONAL_DROPOUT.scores(evidence(model, SMALL, [0]))
    assert scores[0] is not None
    assert scores[0].tolist() == pytest.approx([5.0, 3 - math.log(100), 0.0], abs=1e-5)


def test_a_group_that_the_method_would_drop_whole_is_held() -> None:
    for mean, held in ((0.01, (0,)), (1.0, ())):
        model = noisy([mean] * 3, [-2.0] * 3)
        scores = VARIATIONAL_DROPOUT.scores(evidence(model, SMALL, [0]))
        assert cut(SMALL, scores, Budget.parse("channels<=100%")).at_floor == held
