"""What a training resumes from: network, optimiser, moving average, progress, and random state."""

import copy
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nas_prune.training.recipe import Recipe


@dataclass(slots=True)
class Sums:
    """Over the steps of an epoch so far: losses times images, and right answers."""

    loss: Tensor
    hits: Tensor

    @staticmethod
    def nothing(device: torch.device) -> "Sums":
        """Before the first step."""
        return Sums(
            torch.zeros((), dtype=torch.float64, device=device),
            torch.zeros((), dtype=torch.int64, device=device),
        )


@dataclass(frozen=True, slots=True)
class RngState:
    """The state of every generator of random numbers that a network might use.

    Attributes:
        torch: PyTorch's, on the CPU.
        device: that of the training's CUDA device; None on the CPU.
        python: of `random`, as plain JSON.
        numpy: of `numpy.random`, as plain JSON.
    """

    torch: Tensor
    device: Tensor | None
    python: list[Any]
    numpy: list[Any]


@dataclass(slots=True)
class TrainState:
    """What a training resumes from.

    Attributes:
        model: the network.
        optimiser: with the momentum of each parameter.
        average: a network whose weights are the moving average, where the recipe wants one.
        epochs_done: whole epochs.
        steps_done: steps of the epoch after them.
        sums: over these steps; None before the first.
        rng_state: the random state within the epoch; None at its beginning.
    """

    model: nn.Module
    optimiser: torch.optim.SGD
    average: nn.Module | None = None
    epochs_done: int = 0
    steps_done: int = 0
    sums: Sums | None = None
    rng_state: RngState | None = None

    @property
    def trained(self) -> nn.Module:
        """The network that is evaluated and kept."""
        return self.model if self.average is None else self.average


def start(model: nn.Module, recipe: Recipe) -> TrainState:
    """The state before the first epoch."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    weights = [parameter for parameter in parameters if recipe.decay_norms or parameter.dim() > 1]
    vectors = [parameter for parameter in parameters if not recipe.decay_norms and parameter.dim() <= 1]
    groups: list[dict[str, Any]] = [{"params": weights}, {"params": vectors, "weight_decay": 0.0}]
    optimiser = torch.optim.SGD(
        groups,
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    average = copy.deepcopy(model).requires_grad_(requires_grad=False) if recipe.average is not None else None
    return TrainState(model, optimiser, average)


def moved_by_recipe(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that the recipe moves: not those of modules that say they have steps of their own."""
    own = {
        id(parameter)
        for module in model.modules()
        if getattr(module, "has_own_steps", False)
        for parameter in module.parameters()
    }
    return [parameter for parameter in model.parameters() if id(parameter) not in own]


def lay_out_channels_last(state: TrainState) -> None:
    """Store weights, their momentum and their average in channels-last layout, in place.

    All three together: a fused step reads the memory of weight and momentum in the same order and ignores strides.
    """
    for network in (state.model, state.average):
        if network is not None:
            network.to(memory_format=torch.channels_last)
    for parameter, kept in state.optimiser.state.items():
        momentum = kept.get("momentum_buffer")
        if momentum is not None:
            kept["momentum_buffer"] = torch.empty_like(parameter, requires_grad=False).copy_(momentum)


@torch.no_grad()
def move_average(state: TrainState, decay: float, step: int) -> None:
    """Add the weights of one more step to the moving average.

    Integers are copied, and so is what has steps of its own: the average of a factor is never exactly zero.
    """
    assert state.average is not None
    weight = 1 - min(decay, (1 + step) / (10 + step))
    averages, tensors = _tensors(state.average), _tensors(state.model)
    moved = {id(tensor) for tensor in (*moved_by_recipe(state.model), *state.model.buffers())}
    is_taken = [tensor.is_floating_point() and id(tensor) in moved for tensor in tensors]
    fractions = [number for number, taken in enumerate(is_taken) if taken]
    torch._foreach_lerp_(
        [averages[number] for number in fractions], [tensors[number] for number in fractions], weight
    )
    for mean, tensor, taken in zip(averages, tensors, is_taken, strict=True):
        if not taken:
            mean.copy_(tensor)


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]


def rng_state_now(device: torch.device) -> RngState:
    """The generators as they are."""
    version, numbers, gauss = random.getstate()
    name, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002  (a network may use it)
    assert not isinstance(keys, int)
    return RngState(
        torch.get_rng_state(),
        torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        [version, list(numbers), gauss],
        [name, [int(key) for key in keys], *rest],
    )


def set_rng_state(rng_state: RngState, device: torch.device) -> None:
    """Set the generators to an earlier state."""
    torch.set_rng_state(rng_state.torch)
    if rng_state.device is not None:
        torch.cuda.set_rng_state(rng_state.device, device)
    version, numbers, gauss = rng_state.python
    random.setstate((version, tuple(numbers), gauss))
    name, keys, *rest = rng_state.numpy
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))  # noqa: NPY002


def check_rng_state(rng_state: RngState) -> None:
    """Refuse what is no state of generators, without setting any.

    Raises:
        Exception: whatever Python, numpy and PyTorch raise.
    """
    torch.Generator().set_state(rng_state.torch)
    version, numbers, gauss = rng_state.python
    random.Random().setstate((version, tuple(numbers), gauss))  # noqa: S311
    name, keys, *rest = rng_state.numpy
    np.random.RandomState().set_state((name, np.array(keys, dtype=np.uint32), *rest))


@contextmanager
def seeded_rng(seed: int, device: torch.device) -> Iterator[None]:
    """Seed all generators for what runs inside the block, then restore them."""
    before = rng_state_now(device)
    _seed(seed, [device] if device.type == "cuda" else [])
    try:
        yield
    finally:
        set_rng_state(before, device)


def _seed(seed: int, devices: Sequence[torch.device]) -> None:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.default_generator.manual_seed(seed)
    for device in devices:
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
