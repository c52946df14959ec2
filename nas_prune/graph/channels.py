"""The channel graph: which channels of which layers must be narrowed together, and what may not be."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, TypeAlias

import networkx as nx
from torch import nn

from nas_prune.graph.axes import Atom, Axis, atoms_of, constant, substitute
from nas_prune.graph.inputs import ForwardLike
from nas_prune.graph.record import NO_RULE, RULE_FAILED, SELECTION, LayerNote, Record
from nas_prune.graph.trace import trace

Role: TypeAlias = Literal["growth", "stream", "stem", "head", "inner", "selection"]


@dataclass(frozen=True, slots=True)
class Layer:
    """One call of a convolution, linear or norm layer, or of an input selection.

    Attributes:
        path: the module's path in the network.
        kind: `conv`, `linear`, `norm`, `BARE_NORM` for a norm without a scale, or `SELECTION`.
        output: axes of its output, batch first.
        channels: the axis of its output channels.
        read: the axis of the channels it reads.
        output_size: (height, width) of its output, (1, 1) without positions.
    """

    path: str
    kind: str
    output: tuple[Axis, ...]
    channels: Axis
    read: Axis
    output_size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class ChannelGroup:
    """Channels that several layers share, so that they are narrowed together.

    Attributes:
        name: the path of the layer that produces them first.
        size: how many there are.
        stage: rank of the producer's output size among all groups'; 0 is the highest resolution.
        role: `growth`, `stream`, `stem`, `head` or `inner`: where the group sits; `selection` where a reader selects
            its channels of others.
        position: depth rank among the stage's groups of that role, in [0, 1]; 0.5 when alone or a stream.
        output_size: (height, width) of the producer's output.
        layers: paths of the layers that hold the channels, in order of execution, the producer first.
        norms: paths of the norm layers among them.
        is_gated: every layer that reads the channels reads them through one of those norms, so that a channel
            whose norms are all zero is dead.
        is_reduced: some operation (a layer norm, a softmax, a mean, the scale of an attention) reduces over the
            channels, so that even a dead one has a say.
        frozen: why the width must not change; None when it may.
    """

    name: str
    size: int
    stage: int
    role: Role
    position: float
    output_size: tuple[int, int]
    layers: tuple[str, ...]
    norms: tuple[str, ...]
    is_gated: bool
    is_reduced: bool = False
    frozen: str | None = None


@dataclass(frozen=True, slots=True)
class ChannelGraph:
    """A network as coupled channels. `Atom(i)` in any of its axes is group i, `BATCH` the batch dimension.

    Attributes:
        groups: every channel group in order of execution, the frozen ones included.
        parameters: the axes of every parameter and buffer, by name.
        attributes: (module path, name): integers that modules hold, and the axis each is the length of.
        layers: calls of layers in order of execution.
        products: (layer path, axes): MACs are the sum over them of the product of the axes' lengths.
        flow: the data flow between layers and joins.
        least: the smallest width of any group that the network's code survives.
        takes_batches: the network's code takes the images of a batch together, and does not walk over them.
    """

    groups: tuple[ChannelGroup, ...]
    parameters: Mapping[str, tuple[Axis, ...]]
    attributes: Mapping[tuple[str, str], Axis]
    layers: tuple[Layer, ...]
    products: tuple[tuple[str, tuple[Axis, ...]], ...]
    flow: "nx.DiGraph[str]"
    least: int = 1
    takes_batches: bool = True

    @property
    def searchable(self) -> tuple[int, ...]:
        """Numbers of the groups whose width may change."""
        return tuple(number for number, group in enumerate(self.groups) if group.frozen is None)

    def freeze(self, reasons: Mapping[str, str]) -> "ChannelGraph":
        """The graph with more groups frozen: {group name: reason}."""
        groups = tuple(
            replace(group, frozen=group.frozen or reasons.get(group.name)) for group in self.groups
        )
        return replace(self, groups=groups)


def channel_graph(model: nn.Module, example: ForwardLike) -> ChannelGraph:
    """The channel graph of any network, found by running it on meta tensors.

    Args:
        model: the network; it is not changed, and needs neither weights nor a device.
        example: what is run, or the shape of one input without the batch dimension, e.g. (3, 32, 32).

    Returns:
        Its channel groups and what depends on their widths.

    Raises:
        ForwardError: the network's forward fails on such an input.

    Example:
        >>> graph = channel_graph(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3)), (3, 8, 8))
        >>> [(group.name, group.size, group.frozen) for group in graph.groups]
        [('0', 8, None), ('1', 4, "the network's output")]
    """
    return graph_of(trace(model, example))


def graph_of(record: Record, found: "Sequence[GroupAtom] | None" = None) -> ChannelGraph:
    """The channel graph that a record of a network's passes shows; `found` are its groups if they are known."""
    found = find_groups(record) if found is None else found
    finished = finished_axes(record, found)
    return ChannelGraph(
        groups=_groups(record, found),
        parameters={name: tuple(map(finished, axes)) for name, axes in record.parameters.items()},
        attributes={place: finished(axis) for place, axis in record.attributes.items()},
        layers=tuple(
            Layer(
                note.path,
                note.kind,
                tuple(map(finished, note.output)),
                finished(note.produced),
                finished(note.read),
                note.output_size,
            )
            for note in record.layers
        ),
        products=tuple((path, tuple(map(finished, axes))) for path, axes in record.products),
        flow=record.flow,
        least=record.least,
        takes_batches=record.batch_atom is not None,
    )


