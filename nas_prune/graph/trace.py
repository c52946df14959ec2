"""Run a network once on meta tensors and watch the ATen operations it makes.

No data, no weights and no autograd graph are needed: a dispatch mode sees every operation with its parameters,
whatever Python the network is written in.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

from nas_prune.errors import BadInputError
from nas_prune.graph.axes import ONE, Atom, Axis, atoms_of, constant
from nas_prune.graph.call import Axes, Call, tensors_in
from nas_prune.graph.copies import tensors_anywhere, uncollected
from nas_prune.graph.inputs import Forward, ForwardLike, Inputs, as_forward
from nas_prune.graph.known import KnownValues
from nas_prune.graph.quick import output_of
from nas_prune.graph.record import INPUT, NO_RULE, OUTPUT, ROOT, RULE_FAILED, Record, Step, TensorNote
from nas_prune.graph.rules import rule_for
from nas_prune.graph.selection import ChannelSelection
from nas_prune.graph.table import AxisConflictError
from nas_prune.graph.tensors import HOLDS, fixed_tensors, named_tensors, on_meta
from nas_prune.runs.text import first_line

Result = TypeVar("Result")


_BATCHES = (37, 41, 43, 47)  # images in the traced batch: more than one, for batch norm, and primes
_IMAGE_BY_IMAGE = 1


def trace(
    model: nn.Module,
    example: ForwardLike,
    *,
    is_ours: bool = False,
    fixed: Mapping[str, tuple[int, ...]] | None = None,
    images: int | None = None,
) -> Record:
    """Watch an evaluation pass of a network, and a training pass if the first has left parameters unused.

    The batch is told by its size, so that this must be none that means something else: where a dimension beside it has
    as many places, another batch is tried. Where the network's code takes it apart, a single image is.

    Args:
        model: any network; it is not changed (a copy on the meta device is run).
        example: what is run, or the shape of one input without the batch dimension, e.g. (3, 32, 32).
        is_ours: the network is on the meta device and may be changed, so that no copy is needed.
        fixed: names of the buffers that must keep their sizes, and in which dimensions; found from their values if
            None.
        images: how many the batch has; found out if None.

    Returns:
        The merged record. Costs are taken from the evaluation pass; the training pass adds what only runs then
        (auxiliary heads).

    Raises:
        BadInputError: the network's own forward fails on such an input.
    """
    known = fixed_tensors(model) if fixed is None else fixed
    meta = model if is_ours else on_meta(model)
    forward = as_forward(example)

    def traced(images: int) -> Record:
        return made_where_it_runs(lambda: _traced(meta, forward, Record(fixed_tensors=known, images=images)))

    if images is not None:
        return traced(images)
    sizes = {size for _, tensor in named_tensors(meta) for size in tensor.shape}
    sizes.update(size for spec in forward.call.tensors for size in spec.shape)
    telling = [batch for batch in _BATCHES if not any(size % batch == 0 for size in sizes)] or [_BATCHES[0]]
    for batch in telling:
        record = traced(batch)
        if not _is_whole(record):
            return traced(_IMAGE_BY_IMAGE)
        if not record.has_doubles:
            break
    return record


def _is_whole(record: Record) -> bool:
    """Whether the batch is still one, and not taken apart."""
    axis = record.table.resolve(record.batch)
    return len(axis) == len(axis[0]) == 1 and isinstance(axis[0][0], Atom)


def _traced(model: nn.Module, forward: Forward, record: Record) -> Record:
    record.root = forward.part
    record.batch = record.table.new(record.images) if record.images > 1 else ONE
    record.table.freeze(record.batch, "the batch")
    modules = dict(model.named_modules())
    record.selections = frozenset(
        f"{path}.indices" for path, module in modules.items() if isinstance(module, ChannelSelection)
    )
    learnt = _name_tensors(model, forward, record)
    for name, dims in record.fixed_tensors.items():
        kind, axes = "parameter" if name in learnt else "buffer", record.parameters.get(name, ())
        for dim in dims if axes else ():
            record.table.freeze(axes[dim], f"{kind} {name} {HOLDS}")
    inputs = forward.blank(model, record.images)
    record.flow.add_node(INPUT)
    for training in (False, True):
        if not training or not learnt <= record.touched:
            _note_inputs(inputs, record)
            with uncollected():
                _watch(model, forward, inputs, Running(modules, record), record, training=training)
    record.settle_picked()
    for name, axes in record.parameters.items():
        if name not in record.touched:
            for axis in axes:
                record.table.freeze(axis, "no operation of the forward pass uses it")
    return record


def _name_tensors(model: nn.Module, forward: Forward, record: Record) -> set[str]:
    """Give every dimension of the parameters and buffers of what is run an atom of its own; the parameters' names."""
    learnt = set[str]()
    shared = _shared_with_others(model, forward) if forward.part else frozenset()
    for name, tensor in named_tensors(model):
        if name in record.parameters or not (forward.holds(name) or id(tensor) in shared):
            continue
        axes = tuple(record.table.new(size) if size > 1 else constant(size) for size in tensor.shape)
        record.parameters[name] = axes
        record.remember(tensor, TensorNote(axes, parameter=name, is_shifted=True))
        for axis in axes if id(tensor) in shared else ():
            record.table.freeze(axis, f"shared with what lies outside {forward.part}")
        if isinstance(tensor, nn.Parameter):
            learnt.add(name)
    return learnt


