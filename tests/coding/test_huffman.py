"""Codes are as short as any of bounded length can be, and streams come back symbol by symbol."""

import heapq
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_prune.coding import decode
from nas_prune.coding.huffman import (
    chunk_bytes,
    code_lengths,
    coded_bits,
    codes_of,
    entropy_bits,
    stream_of,
)

COUNTS = st.lists(st.integers(0, 10**6), min_size=1, max_size=40).filter(any)


def unbounded(counts: list[int]) -> int:
    """Bits of Huffman's own code: the sum of all inner nodes of his tree."""
    heap = [count for count in counts if count]
    heapq.heapify(heap)
    total = 0
    while len(heap) > 1:
        joined = heapq.heappop(heap) + heapq.heappop(heap)
        total += joined
        heapq.heappush(heap, joined)
    return total


def read(symbols: np.ndarray, alphabet: int) -> np.ndarray:
    stream = stream_of(symbols, alphabet)
    line = {"count": stream.count, "lengths": [*stream.lengths]}
    return decode.symbols(line, stream.content)


@given(COUNTS)
@settings(max_examples=100, deadline=None)
def test_codes_are_as_short_as_huffmans_where_these_are_short_enough(counts: list[int]) -> None:
    used = np.array(counts)
    lengths = code_lengths(used, 40)
    assert coded_bits(used, lengths) == unbounded(counts)
    assert ((lengths > 0) == (used > 0)).all()


@pytest.mark.parametrize("longest", [2, 3, 4])
def test_bounded_codes_are_the_best_of_all(longest: int) -> None:
    counts = np.array([100, 30, 9, 3])
    lengths = code_lengths(counts, longest)
    possible = [
        int((np.array(own) * counts).sum())
        for own in product(range(1, longest + 1), repeat=4)
        if sum(2.0**-length for length in own) <= 1
    ]
    assert int((lengths * counts).sum()) == min(possible)
    assert lengths.max() <= longest


def test_more_symbols_than_codes_are_refused() -> None:
    with pytest.raises(ValueError, match="can tell 4 symbols, got 5"):
        code_lengths(np.ones(5, int), 2)


@given(COUNTS)
@settings(max_examples=50, deadline=None)
def test_no_code_begins_with_another_and_all_are_used_up(counts: list[int]) -> None:
    lengths = code_lengths(np.array(counts))
    codes = codes_of(lengths)
    words = [format(code, f"0{length}b") for code, length in zip(codes, lengths, strict=True) if length]
    for number, word in enumerate(words):
        assert not any(other.startswith(word) for place, other in enumerate(words) if place != number)
    if len(words) > 1:
        assert sum(2.0 ** -len(word) for word in words) == 1


@given(COUNTS)
@settings(max_examples=50, deadline=None)
def test_codes_are_within_a_bit_of_the_entropy(counts: list[int]) -> None:
    own = np.array(counts)
    bits, entropy = coded_bits(own, code_lengths(own, 40)), entropy_bits(own)
    assert entropy - 1e-6 * max(1, entropy) <= bits <= entropy + own.sum() + 1e-6


@pytest.mark.parametrize("count", [1, 2, 4095, 4096, 4097, 12_288, 20_001])
def test_streams_of_any_length_come_back(count: int) -> None:
    rng = np.random.default_rng(count)
    symbols = np.minimum(rng.geometric(0.2, count) - 1, 30)
    assert np.array_equal(read(symbols, 31), symbols)


def test_a_stream_takes_what_was_counted() -> None:
    symbols = np.random.default_rng(0).integers(0, 7, 10_000)
    counts = np.bincount(symbols, minlength=7)
    stream = stream_of(symbols, 7)
    assert len(stream.content) == -(-coded_bits(counts, code_lengths(counts)) // 8) + chunk_bytes(10_000)
    assert chunk_bytes(10_000) == 4


def test_one_symbol_alone_takes_no_bits() -> None:
    stream = stream_of(np.full(5000, 3), 4)
    assert stream.content == b""
    assert read(np.full(5000, 3), 4).tolist() == [3] * 5000


def test_rare_symbols_get_codes_of_fifteen_bits() -> None:
    counts = [int(1.7**power) for power in range(28)]
    symbols = np.repeat(np.arange(28), counts)
    assert max(stream_of(symbols, 28).lengths) == 15
    assert np.array_equal(read(symbols, 28), symbols)


def test_codes_that_are_not_complete_are_refused() -> None:
    with pytest.raises(ValueError, match="not complete"):
        decode.symbols({"count": 3, "lengths": [1, 2]}, b"\0\0")
