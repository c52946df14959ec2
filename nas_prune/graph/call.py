"""One operation of a network as it ran, and what a rule can ask of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import inf
from typing import Any, TypeAlias

from torch import Tensor
from torch.utils.flop_counter import flop_registry

from nas_prune.graph.axes import Axis, constant
from nas_prune.graph.record import ROOT, Record, TensorNote

Axes: TypeAlias = tuple[Axis, ...]

# Operations that give zero where their activations are zero (in-place forms without the underscore).
KEEPS_ZERO = frozenset((
    "_adaptive_avg_pool2d", "_conj", "_fft_c2c", "_fft_c2r", "_fft_r2c", "_prelu_kernel", "_to_copy",
    "_unsafe_view", "abs", "adaptive_max_pool2d", "alias", "amax", "avg_pool2d", "bmm", "cat", "celu", "clone",
    "constant_pad_nd", "cumprod", "cumsum", "detach", "div", "elu", "expand", "expm1", "gather", "gelu",
    "grid_sampler_2d", "grid_sampler_3d", "hardswish", "hardtanh", "im2col", "leaky_relu", "log1p",
    "max_pool2d_with_indices", "max_unpool2d", "mean", "mish", "mm", "mul", "nan_to_num", "native_dropout", "neg",
    "permute", "pixel_shuffle", "pixel_unshuffle", "relu", "repeat", "roll", "round", "select", "selu", "sign",
    "silu", "sin", "slice", "sort", "split", "split_with_sizes", "squeeze", "stack", "sum", "t", "tanh", "topk",
    "transpose", "tril", "triu", "unbind", "unsafe_split", "unsqueeze", "upsample_bicubic2d", "upsample_bilinear2d",
    "upsample_nearest2d", "view", "view_as_complex", "view_as_real",
))  # fmt: skip
# Operations that do so or not by the numbers they are given.
_BY_NUMBERS = frozenset(("clamp", "clamp_max", "clamp_min", "constant_pad_nd", "hardtanh", "pow"))
_JOINS = frozenset(("cat", "stack"))
_ZEROS = frozenset(("zeros", "new_zeros", "zeros_like", "zero", "empty", "new_empty", "empty_like"))


@cache
def name_of(func: Any) -> str:
    """An operation without its overload, e.g. `aten.cat`."""
    return str(func.overloadpacket)


def tensors_in(values: Sequence[Any]) -> Iterator[Tensor]:
    """The tensors among arguments or results, lists and tuples of them included."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from tensors_in(value)


