"""Several processes that train one network together, started by `torchrun`."""

import copy
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from nas_prune.data import Share
from nas_prune.errors import BadInputError


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that train together.

    Each takes its part of every batch; gradients are averaged so that a step is that of the whole batch. The statistics
    of batch norms are each process's own in training; what is evaluated and kept are those of rank 0.
    """

    rank: int = 0
    world: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and messages."""
        return self.rank == 0

    @property
    def share(self) -> Share:
        """Which part of every batch this process takes."""
        return Share(self.rank, self.world)

    def wrapped(self, model: nn.Module, images: Tensor) -> nn.Module:
        """The network, with gradients averaged over all processes; `images` are two or more it can run on."""
        if self.world == 1:
            return model
        return DistributedDataParallel(
            model,
            device_ids=[images.device.index] if images.device.type == "cuda" else None,
            find_unused_parameters=_leaves_some_unused(model, images),
            **_OWN_BUFFERS,
        )

    def add(self, *tensors: Tensor) -> None:
        """Sum tensors over all processes, in place."""
        if self.world > 1:
            for tensor in tensors:
                distributed.all_reduce(tensor)

    def take_buffers(self, model: nn.Module) -> None:
        """Give every process the buffers of rank 0, in place."""
        if self.world > 1:
            for buffer in model.buffers():
                distributed.broadcast(buffer, 0)

    def broadcast(self, text: str) -> str:
        """The text of rank 0, in every process."""
        if self.world == 1:
            return text
        told = [text]
        distributed.broadcast_object_list(told, 0)
        return told[0]

    def any(self, flag: bool) -> bool:  # noqa: FBT001
        """Whether some process says yes."""
        if self.world == 1:
            return flag
        said = torch.tensor([int(flag)], device="cuda" if distributed.get_backend() == "nccl" else "cpu")
        distributed.all_reduce(said)
        return bool(said)

    def check(self, batch_size: int, count: int) -> None:
        """Refuse batches of which a process would have fewer than two images.

        Raises:
            BadInputError: there are too many processes.
        """
        if self.world > 1 and min(batch_size // 2, count) < 2 * self.world:
            raise BadInputError(
                f"--batch-size must be at least {4 * self.world} for {self.world} processes, and images enough for it, "
                f"got {batch_size} and {count}. Start fewer with torchrun --nproc-per-node."
            )


ALONE = Ranks()
# each process normalises by its own part of the batch, and rank 0's running statistics are taken when they are used
_NAMES = signature(DistributedDataParallel).parameters
_OWN_BUFFERS: dict[str, Any] = {
    "forward_sync_buffers" if "forward_sync_buffers" in _NAMES else "broadcast_buffers": False
}


def _leaves_some_unused(model: nn.Module, images: Tensor) -> bool:
    """Whether some parameters get no gradient (auxiliary heads), which must be looked for at every step."""
    twin = copy.deepcopy(model).train()
    with torch.random.fork_rng(devices=[images.device] if images.device.type == "cuda" else []):
        main_output(twin(images)).sum().backward()
    return any(parameter.requires_grad and parameter.grad is None for parameter in twin.parameters())


def main_output(output: Any) -> Tensor:
    """A network's main output (auxiliary heads come after it)."""
    if isinstance(output, Mapping):  # as torchvision's segmentation networks have it: out, aux
        return main_output(next(iter(output.values())))
    scores: Tensor = output if isinstance(output, Tensor) else output[0]
    return scores


def refuse_several(command: str) -> None:
    """Refuse to run where `torchrun` has started several processes, for commands that train in one.

    Raises:
        BadInputError: it has.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1 and "RANK" in os.environ:
        raise BadInputError(
            f"nas-prune {command} must run in one process, got {world} by torchrun. Start it without."
        )


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """The processes that `torchrun` has started, or this one alone."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1 or "RANK" not in os.environ:
        yield ALONE
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Ranks(distributed.get_rank(), world)
    finally:
        distributed.destroy_process_group()
