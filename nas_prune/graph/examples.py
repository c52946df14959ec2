"""How a network is called, from an example, from what somebody has written down, or from a call that was seen."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from math import isfinite, prod
from typing import Any, get_args

import torch
from pydantic import ValidationError
from torch import Tensor

from nas_prune.errors import BadInputError
from nas_prune.graph.inputs import MOST, CallSpec, DictSpec, InputSpec, Kind, ListSpec, TensorSpec, ValueSpec

_WRITTEN = re.compile(
    r"(?:(?P<name>[A-Za-z_]\w*)=)?(?P<sizes>\d+(?:[x×]\d+)*)?(?::(?P<kind>[a-z]+\d*)(?:<(?P<below>\d+))?)?"
)


def call_like(example: Any, *, has_batch: bool = True) -> CallSpec:
    """How a network is called that takes what is given as an example.

    Args:
        example: a shape without the batch dimension, e.g. (3, 32, 32); a batch as a tensor; a tuple or list of inputs
            by position; a dictionary of them by name. Inputs are shapes, tensors, numbers, words, None, and lists,
            tuples and dictionaries of such. Of tensors only shapes, types and the largest integers count; the first
            dimension of the first one is the batch, and that of all others that have as many places there.
        has_batch: what is given as tensors has a batch dimension, so that a network can be called with any number.

    Raises:
        BadInputError: it is none of these, or holds no tensor.
    """
    batch = _batch_of(example) if has_batch else None
    if not _is_shape(example) and not any(_shapes_in(example)):
        raise BadInputError(f"example_input must hold a tensor or its shape, got {example!r}.")
    if isinstance(example, Mapping):
        spec = CallSpec(kwargs={_name(key): _spec_of(value, batch) for key, value in example.items()})
    elif isinstance(example, (tuple, list)) and not _is_shape(example):
        spec = CallSpec(args=tuple(_spec_of(value, batch) for value in example))
    else:
        spec = CallSpec(args=(_spec_of(example, batch),))
    return spec


def _shapes_in(value: Any) -> Iterator[bool]:
    """True for each tensor or shape in an example."""
    if isinstance(value, Tensor) or _is_shape(value):
        yield True
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _shapes_in(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _shapes_in(one)


def call_written(inputs: Sequence[str]) -> CallSpec:
    """How a network is called whose inputs somebody has written down.

    Args:
        inputs: one for each: `2x64`, `mask=128`, `words=128:int64<30522`; those with a name are given by it.

    Raises:
        BadInputError: one of them says something else, or two have one name.
    """
    args: list[InputSpec] = []
    kwargs: dict[str, InputSpec] = {}
    for text in inputs:
        name, spec = _read(text)
        if name is None:
            args.append(spec)
        elif kwargs.setdefault(name, spec) is not spec:
            raise BadInputError(f"--input must give each name once, got {name} twice.")
    return CallSpec(args=tuple(args), kwargs=kwargs)


def _read(text: str) -> tuple[str | None, TensorSpec]:
    found = _WRITTEN.fullmatch(text)
    if found is not None and (found["sizes"] or found["kind"]):
        sizes = tuple(map(int, re.split("[x×]", found["sizes"]))) if found["sizes"] else ()
        below = None if found["below"] is None else int(found["below"])
        content = {"shape": sizes, "kind": found["kind"], "below": below}
        with suppress(ValidationError):
            return found["name"], TensorSpec.model_validate(content)
    raise BadInputError(
        "--input must be sizes without the batch, with a name and a type if need be (3x32x32, mask=128, "
        f"words=128:int64<30522), got {text!r}. Types: {', '.join(get_args(Kind))}."
    )


def call_with(args: Sequence[Any], kwargs: Mapping[str, Any]) -> CallSpec:
    """How a module is called that was called so: tensors, numbers, and lists and dictionaries of such.

    Raises:
        BadInputError: other things were among the arguments, or no tensor.
    """
    batch = _batch_of([*args, *kwargs.values()])
    if batch is None:
        raise BadInputError("a part must be called with a tensor to be searched, got none.")
    return CallSpec(
        args=tuple(_spec_of(value, batch, has_shapes=False) for value in args),
        kwargs={name: _spec_of(value, batch, has_shapes=False) for name, value in kwargs.items()},
    )


def _batch_of(value: Any) -> int | None:
    """The first dimension of the first tensor that has one."""
    return next((int(one.shape[0]) for one in _tensors_in(value) if one.dim()), None)


def _is_shape(value: Any) -> bool:
    is_sequence = isinstance(value, (tuple, list)) and len(value) > 0
    return is_sequence and all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in value)


def _name(key: Any) -> str:
    if not isinstance(key, str):
        raise BadInputError(f"inputs by name must be named by words, got {key!r}.")
    return key


def _spec_of(value: Any, batch: int | None, *, has_shapes: bool = True) -> InputSpec:
    if isinstance(value, Tensor):
        return _spec_of_tensor(value, batch)
    if has_shapes and _is_shape(value):
        if any(not isinstance(size, int) or size < 1 for size in value):
            raise BadInputError(f"a shape must be of whole numbers of at least 1, got {tuple(value)}.")
        if prod(value) > MOST:
            raise BadInputError(f"a shape must hold at most {MOST:,} numbers, got {tuple(value)}.")
        return TensorSpec(shape=tuple(value))
    if isinstance(value, Mapping):
        entries = {_name(key): _spec_of(one, batch, has_shapes=has_shapes) for key, one in value.items()}
        return DictSpec(entries=entries)
    if isinstance(value, (list, tuple)):
        items = tuple(_spec_of(one, batch, has_shapes=has_shapes) for one in value)
        return ListSpec(items=items, is_tuple=isinstance(value, tuple))
    if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and isfinite(value)):
        return ValueSpec(value=value)
    raise BadInputError(
        "inputs must be tensors, shapes, finite numbers, words, and lists, tuples or dictionaries of such, got "
        f"{value if isinstance(value, float) else type(value).__name__}."
    )


def _spec_of_tensor(tensor: Tensor, batch: int | None) -> TensorSpec:
    kind: Any = str(tensor.dtype).removeprefix("torch.")
    if kind not in get_args(Kind):
        raise BadInputError(f"inputs must be of a type among {', '.join(get_args(Kind))}, got {kind}.")
    is_batched = batch is not None and tensor.dim() > 0 and int(tensor.shape[0]) == batch
    shape = tuple(map(int, tensor.shape[1:] if is_batched else tensor.shape))
    if min((*shape, *tensor.shape[:1], 1)) < 1:
        raise BadInputError(f"inputs must hold something, got a tensor of shape {list(tensor.shape)}.")
    if tensor.is_floating_point():
        return TensorSpec(shape=shape, is_batched=is_batched)
    is_integer = not tensor.is_complex() and tensor.dtype != torch.bool and not tensor.is_meta
    least, below = (int(tensor.min()), int(tensor.max()) + 1) if is_integer else (0, None)
    return TensorSpec(shape=shape, kind=kind, least=least, below=below, is_batched=is_batched)


def _tensors_in(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _tensors_in(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _tensors_in(one)
