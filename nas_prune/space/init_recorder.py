"""Hears what a network's constructor does to tensors, so that it can be done again at other sizes."""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedTensorMixin  # type: ignore[attr-defined]
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

_OWN_RESETS = frozenset({"reset_parameters", "_reset_parameters", "reset_running_stats"})
_OVERWRITES = frozenset({"zero_", "fill_", "normal_", "uniform_", "copy_", "bernoulli_", "exponential_"})
_ALSO_INIT = {"zero_": "zeros_", "fill_": "constant_", "normal_": "normal_", "uniform_": "uniform_"}
_COPIES = frozenset({"_to_copy", "clone"})


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a function of `torch.nn.init`, and whether a layer's own reset made it."""

    function: str
    arguments: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)
    is_own: bool = False
    carry_out: Callable[[Tensor], object] = lambda _: None
    tensor: Tensor | None = None  # the parameter, or a view of all of it


@dataclass(slots=True)
class InitRecorder:
    """What has been done to each piece of memory.

    Attributes:
        calls: of `torch.nn.init`, in order.
        pending: memory whose calls have not been carried out.
        written: memory that was last written by the constructor's own code.
        kept: keeps what was heard of alive, so that no memory is used twice.
    """

    calls: dict[int, list[Call]] = field(default_factory=lambda: defaultdict(list))
    pending: set[int] = field(default_factory=set)
    written: set[int] = field(default_factory=set)
    kept: list[torch.UntypedStorage] = field(default_factory=list)

    def calls_of(self, parameter: Tensor) -> list[Call] | None:
        """What to do to a parameter after its layer's own reset; None if that says nothing of its values."""
        place = _place(parameter)
        if place in self.written or place not in self.calls:
            return None
        calls = [call for call in self.calls[place] if not call.is_own]
        if any(call.tensor is None or call.tensor.shape != parameter.shape for call in calls):
            self.read(parameter)  # a view in another shape has other fans
            return None
        return calls

    def settle(self, parameters: Iterable[Tensor]) -> None:
        """Carry out what was left undone on all memory but the parameters' (buffers, say)."""
        known = {_place(parameter) for parameter in parameters}
        for place in self.pending - known:
            self._carry_out(place)

    def note(self, tensor: Tensor, call: Call) -> None:
        """A function of `torch.nn.init` was called."""
        self.kept.append(tensor.untyped_storage())
        place = _place(tensor)
        if not _is_whole(tensor):
            self.write(tensor, overwrites=False)
            call.carry_out(tensor)
            return
        if call.is_own:
            self.calls[place] = [before for before in self.calls[place] if before.is_own]
        self.calls[place].append(call)
        self.pending.add(place)
        self.written.discard(place)

    def write(self, tensor: Tensor, *, overwrites: bool) -> None:
        """The constructor wrote to a tensor itself; what it may depend on is carried out first."""
        self.kept.append(tensor.untyped_storage())
        if not overwrites:
            self.read(tensor)
        self.calls.pop(_place(tensor), None)
        self.pending.discard(_place(tensor))
        self.written.add(_place(tensor))

    def set(self, tensor: Tensor, call: Call) -> None:
        """All of a tensor has just been written, in a way that a function of `torch.nn.init` has too."""
        self.calls[_place(tensor)] = [call]
        self.written.discard(_place(tensor))

    def read(self, tensor: Tensor) -> None:
        """Something depends on the values of a tensor."""
        place = _place(tensor)
        if place in self.pending:
            self._carry_out(place)

    def _carry_out(self, place: int) -> None:
        self.pending.discard(place)
        for call in self.calls[place]:
            if call.tensor is not None:
                call.carry_out(call.tensor)

    def copy(self, old: Tensor, new: Tensor) -> None:
        """A tensor has been copied as a whole: to another type, layout or device."""
        if _place(old) in self.pending and _is_whole(old):
            self.kept.append(new.untyped_storage())
            self.calls[_place(new)] = [replace(call, tensor=new) for call in self.calls[_place(old)]]
            self.pending.add(_place(new))
        elif _place(old) in self.written:
            self.kept.append(new.untyped_storage())
            self.written.add(_place(new))


def _is_whole(tensor: Tensor) -> bool:
    return tensor.numel() * tensor.element_size() == tensor.untyped_storage().nbytes()


def _place(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001


@contextmanager
def recorded_inits() -> Iterator[InitRecorder]:
    """Hear what is done to tensors inside the block."""
    recorder = InitRecorder()
    originals = {
        name: getattr(nn.init, name)
        for name in dir(nn.init)
        if name.endswith("_") and not name.startswith("_") and callable(getattr(nn.init, name))
    }
    watcher = _Writes(recorder)
    try:
        for name, function in originals.items():
            setattr(nn.init, name, _noting(name, function, recorder, watcher))
        with watcher:
            yield recorder
    finally:
        for name, function in originals.items():
            setattr(nn.init, name, function)


def _noting(
    name: str, function: Callable[..., Any], recorder: InitRecorder, watcher: "_Writes"
) -> Callable[..., Tensor]:
    @wraps(function)  # its signature is looked at where a constructor replays what another did
    def noted(tensor: Tensor, *arguments: Any, **keywords: Any) -> Tensor:
        def carry_out(tensor: Tensor) -> None:
            with watcher.paused():
                function(tensor, *arguments, **keywords)

        if not tensor.is_meta and not isinstance(tensor, UninitializedTensorMixin):
            recorder.note(tensor, Call(name, arguments, keywords, _inside_own_reset(), carry_out, tensor))
        return tensor

    return noted


class _Writes(TorchDispatchMode):
    """Hears operations that change a tensor in place."""

    def __init__(self, recorder: InitRecorder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._heard = recorder
        self._is_deaf = False

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hear nothing inside the block."""
        was, self._is_deaf = self._is_deaf, True
        try:
            yield
        finally:
            self._is_deaf = was

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if self._is_deaf:
            return func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        values = pytree.tree_leaves((args, kwargs))
        tensors = [one for one in values if isinstance(one, Tensor) and not one.is_meta and one.numel()]
        if name in _COPIES and tensors:
            output = func(*args, **(kwargs or {}))
            self._heard.copy(tensors[0], output)
            return output
        target = (
            tensors.pop(0)
            if func._schema.is_mutable and tensors and tensors[0] is args[0]  # noqa: SLF001
            else None
        )
        if not func.is_view:
            for tensor in tensors:  # first, since the target may be one of them
                self._heard.read(tensor)
        if target is not None:
            self._hear(target, name, args[1:])
        return func(*args, **(kwargs or {}))

    def _hear(self, tensor: Tensor, name: str, numbers: Sequence[Any]) -> None:
        if not _inside_own_reset():
            overwrites = _is_whole(tensor) and name in _OVERWRITES
            self._heard.write(tensor, overwrites=overwrites)
            if overwrites and name in _ALSO_INIT and all(isinstance(one, (int, float)) for one in numbers):
                self._heard.set(tensor, Call(_ALSO_INIT[name], tuple(numbers), tensor=tensor))
        elif _is_whole(tensor):
            self._heard.note(tensor, Call(name, is_own=True))  # the reset itself will do it again


def _inside_own_reset() -> bool:
    frame = sys._getframe(2)  # noqa: SLF001
    while frame is not None:
        if frame.f_code.co_name in _OWN_RESETS:
            return True
        if frame.f_code.co_name == "__init__":
            return False  # of the layer that is being made
        if frame.f_back is None:
            return False
        frame = frame.f_back
    return False
