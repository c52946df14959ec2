"""Run a network once on meta tensors and watch the ATen operations it makes.

No data, no weights and no autograd graph are needed: a dispatch mode sees every operation with its parameters,
whatever Python the network is written in.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

from nas_prune.errors import BadInputError
from nas_prune.graph.axes import Axis, atoms_of, constant
from nas_prune.graph.call import Axes, Call, tensors_in
from nas_prune.graph.copies import copied, tensors_anywhere, uncollected
from nas_prune.graph.quick import output_of
from nas_prune.graph.record import BATCH, INPUT, NO_RULE, ROOT, RULE_FAILED, Record, Step, TensorNote
from nas_prune.graph.rules import rule_for
from nas_prune.graph.selection import ChannelSelection
from nas_prune.graph.table import AxisConflictError

Result = TypeVar("Result")


def trace(
    model: nn.Module,
    input_shape: tuple[int, ...],
    *,
    is_ours: bool = False,
    fixed: frozenset[str] | None = None,
) -> Record:
    """Watch an evaluation pass of a network, and a training pass if the first has left parameters unused.

    Args:
        model: any network; it is not changed (a copy on the meta device is run).
        input_shape: the shape of one input without the batch dimension, e.g. (3, 32, 32).
        is_ours: the network is on the meta device and may be changed, so that no copy is needed.
        fixed: names of the buffers that must keep their sizes; found from their values if None.

    Returns:
        The merged record. Costs are taken from the evaluation pass; the training pass adds what only runs then
        (auxiliary heads).

    Raises:
        BadInputError: the network's own forward fails on such an input.
    """
    known = fixed_tensors(model) if fixed is None else fixed
    meta = model if is_ours else on_meta(model)
    return made_where_it_runs(lambda: _traced(meta, input_shape, Record(fixed_tensors=known)))


def _traced(model: nn.Module, input_shape: tuple[int, ...], record: Record) -> Record:
    record.batch = record.table.new(BATCH)
    record.table.freeze(record.batch, "the batch")
    record.selections = frozenset(f"{path}.indices" for path in _selections(model))
    for name, tensor in named_tensors(model):
        if name not in record.parameters:
            record.parameters[name] = tuple(
                record.table.new(size) if size > 1 else constant(size) for size in tensor.shape
            )
            record.remember(tensor, TensorNote(record.parameters[name], parameter=name, is_shifted=True))
    learnt = {name for name, _ in model.named_parameters()}
    for name in record.fixed_tensors:
        kind = "parameter" if name in learnt else "buffer"
        for axis in record.parameters.get(name, ()):
            record.table.freeze(axis, f"{kind} {name} holds values of its own for them")
    image = blank_images(model, BATCH, input_shape)
    axes = (record.batch, *(constant(size) for size in input_shape))
    note = TensorNote(axes, source=INPUT)
    record.flow.add_node(INPUT)
    for training in (False, True):
        if not training or not learnt <= record.touched:
            record.remember(image, note)
            with uncollected():
                _watch(model, image, record, training=training)
    record.settle_picked()
    if not any(atoms_of(record.table.resolve(record.batch))):
        raise BadInputError(
            "a network's forward must take the images of a batch together, got one that walks over them one by one: "
            "its costs depend on how many there are."
        )
    for name, axes in record.parameters.items():
        if name not in record.touched:
            for axis in axes:
                record.table.freeze(axis, "no operation of the forward pass uses it")
    return record


def fixed_tensors(model: nn.Module) -> frozenset[str]:
    """Buffers and constant parameters that hold values of their own place by place: none can be added or taken out.

    The statistics of norms start anew, a selection holds as many indices as it is told, and a tensor that is the same
    everywhere can have any size.
    """
    free = tuple(
        f"{path}."
        for path, module in model.named_modules()
        if isinstance(module, (nn.modules.batchnorm._NormBase, ChannelSelection))  # noqa: SLF001
    )
    buffers = [
        (name, buffer) for name, buffer in model.named_buffers() if not name.startswith(free or ("/",))
    ]
    constants = constant_parameters(model)
    parameters = [(name, one) for name, one in model.named_parameters() if id(one) in constants]
    return frozenset(name for name, one in (*buffers, *parameters) if one.is_meta or not _is_even(one))


def constant_parameters(model: nn.Module) -> frozenset[int]:
    """Identities of the parameters that take no gradient while others do: what they hold was set once, for good.

    Where none takes a gradient the whole network was frozen, to be run, and that says nothing of its parameters.
    """
    parameters = list(model.parameters())
    if not any(one.requires_grad for one in parameters):
        return frozenset()
    return frozenset(id(one) for one in parameters if not one.requires_grad)


def _selections(model: nn.Module) -> list[str]:
    return [path for path, module in model.named_modules() if isinstance(module, ChannelSelection)]


def _is_even(buffer: Tensor) -> bool:
    return bool((buffer == buffer.reshape(-1)[:1]).all()) if buffer.numel() else True


def on_meta(model: nn.Module) -> nn.Module:
    """A copy of a network whose parameters and buffers have shapes but no storage; ties between them stay."""
    buffers = {id(buffer): buffer.to("meta") for buffer in model.buffers()}
    return copied(model, {**_meta_parameters(model), **buffers})


def structure(model: nn.Module) -> nn.Module:
    """A copy of a network without its weights: parameters on the meta device; buffers and constants as they are."""
    constants = constant_parameters(model)
    return copied(model, {key: one for key, one in _meta_parameters(model).items() if key not in constants})


def _meta_parameters(model: nn.Module) -> dict[int, Any]:
    return {
        id(parameter): nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)
        for parameter in model.parameters()
    }


def named_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers by name; a tied one comes once, under its first name."""
    yield from model.named_parameters()
    yield from model.named_buffers()


