"""What is run of a network, and on what: inputs of any rank and type, several of them, by position or by name."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, get_args

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor, nn

from nas_prune.errors import BadInputError
from nas_prune.graph.known import give_value

Shape: TypeAlias = tuple[int, ...]
_Size: TypeAlias = Annotated[int, Field(ge=1, strict=True)]
Kind: TypeAlias = Literal[
    "float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool",
    "complex64", "complex128",
]  # fmt: skip


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TensorSpec(_Spec):
    """A tensor that a network takes.

    Attributes:
        shape: its shape, without the batch dimension where it has one.
        kind: its type; None for the one that the network computes in.
        least, below: bounds of its integers: at least the first (ones of a mask, say), below the second (the number of
            rows of an embedding).
        is_batched: its first dimension, which the shape leaves out, is the batch.
    """

    shape: tuple[_Size, ...]
    kind: Kind | None = None
    least: int = Field(default=0, strict=True)
    below: int | None = Field(default=None, strict=True)
    is_batched: bool = True

    @model_validator(mode="after")
    def _has_room(self) -> "TensorSpec":
        if self.below is not None and self.below <= self.least:
            raise ValueError(f"below must be more than {self.least}, got {self.below}")
        return self


class ValueSpec(_Spec):
    """A number, a word or None, handed on as it is."""

    value: bool | int | float | str | None


class ListSpec(_Spec):
    """A list of inputs, or a tuple."""

    items: "tuple[InputSpec, ...]"
    is_tuple: bool = False


class DictSpec(_Spec):
    """A dictionary of inputs."""

    entries: "dict[str, InputSpec]"


InputSpec: TypeAlias = TensorSpec | ValueSpec | ListSpec | DictSpec


class CallSpec(_Spec):
    """All that a network is called with."""

    args: tuple[InputSpec, ...] = ()
    kwargs: dict[str, InputSpec] = Field(default_factory=dict)

    @property
    def tensors(self) -> tuple[TensorSpec, ...]:
        """The tensors, in order."""
        return tuple(one for spec in (*self.args, *self.kwargs.values()) for one in _tensors_of(spec))

    @property
    def shape(self) -> Shape:
        """Of the first tensor, without the batch dimension."""
        return self.tensors[0].shape

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    def __str__(self) -> str:
        """As it is written: `3×32×32`, or `words=128:int64<30522, mask=128`."""
        said = [_said(spec) for spec in self.args]
        return ", ".join([*said, *(f"{name}={_said(spec)}" for name, spec in self.kwargs.items())])

    @property
    def is_plain(self) -> bool:
        """Whether it is one tensor, of the type that the network computes in."""
        return self == plain(self.shape)


def plain(shape: Sequence[int]) -> CallSpec:
    """A call with one tensor of the type that the network computes in, of a shape without the batch."""
    return CallSpec(args=(TensorSpec(shape=tuple(shape)),))


Inputs: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Forward:
    """What is run: a network, or a part of it, and on what.

    Attributes:
        call: what it is called with.
        part: the path of the module that is run; empty for the network itself.
    """

    call: CallSpec
    part: str = ""

    def run(self, model: nn.Module, inputs: Inputs) -> Any:
        """What a network, or its part, puts out."""
        args, kwargs = inputs
        return model.get_submodule(self.part)(*args, **kwargs)

    def blank(self, model: nn.Module, count: int) -> Inputs:
        """Inputs without storage for a number of images (or signals, texts, …); those of integers have values."""
        dtype, generator = float_type(model), torch.Generator().manual_seed(0)

        def empty(spec: TensorSpec) -> Tensor:
            kind, shape = _dtype(spec, dtype), _full_shape(spec, count)
            tensor = torch.empty(shape, dtype=kind, device="meta")
            is_number = kind.is_floating_point or kind.is_complex
            return tensor if is_number else give_value(tensor, _integers(spec, shape, kind, generator))

        return self._made(empty)

    def sampled(self, model: nn.Module, count: int, seed: int = 0) -> Inputs:
        """Inputs of random values on the CPU: normal ones, or integers from 0 on."""
        dtype, generator = float_type(model), torch.Generator().manual_seed(seed)

        def drawn(spec: TensorSpec) -> Tensor:
            kind, shape = _dtype(spec, dtype), _full_shape(spec, count)
            if kind.is_floating_point or kind.is_complex:
                return torch.randn(shape, dtype=kind, generator=generator)
            return _integers(spec, shape, kind, generator)

        return self._made(drawn)

    def holds(self, name: str) -> bool:
        """Whether a module or parameter lies in what is run."""
        return is_within(name, self.part)

    def _made(self, make: Callable[[TensorSpec], Tensor]) -> Inputs:
        args = tuple(_built(spec, make) for spec in self.call.args)
        return args, {name: _built(spec, make) for name, spec in self.call.kwargs.items()}


ForwardLike: TypeAlias = "Forward | Sequence[int]"


def as_forward(example: ForwardLike) -> Forward:
    """A whole network on one tensor, where only its shape without the batch is given."""
    return example if isinstance(example, Forward) else Forward(plain(example))


def is_within(path: str, module: str) -> bool:
    """Whether a layer or parameter is a module or lies in it; everything lies in the network itself."""
    return not module or path == module or path.startswith(f"{module}.")


def float_type(model: nn.Module) -> torch.dtype:
    """The type that a network computes in: that of its first parameter that is no integer."""
    kinds = (parameter.dtype for parameter in model.parameters() if parameter.is_floating_point())
    return next(kinds, torch.float32)


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
    batch = next((_batch_of(one) for one in _tensors_in(example)), None) if has_batch else None
    if isinstance(example, Mapping):
        spec = CallSpec(kwargs={_name(key): _spec_of(value, batch) for key, value in example.items()})
    elif isinstance(example, (tuple, list)) and not _is_shape(example):
        spec = CallSpec(args=tuple(_spec_of(value, batch) for value in example))
    else:
        spec = CallSpec(args=(_spec_of(example, batch),))
    if not spec.tensors:
        raise BadInputError(f"example_input must hold a tensor or its shape, got {example!r}.")
    return spec


_WRITTEN = re.compile(
    r"(?:(?P<name>[A-Za-z_]\w*)=)?(?P<sizes>\d+(?:[x×]\d+)*)?(?::(?P<kind>[a-z]+\d*)(?:<(?P<below>\d+))?)?"
)


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
    batch = next((_batch_of(one) for one in _tensors_in([*args, *kwargs.values()])), None)
    if batch is None:
        raise BadInputError("a part must be called with a tensor to be searched, got none.")
    return CallSpec(
        args=tuple(_spec_of(value, batch, has_shapes=False) for value in args),
        kwargs={name: _spec_of(value, batch, has_shapes=False) for name, value in kwargs.items()},
    )


def _batch_of(tensor: Tensor) -> int | None:
    return int(tensor.shape[0]) if tensor.dim() else None


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
        return TensorSpec(shape=tuple(value))
    if isinstance(value, Mapping):
        entries = {_name(key): _spec_of(one, batch, has_shapes=has_shapes) for key, one in value.items()}
        return DictSpec(entries=entries)
    if isinstance(value, (list, tuple)):
        items = tuple(_spec_of(one, batch, has_shapes=has_shapes) for one in value)
        return ListSpec(items=items, is_tuple=isinstance(value, tuple))
    if value is None or isinstance(value, (bool, int, float, str)):
        return ValueSpec(value=value)
    raise BadInputError(
        "inputs must be tensors, shapes, numbers, words, and lists, tuples or dictionaries of such, got "
        f"{type(value).__name__}."
    )


def _spec_of_tensor(tensor: Tensor, batch: int | None) -> TensorSpec:
    kind: Any = str(tensor.dtype).removeprefix("torch.")
    is_batched = batch is not None and tensor.dim() > 0 and int(tensor.shape[0]) == batch
    shape = tuple(map(int, tensor.shape[1:] if is_batched else tensor.shape))
    if min((*shape, *tensor.shape[:1], 1)) < 1:
        raise BadInputError(f"inputs must hold something, got a tensor of shape {list(tensor.shape)}.")
    if tensor.is_floating_point():
        return TensorSpec(shape=shape, is_batched=is_batched)
    is_integer = not tensor.is_complex() and tensor.dtype != torch.bool and not tensor.is_meta
    least, below = (int(tensor.min()), int(tensor.max()) + 1) if is_integer else (0, None)
    # Of indices only the largest counts; a mask of ones stays one.
    least = least if below == least + 1 or least < 0 else 0
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


def _tensors_of(spec: InputSpec) -> Iterator[TensorSpec]:
    if isinstance(spec, TensorSpec):
        yield spec
    elif isinstance(spec, ListSpec):
        for one in spec.items:
            yield from _tensors_of(one)
    elif isinstance(spec, DictSpec):
        for one in spec.entries.values():
            yield from _tensors_of(one)


def _said(spec: InputSpec) -> str:
    if isinstance(spec, TensorSpec):
        sizes = "×".join(map(str, spec.shape)) or ("" if spec.kind else "one number")
        kind = f":{spec.kind}" if spec.kind else ""
        below = f"<{spec.below}" if spec.below else ""
        return f"{sizes}{kind}{below}{'' if spec.is_batched else ' in all'}"
    if isinstance(spec, ListSpec):
        return f"[{', '.join(map(_said, spec.items))}]"
    if isinstance(spec, DictSpec):
        return "{" + ", ".join(f"{name}: {_said(one)}" for name, one in spec.entries.items()) + "}"
    return repr(spec.value)


def _built(spec: InputSpec, make: Callable[[TensorSpec], Tensor]) -> Any:
    if isinstance(spec, TensorSpec):
        return make(spec)
    if isinstance(spec, ListSpec):
        items = [_built(one, make) for one in spec.items]
        return tuple(items) if spec.is_tuple else items
    if isinstance(spec, DictSpec):
        return {name: _built(one, make) for name, one in spec.entries.items()}
    return spec.value


def _full_shape(spec: TensorSpec, count: int) -> Shape:
    return (count, *spec.shape) if spec.is_batched else spec.shape


def _integers(spec: TensorSpec, shape: Shape, kind: torch.dtype, generator: torch.Generator) -> Tensor:
    if kind is torch.bool:
        return torch.ones(shape, dtype=kind)
    below = spec.least + 2 if spec.below is None else spec.below
    return torch.randint(spec.least, below, shape, dtype=kind, generator=generator)


def _dtype(spec: TensorSpec, floats: torch.dtype) -> torch.dtype:
    dtype: torch.dtype = floats if spec.kind is None else getattr(torch, spec.kind)
    return dtype
