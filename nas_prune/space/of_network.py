"""The widths of a network that something else has narrowed, read off its tensors."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from nas_prune.errors import WidthsError
from nas_prune.graph.axes import Axis, atoms_of, length
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
    sizes = _solved(space, found)
    unknown = [space.graph.groups[number].name for number in space.graph.searchable if number not in sizes]
    if unknown:
        raise WidthsError(
            f"the widths of a narrowed {space.reference.name} must follow from its tensors, but that of {unknown[0]} "
            "does not: no tensor has it by itself."
        )
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


def _solved(space: SearchSpace, found: Mapping[str, Tensor]) -> dict[int, int]:
    """The size of each group, from axes in which one is not known yet, as often as that gives another."""
    graph = space.graph
    axes = [
        (axis, int(size), frozenset(atom.index for atom in atoms_of(axis)))
        for name, tensor in found.items()
        for axis, size in zip(graph.parameters[name], tensor.shape, strict=True)
    ]
    sizes = {
        number: group.size for number, group in enumerate(graph.groups) if number not in graph.searchable
    }
    count = -1
    while count < len(sizes):
        count = len(sizes)
        for axis, size, inside in axes:
            unknown = inside - sizes.keys()
            if len(unknown) == 1:
                (number,) = unknown
                sizes[number] = _width_in(axis, size, number, sizes, graph.groups[number].size)
    return sizes


def _width_in(axis: Axis, size: int, number: int, sizes: Mapping[int, int], most: int) -> int:
    """The width of one group at which an axis has a size; the largest that is not too large if there is none."""

    def length_at(width: int) -> int:
        return length(axis, lambda atom: width if atom.index == number else sizes[atom.index])

    return max(1, bisect_right(range(1, most + 1), size, key=length_at))


def _times(sizes: object) -> str:
    return "×".join(map(str, sizes)) if isinstance(sizes, (list, tuple)) else str(sizes)
