"""What happens in memory while a network runs on one image: operations in order, and the tensors they read and make.

A tensor here is a storage: views of it are the same one, and what is written into it stays in it. Parameters, buffers
and other constants of the network are none, since they lie in memory all the time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from nas_prune.graph.axes import ONE, Atom, Axis, constant, substitute
from nas_prune.graph.call import Call, name_of, tensors_in
from nas_prune.graph.channels import BATCH, ChannelGraph
from nas_prune.graph.copies import tensors_anywhere
from nas_prune.graph.inputs import Forward
from nas_prune.graph.quick import output_of
from nas_prune.graph.record import INPUT, ROOT, Record, TensorNote
from nas_prune.graph.selection import ChannelSelection
from nas_prune.graph.tensors import named_tensors, on_meta
from nas_prune.graph.trace import Running, made_where_it_runs, observe, slow_attention
from nas_prune.space.search_space import SearchSpace

# Element by element, though PyTorch does not say so; a batch norm is one in evaluation.
_ELEMENTWISE = frozenset((
    "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "_prelu_kernel", "hardsigmoid", "hardswish",
    "hardtanh", "native_batch_norm",
))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Held:
    """A tensor that is no parameter.

    Attributes:
        axes: of the tensor as it was made, in terms of the channel graph's groups.
        item_bytes: of one of its numbers as PyTorch holds it.
        is_float: a device may hold its numbers in fewer bytes; integers and truth values stay as they are.
    """

    axes: tuple[Axis, ...]
    item_bytes: int
    is_float: bool


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation as it ran; tensors by number.

    Attributes:
        where: the path of the module that ran it; empty for the network itself.
        name: what ran, such as `convolution`.
        reads: what it was given.
        makes: what it put out that was not there before.
        changes: those of `reads` that it wrote into.
        over: those of `reads` that its output could be written over, number by number: it works element by element, and
            reads all of them.
    """

    where: str
    name: str
    reads: tuple[int, ...]
    makes: tuple[int, ...]
    changes: tuple[int, ...]
    over: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Operations:
    """A forward pass of one image in evaluation mode.

    Attributes:
        order: the operations, in the order of the module's own code.
        tensors: every tensor that is no parameter.
        inputs, outputs: those that the network was given, and that it gave back.
        doubts: why some tensors count with the size they have in the whole network, whatever the widths; mostly none.
    """

    order: tuple[Operation, ...]
    tensors: tuple[Held, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    doubts: tuple[str, ...] = ()

    @property
    def needed(self) -> frozenset[int]:
        """The tensors that something reads, or that leave the network.

        The others (statistics that a norm saves for training, the places of a pooling's maxima) no device makes.
        """
        read = {tensor for one in self.order for tensor in one.reads if tensor not in one.makes}
        return frozenset((*read, *self.inputs, *self.outputs))


def operations_of(space: SearchSpace) -> Operations:
    """Watch a search space's whole network run on one image, on tensors without storage."""
    meta = on_meta(space.template).eval()
    return made_where_it_runs(lambda: _watched(meta, space.graph, space.forward))


def _watched(model: nn.Module, graph: ChannelGraph, forward: Forward) -> Operations:
    record = _record_of(model, graph)
    running = Running(dict(model.named_modules()), None)
    inputs = forward.blank(model, 1)
    watcher = _Watcher(record, running, [tensor for _, tensor in named_tensors(model)])
    given = list(tensors_anywhere(inputs))
    for tensor in given:
        record.remember(tensor, TensorNote(tuple(map(constant, tensor.shape)), source=INPUT))
    taken = watcher.numbers_of(given)
    with torch.no_grad(), slow_attention(), running.watched(), watcher:
        output = forward.run(model, inputs)
    finished = _Finished(record, graph)
    return Operations(
        tuple(watcher.order),
        tuple(Held(tuple(map(finished, axes)), size, is_float) for axes, size, is_float in watcher.made),
        taken,
        watcher.numbers_of(tensors_anywhere(output)),
        finished.doubts(),
    )


def _record_of(model: nn.Module, graph: ChannelGraph) -> Record:
    """A record that knows the graph's groups already, as atoms of the same numbers."""
    record = Record(images=1, batch=ONE)
    for group in graph.groups:
        record.table.new(group.size)
    modules = model.named_modules()
    record.selections = frozenset(
        f"{path}.indices" for path, module in modules if isinstance(module, ChannelSelection)
    )
    for name, tensor in named_tensors(model):
        if name in graph.parameters:
            axes = tuple(substitute(axis, _one_image) for axis in graph.parameters[name])
            record.parameters[name] = axes
            record.remember(tensor, TensorNote(axes, parameter=name, is_shifted=True))
    return record


def _one_image(atom: Atom) -> Axis:
    return ONE if atom == BATCH else ((atom,),)


class _Finished:
    """Turns axes of the record into axes of the graph: what is no group any more is a number."""

    def __init__(self, record: Record, graph: ChannelGraph) -> None:
        self._record, self._graph = record, graph
        self._split = {Atom(number) for number in range(len(graph.groups))} & set(record.table.definitions)

    def __call__(self, axis: Axis) -> Axis:
        return substitute(self._record.table.resolve(axis), self._group)

    def _group(self, atom: Atom) -> Axis:
        if atom.index < len(self._graph.groups):
            return ((atom,),)
        return constant(self._record.table.atom_size(atom))

    def doubts(self) -> tuple[str, ...]:
        """Why searchable groups are not followed everywhere."""
        found = {}
        for number in self._graph.searchable:
            reason = self._record.table.frozen_reason(Atom(number))
            if Atom(number) in self._split:
                reason = "its channels are taken apart"
            if reason is not None:
                found[self._graph.groups[number].name] = reason
        return tuple(f"{name}: {reason}" for name, reason in found.items())


class _Watcher(TorchDispatchMode):
    """Lets every operation run, and writes down which tensors it reads and makes."""

    def __init__(self, record: Record, running: Running, parameters: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._record, self._running = record, running
        self._lasting = {_place(tensor) for tensor in parameters}
        self._numbers: dict[int, int] = {}
        self._kept: list[Tensor] = list(parameters)  # so that no place in memory is used twice
        self.made: list[tuple[tuple[Axis, ...], int, bool]] = []
        self.order: list[Operation] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = output_of(func, args, kwargs)
        where = self._running.where()
        call = Call(func, args, kwargs or {}, output, self._record, where or ROOT)
        # What was there before is no activation.
        self._lasting.update(_place(one) for one in call.inputs if _place(one) not in self._numbers)
        before = len(self.made)
        observe(call)
        self.numbers_of(call.outputs)
        name = name_of(func).removeprefix("aten.")
        is_elementwise = torch.Tag.pointwise in func.tags or name.removesuffix("_") in _ELEMENTWISE
        self.order.append(
            Operation(
                where,
                name,
                self.numbers_of(call.inputs),
                tuple(range(before, len(self.made))),
                self.numbers_of(_written(func, args, kwargs or {})),
                self.numbers_of(filter(_is_whole, call.inputs)) if is_elementwise else (),
            )
        )
        return output

    def numbers_of(self, tensors: "Sequence[Tensor] | Iterator[Tensor]") -> tuple[int, ...]:
        """The numbers of tensors, each once; those that lie in memory all the time have none."""
        return tuple(dict.fromkeys(self._number(one) for one in tensors if _place(one) not in self._lasting))

    def _number(self, tensor: Tensor) -> int:
        place = _place(tensor)
        if place not in self._numbers:
            self._numbers[place] = len(self.made)
            self._kept.append(tensor)
            axes = self._record.note(tensor).axes
            self.made.append((axes, tensor.element_size(), tensor.is_floating_point()))
        return self._numbers[place]


def _place(tensor: Tensor) -> int:
    place: int = tensor.untyped_storage()._cdata  # noqa: SLF001
    return place


def _is_whole(tensor: Tensor) -> bool:
    """Whether a tensor is all that lies in its place, each number once."""
    return tensor.numel() * tensor.element_size() == tensor.untyped_storage().nbytes()


def _written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Tensor]:
    """The arguments that an operation writes into."""
    for number, argument in enumerate(func._schema.arguments):  # noqa: SLF001
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[number] if number < len(args) else kwargs.get(argument.name)
            yield from tensors_in((value,))
