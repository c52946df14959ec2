"""Copies of networks with other tensors in them, made quickly."""

import copy
import gc
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FunctionType
from typing import Any

from torch import Tensor, nn

_SHARED = (int, float, str, bool, type(None), type, FunctionType)  # as in `copy`: these are their own copies


def copied(model: nn.Module, tensors: Mapping[int, Any]) -> nn.Module:
    """A deep copy of a network with some tensors, by identity, replaced.

    `copy.deepcopy` does the same. It spends most of its time on the dozen empty dictionaries for hooks that every
    module holds, and on numbers and strings.
    """
    memo = dict(tensors)
    result: nn.Module = _copied(model, memo)
    return result


def _copied(value: Any, memo: dict[int, Any]) -> Any:
    if isinstance(value, _SHARED):
        return value
    known = memo.get(id(value))
    if known is not None:
        return known
    if isinstance(value, nn.Module) and _is_ordinary(type(value)):
        memo[id(value)] = twin = type(value).__new__(type(value))
        for name, held in vars(value).items():
            twin.__dict__[name] = _copied(held, memo)
        return twin
    if type(value) is dict or (type(value) is OrderedDict and not value):
        mapping: dict[Any, Any] = type(value)()
        memo[id(value)] = mapping
        for key, held in value.items():
            mapping[_copied(key, memo)] = _copied(held, memo)
        return mapping
    # What is no leaf is worked out anew in every forward (weight norm), and cannot be deep-copied.
    is_worked_out = isinstance(value, Tensor) and not value.is_leaf
    return value.detach().clone() if is_worked_out else copy.deepcopy(value, memo)


def _is_ordinary(kind: type) -> bool:
    """Whether a type of module says nothing of its own about how it is copied."""
    own = (vars(base) for base in kind.__mro__ if not base.__module__.startswith(("torch.nn.", "builtins")))
    return not any(
        {"__deepcopy__", "__reduce__", "__reduce_ex__", "__setstate__", "__getstate__"} & set(one)
        for one in own
    )


@contextmanager
def uncollected() -> Iterator[None]:
    """Without garbage collection, which a trace would start a few times over everything that torch has loaded."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
