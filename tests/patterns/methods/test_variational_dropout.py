"""Sparse variational dropout on weights: its divergence, what it draws, its steps, and a training to the same bits."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from nas_prune.errors import BadInputError
from nas_prune.patterns.costs import costs_of
from nas_prune.patterns.cut import cut_weights
from nas_prune.patterns.layers import weight_layers
from nas_prune.patterns.methods.contract import Setting
from nas_prune.patterns.methods.on_weights import Learned
from nas_prune.patterns.methods.variational_dropout import (
    VARIATIONAL_DROPOUT,
    add_noise,
    divergence,
    log_rate,
    slopes,
)
from nas_prune.space.budget import Budget
from nas_prune.space.load import load_space
from nas_prune.training.loop import fit
from nas_prune.training.masks import masked
from tests.patterns.methods.test_hard_concrete import (
    RECIPE,
    begun,
    changed,
    check_copy_is_independent,
    check_is_plain,
    check_stops_and_goes_on,
    course_of,
    evidence_of,
    setting_of,
    training_of,
)

LAYERS: dict[str, tuple[nn.Conv2d | nn.ConvTranspose2d | nn.Linear, tuple[int, ...]]] = {
    "strided, padded": (nn.Conv2d(4, 6, 3, stride=2, padding=1), (4, 6, 6)),
    "grouped": (nn.Conv2d(4, 8, 3, groups=2, padding="same", padding_mode="circular"), (4, 4, 4)),
    "depthwise": (nn.Conv2d(4, 4, 3, groups=4, dilation=2, bias=False), (4, 6, 6)),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2), (4, 3, 3)),
    "linear": (nn.Linear(7, 5), (7,)),
}


def noise_of(model: nn.Module, path: str) -> Learned:
    noise = model.get_submodule(path).get_submodule("weight_noise")
    assert isinstance(noise, Learned)
    return noise


@pytest.mark.parametrize("log_alpha", [-7.9, -4.0, -1.0, 0.0, 1.0, 3.0, 7.9])
def test_the_divergence_is_that_from_a_prior_that_favours_no_scale(log_alpha: float) -> None:
    """E log|1 + √α z| - ½ log α + (γ + log 2) / 2, by the sum over a fine grid of z, at the paper's precision."""
    grid = np.linspace(-12, 12, 200_001)
    density = np.exp(-(grid**2) / 2) / math.sqrt(2 * math.pi) * (grid[1] - grid[0])
    moved = np.abs(1 + math.exp(log_alpha / 2) * grid)
    exact = density @ np.log(np.maximum(moved, 1e-12)) - log_alpha / 2 + (np.euler_gamma + math.log(2)) / 2
    assert divergence(torch.tensor(log_alpha)).item() == pytest.approx(exact, abs=0.01)


def test_slopes_are_those_of_the_divergence_and_zero_beyond_its_bounds() -> None:
    generator = torch.Generator().manual_seed(0)
    theta = (0.3 * torch.randn(200, generator=generator, dtype=torch.float64)).requires_grad_()
    log_variance = (-10 + 16 * torch.rand(200, generator=generator, dtype=torch.float64)).requires_grad_()
    total = divergence(log_rate(theta, log_variance).clamp(-8, 8)).sum()
    expected = torch.autograd.grad(total, (theta, log_variance))
    with torch.no_grad():
        found = slopes(theta, log_variance)
    assert (expected[1] == 0).any()
    assert (expected[1] != 0).any()
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_outputs_are_drawn_with_the_mean_and_the_variance_that_noisy_weights_give(name: str) -> None:
    """The variance is Σ (∂ output / ∂ w)² σ² over the weights; the draws are compared with it."""
    layer, shape = LAYERS[name]
    weight, generator = layer.weight.detach(), torch.Generator().manual_seed(0)
    noise = Learned(weight, -2.0)
    noise.values.data.uniform_(-4, 0, generator=generator)
    layer.add_module("weight_noise", noise)
    image = torch.randn(1, *shape, generator=generator)
    hook = layer.register_forward_hook(add_noise, with_kwargs=True)
    try:
        torch.manual_seed(0)
        with torch.no_grad():
            drawn = layer.train()(image.expand(6000, *shape))
            still = layer.eval()(input=image)[0]
    finally:
        hook.remove()
    slope = jacrev(lambda own: functional_call(layer, {"weight": own}, (image,))[0])(weight)
    variance = (slope.square() * noise.values.detach().exp()).flatten(still.dim()).sum(-1)
    assert torch.allclose(still, layer(image)[0])
    # six standard errors
    assert ((drawn.mean(0) - still).abs() < 6 * (variance / 6000).sqrt() + 1e-6).all()
    assert ((drawn.var(0) / variance - 1).abs() < 6 * math.sqrt(2 / 6000)).all()


