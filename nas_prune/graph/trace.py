"""Run a network once on meta tensors and watch the ATen operations it makes.

No data, no weights and no autograd graph are needed: a dispatch mode sees every operation with its parameters,
whatever Python the network is written in.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from nas_prune.errors import BadInputError
from nas_prune.graph.axes import Axis, constant
from nas_prune.graph.call import Call, tensors_in
from nas_prune.graph.quick import quick_output
from nas_prune.graph.record import INPUT, Record, Step, TensorNote
from nas_prune.graph.rules import rule_for
from nas_prune.graph.table import AxisConflictError

BATCH = 37  # images in the traced batch: more than one, for batch norm, and a size that means nothing else


def trace(model: nn.Module, input_shape: tuple[int, ...]) -> Record:
    """Watch one evaluation and one training pass of a network.

    Args:
        model: any network; it is not changed (a copy on the meta device is run).
        input_shape: the shape of one input without the batch dimension, e.g. (3, 32, 32).

    Returns:
        The merged record of both passes. Costs are taken from the evaluation pass; the training pass adds
        what only runs then (auxiliary heads).

    Raises:
        BadInputError: the network's own forward fails on such an input.
    """
    model = on_meta(model)
    record = Record()
    record.batch = record.table.new(BATCH)
    record.table.freeze(record.batch, "the batch")
    for name, tensor in named_tensors(model):
        if name not in record.parameters:
            record.parameters[name] = tuple(
                record.table.new(size) if size > 1 else constant(size) for size in tensor.shape
            )
            record.remember(tensor, TensorNote(record.parameters[name], parameter=name))
    _freeze_own_values(model, record)
    image = torch.empty(BATCH, *input_shape, device="meta")
    axes = (record.batch, *(constant(size) for size in input_shape))
    note = TensorNote(axes, source=INPUT)
    record.flow.add_node(INPUT)
    memory = _Memory()
    for training in (False, True):
        record.remember(image, note)
        _watch(model, image, record, memory, training=training)
    record.settle_picked()
    for name, axes in record.parameters.items():
        if name not in record.touched:
            for axis in axes:
                record.table.freeze(axis, "no operation of the forward pass uses it")
    return record


def _freeze_own_values(model: nn.Module, record: Record) -> None:
    """Freeze what buffers hold channel by channel, but for the statistics of norms, which start anew."""
    for path, module in model.named_modules():
        if not isinstance(module, nn.modules.batchnorm._NormBase):  # noqa: SLF001
            for name, _ in module.named_buffers(path, recurse=False):
                for axis in record.parameters.get(name, ()):
                    record.table.freeze(axis, f"buffer {name} holds values of its own for them")


def on_meta(model: nn.Module) -> nn.Module:
    """A copy of a network whose parameters and buffers have shapes but no storage; ties between them stay."""
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)
    for buffer in model.buffers():
        memo[id(buffer)] = buffer.to("meta")
    return copy.deepcopy(model, memo)


def structure(model: nn.Module) -> nn.Module:
    """A copy of a network without its weights: parameters on the meta device, buffers as they are."""
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)
    return copy.deepcopy(model, memo)


def named_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers by name; a tied one comes once, under its first name."""
    yield from model.named_parameters()
    yield from model.named_buffers()


def _watch(model: nn.Module, image: Tensor, record: Record, memory: "_Memory", *, training: bool) -> None:
    record.keeps_costs = not training
    running = Running({id(module): path for path, module in model.named_modules()}, record)
    try:
        with torch.no_grad(), _slow_attention(), running.watched(), _Watcher(record, running, memory):
            output = model.train(training)(image)
    except _RuleError as error:
        raise error.__cause__ or error from None
    except Exception as error:
        raise ForwardError(image.shape[1:], running.failed or "", error, record) from error
    _freeze_outputs(output, record)
    record.forget_activations()


class ForwardError(BadInputError):
    """The network's own forward failed.

    Attributes:
        path: the module that was running.
        message: the first line of what it said.
        record: what was seen until then.
    """

    def __init__(self, shape: Sequence[int], path: str, error: Exception, record: Record) -> None:
        self.path, self.record = path, record
        self.message = (str(error).strip() or type(error).__name__).splitlines()[0]
        super().__init__(
            f"the network must run on an input of shape {list(shape)}, got: {self.message}. "
            "Check the image size and the input channels; forward must not branch on values."
        )


@contextmanager
def _slow_attention() -> Iterator[None]:
    """Without the fused attention kernel, which shows nothing of what happens inside."""
    was_enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was_enabled)


def _freeze_outputs(output: object, record: Record) -> None:
    for tensor in pytree.tree_leaves(output):
        if isinstance(tensor, Tensor):
            for axis in record.note(tensor).axes:
                record.table.freeze(axis, "the network's output")


