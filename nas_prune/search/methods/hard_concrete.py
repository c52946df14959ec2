"""Gates that are drawn at every step and may be exactly zero: L0 regularisation (Louizos et al. 2018), on channels.

A gate is a hard concrete variable: s = sigmoid((log u - log(1 - u) + log α) / β) with u uniform, stretched to
(γ, ζ) = (-0.1, 1.1) and cut back to [0, 1]. The penalty is the expected number of gates that are not zero,
Σ sigmoid(log α - β log(-γ / ζ)). In evaluation a gate is its cut-back, stretched sigmoid(log α).
"""

from collections.abc import Sequence
from math import exp, log

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_prune.search.methods.contract import Evidence, Penalty, PenaltyTarget, Sparsity, WidthMethod
from nas_prune.search.methods.drawn_gates import DrawnGates, put_in_drawn
from nas_prune.search.methods.layer_channels import ASKS_TO_GATE, can_gate
from nas_prune.search.methods.learned_gates import MOMENTUM, gates_of, stepping, taken_out
from nas_prune.space.scores import Scores
from nas_prune.space.search_space import SearchSpace

_BETA, _GAMMA, _ZETA = 2 / 3, -0.1, 1.1
_CLOSED = log(-_GAMMA / _ZETA)  # the log α below which a gate is zero in evaluation
_SHIFT = _BETA * _CLOSED
_LOWEST, _HIGHEST = log(0.01), log(100)  # of log α, as in the authors' code


class _HardConcrete(DrawnGates):
    """Gates whose parameters are log α; log u - log(1 - u) is drawn for each."""

    def at_rest(self, column: int) -> Tensor:
        return _stretched(self.factors[self.columns.index(column)])

    def moved(self, factor: Tensor, chance: Tensor) -> Tensor:
        return _stretched((factor + chance) / _BETA)

    def drawn(self, factor: Tensor, _: int) -> Tensor:
        return torch.logit(torch.rand_like(factor), eps=1e-6)


def _stretched(logits: Tensor) -> Tensor:
    return (torch.sigmoid(logits) * (_ZETA - _GAMMA) + _GAMMA).clamp(0, 1)


def prepare(model: nn.Module, space: SearchSpace, columns: Sequence[int]) -> None:
    """Give a network gates that are open five times in six, in place."""
    put_in_drawn(model, space, _HardConcrete(space, columns, start=0.0))


def penalty(target: PenaltyTarget) -> Penalty:
    """One step of gradient descent with momentum on every log α, with λ times the expected number of open gates."""

    def step(log_alpha: nn.Parameter, velocity: Tensor, slope: Tensor, rate: float) -> None:
        is_open = chance_of_open(log_alpha)
        velocity.mul_(MOMENTUM).sub_(slope + target.strength * is_open * (1 - is_open), alpha=rate)
        log_alpha.add_(velocity).clamp_(_LOWEST, _HIGHEST)

    return stepping(step)


def chance_of_open(log_alpha: Tensor) -> Tensor:
    """How likely a gate is not zero (equation 12 of the paper)."""
    return torch.sigmoid(log_alpha - _SHIFT)


def scores(evidence: Evidence) -> Scores:
    """How likely each channel's gate is not zero."""
    gates = gates_of(evidence.model)

    def of_column(column: int) -> NDArray[np.float64]:
        log_alpha = gates.factors[gates.columns.index(column)]
        return chance_of_open(log_alpha.detach().double()).cpu().numpy()

    return evidence.for_each(of_column)


L0 = WidthMethod(
    name="l0",
    summary="random gates on every channel, learned with a penalty on how many are open",
    scope="global",
    citation="Louizos et al., Learning Sparse Neural Networks through L0 Regularization, ICLR 2018",
    scores=scores,
    can_score=can_gate,
    asks=ASKS_TO_GATE,
    # Half of the way from log α = 0 to where a gate is zero, log(1/11); the slope of the penalty is a quarter at most.
    # On digits a strength that closes all gates leaves a network at chance; this one leaves it at full accuracy.
    sparsity=Sparsity(prepare, penalty, distance=log(11) / 2, without_gates=taken_out, momentum=MOMENTUM),
    is_cheap=True,
    zero=1 / (1 + exp(_SHIFT - _CLOSED)),
)
