"""What one network's forward passes leave behind: axes of every parameter, layers, products, data flow.

A rule (`rules.py`) writes into a `Record`; `channels.py` reads a finished one and makes the `ChannelGraph`.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isqrt, prod

import networkx as nx
from torch import Tensor

from nas_prune.graph.axes import Atom, Axis, atoms_of, constant
from nas_prune.graph.table import AxisTable

INPUT = "input"
NO_RULE, RULE_FAILED = "no rule for", "the rule for"  # how such reasons begin
BARE_NORM = "norm without scale"
SELECTION = "selection"
OUTPUT = "the network's output"  # why a group is frozen that leaves the network
ROOT = "the network itself"  # how a reason calls the module that has no path


@dataclass(frozen=True, slots=True)
class TensorNote:
    """What is known of one tensor.

    Attributes:
        axes: one axis for each dimension.
        source: the flow node whose output it is (through operations that have no node of their own); None for
            parameters, buffers and constants.
        parameter: the name of the parameter or buffer it is, or is a transposed view of.
        is_pooled: no positions are left, since a global pooling or a flattening took them.
        is_shifted: since the last layer or join, zero has been mapped to something else (a sigmoid, say); of what
            depends on no input, that it may hold something else than zeros.
    """

    axes: tuple[Axis, ...]
    source: str | None = None
    parameter: str | None = None
    is_pooled: bool = False
    is_shifted: bool = False


@dataclass(frozen=True, slots=True)
class LayerNote:
    """One call of a layer: a convolution, linear or norm operation with a weight of the network.

    Attributes:
        path: the module's path, e.g. `layer1.0.conv1`.
        kind: `conv`, `linear`, `norm`, `BARE_NORM` for a norm without a scale, or `SELECTION`.
        output: axes of its output.
        produced: the output's channel axis, as the weight has it.
        read: the input's channel axis.
        source: the flow node it reads from; None when it reads no activation.
        output_size: positions (height, width) of its output; (1, 1) when it has none.
        node: its node in the data flow.
        reads_input: it is applied to the network's input itself.
        is_pooled: its input has no positions left after a global pooling or flattening.
        reads_shifted: zeros of the layers before it do not reach it as zeros.
    """

    path: str
    kind: str
    output: tuple[Axis, ...]
    produced: Axis
    read: Axis
    source: str | None
    output_size: tuple[int, int]
    node: str
    reads_input: bool
    is_pooled: bool
    reads_shifted: bool


@dataclass(frozen=True, slots=True)
class Step:
    """One operation as it ran: where, what, and the axes of its inputs and of those outputs that its rule knows."""

    where: str
    operation: str
    inputs: tuple[tuple[Axis, ...], ...]
    outputs: tuple[tuple[Axis, ...], ...]


@dataclass(slots=True)
class Record:
    """Everything the passes have shown so far.

    Attributes:
        table: what the atoms are.
        parameters: the axes of every parameter and buffer, by name.
        batch: the axis of the batch dimension; of no atom where the network's code walks over its images one by one.
        images: how many images the traced batch has.
        root: the path of what was run: empty for the network itself.
        layers: calls of layers in order of execution (evaluation pass only).
        products: (layer path, axes): each gives the product of the axes' lengths in MACs (evaluation pass only).
        attributes: integers that modules hold, by module path and name, and the axis each is the length of.
        concatenated, added: axes that feed a concat, or take part in a residual add, along their channels.
        reduced: axes that some operation reduces over (a layer norm, a softmax, a mean).
        picked: (axis, place, reason): places that were picked out of an axis one by one.
        contracted: (axis, source, is shifted): channels that a product of two activations sums over.
        pieces: axes that one operation cut into equal pieces, and where.
        flow: the data flow between layers and joins.
        factors: of joins that multiply, the nodes before them of which one with zeros is enough for zeros.
        touched: names of the parameters and buffers that some operation used.
        steps: the operations in order (evaluation pass only).
        has_doubles: some dimension that is not the batch has as many places, or a multiple, so that the batch is no
            longer told by its size.
        inputs, outputs: the axes of what each module took in and put out last, by path.
        fixed_tensors: names of the buffers and constant parameters that must keep their sizes, and in which dimensions.
        selections: names of the buffers that hold the indices of input selections.
        least: the smallest width that the network's code survives.
        keeps_costs: whether the pass being watched counts towards layers and products.
        untied: what the passes themselves showed, where axes have been tied beyond that.
    """

    table: AxisTable = field(default_factory=AxisTable)
    parameters: dict[str, tuple[Axis, ...]] = field(default_factory=dict)
    batch: Axis = ()
    images: int = 1
    root: str = ""
    layers: list[LayerNote] = field(default_factory=list)
    products: list[tuple[str, tuple[Axis, ...]]] = field(default_factory=list)
    attributes: dict[tuple[str, str], Axis] = field(default_factory=dict)
    concatenated: list[Axis] = field(default_factory=list)
    added: list[Axis] = field(default_factory=list)
    reduced: list[Axis] = field(default_factory=list)
    picked: list[tuple[Axis, int, str]] = field(default_factory=list)
    contracted: list[tuple[Axis, str, bool]] = field(default_factory=list)
    pieces: list[tuple[str, tuple[Axis, ...]]] = field(default_factory=list)
    flow: "nx.DiGraph[str]" = field(default_factory=nx.DiGraph)
    factors: dict[str, frozenset[str]] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    steps: list[Step] = field(default_factory=list)
    inputs: dict[str, tuple[Axis, ...]] = field(default_factory=dict)
    outputs: dict[str, tuple[Axis, ...]] = field(default_factory=dict)
    fixed_tensors: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    selections: frozenset[str] = frozenset()
    least: int = 1
    keeps_costs: bool = True
    has_doubles: bool = False
    untied: "Record | None" = None
    _notes: dict[int, tuple[Tensor, TensorNote]] = field(default_factory=dict)
    _unplaced: list[int] = field(default_factory=list)
    _placed: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))

    @property
    def batch_atom(self) -> Atom | None:
        """The atom of the batch; None where the network's code walks over its images one by one."""
        return next(atoms_of(self.table.resolve(self.batch)), None)

    def batch_or(self, size: int) -> "Axis | None":
        """The batch, where a size that the code asked for is that of the batch."""
        return self.batch if size == self.images > 1 else None

    def note(self, tensor: Tensor) -> TensorNote:
        """What is known of a tensor; one never seen before is constant in every dimension."""
        found = self._notes.get(id(tensor))
        if found is None:
            return TensorNote(axes=tuple(constant(size) for size in tensor.shape))
        return found[1]

    def remember(self, tensor: Tensor, note: TensorNote) -> None:
        """Attach what is known to a tensor, which is kept alive so that its identity stays its own."""
        self._notes[id(tensor)] = (tensor, note)
        self._unplaced.append(id(tensor))

    def shift_views(self, tensor: Tensor) -> None:
        """Note that what was written into a tensor lies in all that it is a view of, or that are views of it."""
        for key in self._unplaced:
            self._placed[self._notes[key][0].untyped_storage()._cdata].append(key)  # noqa: SLF001
        self._unplaced.clear()
        for key in self._placed[tensor.untyped_storage()._cdata]:  # noqa: SLF001
            other, note = self._notes[key]
            if not note.is_shifted:
                self._notes[key] = other, replace(note, is_shifted=True)

    def forget_activations(self) -> None:
        """Between two passes: only parameters and buffers stay known."""
        self._notes = {key: value for key, value in self._notes.items() if value[1].parameter is not None}
        self._unplaced = [*self._notes]
        self._placed.clear()

    def settle_picked(self) -> None:
        """Decide on axes that places were picked from.

        Where all are, the axis holds roles (query, key, value) and no channels. Otherwise a single
        channel cannot be told from the others, so that the axis it was picked from is frozen.
        """
        places: dict[Axis, set[int]] = defaultdict(set)
        for axis, place, _ in self.picked:
            places[self.table.resolve(axis)].add(place)
        for picked, _, reason in self.picked:
            axis = self.table.resolve(picked)
            if len(places[axis]) == self.table.length(axis):
                self.table.fix(axis)
            else:
                self.table.freeze(axis, reason)

    def add_node(self, name: str, notes: Sequence[TensorNote]) -> str:
        """A node of the data flow that reads the given tensors; returns its name, made unique.

        The training pass meets the evaluation pass's nodes again and adds only those that are new.
        """
        if not self.keeps_costs and name in self.flow:
            return name
        unique, number = name, 1
        while unique in self.flow:
            number += 1
            unique = f"{name}#{number}"
        self.flow.add_node(unique)
        self.flow.add_edges_from((note.source, unique) for note in notes if note.source is not None)
        return unique


def positions_of(shape: Sequence[int], channels: int, batch: int) -> tuple[int, int]:
    """Height and width of a layer's output for each image.

    Where they are not two dimensions, a square if the count is one, otherwise (1, count).

    Args:
        shape: of the output, batch first; rows of a matrix are (image, position) pairs.
        channels: the dimension that holds the channels.
        batch: images in the batch.
    """
    places = [int(size) for dim, size in enumerate(shape) if dim not in (0, channels % len(shape))]
    rows = max(1, int(shape[0]) // batch)
    if len(places) == 2 and rows == 1:
        return places[0], places[1]
    count = rows * prod(places)
    side = isqrt(count)
    return (side, side) if side * side == count else (1, count)
