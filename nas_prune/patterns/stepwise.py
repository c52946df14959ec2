"""Removing weights while a network trains: some at a time, the rest scored again.

Which weights have gone is kept in the network as buffers, so that a checkpoint holds them; after each step of the
optimiser they are set to zero again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import log

import torch
from torch import Tensor, nn

from nas_prune.patterns.cut import Scores, cut_weights
from nas_prune.patterns.layers import WeightLayer
from nas_prune.patterns.methods.contract import Course, Setting
from nas_prune.space.budget import Budget
from nas_prune.training.masks import Masks, masked
from nas_prune.training.state import TrainState

_NAME = "weight_masks"
_FIRST, _LAST = 0.4, 0.8  # of the epochs: between them weights go in several steps
_GRADUAL_FIRST, _GRADUAL_LAST, _UPDATES = 0.1, 0.75, 60


class HeldMasks(nn.Module):
    """Which weights of a network are still there.

    The recipe's moving average copies them, as it does all that is no fraction.
    """

    def __init__(self, layers: Sequence[WeightLayer]) -> None:
        super().__init__()
        self.names = tuple(layer.name for layer in layers)
        for number, layer in enumerate(layers):
            self.register_buffer(f"mask_{number}", torch.ones(layer.shape, dtype=torch.bool))

    def forward(self, x: Tensor) -> Tensor:
        """Nothing happens here: a network that is an `nn.Sequential` calls all that it holds."""
        return x

    def masks(self) -> dict[str, Tensor]:
        """By a parameter's name."""
        return {name: self.get_buffer(f"mask_{number}") for number, name in enumerate(self.names)}

    def set(self, masks: Masks) -> None:
        """Leave out what these masks leave out."""
        for name, buffer in self.masks().items():
            buffer.copy_(masks[name])


def held_in(model: nn.Module) -> HeldMasks:
    """The masks that were put into a network."""
    held = model.get_submodule(_NAME)
    assert isinstance(held, HeldMasks)
    return held


def taken_out(model: nn.Module) -> nn.Module:
    """The network without them, in place; its weights are zero where they left one out."""
    masked(model, held_in(model).masks())
    delattr(model, _NAME)
    return model


def stepwise(
    setting: Setting, bound_after: Mapping[int, Budget], scores: Callable[[nn.Module], Scores]
) -> Course:
    """A course in which weights go after some steps.

    Args:
        setting: the training.
        bound_after: what the weights that stay may cost from a step on, by the number of steps that are done.
        scores: of the weights of a network; those that have gone are left out whatever they score.
    """

    def prepare(model: nn.Module) -> None:
        device = next(model.parameters()).device
        model.add_module(_NAME, HeldMasks(setting.costs.layers.layers).to(device))

    @torch.no_grad()
    def after_step(state: TrainState) -> None:
        held = held_in(state.model)
        bound = bound_after.get(setting.step_of(state) + 1)
        masked(state.model, held.masks())
        if bound is not None:
            there = held.masks()
            with torch.enable_grad():
                found = scores(state.model)
            left = {name: _lowest_if_gone(found[name], there[name]) for name in found}
            held.set(cut_weights(setting.costs, left, bound).masks)
            masked(state.model, held.masks())
        if state.average is not None:
            held_in(state.average).set(held.masks())
            masked(state.average, held.masks())

    return Course(prepare, after_step=after_step, plain=taken_out)


def _lowest_if_gone(scores: Tensor, mask: Tensor) -> Tensor:
    own = mask.to(scores.device)
    return torch.where(own, scores.double(), torch.full_like(scores, float("-inf"), dtype=torch.float64))


def in_steps(setting: Setting, iterations: int) -> dict[int, Budget]:
    """The bounds of so many steps, evenly between two and four fifths of the training; costs fall by one factor.

    The rest of the training is what Han et al. call retraining.
    """
    first, last = _between(setting)
    return {
        round(first + (last - first) * (step - 1) / max(1, iterations - 1)): bound_at(
            setting, partial(falling, step / iterations)
        )
        for step in range(1, iterations + 1)
    }


def most_steps(setting: Setting) -> int:
    """In how many steps weights can go, no two at the same time."""
    first, last = _between(setting)
    return last - first + 1


def _between(setting: Setting) -> tuple[int, int]:
    total = setting.epochs * setting.steps_per_epoch
    first = max(1, round(_FIRST * total))
    return first, max(first, round(_LAST * total))


def falling(done: float, limit: float, whole: float) -> float:
    """A cost between the whole network's and the limit that falls by equal factors.

    Example:
        >>> falling(0.5, 1.0, 100.0)
        10.0
    """
    return whole * float((limit / whole) ** done)


def gradually(setting: Setting) -> dict[int, Budget]:
    """Bounds of a cubic schedule: costs fall quickly at first, slowly when few weights are left.

    Source: Zhu and Gupta 2017, equation 1.
    """
    total = setting.epochs * setting.steps_per_epoch
    first, last = _GRADUAL_FIRST * total, _GRADUAL_LAST * total
    found: dict[int, Budget] = {}
    for update in range(1, _UPDATES + 1):
        step = max(1, round(first + (last - first) * update / _UPDATES))
        found[step] = bound_at(setting, partial(_cubic, update / _UPDATES))
    return found


def _cubic(done: float, limit: float, whole: float) -> float:
    return limit + (whole - limit) * (1 - done) * (1 - done) * (1 - done)


def bound_at(setting: Setting, cost: Callable[[float, float], float]) -> Budget:
    """A budget on the costs that the final one bounds, each between the whole network's and its own.

    Args:
        setting: the training, with the final budget.
        cost: of the final limit and of the whole network's cost.
    """
    whole, parts = setting.costs.whole, []
    for bound in setting.budget.bounds:
        limit = setting.costs.limit(bound)
        parts.append(
            Budget(bound.kind, absolute=max(limit, round(cost(float(limit), float(whole.of(bound.kind))))))
        )
    return replace(parts[0], more=tuple(parts[1:]))


def rounds_for(share: float, removed: float = 0.2) -> int:
    """How many rounds leave a share, if each removes a part of what is left.

    Example:
        >>> rounds_for(0.5), rounds_for(0.8)
        (4, 1)
    """
    return max(1, -int(-round(log(share) / log(1 - removed), 6) // 1))
