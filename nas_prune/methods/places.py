"""Where the channels of a group lie in the layers that write, normalise and read them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_prune.graph.axes import Atom, Axis, atoms_of, channel_at
from nas_prune.graph.record import BARE_NORM
from nas_prune.space import SearchSpace

_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)  # noqa: SLF001
_PRODUCERS = (nn.modules.conv._ConvNd, nn.Linear)  # noqa: SLF001


@dataclass(frozen=True, slots=True)
class Place:
    """A layer, and which channel of a group lies at each of its output (or input) channels; -1 where none does."""

    path: str
    channels: NDArray[np.int64]


def gate_places(space: SearchSpace, column: int) -> list[Place]:
    """Where a factor on each channel must act so that a factor of zero makes the channel dead.

    On the output of every norm that holds the channels; and where some layer reads them without a norm, on that of
    every convolution and linear layer that writes them too.
    """
    group = space.groups[column]
    kinds = ("norm", BARE_NORM) if group.is_gated else ("norm", BARE_NORM, "conv", "linear")
    return list(_holding(space, column, kinds))


def writers(space: SearchSpace, column: int) -> list[Place]:
    """The convolutions and linear layers that write the channels."""
    return list(_holding(space, column, ("conv", "linear")))


def readers(space: SearchSpace, column: int) -> list[Place]:
    """The convolutions and linear layers that read the channels and write others."""
    atom = _atom(space, column)
    found: dict[str, Place] = {}
    for layer in space.graph.layers:
        is_reader = layer.kind in ("conv", "linear") and atom in set(atoms_of(layer.read))
        if is_reader and atom not in set(atoms_of(layer.channels)):
            found.setdefault(layer.path, Place(layer.path, _at(space, layer.read, atom)))
    return list(found.values())


def _holding(space: SearchSpace, column: int, kinds: tuple[str, ...]) -> Iterator[Place]:
    atom = _atom(space, column)
    seen: set[str] = set()
    for layer in space.graph.layers:
        if layer.kind in kinds and layer.path not in seen and atom in set(atoms_of(layer.channels)):
            seen.add(layer.path)
            yield Place(layer.path, _at(space, layer.channels, atom))


def _atom(space: SearchSpace, column: int) -> Atom:
    return Atom(space.graph.searchable[column])


def _at(space: SearchSpace, axis: Axis, atom: Atom) -> NDArray[np.int64]:
    return channel_at(axis, atom, lambda other: space.graph.groups[other.index].size)


def are_modules(space: SearchSpace, places: list[Place], kinds: tuple[type[nn.Module], ...]) -> bool:
    """Whether all places are modules of certain kinds, which can be watched, and not functions of the network's own."""
    modules = dict(space.template.named_modules())
    return bool(places) and all(isinstance(modules.get(place.path), kinds) for place in places)


def can_gate(space: SearchSpace, column: int) -> bool:
    """Whether factors can be put on the channels of a group."""
    return are_modules(space, gate_places(space, column), (*_NORMS, *_PRODUCERS))


def can_watch_readers(space: SearchSpace, column: int) -> bool:
    """Whether what the readers of a group read can be watched."""
    return are_modules(space, readers(space, column), _PRODUCERS)


def channel_dim(module: nn.Module, output: Tensor, count: int) -> int:
    """Which dimension of a layer's input or output holds its channels.

    The second of convolutions, batch and group norms; the last of linear layers and layer norms, but for layer norms
    over the channels of maps (`LayerNorm2d`), which are told by their name where the sizes do not.
    """
    if isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
        fits = [dim for dim in (1, output.dim() - 1) if output.shape[dim] == count]
        is_map = "2d" in type(module).__name__.lower()
        return fits[0] if len(set(fits)) > 1 and is_map else fits[-1]
    return output.dim() - 1 if isinstance(module, nn.Linear) else 1
