"""What is run of a network, and on what: inputs of any rank and type, several of them, by position or by name."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Annotated, Any, Literal, TypeAlias

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from nas_prune.graph.known import give_value

Shape: TypeAlias = tuple[int, ...]
_Size: TypeAlias = Annotated[int, Field(ge=1, strict=True)]
Kind: TypeAlias = Literal[
    "float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool",
    "complex64", "complex128",
]  # fmt: skip


MOST = 2**31  # numbers of one input


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
        dtype = torch.float32 if self.kind is None else getattr(torch, self.kind)
        is_integer = not (dtype.is_floating_point or dtype.is_complex or dtype is torch.bool)
        limits = torch.iinfo(dtype) if is_integer else None
        if limits and not limits.min <= self.least <= (self.below or limits.max + 1) - 1 <= limits.max:
            raise ValueError(f"bounds must fit {self.kind}, got {self.least} and {self.below}")
        if prod(self.shape) > MOST:
            raise ValueError(f"shapes must hold at most {MOST:,} numbers, got {list(self.shape)}")
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

    @model_validator(mode="after")
    def _has_tensors(self) -> "CallSpec":
        if not self.tensors:
            raise ValueError("a network must be called with a tensor")
        return self

    @property
    def tensors(self) -> tuple[TensorSpec, ...]:
        """The tensors, in order."""
        return tuple(one for spec in (*self.args, *self.kwargs.values()) for one in _tensors_of(spec))

    def with_tensors(self, tensors: Sequence[TensorSpec]) -> "CallSpec":
        """The same call with other tensors, in order."""
        left = iter(tensors)

        def replaced(spec: InputSpec) -> InputSpec:
            if isinstance(spec, TensorSpec):
                return next(left)
            if isinstance(spec, ListSpec):
                return ListSpec(items=tuple(map(replaced, spec.items)), is_tuple=spec.is_tuple)
            if isinstance(spec, DictSpec):
                return DictSpec(entries={name: replaced(one) for name, one in spec.entries.items()})
            return spec

        args = tuple(map(replaced, self.args))
        return CallSpec(args=args, kwargs={name: replaced(one) for name, one in self.kwargs.items()})

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
    most = torch.iinfo(kind).max
    last = min(spec.least + 1 if spec.below is None else spec.below - 1, most)
    if last == torch.iinfo(torch.int64).max:
        return torch.full(shape, last, dtype=kind)
    return torch.randint(spec.least, last + 1, shape, generator=generator).to(kind)


def _dtype(spec: TensorSpec, floats: torch.dtype) -> torch.dtype:
    dtype: torch.dtype = floats if spec.kind is None else getattr(torch, spec.kind)
    return dtype
