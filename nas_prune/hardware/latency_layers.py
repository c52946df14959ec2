"""The layers that are timed, and how wide each is in many networks at once.

Shape suffixes: N candidates, G searchable groups.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas_prune.graph.axes import Atom, Axis, length
from nas_prune.graph.channels import BATCH
from nas_prune.space.search_space import SearchSpace

_KINDS = ("conv", "linear")


@dataclass(frozen=True, slots=True)
class TimedLayer:
    """A convolution or linear layer, with all that follows it until the next one starts.

    Attributes:
        path: of the module.
        read: the axis of the channels that it reads.
        written: the axis of its output channels.
        shape: what it has in common with layers that compute the same: its kind, the size of its output, the shapes of
            its parameters at base widths, its stride and dilation.
    """

    path: str
    read: Axis
    written: Axis
    shape: Hashable


def timed_layers(space: SearchSpace) -> tuple[TimedLayer, ...]:
    """The layers of a network whose time is measured, in order of execution; one that is called again stands once."""
    found: dict[str, TimedLayer] = {}
    for layer in space.graph.layers:
        if layer.kind in _KINDS and layer.path not in found:
            shape = (layer.kind, layer.output_size, _shapes(space, layer.path), _steps(space, layer.path))
            found[layer.path] = TimedLayer(layer.path, layer.read, layer.channels, shape)
    return tuple(found.values())


def _steps(space: SearchSpace, path: str) -> tuple[str, ...]:
    """A convolution's stride, dilation and padding."""
    module = space.template.get_submodule(path)
    return tuple(str(getattr(module, name, "")) for name in ("stride", "dilation", "padding"))


def _shapes(space: SearchSpace, path: str) -> tuple[tuple[int, ...], ...]:
    """The shapes of a layer's parameters and buffers, in their order."""
    base = np.array(space.base_G)
    return tuple(
        tuple(int(lengths(space)(axis, base)) for axis in axes)
        for name, axes in space.graph.parameters.items()
        if name.startswith(f"{path}.")
    )


def lengths(space: SearchSpace) -> Callable[[Axis, ArrayLike], NDArray[Any]]:
    """A function that says how many channels an axis has at each of N width vectors.

    They may be numbers between whole ones.
    """
    columns = {group: column for column, group in enumerate(space.graph.searchable)}

    def found(axis: Axis, widths_NG: ArrayLike) -> NDArray[Any]:
        widths = np.asarray(widths_NG)

        def size(atom: Atom) -> Any:
            if atom == BATCH:
                return 1
            column = columns.get(atom.index)
            return space.graph.groups[atom.index].size if column is None else widths[..., column]

        return np.broadcast_to(np.asarray(length(axis, size)), widths.shape[:-1])

    return found
