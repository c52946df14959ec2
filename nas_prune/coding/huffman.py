"""Canonical Huffman codes of bounded length, and streams of them (Huffman 1952; Larmore & Hirschberg 1990).

Shape letters: N symbols of a stream, K symbols of an alphabet.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nas_prune.coding.decode import CHUNK, LONGEST

_AT_ONCE = 2**20  # symbols whose bits are laid out at once


@dataclass(frozen=True, slots=True)
class Stream:
    """Symbols as bits.

    Attributes:
        count: how many symbols.
        lengths: bits of each symbol's code; 0 of one that does not occur.
        content: sizes of all chunks but the last, in bits, then the bits.
    """

    count: int
    lengths: tuple[int, ...]
    content: bytes


def counts_of(symbols_N: npt.NDArray[np.int64], alphabet: int) -> npt.NDArray[np.int64]:
    """How often each symbol occurs, K."""
    return np.bincount(symbols_N, minlength=alphabet)


def entropy_bits(counts_K: npt.NDArray[np.int64]) -> float:
    """What no code of single symbols is shorter than, in bits: Σ n log₂(N/n).

    Example:
        >>> entropy_bits(np.array([2, 1, 1]))
        6.0
    """
    own = counts_K[counts_K > 0].astype(np.float64)
    return float((own * np.log2(own.sum() / own)).sum())


def code_lengths(counts_K: npt.NDArray[np.int64], longest: int = LONGEST) -> npt.NDArray[np.int64]:
    """Bits of each symbol's code, K: those of the shortest code with none above `longest`.

    Package-merge: pairs of the lightest packages are packed again `longest` − 1 times; how many of the 2(n − 1)
    lightest hold a symbol is the length of its code. An alphabet of one symbol has one of length 1, which no bits are
    written for.

    Example:
        >>> code_lengths(np.array([8, 4, 2, 0, 2])).tolist()
        [1, 2, 3, 0, 3]
    """
    used = np.flatnonzero(counts_K)
    lengths_K = np.zeros(len(counts_K), np.int64)
    if len(used) < 2:
        lengths_K[used] = 1
        return lengths_K
    if len(used) > 1 << longest:
        raise ValueError(f"codes of {longest} bits can tell {1 << longest} symbols, got {len(used)}")
    leaves = sorted((int(counts_K[symbol]), (int(symbol),)) for symbol in used)
    packages: list[tuple[int, tuple[int, ...]]] = []
    for _ in range(longest):
        merged = sorted([*leaves, *packages], key=lambda package: package[0])
        packages = [
            (first[0] + second[0], first[1] + second[1])
            for first, second in zip(merged[::2], merged[1::2], strict=False)
        ]
    for _, held in packages[: len(used) - 1]:
        np.add.at(lengths_K, list(held), 1)
    return lengths_K


def codes_of(lengths_K: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The canonical codes, K: they rise with the length, then with the symbol."""
    codes_K, code, before = np.zeros(len(lengths_K), np.int64), 0, 0
    for symbol in np.argsort(lengths_K, kind="stable"):
        length = int(lengths_K[symbol])
        if length:
            code <<= length - before
            codes_K[symbol], before = code, length
            code += 1
    return codes_K


def coded_bits(counts_K: npt.NDArray[np.int64], lengths_K: npt.NDArray[np.int64]) -> int:
    """How many bits the symbols take, without the sizes of chunks."""
    return 0 if np.count_nonzero(counts_K) < 2 else int((counts_K * lengths_K).sum())


def stream_of(symbols_N: npt.NDArray[np.int64], alphabet: int) -> Stream:
    """Symbols in [0, alphabet) as a stream."""
    counts_K = counts_of(symbols_N, alphabet)
    lengths_K = code_lengths(counts_K)
    lengths = tuple(lengths_K.tolist())
    if np.count_nonzero(counts_K) < 2:
        return Stream(len(symbols_N), lengths, b"")
    bits_N = lengths_K[symbols_N]
    sizes = np.add.reduceat(bits_N, np.arange(0, len(symbols_N), CHUNK))[:-1]
    codes_K = codes_of(lengths_K)
    bits = np.concatenate(
        [_bits(codes_K[own], lengths_K[own]) for own in _split(symbols_N)], dtype=np.uint8, casting="unsafe"
    )
    return Stream(len(symbols_N), lengths, sizes.astype("<u2").tobytes() + np.packbits(bits).tobytes())


def _split(symbols_N: npt.NDArray[np.int64]) -> Sequence[npt.NDArray[np.int64]]:
    return np.split(symbols_N, range(_AT_ONCE, len(symbols_N), _AT_ONCE))


def _bits(codes_N: npt.NDArray[np.int64], lengths_N: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Codes as single bits, the highest first."""
    ends_N = np.cumsum(lengths_N)
    left = np.repeat(ends_N, lengths_N) - np.arange(ends_N[-1]) - 1
    return (np.repeat(codes_N, lengths_N) >> left & 1).astype(np.uint8)


def chunk_bytes(count: int) -> int:
    """Bytes that the sizes of a stream's chunks take."""
    return 2 * max(0, -(-count // CHUNK) - 1)
