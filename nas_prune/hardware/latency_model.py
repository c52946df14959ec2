"""The time of one layer as a function of the widths it reads and writes, fitted to what was measured in place.

Runtimes compute in blocks of channels, so that time rises in steps; and most have a faster way for widths that fill
their blocks. Both are in the terms here: widths as they are and rounded up to blocks, and what is added where a width
is no multiple. Every term is a product of a function of the width read and one of the width written. Coefficients are
non-negative: which steps a runtime has follows from what was measured, and among widths of the same alignment time
never falls.

Shape suffixes: M measurements, N candidates, K functions of one width, F terms.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import nnls

STEPS = (4, 8, 16, 32)  # blocks of channels that runtimes compute in
_ROUNDS, _OUTLIER = 3, 3.0  # of the fit, and how many typical errors away a measurement counts less
_LEAST_NS = 1.0


@dataclass(frozen=True, slots=True)
class LayerTime:
    """Nanoseconds of one layer, and of what runs between it and the next.

    Attributes:
        weights_KK: coefficients of the products of functions of the width read and of the width written.
    """

    weights_KK: NDArray[np.float64]

    def __call__(self, read_N: ArrayLike, written_N: ArrayLike) -> NDArray[np.float64]:
        """Nanoseconds for each of N pairs of whole widths."""
        reads_NK, writes_NK = functions_of(read_N), functions_of(written_N)
        return np.asarray(np.einsum("...k,...k->...", reads_NK @ self.weights_KK, writes_NK))

    def table(self, most_read: int, most_written: int) -> NDArray[np.int64]:
        """Whole nanoseconds for every pair of widths from 0 to the largest."""
        reads_NK, writes_NK = (
            functions_of(np.arange(most + 1, dtype=np.float64)) for most in (most_read, most_written)
        )
        return np.rint(reads_NK @ self.weights_KK @ writes_NK.T).astype(np.int64)


def functions_of(widths_N: ArrayLike) -> NDArray[np.float64]:
    """The K functions of a width: 1, itself, rounded up to each step; for each step 1 and itself where it fills none.

    Example:
        >>> functions_of(6).tolist()
        [1.0, 6.0, 8.0, 8.0, 16.0, 32.0, 1.0, 1.0, 1.0, 1.0, 6.0, 6.0, 6.0, 6.0]
    """
    widths = np.asarray(widths_N, dtype=np.float64)
    rounded = [np.ceil(widths / step) * step for step in STEPS]
    unfilled = [(widths % step != 0).astype(np.float64) for step in STEPS]
    return np.stack(
        [np.ones_like(widths), widths, *rounded, *unfilled, *(widths * one for one in unfilled)], axis=-1
    )


def _terms() -> Iterator[NDArray[np.float64]]:
    """Each term of the fit as coefficients of products of functions."""
    count = functions_of(1).shape[-1]
    plain = range(2 + len(STEPS))
    for row in plain:
        for column in plain:
            yield _products(count, (row, column, 1.0))
    for number in range(len(STEPS)):
        of_one = (
            2 + len(STEPS) + number,
            2 + 2 * len(STEPS) + number,
        )  # 1 and the width, where it fills no block
        for row, row_unfilled in enumerate(of_one):
            for column, column_unfilled in enumerate(of_one):
                by_read, by_written = (row_unfilled, column, 1.0), (row, column_unfilled, 1.0)
                yield _products(count, by_read)
                yield _products(count, by_written)
                yield _products(
                    count, by_read, by_written, (row_unfilled, column_unfilled, -1.0)
                )  # by either


def _products(count: int, *entries: tuple[int, int, float]) -> NDArray[np.float64]:
    matrix = np.zeros((count, count))
    for row, column, value in entries:
        matrix[row, column] += value
    return matrix


def fitted(read_M: ArrayLike, written_M: ArrayLike, ns_M: ArrayLike) -> LayerTime:
    """The time of a layer that describes its measurements best.

    An error counts in proportion to the root of the time, and less where it is far larger than is usual: other
    processes disturb single measurements.

    Args:
        read_M: widths read.
        written_M: widths written.
        ns_M: nanoseconds.
    """
    ns = np.maximum(np.asarray(ns_M, dtype=np.float64), _LEAST_NS)
    terms_FKK = np.stack(list(_terms()))
    reads_MK, writes_MK = functions_of(read_M), functions_of(written_M)
    values_MF = np.einsum("mk,fkl,ml->mf", reads_MK, terms_FKK, writes_MK, optimize=True)
    largest_F = np.maximum(values_MF.max(axis=0), 1e-12)
    trust_M = 1 / np.sqrt(ns)
    weights_F = np.zeros(len(terms_FKK))
    for _ in range(_ROUNDS):
        weights_F, _rest = nnls(values_MF / largest_F * trust_M[:, None], ns * trust_M, maxiter=100_000)
        errors_M = np.abs(values_MF @ (weights_F / largest_F) - ns) / np.sqrt(ns)
        bound = _OUTLIER * max(float(np.median(errors_M)), 1e-9)
        trust_M = np.minimum(1.0, np.sqrt(bound / np.maximum(errors_M, bound))) / np.sqrt(ns)
    return LayerTime(np.einsum("f,fkl->kl", weights_F / largest_F, terms_FKK))
