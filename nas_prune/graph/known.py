"""Values that follow from no activation, for networks whose code branches on such.

On meta tensors nothing has a value. Positions that are counted, masks that are made of them, and integers that were
given as an example have one all the same: it is worked out beside, on the CPU, and asked for where a network must know.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

_VALUE = "nas_prune_value"  # under which a tensor on the meta device holds what it would be
_MOST = 2**24  # numbers of one tensor
_MOST_FLAGS = 2**16
_MADE_OF_NOTHING = ("aten.empty", "aten.new_empty")


def give_value(tensor: Tensor, value: Tensor) -> Tensor:
    """A tensor on the meta device that is known to hold some values."""
    setattr(tensor, _VALUE, value)
    return tensor


def without_storage(buffer: Tensor) -> Tensor:
    """A buffer on the meta device; a flag or a count that it holds stays known, since code may branch on it."""
    new = buffer.detach().to("meta")
    value = value_of(buffer)
    is_flag = not buffer.is_floating_point() or not buffer.dim()
    if value is None or not is_flag or buffer.numel() > _MOST_FLAGS:
        return new
    return give_value(new, value.detach().cpu().clone())


def value_of(tensor: Tensor) -> Tensor | None:
    """What a tensor holds, as far as that follows from no activation; None otherwise."""
    known: Tensor | None = getattr(tensor, _VALUE, None) if tensor.is_meta else tensor
    return known


class KnownValues(TorchDispatchMode):
    """Works out, operation by operation, what follows from no activation."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._outdated: dict[int, Tensor] = {}  # by the memory of the values, which is kept so long

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        values = self._values(func, args, kwargs)
        if values is None:
            if func._schema.is_mutable:  # noqa: SLF001
                self._forget(func, args, kwargs)
            return func(*args, **kwargs)
        with _disable_current_modes():
            known = func(*values[0], **values[1])
        if not any(isinstance(leaf, Tensor) for leaf in pytree.tree_leaves(known)):
            return known  # a number that the code asks for
        try:
            output = func(*args, **kwargs)
        except (NotImplementedError, RuntimeError):  # how long it is depends on values
            output = pytree.tree_map_only(Tensor, lambda one: one.to("meta"), known)
        for one, value in zip(pytree.tree_leaves(output), pytree.tree_leaves(known), strict=True):
            if isinstance(one, Tensor) and one.is_meta and value.numel() <= _MOST:
                give_value(one, value)
        return output

    def _forget(self, func: Any, args: Any, kwargs: Any) -> None:
        """What an operation changes in place by what is not known is not known any more, nor are its views."""
        for place, argument in enumerate(func._schema.arguments):  # noqa: SLF001
            if argument.alias_info is not None and argument.alias_info.is_write:
                given = args[place] if place < len(args) else kwargs.get(argument.name)
                for tensor in pytree.tree_leaves(given):
                    value = value_of(tensor) if isinstance(tensor, Tensor) else None
                    if value is not None:
                        self._outdated[_memory(value)] = value

    def _values(self, func: Any, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
        """The arguments of an operation with values for tensors; None where some have none, or chance decides."""
        values = _given(func, args, kwargs)
        known = [leaf for leaf in pytree.tree_leaves(values) if isinstance(leaf, Tensor)]
        return None if any(_memory(value) in self._outdated for value in known) else values


def _memory(value: Tensor) -> int:
    return int(value.untyped_storage()._cdata)  # noqa: SLF001


def _given(func: Any, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
    is_random = torch.Tag.nondeterministic_seeded in func.tags
    if is_random or str(func.overloadpacket) in _MADE_OF_NOTHING:
        return None
    tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    is_from_meta = any(one.is_meta for one in tensors) or str(kwargs.get("device")) == "meta"
    if not is_from_meta or any(value_of(one) is None for one in tensors):
        return None
    given, named = pytree.tree_map_only(Tensor, value_of, (args, kwargs))
    return given, {**named, "device": torch.device("cpu")} if named.get("device") is not None else named
