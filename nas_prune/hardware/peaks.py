"""The most of many sums of products of widths, worked out for many widths at once.

Shape suffixes: N candidates, V columns (groups, and blocks where they are searched), M monomials, T moments.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas_prune.space.cost import Monomial, Terms

_CHUNK = 2**21  # numbers of one array
_EXACT = 2**53  # float64 holds every integer up to here
_Rows = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sum:
    """What is live at one moment.

    Attributes:
        terms: its bytes.
        block: the block whose removal takes the moment away; None if none does.
        less: (blocks, bytes) that are counted twice where all of these blocks are removed.
    """

    terms: Terms
    block: int | None = None
    less: tuple[tuple[tuple[int, ...], Terms], ...] = ()


@dataclass(frozen=True)
class Peaks:
    """The largest of some sums; for some stretches, the least that one of several ways through them needs.

    Attributes:
        monomials: sorted group numbers.
        coefficients_MT: of the sums.
        ways: where each way begins among the sums.
        stretches: where each stretch begins among the ways.
        count: how many groups there are; columns behind them are blocks.
        sums: what each column of coefficients is of.
    """

    monomials: tuple[Monomial, ...]
    coefficients_MT: _Rows
    ways: tuple[int, ...]
    stretches: tuple[int, ...]
    count: int
    sums: tuple[Sum, ...]

    def __call__(self, vectors_NV: ArrayLike) -> NDArray[np.int64]:
        """The value for each of N vectors, or for one, exact.

        Raises:
            OverflowError: a value beyond 2^53 could come out.
        """
        values = self.real(vectors_NV)
        if np.any(values >= _EXACT):
            raise OverflowError(
                "a cost must stay below 2^53 to be exact. Use a smaller image or narrower widths."
            )
        return np.asarray(values, dtype=np.int64)

    def real(self, vectors_NV: ArrayLike) -> _Rows:
        """The value between whole widths."""
        vectors = np.asarray(vectors_NV, dtype=np.float64)
        rows = vectors.reshape(-1, vectors.shape[-1])
        size = max(1, _CHUNK // max(self.coefficients_MT.shape))
        parts = [self._highest(rows[start : start + size]) for start in range(0, len(rows), size)]
        return np.concatenate(parts).reshape(vectors.shape[:-1]) if parts else np.zeros(vectors.shape[:-1])

    def _highest(self, vectors_NV: _Rows) -> _Rows:
        products_NM = self._products(vectors_NV[:, : self.count])
        values_NT = products_NM @ self.coefficients_MT
        self._remove(values_NT, products_NM, vectors_NV[:, self.count :])
        highest = np.maximum.reduceat(values_NT, self.ways, axis=1)
        least: _Rows = np.minimum.reduceat(highest, self.stretches, axis=1).max(axis=1)
        return least

    def _products(self, widths_NG: _Rows) -> _Rows:
        """The value of each monomial."""
        values = np.ones((len(widths_NG), len(self.monomials)))
        for place in range(max(map(len, self.monomials))):
            columns = [number for number, monomial in enumerate(self.monomials) if len(monomial) > place]
            values[:, columns] *= widths_NG[:, [self.monomials[number][place] for number in columns]]
        return values

    def _remove(self, values_NT: _Rows, products_NM: _Rows, there_NB: _Rows) -> None:
        """Take off, in place, what goes with the blocks that are not there."""
        if not there_NB.size or (there_NB == 1).all():
            return
        for number, one in enumerate(self.sums):
            for blocks, terms in one.less:
                are_gone = np.prod(1 - there_NB[:, list(blocks)], axis=1)
                values_NT[:, number] -= are_gone * (products_NM @ _vector(terms, self.monomials))
            if one.block is not None:
                values_NT[:, number] *= there_NB[:, one.block]


def peaks_of(ways_of_stretches: Sequence[Sequence[Sequence[Sum]]], count: int) -> Peaks:
    """The peaks of sums, without those that are never the largest.

    Args:
        ways_of_stretches: for each stretch its ways, for each way its sums.
        count: how many groups there are.
    """
    every = [one for ways in ways_of_stretches for way in ways for one in way]
    monomials = tuple(dict.fromkeys(monomial for one in every for monomial in one.terms)) or ((),)
    always = _largest([one for ways in ways_of_stretches if len(ways) == 1 for one in ways[0]], [], monomials)
    found = [[always]] if always else []
    for ways in ways_of_stretches:
        left = [_largest(way, always, monomials) for way in ways]
        if len(ways) > 1 and all(left):  # a way without sums needs no more than what is needed always
            found.append(left)
    sums = tuple(one for ways in found for way in ways for one in way)
    lengths = [len(way) for ways in found for way in ways]
    return Peaks(
        monomials,
        np.stack([_vector(one.terms, monomials) for one in sums], axis=1),
        tuple(accumulate(lengths[:-1], initial=0)),
        tuple(accumulate(map(len, found[:-1]), initial=0)),
        count,
        sums,
    )


def _vector(terms: Terms, monomials: Sequence[Monomial]) -> _Rows:
    return np.array([float(terms.get(monomial, 0)) for monomial in monomials])


def _largest(sums: Sequence[Sum], others: Sequence[Sum], monomials: Sequence[Monomial]) -> list[Sum]:
    """Those sums of which no other one, nor one of some others, is at least as large at all widths."""
    kept, rows = list[Sum](), [(one, _vector(one.terms, monomials)) for one in others]
    for one in sorted(sums, key=lambda one: (-sum(one.terms.values()), one.block is not None)):
        row = _vector(one.terms, monomials)
        if not any(_stays_with(other, one) and bool((own >= row).all()) for other, own in rows):
            kept.append(one)
            rows.append((one, row))
    return kept


def _stays_with(other: Sum, one: Sum) -> bool:
    """Whether a sum is there, and whole, whenever another is."""
    return not other.less and other.block in (None, one.block)
