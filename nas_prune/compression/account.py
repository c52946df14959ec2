"""Where the bytes of a compressed network are: by layer, by step, and beside other ways to write the same network.

Shape letters: N non-zeros of a layer.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field
from safetensors.numpy import save

from nas_prune.coding.tensor import GAP_BITS, CodedTensor, Tensors, gaps_of
from nas_prune.compression.plan import Weights, shared_layers

_FLOAT = 4  # bytes
_Count = Annotated[int, Field(ge=0, lt=2**53)]
_Some = Annotated[int, Field(gt=0, lt=2**53)]
_Share = Annotated[float, Field(allow_inf_nan=False)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LayerAccount(_Record):
    """The bytes of one layer's weights.

    Attributes:
        name: of the parameter.
        kind: `conv` or `linear`.
        weights, nonzeros: how many.
        values: how many different ones.
        zeros: how they are told: `none`, by `gaps`, or as one more value among the `indices`.
        index_bits, position_bits: of the codes, over all weights.
        entropy_bits: what no code of the same single symbols is shorter than.
        value_bytes, table_bytes: of the values, and of what makes streams fast to read.
        total_bytes: of all this.
    """

    name: str
    kind: str
    weights: _Some
    nonzeros: _Some
    values: _Some
    zeros: Literal["none", "gaps", "indices"]
    index_bits: _Count
    position_bits: _Count
    entropy_bits: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    value_bytes: _Count
    table_bytes: _Count
    total_bytes: _Count


class Form(_Record):
    """One way to write the network.

    Attributes:
        name: in words.
        bytes: of the file, or of what it must hold.
        val, test: the metric of the network that it holds; None where it was not measured.
        is_step: whether it is a step of the compression; something to compare with otherwise.
    """

    name: str
    bytes: _Some
    val: _Share | None = None
    test: _Share | None = None
    is_step: bool = False


class Account(_Record):
    """Where the bytes of a compressed network are.

    Attributes:
        layers: whose weights share values, in order.
        plain_bytes: of all that is written number by number: norms, biases, small layers.
        header_bytes: of the header, with the lengths of all codes, and of the digest.
        file_bytes: of the whole file.
        bound_bytes: the same with the entropy of the symbols instead of their codes.
        whole_bytes: of the parameters of the whole network, before any width or weight went, in 32 bits. What norms
            have counted is not among them, but in the file and in every form.
    """

    layers: tuple[LayerAccount, ...]
    plain_bytes: _Count
    header_bytes: _Count
    file_bytes: _Some
    bound_bytes: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    whole_bytes: _Some

    @property
    def above_bound(self) -> float:
        """By which share the file is larger than its bound."""
        return self.file_bytes / self.bound_bytes - 1

    @property
    def codes_above_entropy(self) -> float:
        """By which share the codes alone are longer than the entropy of their symbols."""
        bits = sum(layer.index_bits + layer.position_bits for layer in self.layers)
        entropy = sum(layer.entropy_bits for layer in self.layers)
        return bits / entropy - 1 if entropy else 0.0


def account_of(tensors: Tensors, weights: Weights, header: int, whole_bytes: int) -> Account:
    """The account of a file.

    Args:
        tensors: as they are written.
        weights: of the network, for the kinds of its layers.
        header: bytes of the file that are no tensor's.
        whole_bytes: of the whole network's parameters in 32 bits.
    """
    own = shared_layers(tensors)
    layers = tuple(_layer(name, weights.kinds[name], layer) for name, layer in own.items())
    others = (one for name, one in tensors.items() if name not in own and not isinstance(one, str))
    plain = sum(one.total for one in others)
    fixed = header + plain + sum(layer.value_bytes + layer.table_bytes for layer in layers)
    return Account(
        layers=layers,
        plain_bytes=plain,
        header_bytes=header,
        file_bytes=header + plain + sum(layer.total_bytes for layer in layers),
        bound_bytes=fixed + sum(layer.entropy_bits for layer in layers) / 8,
        whole_bytes=whole_bytes,
    )


def _layer(name: str, kind: str, layer: CodedTensor) -> LayerAccount:
    return LayerAccount(
        name=name,
        kind=kind,
        weights=layer.shared.size,
        nonzeros=len(layer.shared.places_N),
        values=len(np.unique(layer.shared.values_K)),
        zeros=layer.zeros,
        index_bits=layer.index_bits,
        position_bits=layer.position_bits,
        entropy_bits=layer.entropy,
        value_bytes=layer.value_bytes,
        table_bytes=layer.indices.table + (0 if layer.gaps is None else layer.gaps.table),
        total_bytes=layer.total,
    )


def forms_before(weights: Weights) -> list[Form]:
    """Ways to write the same network without sharing values."""
    own = {name: array for name, array in weights.arrays.items() if name not in weights.same_as}
    file = save({name: np.ascontiguousarray(array) for name, array in own.items()})
    places = {name: np.flatnonzero(own[name]) for name in weights.kinds}
    rest = sum(array.nbytes for name, array in own.items() if name not in weights.kinds)
    bitmap = sum(-(-own[name].size // 8) + _FLOAT * len(places[name]) for name in places)
    rows = sum(_csr(own[name], places[name]) for name in places)
    return [
        Form(name="32 bits", bytes=weights.float_bytes),
        Form(name="safetensors", bytes=len(file)),
        Form(name="safetensors, zipped", bytes=len(zlib.compress(file, 6))),
        Form(name="bitmap and 32 bits", bytes=rest + bitmap),
        Form(name="CSR, 32 bits", bytes=rest + rows),
    ]


def _csr(array: npt.NDArray[np.generic], places_N: npt.NDArray[np.int64]) -> int:
    """Compressed sparse rows: a value and a column for each non-zero, and where each row begins."""
    columns = array.size // len(array)
    return len(places_N) * (_FLOAT + (2 if columns <= 1 << 16 else _FLOAT)) + _FLOAT * (len(array) + 1)


def steps_of(weights: Weights, tensors: Tensors, account: Account) -> list[Form]:
    """The steps of the paper one behind the other: gaps of fixed bits, shared values of fixed bits, Huffman codes.

    From the second on, what is written number by number has the bits that it has in the file, and so have the values:
    the last step is that of the codes, and of the header.
    """
    own = shared_layers(tensors)
    rest = sum(array.nbytes for name, array in weights.arrays.items() if name not in weights.same_as)
    rest -= sum(weights.arrays[name].nbytes for name in own)
    pruned = sum(_fixed_bits(layer, 8 * _FLOAT) for layer in own.values())
    shared = sum(
        _fixed_bits(layer, _bits_for(len(layer.shared.values_K))) + 8 * layer.value_bytes
        for layer in own.values()
    )
    return [
        Form(name="gaps and 32 bits", bytes=rest + -(-pruned // 8), is_step=True),
        Form(name="and shared values", bytes=account.plain_bytes + -(-shared // 8), is_step=True),
        Form(name="and Huffman codes: the file", bytes=account.file_bytes, is_step=True),
    ]


def _bits_for(values: int) -> int:
    return max(1, (values - 1).bit_length())


def _fixed_bits(layer: CodedTensor, bits: int) -> int:
    """Of a layer whose gaps and values have a fixed number of bits; the shortest such gaps."""
    places_N = layer.shared.places_N
    if len(places_N) == layer.shared.size:
        return bits * len(places_N)
    return bits * len(places_N) + min(gap_bits * len(gaps_of(places_N, gap_bits)) for gap_bits in GAP_BITS)


def measured(forms: Sequence[Form], scores: Mapping[str, tuple[float, float]]) -> tuple[Form, ...]:
    """Forms with the metric of the network that each holds: values on the validation and the test part, by name."""
    return tuple(
        form.model_copy(update=dict(zip(("val", "test"), scores[form.name], strict=True)))
        if form.name in scores
        else form
        for form in forms
    )