def finished_axes(record: Record, found: "Sequence[GroupAtom]") -> Callable[[Axis], Axis]:
    """What turns an axis of a record into one of its graph: groups for atoms, sizes for all that are none."""
    numbers = _numbers(record, found)

    @cache
    def finished(axis: Axis) -> Axis:
        return substitute(record.table.resolve(axis), numbers)

    return finished


BATCH = Atom(-1)
_PRODUCERS = ("conv", "linear")
_UNRULED = (NO_RULE, RULE_FAILED)


@dataclass(frozen=True, slots=True)
class GroupAtom:
    """An atom that becomes a group, and who made it."""

    atom: Atom
    name: str
    producer: LayerNote | None


def find_groups(record: Record) -> list[GroupAtom]:
    """Every atom that is a channel group: those that layers produce in order of execution, then the rest.

    Of dimensions that no layer produces, only those count that may be narrowed, those of parameters that nothing
    uses, and those that met an operation without a rule; the others (a kernel's, a table's rows) are no channels.
    """
    claims = _Claims(record)
    for layer in record.layers:
        if layer.kind in (*_PRODUCERS, SELECTION):
            claims.add(layer.produced, layer.path, layer)
    for name, axes in record.parameters.items():
        path = name.rpartition(".")[0] or name
        for place, axis in enumerate(axes):
            free = tuple(
                (atom,)
                for atom in atoms_of(record.table.resolve(axis))
                if (record.table.frozen_reason(atom) or NO_RULE).startswith(_UNRULED)
            )
            is_unused = name not in record.touched and place == 0
            claims.add(axis if is_unused else free, path, None)
    return list(claims.found.values())


class _Claims:
    """Gives each atom to the first layer that asks for it."""

    def __init__(self, record: Record) -> None:
        self.found: dict[Atom, GroupAtom] = {}
        self._table = record.table
        self._names: set[str] = set()
        self._batch = {record.batch_atom}

    def add(self, axis: Axis, path: str, producer: LayerNote | None) -> None:
        """Make groups of the atoms of an axis that are none yet, named after the layer."""
        atoms = dict.fromkeys(atoms_of(self._table.resolve(axis)))
        new = [atom for atom in atoms if atom not in self.found and atom not in self._batch]
        for number, atom in enumerate(new):
            name = path if len(new) == 1 else f"{path}[{number}]"
            while name in self._names:
                name += "'"
            self._names.add(name)
            self.found[atom] = GroupAtom(atom, name, producer)


def _numbers(record: Record, found: Sequence[GroupAtom]) -> Callable[[Atom], Axis]:
    """What stands for an atom of the record in the finished graph: its group, or its size if it is none."""
    known: dict[Atom, Axis] = {group.atom: ((Atom(number),),) for number, group in enumerate(found)}
    if record.batch_atom is not None:
        known[record.batch_atom] = ((BATCH,),)
    return lambda atom: known.get(atom) or constant(record.table.atom_size(atom))


def _groups(record: Record, found: Sequence[GroupAtom]) -> tuple[ChannelGroup, ...]:
    depths = _depths(record)
    members = _members(record)
    ungated = _read_without_norm(record)
    reduced = _atoms_in(record, record.reduced)
    homes = homes_of(record)
    sizes = [homes[group.producer.node] if group.producer else (1, 1) for group in found]
    stages = {area: number for number, area in enumerate(sorted({*map(_area, sizes)}, reverse=True))}
    roles = _roles(record, found)
    places = [(stages[_area(size)], role) for size, role in zip(sizes, roles, strict=True)]
    order = [depths[group.producer.node] if group.producer else 0 for group in found]
    positions = _positions(places, order)
    return tuple(
        ChannelGroup(
            name=group.name,
            size=record.table.atom_size(group.atom),
            stage=stages[_area(size)],
            role=role,
            position=position,
            output_size=size,
            layers=tuple(dict.fromkeys(layer.path for layer in members[group.atom])) or (group.name,),
            norms=tuple(dict.fromkeys(layer.path for layer in members[group.atom] if layer.kind == "norm")),
            is_gated=group.atom not in ungated and any(layer.kind == "norm" for layer in members[group.atom]),
            is_reduced=group.atom in reduced,
            frozen=record.table.frozen_reason(group.atom),
        )
        for group, size, role, position in zip(found, sizes, roles, positions, strict=True)
    )