@dataclass(slots=True)
class Call:
    """One operation as it ran: function, arguments, result, and where in the network.

    Attributes:
        inputs, outputs: the tensors among the arguments and of the result, in order.
        notes: what is known of the inputs.
    """

    func: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any
    record: Record
    where: str
    node: str | None = None
    pools: bool = False
    is_layer: bool = False
    inputs: list[Tensor] = field(init=False)
    notes: list[TensorNote] = field(init=False)
    outputs: list[Tensor] = field(init=False)
    _activations: list[TensorNote] = field(init=False)
    _products_before: int = field(init=False)

    def __post_init__(self) -> None:
        self._products_before = len(self.record.products)
        self.inputs = list(tensors_in((*self.args, *self.kwargs.values())))
        self.notes = [self.record.note(tensor) for tensor in self.inputs]
        self.outputs = [self.output] if isinstance(self.output, Tensor) else list(tensors_in((self.output,)))
        self._activations = [note for note in self.notes if note.source is not None]

    @property
    def name(self) -> str:
        """The operation without its overload, e.g. `aten.cat`."""
        return name_of(self.func)

    @property
    def path(self) -> str:
        """The path of the module that is running; empty for the network itself."""
        return "" if self.where == ROOT else self.where

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """An argument that may have been given by position or by name, or left out."""
        if position < len(self.args):
            return self.args[position]
        return self.kwargs.get(name, default)

    def activations(self) -> list[TensorNote]:
        """What is known of the tensors that depend on the network's input."""
        return self._activations

    def axes(self, tensor: Tensor) -> Axes:
        """The axes of a tensor as they are known now."""
        return tuple(self.record.table.resolve(axis) for axis in self.record.note(tensor).axes)

    def unify(self, left: Axis, right: Axis) -> Axis:
        """`AxisTable.unify` with this operation as the reason."""
        return self.record.table.unify(left, right, f"{self.name} in {self.where}")

    def reduces_over(self, axis: Axis) -> None:
        """Note that the operation mixes the channels of an axis, so that even one that is zero has a say."""
        self.record.reduced.append(axis)

    def freeze(self, axis: Axis, how: str) -> None:
        """Freeze an axis: `how` says what this operation does with it."""
        self.record.table.freeze(axis, f"{how} by {self.name} in {self.where}")

    def freeze_inputs(self, reason: str) -> None:
        """Freeze every axis of every tensor among the arguments."""
        for note in self.notes:
            for axis in note.axes:
                self.record.table.freeze(axis, reason)

    def describe(self, tensor: Tensor, axes: Axes) -> None:
        """Remember one output."""
        activations = self.activations()
        if not activations:
            parameter = self.record.note(self.inputs[0]).parameter if len(self.inputs) == 1 else None
            if not any(tensor is known for known in self.inputs):
                is_zero = self._gives_zeros() or (
                    bool(self.notes) and not any(note.is_shifted for note in self.notes)
                )
                self.record.remember(tensor, TensorNote(axes, parameter=parameter, is_shifted=not is_zero))
            return
        factors = self._zero_factors(axes)
        source = self._source(activations)
        if factors and source == self.node:
            self.record.factors[source] = factors
        note = TensorNote(
            axes,
            source=source,
            is_pooled=self.pools or all(note.is_pooled for note in activations),
            is_shifted=not self.is_layer
            and not factors
            and not self._gives_zeros()
            and (self._shifts(axes) or any(note.is_shifted for note in activations)),
        )
        self.record.remember(tensor, note)
        if note.is_shifted and self.func._schema.is_mutable:  # noqa: SLF001
            self.record.shift_views(tensor)

    def _gives_zeros(self) -> bool:
        return self.name.removeprefix("aten.").removesuffix("_") in _ZEROS

    def _shifts(self, axes: Axes) -> bool:
        """Whether the operation can turn zeros of its activations into something else."""
        name = self.name.removeprefix("aten.").removesuffix("_")
        if name in ("add", "sub"):  # what lacks some gives the same number to all channels
            lacks_some = len(self._holding_all(axes)) < len(self.activations())
            return lacks_some or len(self.activations()) < max(2, len(self.inputs))
        if name in _BY_NUMBERS:
            return not self._numbers_keep_zero(name)
        if name in _JOINS:  # a token that is learnt stands beside the positions of what may be zero
            return any(note.source is None and note.is_shifted for note in self.notes)
        return name not in KEEPS_ZERO

    def _numbers_keep_zero(self, name: str) -> bool:
        """Whether an operation of `_BY_NUMBERS` gives zero for zero; not where its numbers are tensors."""
        least, most = -inf, inf  # what it leaves
        match name:
            case "constant_pad_nd":
                least = most = self.argument(2, "value", 0)
            case "pow":
                exponent = self.argument(1, "exponent")
                is_power = isinstance(self.args[0], Tensor) and isinstance(exponent, (int, float))
                return is_power and bool(exponent > 0)
            case "hardtanh":
                least, most = self.argument(1, "min_val", -1), self.argument(2, "max_val", 1)
            case "clamp":
                least, most = self.argument(1, "min"), self.argument(2, "max")
            case "clamp_min":
                least = self.argument(1, "min")
            case "clamp_max":
                most = self.argument(1, "max")
        least, most = -inf if least is None else least, inf if most is None else most
        return not isinstance(least, Tensor) and not isinstance(most, Tensor) and least <= 0 <= most

    def _holding_all(self, axes: Axes) -> list[TensorNote]:
        """The activations among the arguments that hold all channels of some axes."""
        table = self.record.table
        channels = {axis for axis in map(table.resolve, axes) if not table.is_constant(axis)}
        return [note for note in self._activations if channels <= set(map(table.resolve, note.axes))]

    def _zero_factors(self, axes: Axes) -> frozenset[str]:
        """Where those factors of a product come from that are enough to make its channels zero.

        In squeeze-and-excitation that is the map, whatever it is multiplied with.
        """
        if self.is_layer or self.name not in ("aten.mul", "aten.mul_"):
            return frozenset()
        return frozenset(
            note.source for note in self._holding_all(axes) if note.source and not note.is_shifted
        )

    def _source(self, activations: Sequence[TensorNote]) -> str:
        if self.node is None and len({note.source for note in activations}) > 1:
            self.node = self.record.add_node(f"{self.name} in {self.where}", activations)
        source = self.node or activations[0].source
        assert source is not None
        return source

    def account(self) -> None:
        """Price what no rule has priced as PyTorch's counter does, as a constant: no cost is ever silently zero."""
        formula = flop_registry.get(self.func.overloadpacket)
        if (
            formula is None
            or not self.record.keeps_costs
            or len(self.record.products) > self._products_before
        ):
            return  # that the rules' products add up, the finished space is checked for
        macs = formula(*self.args, **self.kwargs, out_val=self.output) // 2
        if macs:
            self.freeze_inputs(f"{self.name} in {self.where} is not priced by its widths")
            batch = self.record.table.length(self.record.batch)
            scaled = (self.record.batch, constant(macs // batch)) if macs % batch == 0 else (constant(macs),)
            self.record.products.append((self.where, scaled))