def test_what_two_outputs_of_an_image_draw_is_independent() -> None:
    model = changed(VARIATIONAL_DROPOUT, setting_of(VARIATIONAL_DROPOUT))
    noise_of(model, "0").values.data.fill_(-1.0)
    image = torch.rand(1, 1, 8, 8).expand(3000, -1, -1, -1)
    torch.manual_seed(0)
    with torch.no_grad():
        drawn = model.get_submodule("0").train()(image).flatten(1)[:, :40]
    assert torch.corrcoef(drawn.T).triu(1).abs().max() < 0.12


def test_the_divergence_pulls_both_with_a_weight_that_rises() -> None:
    """θ gets its slope added; log σ² a step of Adam, of which the noted mean is a tenth of the slope."""
    setting = replace(setting_of(VARIATIONAL_DROPOUT), strength=0.7)
    total = setting.epochs * setting.steps_per_epoch
    model = changed(VARIATIONAL_DROPOUT, setting)
    penalise = course_of(VARIATIONAL_DROPOUT, setting).penalise
    assert penalise is not None
    for done, share in ((0, 0.0), (2, 2 / total / 0.5), (total - 1, 1.0)):
        for name in ("0.weight", "3.weight", "5.weight", "7.weight"):
            noise_of(model, name[0]).values.grad = torch.full_like(model.get_parameter(name), 1e-5)
            model.get_parameter(name).grad = torch.ones_like(model.get_parameter(name))
        theta, noise = model.get_parameter("3.weight"), noise_of(model, "3")
        noise.values.data.fill_(-4.0)
        noise.get_buffer("steps").fill_(done)
        noise.get_buffer("mean").zero_()
        values = noise.values.detach().clone().requires_grad_()
        penalty = 0.7 * divergence(log_rate(theta, values).clamp(-8, 8)).sum()
        by_theta, by_variance = torch.autograd.grad(
            penalty * share / (setting.steps_per_epoch * 64), (theta, values)
        )
        penalise(model, 0.1)
        assert theta.grad is not None
        assert torch.allclose(theta.grad, 1 + by_theta)
        assert torch.allclose(noise.get_buffer("mean"), 0.1 * (1e-5 + by_variance), rtol=1e-3, atol=1e-10)
        assert noise.values.grad is None


def test_a_score_is_how_far_the_rate_is_below_where_the_paper_drops() -> None:
    setting = setting_of(VARIATIONAL_DROPOUT)
    model = changed(VARIATIONAL_DROPOUT, setting)
    theta = torch.tensor([1.0, -0.1, math.exp(-2), 1e-3])
    values = torch.tensor([-2.0, 0.0, -1.0, 4.0])
    with torch.no_grad():
        model.get_parameter("7.weight")[0, :4] = theta
        noise_of(model, "7").values[0, :4] = values
    scores = VARIATIONAL_DROPOUT.scores(evidence_of(model, setting))["7.weight"]
    assert scores[0, :4].tolist() == pytest.approx([5.0, 3 - math.log(100), 0.0, -5.0], abs=1e-5)


def test_the_plain_network_has_its_weights_as_they_are() -> None:
    setting = setting_of(VARIATIONAL_DROPOUT)
    state = begun(VARIATIONAL_DROPOUT, setting)
    fit(state, training_of(VARIATIONAL_DROPOUT, setting))
    theta = state.model.get_parameter("3.weight").detach().clone()
    plain = check_is_plain(VARIATIONAL_DROPOUT, setting, state.model)
    assert torch.equal(plain.get_parameter("3.weight"), theta)


