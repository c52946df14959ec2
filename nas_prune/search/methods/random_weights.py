"""Factors on the channels of a network whose random weights stay as they are: pruning from scratch (Wang et al. 2020).

The penalty is λ (m - r)², m the mean of all factors of the network and r a target: it says how much is to be kept and
leaves it to the loss which factors that is. The factors move by Adam, whatever the recipe says, and stay in [0, 1].
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nas_prune.search.methods.contract import Penalty, PenaltyTarget, Sparsity, WidthMethod
from nas_prune.search.methods.layer_channels import ASKS_TO_GATE, can_gate
from nas_prune.search.methods.learned_gates import Gates, gates_of, put_in, scores, taken_out
from nas_prune.space.search_space import SearchSpace

_START, _STRENGTH, _RATE = (
    1.0,
    0.5,
    0.01,
)  # as in the authors' code (github.com/frankwang345/pruning-from-scratch)
_TARGET = 0.5  # of the mean; see `WidthMethod` below
_FIRST, _SECOND, _SMALL = 0.9, 0.999, 1e-8  # Adam's, as PyTorch has them


class AdamGates(Gates):
    """Factors with Adam's two moments, and how many steps they have taken."""

    def __init__(self, space: SearchSpace, columns: Sequence[int], start: float) -> None:
        super().__init__(space, columns, start)
        for number, factor in enumerate(self.factors):
            self.register_buffer(f"square_{number}", torch.zeros_like(factor, requires_grad=False))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def mean(self) -> Tensor:
        """The mean of all factors of the network."""
        return torch.cat([factor.detach().flatten() for factor in self.factors]).mean()


def penalty(target: PenaltyTarget) -> Penalty:
    """One step of Adam on every factor, down the loss plus λ (mean of all factors - r)²."""

    @torch.no_grad()
    def step(model: nn.Module, _: float) -> None:
        gates = gates_of(model)
        assert isinstance(gates, AdamGates)
        count = sum(factor.numel() for factor in gates.factors)
        pull = 2 * target.strength * (gates.mean() - _TARGET) / count
        steps = gates.get_buffer("steps").add_(1).item()
        for number, (factor, first) in enumerate(gates.moving()):
            if factor.grad is None:
                continue
            slope, second = factor.grad + pull, gates.get_buffer(f"square_{number}")
            first.lerp_(slope, 1 - _FIRST)
            second.lerp_(slope.square(), 1 - _SECOND)
            spread = (second / (1 - _SECOND**steps)).sqrt_().add_(_SMALL)
            factor.sub_(first / spread, alpha=_RATE / (1 - _FIRST**steps)).clamp_(0, 1)
            factor.grad = None

    return step


def prepare(model: nn.Module, space: SearchSpace, columns: Sequence[int]) -> None:
    """Hold all weights of a network as they are and put factors of 1 on its channels, in place."""
    model.requires_grad_(requires_grad=False)
    put_in(model, space, AdamGates(space, columns, _START))


RANDOM_WEIGHTS = WidthMethod(
    name="random-weights",
    summary="factors learned on a network whose random weights stay as they are, their mean pulled to a half",
    scope="global",
    citation="Wang et al., Pruning from Scratch, AAAI 2020",
    scores=scores,
    can_score=can_gate,
    asks=ASKS_TO_GATE,
    sparsity=Sparsity(
        prepare,
        penalty,
        without_gates=taken_out,
        strength=lambda _enough, _space: _STRENGTH,
        optimizers=("sgd", "adamw"),  # its own steps, at a rate of their own
    ),
    is_cheap=True,
    zero=0.0,
)
