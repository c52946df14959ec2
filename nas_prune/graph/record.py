"""What one network's forward passes leave behind: axes of every parameter, layers, products, data flow.

A rule (`rules.py`) writes into a `Record`; `channels.py` reads a finished one and makes the `ChannelGraph`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import networkx as nx
import torch
from torch import Tensor

from nas_prune.graph.axes import Axis, constant
from nas_prune.graph.table import AxisTable

INPUT = "input"


@dataclass(frozen=True, slots=True)
class TensorNote:
    """What is known of one tensor.

    Attributes:
        axes: one axis for each dimension.
        source: the flow node whose output it is (through operations that have no node of their own); None for
            parameters, buffers and constants.
        parameter: the name of the parameter or buffer it is, or is a transposed view of.
        is_pooled: no positions are left, since a global pooling or a flattening took them.
        is_shifted: since the last layer or join, zero has been mapped to something else (a sigmoid, say).
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
        kind: `conv`, `linear` or `norm`.
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


@dataclass(slots=True)
class Record:
    """Everything the passes have shown so far.

    Attributes:
        table: what the atoms are.
        parameters: the axes of every parameter and buffer, by name.
        batch: the axis of the batch dimension.
        layers: calls of layers in order of execution (evaluation pass only).
        products: (layer path, axes): each gives the product of the axes' lengths in MACs (evaluation pass only).
        conv_groups: the axis whose length is a convolution's `groups`, by module path.
        concatenated, added: axes that feed a concat, or take part in a residual add, along their channels.
        flow: the data flow between layers and joins.
        touched: names of the parameters and buffers that some operation used.
        keeps_costs: whether the pass being watched counts towards layers and products.
    """

    table: AxisTable = field(default_factory=AxisTable)
    parameters: dict[str, tuple[Axis, ...]] = field(default_factory=dict)
    batch: Axis = ()
    layers: list[LayerNote] = field(default_factory=list)
    products: list[tuple[str, tuple[Axis, ...]]] = field(default_factory=list)
    conv_groups: dict[str, Axis] = field(default_factory=dict)
    concatenated: list[Axis] = field(default_factory=list)
    added: list[Axis] = field(default_factory=list)
    flow: "nx.DiGraph[str]" = field(default_factory=nx.DiGraph)
    touched: set[str] = field(default_factory=set)
    keeps_costs: bool = True
    _notes: dict[int, tuple[Tensor, TensorNote]] = field(default_factory=dict)

    def note(self, tensor: Tensor) -> TensorNote:
        """What is known of a tensor; one never seen before is constant in every dimension."""
        found = self._notes.get(id(tensor))
        if found is None:
            return TensorNote(axes=tuple(constant(size) for size in tensor.shape))
        return found[1]

    def remember(self, tensor: Tensor, note: TensorNote) -> None:
        """Attach what is known to a tensor, which is kept alive so that its identity stays its own."""
        assert tuple(self.table.length(axis) for axis in note.axes) == tuple(tensor.shape)
        self._notes[id(tensor)] = (tensor, note)

    def forget_activations(self) -> None:
        """Between two passes: only parameters and buffers go on being known."""
        self._notes = {key: value for key, value in self._notes.items() if value[1].source is None}

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


def positions_of(shape: torch.Size | Sequence[int]) -> tuple[int, int]:
    """Height and width of an N×C×H×W tensor; (1, length) of other shapes with positions, (1, 1) without."""
    if len(shape) == 4:
        return int(shape[2]), int(shape[3])
    return (1, 1) if len(shape) < 3 else (1, int(shape[1]))