class Running:
    """Follows which module is running, so that a reason can say where."""

    def __init__(self, paths: Mapping[int, str], record: Record | None = None) -> None:
        self._paths = paths
        self._record = record
        self._stack: list[str] = []
        self.failed: str | None = None

    def where(self) -> str:
        """The path of the innermost module that is running; empty for the network itself."""
        return self._stack[-1] if self._stack else ""

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Follow every module that runs inside the block."""
        enter = register_module_forward_pre_hook(self._enter)
        leave = register_module_forward_hook(self._leave, always_call=True)
        try:
            yield
        finally:
            enter.remove()
            leave.remove()

    def _enter(self, module: nn.Module, inputs: Sequence[object]) -> None:
        path = self._paths.get(id(module))
        if path is not None:
            self._stack.append(path)
            self._note(lambda record: record.inputs, path, inputs)

    def _leave(self, module: nn.Module, _: object, output: object) -> None:
        if id(module) not in self._paths:
            return
        path = self._stack.pop()
        if output is None and self.failed is None:
            self.failed = path
        else:
            self._note(lambda record: record.outputs, path, (output,))

    def _note(
        self,
        where: "Callable[[Record], dict[str, tuple[Axis, ...]]]",
        path: str,
        values: Sequence[object],
    ) -> None:
        """Write down the axes of the first tensor that goes into or comes out of a module."""
        if self._record is not None and self._record.keeps_costs:
            first = next(tensors_in(values), None)
            if first is not None:
                where(self._record)[path] = self._record.note(first).axes


class _RuleError(Exception):
    """A rule failed: our mistake, not the network's."""


class _Memory:
    """What the evaluation pass made of each operation, so that the training pass need not work it out again."""

    def __init__(self) -> None:
        self._outputs: dict[tuple[Any, ...], list[TensorNote]] = {}

    @staticmethod
    def key(call: Call) -> tuple[Any, ...]:
        """What the axes of an operation's outputs depend on: function, place, and what is known of its inputs."""
        notes = tuple(id(note) for note in call.notes())
        is_norm = "batch_norm" in call.name
        return (call.func, call.where, notes, () if is_norm else _plain((*call.args, *call.kwargs.values())))

    def recall(self, call: Call) -> list[TensorNote] | None:
        """The notes of its outputs, if the same operation was seen."""
        return self._outputs.get(self.key(call))

    def keep(self, key: tuple[Any, ...], call: Call) -> None:
        """Write the notes of its outputs down."""
        self._outputs[key] = [call.record.note(tensor) for tensor in call.outputs]


def _plain(values: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(
        _plain(value)
        if isinstance(value, (list, tuple))
        else "tensor"
        if isinstance(value, Tensor)
        else value
        for value in values
    )


class _Watcher(TorchDispatchMode):
    """Lets every operation run, and tells the record what it did to the axes."""

    def __init__(self, record: Record, running: Running, memory: _Memory) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._record = record
        self._running = running
        self._memory = memory

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = quick_output(func, args) if not kwargs else None
        if output is None:
            output = func(*args, **(kwargs or {}))
        try:
            where = self._running.where() or "the network itself"
            self._observe(Call(func, args, kwargs or {}, output, self._record, where))
        except Exception as error:
            raise _RuleError from error
        return output

    def _observe(self, call: Call) -> None:
        key = self._memory.key(call)
        if not call.record.keeps_costs:
            known = self._memory.recall(call)
            if known is not None:
                for tensor, note in zip(call.outputs, known, strict=True):
                    call.record.remember(tensor, note)
                return
        self._work_out(call)
        if call.record.keeps_costs:
            self._memory.keep(key, call)

    def _work_out(self, call: Call) -> None:
        notes = call.notes()
        call.record.touched.update(note.parameter for note in notes if note.parameter is not None)
        rule = rule_for(call.func)
        axes = None
        if rule is None:
            call.freeze_inputs(f"no rule for {call.name} in {call.where}")
        else:
            try:
                axes = rule(call)
            except AxisConflictError:
                call.freeze_inputs(f"channels arranged in another way by {call.name} in {call.where}")
        call.account()
        for number, tensor in enumerate(call.outputs):
            known = axes is not None and number < len(axes)
            call.describe(tensor, axes[number] if axes is not None and known else _unknown(call, tensor))
        if call.record.keeps_costs:
            known_outputs = call.outputs[: len(axes or ())]
            outputs = tuple(call.record.note(tensor).axes for tensor in known_outputs)
            inputs = tuple(note.axes for note in notes)
            call.record.steps.append(Step(call.where, call.name, inputs, outputs))


def _unknown(call: Call, tensor: Tensor) -> tuple[Axis, ...]:
    """Constants, but a dimension that the batch's size divides is the batch, perhaps flattened with others."""
    axes = [constant(size) for size in tensor.shape]
    if call.activations():
        for dim, size in enumerate(tensor.shape):
            if size and size % BATCH == 0:
                axes[dim] = call.record.table.product([call.record.batch, constant(size // BATCH)])
    return tuple(axes)
