"""Factors that are learned with the network: sparse structure selection, and what other learned factors share.

The factors are parameters of the network while it trains, so that a checkpoint holds them. They have steps of their
own, outside the recipe's optimiser: no weight decay acts on them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_prune.search.methods.contract import Evidence, Penalty, PenaltyTarget, Sparsity, WidthMethod
from nas_prune.search.methods.gates import Spot, multiplied, spots
from nas_prune.search.methods.layer_channels import ASKS_TO_GATE, can_gate, is_cardinality
from nas_prune.space.scores import Scores
from nas_prune.space.search_space import SearchSpace

_NAME = "width_gates"


class Gates(nn.Module):
    """One factor for each channel of each searched group (one for a block), and its velocity.

    Where more than one number makes a factor, `start` has each of them, and a group's parameters are so many rows.

    They move by steps of their own: the recipe's clipping and moving average leave them out.
    """

    has_own_steps = True

    def __init__(self, space: SearchSpace, columns: Sequence[int], start: float | Sequence[float]) -> None:
        super().__init__()
        self.columns = tuple(columns)
        first = torch.tensor(start)[..., None]
        sizes = [space.size_at(column) for column in self.columns]
        self.factors = nn.ParameterList(first.repeat_interleave(size, -1) for size in sizes)
        for number, factor in enumerate(self.factors):
            self.register_buffer(f"velocity_{number}", torch.zeros_like(factor, requires_grad=False))

    def forward(self, x: Tensor) -> Tensor:
        """Nothing happens here: a network that is an `nn.Sequential` calls all that it holds."""
        return x

    def of(self, column: int) -> Tensor:
        """The factors of one group as they act now: C, or N×C, one for each image."""
        return self.at_rest(column)

    def at_rest(self, column: int) -> Tensor:
        """The C factors of one group as they act in evaluation."""
        factors: Tensor = self.factors[self.columns.index(column)]
        return factors

    def moving(self) -> Iterator[tuple[nn.Parameter, Tensor]]:
        """Each group's factors with their velocity."""
        for number, factor in enumerate(self.factors):
            yield factor, self.get_buffer(f"velocity_{number}")


@dataclass(frozen=True)
class _Multiplier:
    """What a layer's output goes through; a deep copy of the network has one with its own factors."""

    spot: Spot
    gates: Gates

    def __call__(self, module: nn.Module, _: object, output: Tensor) -> Tensor:
        return multiplied(module, output, self.spot, [self.gates.of(column) for column in self.spot.columns])


def put_in(model: nn.Module, space: SearchSpace, gates: Gates) -> None:
    """Give a network factors on the channels of some groups, in place."""
    gates.to(next(model.parameters()).device)
    model.add_module(_NAME, gates)
    for spot in spots(space, gates.columns):
        model.get_submodule(spot.path).register_forward_hook(_Multiplier(spot, gates))


def gates_of(model: nn.Module) -> Gates:
    """The factors that were put into a network."""
    gates = model.get_submodule(_NAME)
    assert isinstance(gates, Gates)
    return gates


def taken_out(model: nn.Module, space: SearchSpace) -> nn.Module:
    """The network without factors: they are merged into its norms (or the layers they act on)."""
    gates, plain = gates_of(model), space.build(seed=0, device=next(model.parameters()).device)
    own = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(f"{_NAME}.")}
    plain.load_state_dict(own)
    with torch.no_grad():
        for spot in spots(space, gates.columns):
            module = plain.get_submodule(spot.path)
            for tensor in (module.weight, module.bias):
                if isinstance(tensor, Tensor):
                    factors = [gates.at_rest(column) for column in spot.columns]
                    tensor.copy_(multiplied(module, tensor, spot, factors, dim=_outputs(module)))
    return plain.train(model.training)


def _outputs(module: nn.Module) -> int:
    """Which dimension of a layer's weight its output channels are."""
    return int(isinstance(module, nn.modules.conv._ConvTransposeNd))  # noqa: SLF001


def scores(evidence: Evidence) -> Scores:
    """|factor| of each channel."""

    def of_column(column: int) -> NDArray[np.float64]:
        return gates_of(evidence.model).of(column).detach().abs().double().cpu().numpy()

    return evidence.for_each(of_column)


MOMENTUM = 0.9
_Step = Callable[[nn.Parameter, Tensor, Tensor, float], None]


def stepping(step: _Step) -> Penalty:
    """The function that moves all factors after each backward pass; the recipe's optimiser gets no gradient of them."""

    @torch.no_grad()
    def penalty(model: nn.Module, rate: float) -> None:
        for factor, velocity in gates_of(model).moving():
            if factor.grad is not None:
                step(factor, velocity, factor.grad, rate)
                factor.grad = None

    return penalty


def accelerated(target: PenaltyTarget) -> Penalty:
    """One step of the accelerated proximal gradient on each factor, as the paper's section 3.3 rewrites it.

    z = λ' - η ∇G(λ'), v ← S(z) - λ' + μ v, λ' ← S(z) + μ v with S the soft threshold at η γ, and then, as the
    authors' code does, no factor below zero.
    """

    def step(factor: nn.Parameter, velocity: Tensor, slope: Tensor, rate: float) -> None:
        moved = nn.functional.softshrink(factor - rate * slope, rate * target.strength)
        velocity.mul_(MOMENTUM).add_(moved - factor)
        factor.copy_(moved.add_(velocity, alpha=MOMENTUM).clamp_(min=0))

    return stepping(step)


def _ones(model: nn.Module, space: SearchSpace, columns: Sequence[int]) -> None:
    put_in(model, space, Gates(space, columns, 1.0))


SSS = WidthMethod(
    name="sss",
    summary="a factor on every channel, learned by accelerated proximal gradient with an L1 penalty",
    scope="global",
    citation="Huang and Wang, Data-Driven Sparse Structure Selection for Deep Neural Networks, ECCV 2018",
    scores=scores,
    can_score=can_gate,
    asks=ASKS_TO_GATE,
    sparsity=Sparsity(_ones, accelerated, distance=1.0, without_gates=taken_out, momentum=MOMENTUM),
    is_cheap=True,
    zero=0.0,
)
SSS_GROUPS = replace(
    SSS,
    name="sss-groups",
    summary="as sss, with a factor on every group of grouped convolutions (ResNeXt's cardinality)",
    can_score=lambda space, column: can_gate(space, column) and is_cardinality(space, column),
    asks="grouped convolutions with several channels in a group",
)
SSS_BLOCKS = replace(
    SSS,
    name="sss-blocks",
    summary="as sss, with a factor on every residual block; blocks go as a whole, widths stay",
    asks="residual blocks that give back what they are given when their last layer adds nothing",
    # A block needs a stronger penalty than a channel: on digits ten times this closes half of ResNet-20's blocks
    # within ten epochs, at full accuracy; once the distance closes none.
    sparsity=Sparsity(_ones, accelerated, distance=10.0, without_gates=taken_out, momentum=MOMENTUM),
    of="blocks",
)
