"""What methods put on the weights of layers while a network trains, and taking it off again."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from nas_prune.patterns.methods.contract import Setting
from nas_prune.space.search_space import SearchSpace

_TRAVEL = 30.0  # how far steps of one direction take a learned number over a training
_BETAS, _EPS = (0.9, 0.999), 1e-8


class Learned(nn.Module):
    """One learned number for each weight of a layer, and what Adam keeps for it.

    The loss's slope in such a number is tiny beside that in a weight, and its size differs by layers, so Adam moves
    them, as in both papers. These steps are their own: the recipe's clipping and moving average leave them out.
    """

    has_own_steps = True

    def __init__(self, like: Tensor, start: float) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.full_like(like, start, requires_grad=False))
        for name in ("mean", "square"):
            self.register_buffer(name, torch.zeros_like(like, requires_grad=False))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64, device=like.device))

    def share_done(self, total: int) -> Tensor:
        """How much of so many steps is done, as a tensor: a device would have to wait for a number."""
        return self.get_buffer("steps") / total

    def move(self, slope: Tensor, total: int, lowest: float, highest: float) -> None:
        """One step of Adam, whose size falls linearly to zero over the training, in place.

        Args:
            slope: of the loss and the penalty together, one for each weight.
            total: steps of the training; their sizes sum to `_TRAVEL` at any length.
            lowest: below this no number falls.
            highest: above this none rises.
        """
        steps, mean, square = (self.get_buffer(name) for name in ("steps", "mean", "square"))
        size = 2 * _TRAVEL / total * (1 - self.share_done(total)).clamp_min(0)
        steps += 1
        mean.lerp_(slope, 1 - _BETAS[0])
        square.lerp_(slope.square(), 1 - _BETAS[1])
        first, second = (1 - torch.pow(beta, steps) for beta in _BETAS)
        self.values.sub_(size / first * mean / ((square / second).sqrt() + _EPS)).clamp_(lowest, highest)
        self.values.grad = None  # the recipe's optimiser passes it over


def weight_of_penalty(setting: Setting) -> float:
    """The method's strength for each training image."""
    assert setting.strength is not None
    return setting.strength / setting.num_images


def steps_of(setting: Setting) -> int:
    """Of the whole training."""
    return setting.epochs * setting.steps_per_epoch


def holders(model: nn.Module, name: str) -> list[tuple[nn.Module, str]]:
    """Each module that has a parameter, and what it calls it: several where layers share a weight."""
    parameter = model.get_parameter(name)
    return [
        (module, key)
        for module in model.modules()
        for key, own in module._parameters.items()  # noqa: SLF001  (`named_parameters` gives a shared one once)
        if own is parameter
    ]


def put_on(model: nn.Module, setting: Setting, make: Callable[[Tensor], nn.Module]) -> None:
    """Let what a function makes for a weight stand between it and the layers that use it, in place."""
    for layer in setting.costs.layers.layers:
        part = make(model.get_parameter(layer.name).detach())
        for module, key in holders(model, layer.name):
            parametrize.register_parametrization(module, key, part, unsafe=True)


def part_on(model: nn.Module, name: str) -> tuple[Any, nn.Parameter]:
    """What `put_on` put on a parameter, by the name that it had, and the parameter itself."""
    path, _, key = name.rpartition(".")
    parts: Any = model.get_submodule(path).parametrizations
    return parts[key][0], parts[key].original


def plain_twin(model: nn.Module, space: SearchSpace) -> nn.Module:
    """A network of the space's own parameters with the weights that a changed one has in evaluation."""
    network = space.build(seed=0, device=next(model.parameters()).device)
    own, was_training = model.state_dict(), model.training
    model.eval()
    found = {name: own[name] if name in own else _value(model, name) for name in network.state_dict()}
    network.load_state_dict(found)
    return network.train(was_training)


def _value(model: nn.Module, name: str) -> Tensor:
    path, _, key = name.rpartition(".")
    value: Tensor = getattr(model.get_submodule(path), key)
    return value.detach()
