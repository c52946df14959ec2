"""A random gate on every weight that may be exactly zero: L0 regularisation (Louizos et al. 2018).

A gate is a hard concrete variable: s = sigmoid((log u - log(1 - u) + log α) / β) with u uniform, stretched to
(γ, ζ) = (-0.1, 1.1) and cut back to [0, 1]. The penalty is the expected number of gates that are not zero,
Σ sigmoid(log α - β log(-γ / ζ)), for each training image. In evaluation a gate is the sigmoid of log α, stretched and
cut back.
"""

from collections.abc import Iterator
from math import log

import torch
from torch import Tensor, nn

from nas_prune.patterns.cut import Scores
from nas_prune.patterns.methods.contract import Course, Evidence, PatternMethod, Setting
from nas_prune.patterns.methods.on_weights import (
    Learned,
    part_on,
    plain_twin,
    put_on,
    steps_of,
    weight_of_penalty,
)

_BETA, _GAMMA, _ZETA = 2 / 3, -0.1, 1.1
_SHIFT = _BETA * log(-_GAMMA / _ZETA)
# Of log α, a dropout rate of 0.1. From 0.5, the first in the paper, ResNet-20 ends at 0.4 to 0.8 of the digits right at
# any strength: so much noise in every weight gives batch norms other variances than evaluation has.
_START = log(9)
_LOWEST, _HIGHEST = log(0.01), log(100)  # of log α, as in the authors' code


class _Gates(Learned):
    """Gates on the weights of a layer, whose learned numbers are log α; log u - log(1 - u) is drawn for each."""

    def __init__(self, like: Tensor) -> None:
        super().__init__(like, _START)
        self.chance: Tensor | None = None

    def forward(self, weight: Tensor) -> Tensor:
        """The weights that act now."""
        if not self.training or self.chance is None:
            return weight * stretched(self.values)
        return weight * stretched((self.values + self.chance) / _BETA)


def stretched(logits: Tensor) -> Tensor:
    """The gate of what goes into the sigmoid."""
    return (torch.sigmoid(logits) * (_ZETA - _GAMMA) + _GAMMA).clamp(0, 1)


def chance_of_open(log_alpha: Tensor) -> Tensor:
    """How likely a gate is not zero (equation 12 of the paper)."""
    return torch.sigmoid(log_alpha - _SHIFT)


def _gates_in(model: nn.Module) -> Iterator[_Gates]:
    return (part for part in model.modules() if isinstance(part, _Gates))


def draw(model: nn.Module, _: object) -> None:
    """Draw for every gate, before a pass of the network in training; evaluation draws nothing."""
    if model.training:
        for gates in _gates_in(model):
            gates.chance = torch.logit(torch.rand_like(gates.values), eps=1e-6)


def course(setting: Setting) -> Course:
    """Gates on all weights, learned from the first step with the penalty at its full strength."""
    total, weight = steps_of(setting), weight_of_penalty(setting)

    def prepare(model: nn.Module) -> None:
        put_on(model, setting, _Gates)
        model.register_forward_pre_hook(draw)

    @torch.no_grad()
    def penalise(model: nn.Module, _: float) -> None:
        for gates in _gates_in(model):
            is_open = chance_of_open(gates.values)
            slope = weight * is_open * (1 - is_open)
            slope = slope if gates.values.grad is None else slope + gates.values.grad
            gates.move(slope, total, _LOWEST, _HIGHEST)

    return Course(prepare, penalise, plain=lambda model: plain_twin(model, setting.space))


def scores(evidence: Evidence) -> Scores:
    """|w| with the gates as they are in evaluation: zero where one is closed.

    The gate alone decides what goes by itself. Where a budget asks for more, most gates that are open are so with about
    the same chance, so that the weights behind them are compared. The network may have its gates, or be plain.
    """
    layers = evidence.costs.layers.layers
    own = dict(evidence.model.named_parameters())
    return {
        layer.name: own[layer.name].detach().abs()
        if layer.name in own
        else _at_rest(*part_on(evidence.model, layer.name)).abs()
        for layer in layers
    }


def _at_rest(gates: _Gates, weight: Tensor) -> Tensor:
    return weight.detach() * stretched(gates.values.detach())


L0 = PatternMethod(
    name="l0",
    summary="random gates on every weight, learned with a penalty on how many are open",
    citation="Louizos et al., Learning Sparse Neural Networks through L0 Regularization, ICLR 2018",
    scores=scores,
    course=course,
    scopes=("global",),
    # ResNet-20 on digits at the recipe's 20 epochs (0.98 right without gates): 0.1 closes 82 % of the gates at 0.90,
    # 0.05 69 % at 0.89, 0.03 55 % at 0.89, 0.01 32 % at 0.93.
    strength=0.1,
    zero=0.0,
)
