"""The widths of a network that something else has narrowed, read off its tensors."""

from collections.abc import Iterator
from math import prod

from torch import Tensor, nn

from nas_prune.errors import WidthsError
from nas_prune.graph.axes import Atom, Axis, atoms_of, length
from nas_prune.space.search_space import SearchSpace


def vector_of(space: SearchSpace, network: nn.Module) -> tuple[int, ...]:
    """The width of each searchable group in a network of a space that was narrowed elsewhere.

    Args:
        space: the network as it was.
        network: narrowed; its parameters and buffers are called as before.

    Raises:
        WidthsError: no widths of the space give tensors of its shapes; the first that does not fit is named.
    """
    found = {name: tensor for name, tensor in _tensors(network) if name in space.graph.parameters}
    missing = next((name for name in space.graph.parameters if name not in found), None)
    if missing is not None:
        raise WidthsError(
            f"a narrowed {space.reference.name} must have all of its tensors, got no {missing}."
        )
    sizes = {number: group.size for number, group in enumerate(space.graph.groups)}
    for name, tensor in found.items():
        for axis, size in zip(space.graph.parameters[name], tensor.shape, strict=True):
            number, times = _only(axis)
            if number in space.graph.searchable:
                sizes[number] = size // times
    for name, tensor in found.items():
        wanted = [length(axis, lambda atom: sizes[atom.index]) for axis in space.graph.parameters[name]]
        if wanted != list(tensor.shape):
            raise WidthsError(
                f"a narrowed {space.reference.name} must have one width for each channel group, got {name} of "
                f"{_times(tensor.shape)} where others say {_times(wanted)}."
            )
    return tuple(sizes[number] for number in space.graph.searchable)


def _tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from network.named_parameters(remove_duplicate=False)
    yield from network.named_buffers(remove_duplicate=False)


def _only(axis: Axis) -> tuple[int, int]:
    """The group that an axis is made of, and how many places each channel has; (-1, 1) if it is of several or none."""
    if len(axis) != 1 or len(list(atoms_of(axis))) != 1:
        return -1, 1
    (run,) = axis
    own = [factor.index for factor in run if isinstance(factor, Atom)]
    constants = [factor for factor in run if isinstance(factor, int)]
    return (own[0], prod(constants)) if len(own) + len(constants) == len(run) else (-1, 1)


def _times(sizes: object) -> str:
    return "×".join(map(str, sizes)) if isinstance(sizes, (list, tuple)) else str(sizes)
