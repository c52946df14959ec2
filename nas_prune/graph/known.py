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
_MADE_OF_NOTHING = ("aten.empty", "aten.new_empty")


def give_value(tensor: Tensor, value: Tensor) -> Tensor:
    """A tensor on the meta device that is known to hold some values."""
    setattr(tensor, _VALUE, value)
    return tensor


def value_of(tensor: Tensor) -> Tensor | None:
    """What a tensor holds, as far as that follows from no activation; None otherwise."""
    known: Tensor | None = getattr(tensor, _VALUE, None) if tensor.is_meta else tensor
    return known


class KnownValues(TorchDispatchMode):
    """Works out, operation by operation, what follows from no activation."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        values = _values(func, args, kwargs)
        if values is None:
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


def _values(func: Any, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
    """The arguments of an operation with values for tensors; None where some have none, or chance decides."""
    is_random = torch.Tag.nondeterministic_seeded in func.tags
    if is_random or str(func.overloadpacket) in _MADE_OF_NOTHING:
        return None
    tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    is_from_meta = any(one.is_meta for one in tensors) or str(kwargs.get("device")) == "meta"
    if not is_from_meta or any(value_of(one) is None for one in tensors):
        return None
    given, named = pytree.tree_map_only(Tensor, value_of, (args, kwargs))
    return given, {**named, "device": torch.device("cpu")} if named.get("device") is not None else named