def homes_of(record: Record) -> dict[str, tuple[int, int]]:
    """For each layer's node the output size that its stage is named after.

    It is the layer's own, but for two kinds. A side branch without positions (squeeze-and-excitation, a table of
    position biases) belongs to the layer that follows it; and a few extra tokens beside the positions (a class
    token) do not make another resolution.
    """
    areas = {_area(layer.output_size): layer.output_size for layer in record.layers if layer.kind == "conv"}
    homes: dict[str, tuple[int, int]] = {}
    following: tuple[int, int] = (1, 1)
    for layer in reversed(record.layers):
        if not layer.is_pooled and layer.source is not None:
            extra = range(_area(layer.output_size), max(0, _area(layer.output_size) - _EXTRA_TOKENS - 1), -1)
            following = next((areas[area] for area in extra if area in areas), layer.output_size)
        homes[layer.node] = following
    return homes


_EXTRA_TOKENS = 8


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def _depths(record: Record) -> dict[str, int]:
    """For each node the number of nodes on the longest path that leads to it."""
    depths: dict[str, int] = {}
    for node in nx.topological_sort(record.flow):
        depths[node] = max((depths[before] + 1 for before in record.flow.predecessors(node)), default=0)
    return depths


def _members(record: Record) -> dict[Atom, list[LayerNote]]:
    """For each atom the layers whose output channels it is among."""
    members: dict[Atom, list[LayerNote]] = defaultdict(list)
    for layer in record.layers:
        for atom in set(atoms_of(record.table.resolve(layer.produced))):
            members[atom].append(layer)
    return members


def _read_without_norm(record: Record) -> set[Atom]:
    """Atoms that some convolution or linear layer reads without a norm between."""
    kinds = {layer.node: layer.kind for layer in record.layers}
    gated: dict[str, bool] = {}
    for node in nx.topological_sort(record.flow):
        before = list(record.flow.predecessors(node))
        is_join = node not in kinds
        one_is_enough = any(gated[b] for b in record.factors.get(node, ()))
        gated[node] = kinds.get(node) == "norm" or (
            is_join and bool(before) and (one_is_enough or all(gated[b] for b in before))
        )
    reads = [
        (layer.read, layer.source, layer.reads_shifted) for layer in record.layers if layer.kind in _PRODUCERS
    ]
    ungated = [
        axis
        for axis, source, is_shifted in (*reads, *record.contracted)
        if source and (is_shifted or not gated[source])
    ]
    return _atoms_in(record, ungated)


def _roles(record: Record, found: Sequence[GroupAtom]) -> list[Role]:
    growing = _atoms_in(record, record.concatenated)
    adding = _atoms_in(record, record.added)
    heads = _heads(record)
    return [_role(group, heads, group.atom in growing, group.atom in adding) for group in found]


def _heads(record: Record) -> set[str]:
    """Nodes of layers after which nothing has positions any more."""
    late = len(record.layers)
    while late and (record.layers[late - 1].is_pooled or record.layers[late - 1].source is None):
        late -= 1
    return {layer.node for layer in record.layers[late:] if layer.is_pooled}


def _role(group: GroupAtom, heads: set[str], feeds_concat: bool, is_added: bool) -> Role:  # noqa: FBT001
    if group.producer is not None and group.producer.kind == SELECTION:
        return "selection"
    if feeds_concat:
        return "growth"
    if is_added:
        return "stream"
    if group.producer is not None and group.producer.reads_input:
        return "stem"
    return "head" if group.producer is not None and group.producer.node in heads else "inner"


def _atoms_in(record: Record, axes: Sequence[Axis]) -> set[Atom]:
    return {atom for axis in axes for atom in atoms_of(record.table.resolve(axis))}


def _positions(places: Sequence[tuple[int, Role]], order: Sequence[int]) -> list[float]:
    """Rank in order of depth among the groups of one stage and role, scaled to [0, 1]."""
    siblings: dict[tuple[int, Role], list[int]] = defaultdict(list)
    for number in sorted(range(len(places)), key=lambda number: order[number]):
        siblings[places[number]].append(number)
    result = [0.5] * len(places)
    for (_, role), numbers in siblings.items():
        if role != "stream" and len(numbers) > 1:
            for rank, number in enumerate(numbers):
                result[number] = rank / (len(numbers) - 1)
    return result
