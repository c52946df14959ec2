"""One tensor as bits: its values, the index of each non-zero's value, and where the non-zeros are.

Where few weights are left, the gap to the non-zero before is coded, in a few bits; a gap that is longer is filled up:
the alphabet's last symbol stands for that many zeros and no weight (a filler zero that needs no index). Where many are
left, zero is one more value. The shorter of the two is taken, with the alphabet of gaps that makes it shortest.

Shape letters: N non-zeros, M gaps with the fillers, K symbols of an alphabet.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nas_prune.coding.huffman import (
    chunk_bytes,
    code_lengths,
    coded_bits,
    counts_of,
    entropy_bits,
    stream_of,
)
from nas_prune.coding.sharing import Shared, goes_in_half, in_half

Ints = npt.NDArray[np.int64]
Zeros = Literal["none", "gaps", "indices"]
GAP_BITS = range(1, 11)  # of the alphabets that are tried
_LINE, _LENGTH = 20, 0.5  # bytes of a line in the header, and of the length of a code in it, deflated


@dataclass(frozen=True, slots=True)
class StreamCost:
    """What a stream takes.

    Attributes:
        counts: how often each symbol occurs.
        bits: of the codes.
        entropy: of the symbols, in bits: the least that any code of single symbols takes.
        table: bytes of the sizes of chunks; the lengths of codes stand in the header.
    """

    counts: tuple[int, ...]
    bits: int
    entropy: float
    table: int

    @property
    def total(self) -> int:
        """Bytes of the stream."""
        return -(-self.bits // 8) + self.table

    @property
    def line(self) -> dict[str, Any]:
        """What the header says of it."""
        lengths = code_lengths(np.array(self.counts))
        return {"count": sum(self.counts), "lengths": lengths.tolist(), "bytes": self.total}


def cost_of(symbols_N: Ints, alphabet: int) -> StreamCost:
    """What a stream of these symbols takes."""
    counts_K = counts_of(symbols_N, alphabet)
    bits = coded_bits(counts_K, code_lengths(counts_K))
    return StreamCost(
        tuple(counts_K.tolist()), bits, entropy_bits(counts_K), chunk_bytes(len(symbols_N)) if bits else 0
    )


def gaps_of(places_N: Ints, bits: int) -> Ints:
    """Zeros before each non-zero, M: symbols below 2^bits − 1, whose last stands for so many zeros and no weight.

    Example:
        >>> gaps_of(np.array([0, 5]), 2).tolist()
        [0, 3, 1]
    """
    last = (1 << bits) - 1
    skipped_N = np.diff(places_N, prepend=-1) - 1
    fillers_N = skipped_N // last
    ends_N = np.cumsum(fillers_N + 1)
    gaps_M = np.full(int(ends_N[-1]) if len(ends_N) else 0, last, np.int64)
    gaps_M[ends_N - 1] = skipped_N % last
    return gaps_M


@dataclass(frozen=True)
class CodedTensor:
    """How a tensor whose non-zeros share values is written.

    Attributes:
        shared: the tensor, with its values as they are written.
        zeros: how zeros are told: there are none, by gaps, or as one more value.
        gap_bits: of the alphabet of gaps; None without.
        indices: the cost of the indices.
        gaps: that of the gaps; None without.
        is_half: whether the values have 16 bits; 32 otherwise.
    """

    shared: Shared
    zeros: Zeros
    gap_bits: int | None
    indices: StreamCost
    gaps: StreamCost | None
    is_half: bool

    @property
    def value_bytes(self) -> int:
        """Bytes of the values."""
        return len(self.shared.values_K) * (2 if self.is_half else 4)

    @property
    def total(self) -> int:
        """Bytes of the tensor, without its line in the header."""
        return self.value_bytes + self.indices.total + (0 if self.gaps is None else self.gaps.total)

    @property
    def with_line(self) -> float:
        """Bytes with what its line in the header adds to that of a plain tensor, about: it is deflated."""
        codes = len(self.indices.counts) + (0 if self.gaps is None else len(self.gaps.counts))
        return self.total + _LINE + codes * _LENGTH

    @cached_property
    def index_symbols(self) -> Ints:
        """As they are coded: of all weights, with zero first, where zero is one more value; else of the non-zeros."""
        if self.zeros != "indices":
            return self.shared.indices_N
        found = np.zeros(self.shared.size, np.int64)
        found[self.shared.places_N] = self.shared.indices_N + 1
        return found

    @property
    def position_bits(self) -> int:
        """Bits that say where the non-zeros are."""
        if self.gaps is not None:
            return self.gaps.bits
        if self.zeros == "none" or not self.indices.bits:
            return 0
        lengths = code_lengths(np.array(self.indices.counts))
        return int(self.indices.counts[0] * lengths[0])

    @property
    def index_bits(self) -> int:
        """Bits that say which value each non-zero has."""
        return self.indices.bits - (self.position_bits if self.gaps is None else 0)

    @property
    def entropy(self) -> float:
        """Of all its symbols, in bits."""
        return self.indices.entropy + (0 if self.gaps is None else self.gaps.entropy)

    def with_values(self, values_K: npt.NDArray[np.float32]) -> "CodedTensor":
        """The same code for other values, as they are written: in 32 bits where 16 do not say the same any more."""
        is_half = self.is_half and goes_in_half(values_K)
        own = in_half(values_K) if is_half else values_K
        return CodedTensor(
            self.shared.with_values(own), self.zeros, self.gap_bits, self.indices, self.gaps, is_half
        )

    @property
    def line(self) -> dict[str, Any]:
        """Its line in the header, without its name."""
        gaps = {} if self.gaps is None else {"gaps": self.gaps.line}
        return {
            "shape": [*self.shared.shape],
            "dtype": "float16" if self.is_half else "float32",
            "values": len(self.shared.values_K),
            "zeros": self.zeros,
            "indices": self.indices.line,
            **gaps,
            "bytes": self.total,
        }

    @property
    def content(self) -> bytes:
        """Its bytes."""
        values = self.shared.values_K.astype("<f2" if self.is_half else "<f4").tobytes()
        indices = stream_of(self.index_symbols, len(self.indices.counts)).content
        if self.gap_bits is None:
            return values + indices
        gaps = stream_of(gaps_of(self.shared.places_N, self.gap_bits), 1 << self.gap_bits)
        return values + indices + gaps.content


def coded(shared: Shared) -> CodedTensor:
    """The shortest way to write a tensor."""
    is_half = goes_in_half(shared.values_K)
    if is_half:
        shared = shared.with_values(in_half(shared.values_K))
    own = cost_of(shared.indices_N, len(shared.values_K))
    if len(shared.places_N) == shared.size:
        return CodedTensor(shared, "none", None, own, None, is_half)
    costs = {bits: cost_of(gaps_of(shared.places_N, bits), 1 << bits) for bits in GAP_BITS}
    gap_bits = min(costs, key=lambda bits: costs[bits].total + _LENGTH * (1 << bits))
    by_gaps = CodedTensor(shared, "gaps", gap_bits, own, costs[gap_bits], is_half)
    counts = (shared.size - len(shared.places_N), *own.counts)
    lengths = code_lengths(np.array(counts))
    bits = coded_bits(np.array(counts), lengths)
    joined = StreamCost(counts, bits, entropy_bits(np.array(counts)), chunk_bytes(shared.size))
    as_value = CodedTensor(shared, "indices", None, joined, None, is_half)
    return min(by_gaps, as_value, key=lambda one: one.total)


@dataclass(frozen=True, slots=True, eq=False)
class PlainTensor:
    """A tensor that is written number by number: norms, biases, counts.

    Attributes:
        values: as they are.
        is_half: whether floats have 16 bits; as they are otherwise.
        is_exact: whether none of them may move at all.
    """

    values: npt.NDArray[Any]
    is_half: bool
    is_exact: bool = False

    @property
    def total(self) -> int:
        """Bytes of the tensor."""
        return self.values.size * (2 if self.is_half else self.values.itemsize)

    def with_values(self, values: npt.NDArray[Any]) -> "PlainTensor":
        """Other numbers, written in the same way, but for floats of which 16 bits do not say the same any more."""
        is_half = self.is_half and goes_in_half(values, is_exact=self.is_exact)
        return PlainTensor(values, is_half, self.is_exact)

    def dense(self) -> npt.NDArray[Any]:
        """As they are read again."""
        return in_half(self.values).reshape(self.values.shape) if self.is_half else self.values

    @property
    def _type(self) -> str:
        return "float16" if self.is_half else self.values.dtype.name

    @property
    def line(self) -> dict[str, Any]:
        """As of `CodedTensor`."""
        own = {"shape": [*self.values.shape], "dtype": self._type, "values": self.values.size}
        return {**own, "bytes": self.total}

    @property
    def content(self) -> bytes:
        """Likewise."""
        return self.values.astype(np.dtype(self._type).newbyteorder("<")).tobytes()


def plain(values: npt.NDArray[Any], *, is_exact: bool = False) -> PlainTensor:
    """A tensor as it is, floats in 16 bits where that says the same.

    Args:
        values: its numbers.
        is_exact: whether none of them may move at all.
    """
    is_half = values.dtype == np.float32 and goes_in_half(values, is_exact=is_exact)
    return PlainTensor(values, is_half, is_exact)


Written = CodedTensor | PlainTensor
Tensors = Mapping[str, Written | str]  # by name; a name stands for the same tensor again