def test_weights_into_units_that_nobody_reads_are_dropped() -> None:
    recipe = RECIPE.with_epochs(12)
    setting = setting_of(VARIATIONAL_DROPOUT, "unread", recipe=recipe)
    state = begun(VARIATIONAL_DROPOUT, setting, recipe)
    fit(state, training_of(VARIATIONAL_DROPOUT, setting, recipe))
    scores = VARIATIONAL_DROPOUT.scores(evidence_of(state.model, setting))["hidden.weight"]
    assert scores[8:].max() < 0
    assert (scores[:8] > 0).double().mean() > 0.3


class Doubled(nn.Conv2d):
    """A convolution that does more than PyTorch's own."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(2 * x, self.weight, self.bias)


class Uncalled(nn.Module):
    """Uses a layer's weight without calling it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.hidden, self.out = nn.Linear(64, 16), nn.Linear(16, 12), nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.linear(self.first(x.flatten(1)).relu(), self.hidden.weight, self.hidden.bias)
        scores: Tensor = self.out(x.relu())
        return scores


def doubled() -> nn.Module:
    return nn.Sequential(Doubled(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 10))


def test_a_layer_of_another_kind_is_refused() -> None:
    space = load_space(doubled, (1, 8, 8))
    costs = costs_of(space, weight_layers(space))
    setting = Setting(space, costs, Budget.parse("nonzero<=30%"), "global", 2, 5, 320, 0.02)
    with pytest.raises(BadInputError, match="must have layers of PyTorch's own kinds, got Doubled with 0.w"):
        changed(VARIATIONAL_DROPOUT, setting)


def test_a_weight_that_is_used_outside_of_its_layer_is_refused() -> None:
    space = load_space(Uncalled, (1, 8, 8))
    costs = costs_of(space, weight_layers(space))
    setting = Setting(space, costs, Budget.parse("nonzero<=30%"), "global", 2, 5, 320, 0.02)
    state = begun(VARIATIONAL_DROPOUT, setting)
    with pytest.raises(BadInputError, match="got hidden.weight, which is used outside of its layer"):
        fit(state, training_of(VARIATIONAL_DROPOUT, setting))


def test_layers_that_share_a_weight_share_its_noise() -> None:
    setting = setting_of(VARIATIONAL_DROPOUT, "tied")
    state = begun(VARIATIONAL_DROPOUT, setting)
    fit(state, training_of(VARIATIONAL_DROPOUT, setting))
    assert noise_of(state.model, "first") is noise_of(state.model, "second")
    scores = VARIATIONAL_DROPOUT.scores(evidence_of(state.model, setting))
    plain = check_is_plain(VARIATIONAL_DROPOUT, setting, state.model)
    assert masked(plain, cut_weights(setting.costs, scores, setting.budget).masks) is plain


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_training_that_is_stopped_goes_on_to_the_same_bits(tmp_path: Path, channels_last: bool) -> None:
    check_stops_and_goes_on(VARIATIONAL_DROPOUT, tmp_path, channels_last=channels_last)


def test_a_copy_of_the_network_has_noise_of_its_own() -> None:
    check_copy_is_independent(VARIATIONAL_DROPOUT, setting_of(VARIATIONAL_DROPOUT))


def test_neither_clipping_nor_the_average_touches_the_noise() -> None:
    setting = setting_of(VARIATIONAL_DROPOUT)
    found = []
    for clip_norm in (None, 1e9):
        recipe = RECIPE.model_copy(update={"clip_norm": clip_norm, "epochs": 1})
        state = begun(VARIATIONAL_DROPOUT, setting, recipe)
        fit(state, training_of(VARIATIONAL_DROPOUT, setting, recipe))
        assert state.average is not None
        own = noise_of(state.model, "7").values
        assert torch.equal(own, noise_of(state.average, "7").values)
        assert not torch.equal(state.model.get_parameter("7.weight"), state.average.get_parameter("7.weight"))
        assert not any(parameter is own for parameter in state.optimiser.state)
        found.append(own)
    assert torch.equal(found[0], found[1])
