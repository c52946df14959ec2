"""Noise on every weight whose strength is learned: sparse variational dropout (Molchanov et al. 2017).

A weight is normal with mean θ and variance σ²; its dropout rate is α = σ² / θ². A prior that favours no scale pulls α
up, the loss holds it down where the weight matters. In training what a layer puts out is drawn with the mean and the
variance that such weights give it (local reparametrisation); in evaluation a weight is θ.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.functional import softplus

from nas_prune.errors import BadInputError
from nas_prune.patterns.cut import Scores
from nas_prune.patterns.methods.contract import Course, Evidence, PatternMethod, Setting
from nas_prune.patterns.methods.on_weights import (
    Learned,
    holders,
    plain_twin,
    steps_of,
    weight_of_penalty,
)

_NAME = "weight_noise"
_K1, _K2, _K3 = 0.63576, 1.87320, 1.48695  # section 4.2 of the paper
_MOST = 8.0  # of |log α|: beyond, the divergence has no slope
_DROPPED = 3.0  # log α from which the paper treats a weight as zero (α > 20: it is mostly noise)
_START = -10.0  # of log σ², as in the authors' code
_LOWEST, _HIGHEST = (
    -10.0,
    4.0,
)  # of log σ²; without the first, weights that matter would drift where none comes back from
_SMALL = 1e-8
_WARM_UP = 0.5  # of the training, over which the divergence's weight rises to its whole
_KINDS = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


def divergence(log_alpha: Tensor) -> Tensor:
    """How far weights of a dropout rate are from the prior, up to a constant (equation 14 of the paper)."""
    return _K1 - _K1 * torch.sigmoid(_K2 + _K3 * log_alpha) + 0.5 * softplus(-log_alpha)


def log_rate(theta: Tensor, log_variance: Tensor) -> Tensor:
    """Log α of weights, before it is cut at ±8."""
    return log_variance - (theta.square() + _SMALL).log()


def slopes(theta: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor]:
    """The slopes of the divergence, of log α cut at ±8, in θ and in log σ²."""
    log_alpha = log_rate(theta, log_variance)
    is_open = torch.sigmoid(_K2 + _K3 * log_alpha)
    by_log_alpha = -_K1 * _K3 * is_open * (1 - is_open) - 0.5 * torch.sigmoid(-log_alpha)
    by_log_alpha = torch.where(log_alpha.abs() <= _MOST, by_log_alpha, 0.0)
    return by_log_alpha * -2 * theta / (theta.square() + _SMALL), by_log_alpha


def add_noise(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Tensor) -> Tensor:
    """What a layer puts out in training: drawn around it with the variance of its weights' noise."""
    if not module.training:
        return output
    noise = module.get_submodule(_NAME)
    assert isinstance(noise, Learned)
    given: Tensor = args[0] if args else kwargs["input"]
    variance = _applied(module, given.square(), noise.values.exp(), output)
    return output + variance.clamp_min(_SMALL).sqrt() * torch.randn_like(output)


def _applied(module: nn.Module, x: Tensor, weight: Tensor, output: Tensor) -> Tensor:
    """What a layer would put out with another weight and no bias, of the shape of `output`."""
    if isinstance(module, nn.Linear):
        return F.linear(x, weight)
    own: Any = module
    if not own.transposed:
        found: Tensor = own._conv_forward(x, weight, None)  # noqa: SLF001  (it knows of modes of padding)
        return found
    sizes = zip(
        output.shape[2:], x.shape[2:], own.kernel_size, own.stride, own.padding, own.dilation, strict=True
    )
    more = [
        out - ((size - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1)
        for out, size, kernel, stride, padding, dilation in sizes
    ]
    transposed: Any = getattr(F, f"conv_transpose{x.dim() - 2}d")
    found = transposed(x, weight, None, own.stride, own.padding, more, own.groups, own.dilation)
    assert isinstance(found, Tensor)
    return found


def _noisy(model: nn.Module, setting: Setting) -> Iterator[tuple[str, nn.Parameter, Learned]]:
    """Each weight with its name and its noise."""
    for layer in setting.costs.layers.layers:
        noise = model.get_submodule(f"{layer.name.rpartition('.')[0]}.{_NAME}".removeprefix("."))
        assert isinstance(noise, Learned)
        yield layer.name, model.get_parameter(layer.name), noise


def _check(module: nn.Module, name: str) -> None:
    forward = getattr(type(module), "forward", None)
    if not isinstance(module, _KINDS) or forward not in [kind.forward for kind in _KINDS]:
        raise BadInputError(
            f"--method variational-dropout must have layers of PyTorch's own kinds, got {type(module).__name__} with "
            f"{name}. Use --method l0, which may have any."
        )


def course(setting: Setting) -> Course:
    """Noise on all weights; the divergence's weight rises from zero over the first half of the training."""
    total, weight = steps_of(setting), weight_of_penalty(setting)

    def prepare(model: nn.Module) -> None:
        for layer in setting.costs.layers.layers:
            noise = Learned(model.get_parameter(layer.name).detach(), _START)
            for module, _ in holders(model, layer.name):
                _check(module, layer.name)
                module.add_module(_NAME, noise)
                module.register_forward_hook(add_noise, with_kwargs=True)

    @torch.no_grad()
    def penalise(model: nn.Module, _: float) -> None:
        for name, theta, noise in _noisy(model, setting):
            if theta.grad is None:
                continue  # the layer did not run in this step
            if noise.values.grad is None:
                raise BadInputError(
                    f"--method variational-dropout must have layers that are called, got {name}, which is used "
                    "outside of its layer. Use --method l0, which may have such weights."
                )
            by_theta, by_variance = slopes(theta, noise.values)
            share = (noise.share_done(total) / _WARM_UP).clamp_max(1) * weight
            theta.grad += share * by_theta
            noise.move(noise.values.grad + share * by_variance, total, _LOWEST, _HIGHEST)

    return Course(prepare, penalise, plain=lambda model: plain_twin(model, setting.space))


def scores(evidence: Evidence) -> Scores:
    """3 - log α of each weight, of a network with its noise: what the paper treats as zero is at zero or below."""
    found: dict[str, Tensor] = {}
    for layer in evidence.costs.layers.layers:
        noise = evidence.model.get_submodule(f"{layer.name.rpartition('.')[0]}.{_NAME}".removeprefix("."))
        assert isinstance(noise, Learned)
        theta = evidence.model.get_parameter(layer.name).detach().double()
        log_alpha = log_rate(theta, noise.values.detach().double())
        found[layer.name] = _DROPPED - log_alpha.clamp(-_MOST, _MOST)
    return found


VARIATIONAL_DROPOUT = PatternMethod(
    name="variational-dropout",
    summary="noise on every weight, its strength learned; the weights that bear most noise go",
    citation="Molchanov et al., Variational Dropout Sparsifies Deep Neural Networks, ICML 2017",
    scores=scores,
    course=course,
    scopes=("global",),
    # ResNet-20 on digits at the recipe's 20 epochs (0.98 right without noise): 0.02 drops 53 % of the weights at 0.96,
    # 0.01 35 % at 0.99. With a warm-up of a quarter 0.01 drops 42 % at 0.97, 0.02 63 % at 0.81. 0.1 and the whole
    # bound, 1.0, leave a network at chance: there are 190 weights to each image.
    strength=0.02,
    zero=0.0,
)