def _shared_with_others(model: nn.Module, forward: Forward) -> frozenset[int]:
    """Identities of the tensors that a part has in common with the rest of its network."""
    inside: dict[bool, set[int]] = {True: set(), False: set()}
    part = {id(module) for module in model.get_submodule(forward.part).modules()}  # by whatever names
    for module in model.modules():
        own = (*module._parameters.values(), *module._buffers.values())  # noqa: SLF001
        inside[id(module) in part].update(id(tensor) for tensor in own if tensor is not None)
    return frozenset(inside[True] & inside[False])


def _note_inputs(inputs: Inputs, record: Record) -> None:
    """What comes in: the batch first, and beside it nothing that may change its size."""
    for tensor in tensors_anywhere(inputs):
        batch = record.batch_or(tensor.shape[0]) if tensor.dim() else None
        axes = [constant(size) for size in tensor.shape]
        record.remember(tensor, TensorNote((batch, *axes[1:]) if batch else tuple(axes), source=INPUT))


def _watch(
    model: nn.Module, forward: Forward, inputs: Inputs, running: "Running", record: Record, *, training: bool
) -> None:
    record.keeps_costs = not training
    try:
        with torch.no_grad(), slow_attention(), running.watched(), _Watcher(record, running):
            output = forward.run(model.train(training), inputs)
    except _RuleError as error:
        raise error.__cause__ or error from None
    except Exception as error:
        raise ForwardError(forward, running.failed or "", error, record) from error
    _freeze_outputs(output, record)
    record.forget_activations()


class ForwardError(BadInputError):
    """The network's own forward failed.

    Attributes:
        path: the module that was running.
        message: the first line of what it said.
        record: what was seen until then.
        is_of_devices: tensors lie on different devices.
    """

    def __init__(self, forward: Forward, path: str, error: Exception, record: Record) -> None:
        self.path, self.record = path, record
        self.message = first_line(error)
        self.is_of_devices = _names_devices(self.message)
        hint = "Check the sizes of the input. Where forward branches on values, name a part that does not."
        if self.is_of_devices:
            hint = "Make tensors that forward needs in forward, or register them as buffers."
        what = f"part {forward.part}" if forward.part else "the network"
        super().__init__(
            f"{what} must run on an input of shape {list(forward.call.shape)}, got: {self.message.rstrip('.')}. {hint}"
        )


_WAYS = 2
_ASKS_FOR_VALUES = re.compile(r"item\(\)|_local_scalar_dense|nonzero|data-dependent")


def _names_devices(message: str) -> bool:
    """Whether PyTorch says that tensors lie on different devices; it has no type of error for that, only words."""
    return "device" in message


