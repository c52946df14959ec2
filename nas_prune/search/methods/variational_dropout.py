"""Noise on channels whose strength is learned: sparse variational dropout (Molchanov et al. 2017), on channels.

A factor on a channel is normal with mean μ and variance σ²; its dropout rate is α = σ² / μ². A prior that favours no
scale pulls α up, the loss holds it down where the channel matters. In evaluation a factor is μ.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import softplus

from nas_prune.search.methods.contract import Evidence, Penalty, PenaltyTarget, Sparsity, WidthMethod
from nas_prune.search.methods.drawn_gates import DrawnGates, put_in_drawn
from nas_prune.search.methods.layer_channels import ASKS_TO_GATE, can_gate
from nas_prune.search.methods.learned_gates import MOMENTUM, gates_of, stepping, taken_out
from nas_prune.space.scores import Scores
from nas_prune.space.search_space import SearchSpace

_K1, _K2, _K3 = 0.63576, 1.87320, 1.48695  # section 4.2 of the paper
_SMALL = 1e-8
_DROPPED = 3.0  # log α from which the paper treats a weight as zero (α > 20: it is mostly noise)
_START = -5.0  # of log σ², and of log α as μ starts at 1: noise of 8 %
_LOWEST, _HIGHEST = -10.0, 3.0  # of log σ²


class _Noisy(DrawnGates):
    """Factors whose parameters are two rows, μ and log σ²; noise is drawn for each channel of each image."""

    def at_rest(self, column: int) -> Tensor:
        mean: Tensor = self.factors[self.columns.index(column)][0]
        return mean

    def moved(self, factor: Tensor, chance: Tensor) -> Tensor:
        return factor[0] + (factor[1] / 2).exp() * chance

    def drawn(self, factor: Tensor, images: int) -> Tensor:
        return torch.randn(images, factor.shape[1], dtype=factor.dtype, device=factor.device)


def prepare(model: nn.Module, space: SearchSpace, columns: Sequence[int]) -> None:
    """Give a network factors of mean 1 and little noise, in place."""
    put_in_drawn(model, space, _Noisy(space, columns, start=(1.0, _START)))


def divergence(log_alpha: Tensor) -> Tensor:
    """How far factors of a dropout rate are from the prior, up to a constant (equation 14 of the paper)."""
    return _K1 - _K1 * torch.sigmoid(_K2 + _K3 * log_alpha) + 0.5 * softplus(-log_alpha)


def log_rate(factor: Tensor) -> Tensor:
    """Log α of a group's factors."""
    return factor[1] - (factor[0] ** 2 + _SMALL).log()


def penalty(target: PenaltyTarget) -> Penalty:
    """One step of gradient descent with momentum on every μ and log σ², with λ times the sum of divergences."""

    def step(factor: nn.Parameter, velocity: Tensor, slope: Tensor, rate: float) -> None:
        velocity.mul_(MOMENTUM).sub_(slope + target.strength * _slope(factor), alpha=rate)
        factor.add_(velocity)
        factor[1].clamp_(_LOWEST, _HIGHEST)

    return stepping(step)


def _slope(factor: Tensor) -> Tensor:
    """The slopes of the divergence in μ and log σ²."""
    log_alpha = log_rate(factor)
    is_open = torch.sigmoid(_K2 + _K3 * log_alpha)
    by_log_alpha = -_K1 * _K3 * is_open * (1 - is_open) - 0.5 * torch.sigmoid(-log_alpha)
    return torch.stack([by_log_alpha * -2 * factor[0] / (factor[0] ** 2 + _SMALL), by_log_alpha])


def scores(evidence: Evidence) -> Scores:
    """3 - log α of each channel: what the paper treats as zero is at zero or below."""
    gates = gates_of(evidence.model)

    def of_column(column: int) -> NDArray[np.float64]:
        factor = gates.factors[gates.columns.index(column)]
        return (_DROPPED - log_rate(factor.detach().double())).cpu().numpy()

    return evidence.for_each(of_column)


VARIATIONAL_DROPOUT = WidthMethod(
    name="variational-dropout",
    summary="noise on every channel, its strength learned; the channels that bear most noise go",
    scope="global",
    citation="Molchanov et al., Variational Dropout Sparsifies Deep Neural Networks, ICML 2017",
    scores=scores,
    can_score=can_gate,
    asks=ASKS_TO_GATE,
    # Where noise is little the slope in μ is 1/μ, which takes a μ that nothing else moves from 1 to zero within 1/2. On
    # digits this strength leaves a network near its full accuracy and drops a fifth of its channels; half of it drops
    # none, twice as much costs a tenth of the images.
    sparsity=Sparsity(prepare, penalty, distance=0.5, without_gates=taken_out, momentum=MOMENTUM),
    is_cheap=True,
    zero=0.0,
)
