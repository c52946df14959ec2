"""What a training resumes from: network, optimiser, moving average, progress, and random state."""

import copy
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nas_prune.training.optimiser import lay_out_as_weights, optimiser_for
from nas_prune.training.recipe import Recipe


@dataclass(slots=True)
class Sums:
    """Over the steps of an epoch so far: losses times images, and right answers (parts of them for mixed images)."""

    loss: Tensor
    hits: Tensor

    @staticmethod
    def nothing(device: torch.device) -> "Sums":
        """Before the first step."""
        return Sums(
            torch.zeros((), dtype=torch.float64, device=device),
            torch.zeros((), dtype=torch.float64, device=device),
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


@dataclass(frozen=True, slots=True)
class Best:
    """The network of the best epoch so far, by validation.

    Attributes:
        epoch: its number, from 1.
        accuracy: on the validation part, a share in [0, 1]; the best of all epochs.
        loss: there; the smallest of the epochs with this accuracy.
        risen_at: the first epoch with this accuracy.
        weights: of the network that is evaluated and kept, with its buffers.
    """

    epoch: int
    accuracy: float
    loss: float
    risen_at: int
    weights: Mapping[str, Tensor]


@dataclass(slots=True)
class TrainState:
    """What a training resumes from.

    Attributes:
        model: the network.
        optimiser: with what it keeps for each parameter.
        average: a network whose weights are the moving average, where the recipe wants one.
        keeps_best: whether the best epoch's network is kept beside the last one.
        epochs_done: whole epochs.
        steps_done: steps of the epoch after them.
        sums: over these steps; None before the first.
        rng_state: the random state within the epoch; None at its beginning.
        best: the best epoch's network; None before the first, or where it is not kept.
    """

    model: nn.Module
    optimiser: torch.optim.Optimizer
    average: nn.Module | None = None
    keeps_best: bool = False
    epochs_done: int = 0
    steps_done: int = 0
    sums: Sums | None = None
    rng_state: RngState | None = None
    best: Best | None = None

    @property
    def trained(self) -> nn.Module:
        """The network that is evaluated after every epoch."""
        return self.model if self.average is None else self.average


def start(model: nn.Module, recipe: Recipe) -> TrainState:
    """The state before the first epoch."""
    average = copy.deepcopy(model).requires_grad_(requires_grad=False) if recipe.average is not None else None
    return TrainState(model, optimiser_for(model, recipe), average, keeps_best=recipe.keep == "best")


def note_epoch(state: TrainState, accuracy: float, loss: float) -> None:
    """Keep the network of the epoch that has just been evaluated, if it is to be kept and is the best so far."""
    best = state.best
    if not state.keeps_best or (best is not None and (accuracy, -loss) <= (best.accuracy, -best.loss)):
        return
    has_risen = best is None or accuracy > best.accuracy
    risen_at = state.epochs_done if has_risen or best is None else best.risen_at
    weights = {name: tensor.detach().clone() for name, tensor in state.trained.state_dict().items()}
    state.best = Best(state.epochs_done, accuracy, loss, risen_at, weights)


def has_stalled(state: TrainState, recipe: Recipe) -> bool:
    """Whether the validation accuracy has not risen for as long as the recipe has patience."""
    if recipe.patience is None or state.best is None:
        return False
    return state.epochs_done - state.best.risen_at >= recipe.patience


def take_best(state: TrainState) -> int | None:
    """Give the network that is kept the weights of the best epoch, in place; its number, None for the last epoch's."""
    if state.best is None:
        return None
    state.trained.load_state_dict(dict(state.best.weights))
    return state.best.epoch


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
    """Store weights, what the optimiser keeps for them and their average in channels-last layout, in place."""
    for network in (state.model, state.average):
        if network is not None:
            network.to(memory_format=torch.channels_last)
    lay_out_as_weights(state.optimiser)


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
