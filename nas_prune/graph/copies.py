"""Copies of networks with other tensors in them, made quickly."""

import copy
import gc
import pickle
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from types import FunctionType
from typing import Any

from torch import Tensor, nn

from nas_prune.errors import BadInputError

_PLAIN = frozenset((int, float, str, bool, type(None)))
_MAPPINGS = frozenset((dict, OrderedDict))
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
    if type(value) in _PLAIN or isinstance(value, _SHARED):
        return value
    known = memo.get(id(value))
    if known is not None:
        return known
    kind: Any = type(value)
    if isinstance(value, nn.Module) and _is_ordinary(kind):
        return _copied_module(value, memo)
    if kind is dict or (kind is OrderedDict and not value):
        mapping: dict[Any, Any] = kind()
        memo[id(value)] = mapping
        for key, held in value.items():
            mapping[_copied(key, memo)] = _copied(held, memo)
        return mapping
    # What is no leaf is worked out anew in every forward (weight norm), and cannot be deep-copied.
    is_worked_out = isinstance(value, Tensor) and not value.is_leaf
    return value.detach().clone() if is_worked_out else _deeply(value, memo)


def _deeply(value: Any, memo: dict[int, Any]) -> Any:
    """A deep copy; what cannot be copied (a lock, a generator, an open file) is shared, unless tensors are in it.

    Raises:
        BadInputError: there are.
    """
    try:
        return copy.deepcopy(value, memo)
    except (TypeError, RuntimeError, pickle.PickleError) as error:
        if next(tensors_anywhere(value), None) is not None:
            raise BadInputError(
                f"what a network's modules hold must be copied with its tensors, got {type(value).__name__}, of which "
                f"Python says: {error}."
            ) from None
        memo[id(value)] = value
        return value


def tensors_anywhere(value: object, seen: "set[int] | None" = None) -> Iterator[Tensor]:
    """The tensors in a value: itself, or in lists, dictionaries, objects and their attributes."""
    seen = set() if seen is None else seen
    if isinstance(value, Tensor):
        yield value
    elif not isinstance(value, (str, bytes, int, float, type, nn.Module)) and id(value) not in seen:
        seen.add(id(value))
        for held in _held_by(value):
            yield from tensors_anywhere(held, seen)


def _held_by(value: object) -> Iterator[object]:
    if isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from value
    yield from getattr(value, "__dict__", {}).values()
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        yield from (getattr(value, name, None) for name in ([slots] if isinstance(slots, str) else slots))


def _copied_module(module: nn.Module, memo: dict[int, Any]) -> nn.Module:
    memo[id(module)] = twin = type(module).__new__(type(module))
    state = twin.__dict__
    state.update(vars(module))
    for name, held in vars(module).items():
        kind = type(held)
        if kind in _PLAIN:
            continue
        is_hooks = name in _names_of_hooks() and kind in _MAPPINGS and not held
        state[name] = kind() if is_hooks else _copied(held, memo)
    return twin


@cache
def _names_of_hooks() -> frozenset[str]:
    """The dozen dictionaries of every module, empty mostly."""
    return frozenset(name for name, held in vars(nn.Module()).items() if isinstance(held, dict))


@cache
def _is_ordinary(kind: Any) -> bool:
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