def made_where_it_runs(run: Callable[[], Result]) -> Result:
    """Run a network; once more in another way where it needs one.

    If it makes tensors without saying where (`torch.zeros(1)`), meta is the place; if it branches on values that
    follow from no activation, these are worked out. That is not done at once, since it costs a third of the time where
    there are many small operations.
    """
    with ExitStack() as ways:
        for _ in range(_WAYS):
            try:
                return run()
            except Exception as error:
                message = error.message if isinstance(error, ForwardError) else str(error)
                if _names_devices(message):
                    ways.enter_context(torch.device("meta"))
                elif _ASKS_FOR_VALUES.search(message):
                    ways.enter_context(KnownValues())
                else:
                    raise
        return run()


@contextmanager
def slow_attention() -> Iterator[None]:
    """Without the fused attention kernel, which shows nothing of what happens inside."""
    was_enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was_enabled)


def _freeze_outputs(output: object, record: Record) -> None:
    for tensor in tensors_anywhere(output):
        for axis in record.note(tensor).axes:
            record.table.freeze(axis, OUTPUT)


class Running:
    """Follows which module is running, so that a reason can say where."""

    def __init__(self, modules: Mapping[str, nn.Module], record: Record | None = None) -> None:
        self._paths = {id(module): path for path, module in modules.items()}
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


class _Watcher(TorchDispatchMode):
    """Lets every operation run, and tells the record what it did to the axes."""

    def __init__(self, record: Record, running: Running) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._record = record
        self._running = running

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = output_of(func, args, kwargs)
        try:
            where = self._running.where() or ROOT
            observe(Call(func, args, kwargs or {}, output, self._record, where))
        except Exception as error:
            raise _RuleError from error
        return output


def observe(call: Call) -> None:
    """Apply the operation's rule, and write down what it says of the outputs."""
    notes = call.notes
    call.record.touched.update(note.parameter for note in notes if note.parameter is not None)
    axes = _ruled(call)
    call.account()
    for number, tensor in enumerate(call.outputs):
        known = axes is not None and number < len(axes)
        own = axes[number] if axes is not None and known else _unknown(call, tensor)
        call.describe(tensor, own)
        if not call.record.has_doubles:
            call.record.has_doubles = _has_double(call.record, own, tensor)
    if call.record.keeps_costs:
        known_outputs = call.outputs[: len(axes or ())]
        outputs = tuple(call.record.note(tensor).axes for tensor in known_outputs)
        inputs = tuple(note.axes for note in notes)
        call.record.steps.append(Step(call.where, call.name, inputs, outputs))


def _ruled(call: Call) -> "list[Axes] | None":
    """What the rule says of the outputs; None where there is none, or where it does not fit, which freezes."""
    rule = rule_for(call.func)
    if rule is None:
        call.freeze_inputs(f"{NO_RULE} {call.name} in {call.where}")
        return None
    try:
        axes = rule(call)
    except AxisConflictError:
        call.freeze_inputs(f"channels arranged in another way by {call.name} in {call.where}")
        return None
    except Exception as error:  # noqa: BLE001  (our mistake must not cost the user the rest of the network)
        call.freeze_inputs(
            f"{RULE_FAILED} {call.name} failed in {call.where} ({type(error).__name__}: {error})"
        )
        return None
    length = call.record.table.length
    if any(
        tuple(map(length, own)) != tuple(out.shape)
        for own, out in zip(axes or (), call.outputs, strict=False)
    ):
        call.freeze_inputs(f"{RULE_FAILED} {call.name} does not fit its sizes in {call.where}")
        return None
    return axes


def _has_double(record: Record, axes: Axes, tensor: Tensor) -> bool:
    """Whether a dimension has as many places as the batch, or a multiple, and is not known to hold it."""
    images = record.images
    if images == 1 or not any(size % images == 0 for size in tensor.shape):
        return False
    return any(
        size % images == 0 and record.batch_atom not in set(atoms_of(record.table.resolve(axis)))
        for size, axis in zip(tensor.shape, axes, strict=True)
        if size
    )


def _unknown(call: Call, tensor: Tensor) -> tuple[Axis, ...]:
    """Constants, but a dimension that the batch's size divides is the batch, perhaps flattened with others."""
    axes, images = [constant(size) for size in tensor.shape], call.record.images
    if images == 1:
        return tuple(axes)
    for dim, size in enumerate(tensor.shape):
        if size == images or (call.activations() and size and size % images == 0):
            axes[dim] = call.record.table.product([call.record.batch, constant(size // images)])
    return tuple(axes)
