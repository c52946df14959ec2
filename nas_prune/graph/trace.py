"""Run a network once on meta tensors and watch the ATen operations it makes.

No data, no weights and no autograd graph are needed: a dispatch mode sees every operation with its parameters,
whatever Python the network is written in.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from nas_prune.errors import BadInputError
from nas_prune.graph.axes import Axis, constant
from nas_prune.graph.call import Call
from nas_prune.graph.record import INPUT, Record, TensorNote
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
            record.parameters[name] = tuple(record.table.new(size) for size in tensor.shape)
            record.remember(tensor, TensorNote(record.parameters[name], parameter=name))
    _freeze_own_values(model, record)
    for training in (False, True):
        _watch(model.train(training), input_shape, record, training=training)
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


def _watch(model: nn.Module, input_shape: tuple[int, ...], record: Record, *, training: bool) -> None:
    image = torch.empty(BATCH, *input_shape, device="meta")
    record.keeps_costs = not training
    record.flow.add_node(INPUT)
    axes = (record.batch, *(constant(size) for size in input_shape))
    record.remember(image, TensorNote(axes, source=INPUT))
    try:
        with torch.no_grad(), _module_stack(model) as where, _Watcher(record, where):
            output = model(image)
    except _RuleError as error:
        raise error.__cause__ or error from None
    except Exception as error:
        message = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BadInputError(
            f"the network must run on an input of shape {list(input_shape)}, got: {message}. "
            "Check the image size and the input channels; forward must not branch on values."
        ) from error
    _freeze_outputs(output, record)
    record.forget_activations()


def _freeze_outputs(output: object, record: Record) -> None:
    for tensor in pytree.tree_leaves(output):
        if isinstance(tensor, Tensor):
            for axis in record.note(tensor).axes:
                record.table.freeze(axis, "the network's output")


@contextmanager
def _module_stack(model: nn.Module) -> Iterator[Callable[[], str]]:
    """Follow which module is running, so that a reason can say where."""
    stack: list[str] = []
    handles = []
    for path, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(lambda *_, path=path: stack.append(path)))
        handles.append(module.register_forward_hook(lambda *_: _drop_last(stack), always_call=True))
    try:
        yield lambda: stack[-1] if stack and stack[-1] else "the network itself"
    finally:
        for handle in handles:
            handle.remove()


def _drop_last(stack: list[str]) -> None:
    stack.pop()


class _RuleError(Exception):
    """A rule failed: our mistake, not the network's."""


class _Watcher(TorchDispatchMode):
    """Lets every operation run, and tells the record what it did to the axes."""

    def __init__(self, record: Record, where: Callable[[], str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._record = record
        self._where = where

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        try:
            self._observe(Call(func, args, kwargs or {}, output, self._record, self._where()))
        except Exception as error:
            raise _RuleError from error
        return output

    def _observe(self, call: Call) -> None:
        call.record.touched.update(call.parameter_names())
        rule = rule_for(call.func)
        outputs = [tensor for tensor in pytree.tree_leaves(call.output) if isinstance(tensor, Tensor)]
        axes = None
        if rule is None:
            call.freeze_inputs(f"no rule for {call.name} in {call.where}")
        else:
            try:
                axes = rule(call)
            except AxisConflictError:
                call.freeze_inputs(f"channels arranged in another way by {call.name} in {call.where}")
        call.account()
        for number, tensor in enumerate(outputs):
            known = axes is not None and number < len(axes)
            call.describe(tensor, axes[number] if axes is not None and known else _unknown(call, tensor))


def _unknown(call: Call, tensor: Tensor) -> tuple[Axis, ...]:
    """Constants, but a dimension that the batch's size divides is the batch, perhaps flattened with others."""
    axes = [constant(size) for size in tensor.shape]
    if call.activations():
        for dim, size in enumerate(tensor.shape):
            if size and size % BATCH == 0:
                axes[dim] = call.record.table.product([call.record.batch, constant(size // BATCH)])
    return tuple(axes)