def _watch(model: nn.Module, image: Tensor, record: Record, *, training: bool) -> None:
    record.keeps_costs = not training
    running = Running({id(module): path for path, module in model.named_modules()}, record)
    try:
        with torch.no_grad(), slow_attention(), running.watched(), _Watcher(record, running):
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
        is_of_devices: tensors lie on different devices.
    """

    def __init__(self, shape: Sequence[int], path: str, error: Exception, record: Record) -> None:
        self.path, self.record = path, record
        self.message = first_line(error)
        self.is_of_devices = _names_devices(self.message)
        hint = "Check the image size and the input channels; forward must not branch on values."
        if self.is_of_devices:
            hint = "Make tensors that forward needs in forward, or register them as buffers."
        super().__init__(
            f"the network must run on an input of shape {list(shape)}, got: {self.message.rstrip('.')}. {hint}"
        )


def _names_devices(message: str) -> bool:
    """Whether PyTorch says that tensors lie on different devices; it has no type of error for that, only words."""
    return "device" in message


def first_line(error: BaseException) -> str:
    """The first line of what an error says, no longer than a reader would want."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


_LONGEST = 200


def blank_images(model: nn.Module, count: int, shape: Sequence[int]) -> Tensor:
    """Images without storage, of the type that a network computes in."""
    kinds = (parameter.dtype for parameter in model.parameters() if parameter.is_floating_point())
    return torch.empty(count, *shape, device="meta", dtype=next(kinds, torch.float32))


def made_where_it_runs(run: Callable[[], Result]) -> Result:
    """Run a network; if it makes tensors without saying where (`torch.zeros(1)`), once more with meta as the place.

    That is not done at once, since it costs a third of the time where there are many small operations.
    """
    try:
        return run()
    except Exception as error:
        is_of_devices = error.is_of_devices if isinstance(error, ForwardError) else _names_devices(str(error))
        if not is_of_devices:
            raise
        with torch.device("meta"):
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
        call.describe(tensor, axes[number] if axes is not None and known else _unknown(call, tensor))
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


def _unknown(call: Call, tensor: Tensor) -> tuple[Axis, ...]:
    """Constants, but a dimension that the batch's size divides is the batch, perhaps flattened with others."""
    axes = [constant(size) for size in tensor.shape]
    if call.record.table.length(call.record.batch) != BATCH:
        return tuple(axes)  # a batch of another size is not told by a number
    for dim, size in enumerate(tensor.shape):
        if size == BATCH or (call.activations() and size and size % BATCH == 0):
            axes[dim] = call.record.table.product([call.record.batch, constant(size // BATCH)])
    return tuple(axes)
