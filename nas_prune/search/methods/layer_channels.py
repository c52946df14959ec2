"""Where the channels of a group lie in the layers that write, normalise and read them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_prune.graph.axes import Atom, Axis, atoms_of, channel_at, length
from nas_prune.graph.inputs import Forward
from nas_prune.graph.record import BARE_NORM
from nas_prune.graph.tensors import on_meta
from nas_prune.graph.trace import made_where_it_runs, slow_attention
from nas_prune.space.search_space import SearchSpace

_IMAGES = 37  # a number that no layer has channels of by chance
_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)  # noqa: SLF001
PLAIN_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_PRODUCERS = (nn.modules.conv._ConvNd, nn.Linear)  # noqa: SLF001
ASKS_TO_GATE = "norms, or convolutions and linear layers, that are modules"  # what `can_gate` looks for


@dataclass(frozen=True, slots=True)
class LayerChannels:
    """A layer, and which channel of a group lies at each of its output (or input) channels; -1 where none does."""

    path: str
    channels: NDArray[np.int64]


def gate_places(space: SearchSpace, column: int) -> list[LayerChannels]:
    """Where a factor on each channel must act so that a factor of zero makes the channel dead.

    On the output of every norm that holds the channels; and where some layer reads them without a norm, on that of
    every convolution and linear layer that writes them too. That holds where the operations between keep zero at
    zero; a norm over the channels (a layer norm) sees even a dead one. For a block: its last layer, all channels alike.
    """
    if column >= len(space.groups):
        block = space.blocks[column - len(space.groups)]
        last = next(layer for layer in space.graph.layers if layer.path == block.last)
        size = length(last.channels, lambda atom: space.graph.groups[atom.index].size)
        return [LayerChannels(block.last, np.zeros(size, dtype=np.int64))]
    group = space.groups[column]
    kinds = ("norm", BARE_NORM) if group.is_gated else ("norm", BARE_NORM, "conv", "linear")
    return list(_holding(space, column, kinds))


def writers(space: SearchSpace, column: int) -> list[LayerChannels]:
    """The convolutions and linear layers that write the channels."""
    return list(_holding(space, column, ("conv", "linear")))


def readers(space: SearchSpace, column: int) -> list[LayerChannels]:
    """The convolutions and linear layers that read the channels and write others."""
    atom = _atom(space, column)
    found: dict[str, LayerChannels] = {}
    for layer in space.graph.layers:
        is_reader = layer.kind in ("conv", "linear") and atom in set(atoms_of(layer.read))
        if is_reader and atom not in set(atoms_of(layer.channels)):
            found.setdefault(layer.path, LayerChannels(layer.path, _at(space, layer.read, atom)))
    return list(found.values())


def _holding(space: SearchSpace, column: int, kinds: tuple[str, ...]) -> Iterator[LayerChannels]:
    atom = _atom(space, column)
    seen: set[str] = set()
    for layer in space.graph.layers:
        if layer.kind in kinds and layer.path not in seen and atom in set(atoms_of(layer.channels)):
            seen.add(layer.path)
            yield LayerChannels(layer.path, _at(space, layer.channels, atom))


def _atom(space: SearchSpace, column: int) -> Atom:
    return Atom(space.graph.searchable[column])


def _at(space: SearchSpace, axis: Axis, atom: Atom) -> NDArray[np.int64]:
    return channel_at(axis, atom, lambda other: space.graph.groups[other.index].size)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What went through a module in a run: the shapes of its first input and of its output; None where no tensor."""

    read: tuple[int, ...] | None
    written: tuple[int, ...] | None


@lru_cache(maxsize=8)
def _seen(template: nn.Module, forward: Forward) -> Mapping[str, _Seen]:
    """What went through each module of a network that was called; not of those whose weights are only read."""
    model, seen = on_meta(template).eval(), dict[str, _Seen]()

    def note(path: str, inputs: tuple[object, ...], output: object) -> None:
        shapes = [tuple(x.shape) if isinstance(x, Tensor) else None for x in (*inputs[:1], output)]
        seen[path] = _Seen(shapes[0], shapes[-1])

    for path, module in model.named_modules():
        module.register_forward_hook(lambda _, inputs, output, path=path: note(path, inputs, output))
    with torch.no_grad(), slow_attention():
        made_where_it_runs(lambda: forward.run(model, forward.blank(model, _IMAGES)))
    return seen


def is_cardinality(space: SearchSpace, column: int) -> bool:
    """Whether the "channels" of a group are the groups of a grouped convolution, with channels of their own each."""
    atom = _atom(space, column)
    counts = [
        path
        for (path, name), axis in space.graph.attributes.items()
        if name == "groups" and axis == ((atom,),)
    ]
    axes = (space.graph.parameters[f"{path}.weight"] for path in counts)
    return any(atom in run and len(run) > 1 for weight in axes for axis in weight[:1] for run in axis)


def can_gate(space: SearchSpace, column: int) -> bool:
    """Whether factors can be put on the channels of a group, one for each image, and merged into weights."""
    places = gate_places(space, column)
    return bool(places) and all(_can_gate_at(space, place) for place in places)


def _can_gate_at(space: SearchSpace, place: LayerChannels) -> bool:
    module = dict(space.template.named_modules()).get(place.path)
    seen = _seen(space.template, space.forward).get(place.path)
    if not isinstance(module, (*_NORMS, *_PRODUCERS)) or seen is None or seen.written is None:
        return False
    dim = channel_dim(module, seen.written, len(place.channels))
    has_weight = isinstance(module.weight, Tensor)
    return has_weight and seen.written[0] == _IMAGES and seen.written[dim] == len(place.channels)


def can_watch_readers(space: SearchSpace, column: int) -> bool:
    """Whether plain convolutions or linear layers read the channels, and what they read can be watched."""
    places = readers(space, column)
    return bool(places) and all(_can_watch_at(space, place) for place in places)


def _can_watch_at(space: SearchSpace, place: LayerChannels) -> bool:
    module = dict(space.template.named_modules()).get(place.path)
    seen = _seen(space.template, space.forward).get(place.path)
    if not isinstance(module, (*PLAIN_CONVS, nn.Linear)) or seen is None or seen.read is None:
        return False
    return seen.read[channel_dim(module, seen.read, len(place.channels))] == len(place.channels)


def channel_dim(module: nn.Module, shape: Sequence[int], count: int) -> int:
    """Which dimension of a layer's input or output holds its channels.

    The second of convolutions, batch and group norms; the last of linear layers and layer norms, but for layer norms
    over the channels of maps (`LayerNorm2d`), which are known by their name where the sizes fit both.
    """
    if isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
        fits = [dim for dim in (1, len(shape) - 1) if shape[dim] == count] or [len(shape) - 1]
        is_map = "2d" in type(module).__name__.lower()
        return fits[0] if len(set(fits)) > 1 and is_map else fits[-1]
    return len(shape) - 1 if isinstance(module, nn.Linear) or len(shape) < 2 else 1
