"""The time of one layer as a function of the widths it reads and writes, fitted to what was measured in place.

Runtimes compute in blocks of channels, so that time rises in steps; most have a faster way for widths that fill their
blocks, and another for narrow ones. All of that is in the terms here: widths as they are and rounded up to blocks, and
what is added where a width is no multiple of a block, is below one, or is not. Every term is a product of a function of
the width read and one of the width written. Coefficients are non-negative: which steps a runtime has follows from what
was measured, and among widths of the same alignment time never falls from one block size to the next. What a kernel
does with the channels that are left over is a factor of its own (`latency_remainders`), and so is what single pairs
take beyond that (`latency_pairs`).

Shape suffixes: M measurements, N candidates, K functions of one width, F terms.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import nnls

from nas_prune.hardware.latency_pairs import Pairs
from nas_prune.hardware.latency_remainders import Remainders

STEPS = (4, 8, 16, 32)  # blocks of channels that runtimes compute in
_NARROW = (8, 16, 32)  # below which they may have another way
_ROUNDS, _OUTLIER = 3, 3.0  # of the fit, and how many typical errors away a measurement counts less
_LEAST_NS = 1.0


@dataclass(frozen=True, slots=True)
class LayerTime:
    """Nanoseconds of one layer, and of what runs between it and the next.

    Attributes:
        weights_KK: coefficients of the products of functions of the width read and of the width written.
        remainders: factors; None for none.
        pairs: factors likewise.
    """

    weights_KK: NDArray[np.float64]
    remainders: Remainders | None = None
    pairs: Pairs | None = None

    def __call__(self, read_N: ArrayLike, written_N: ArrayLike) -> NDArray[np.float64]:
        """Nanoseconds for each of N pairs of whole widths."""
        reads_NK, writes_NK = functions_of(read_N), functions_of(written_N)
        ns = np.asarray(np.einsum("...k,...k->...", reads_NK @ self.weights_KK, writes_NK))
        return self._with_factors(ns, np.asarray(read_N), np.asarray(written_N))

    def table(self, most_read: int, most_written: int) -> NDArray[np.int64]:
        """Whole nanoseconds for every pair of widths from 0 to the largest."""
        read_N, written_N = np.arange(most_read + 1), np.arange(most_written + 1)
        ns = functions_of(read_N) @ self.weights_KK @ functions_of(written_N).T
        return np.rint(self._with_factors(ns, read_N[:, None], written_N[None, :])).astype(np.int64)

    def _with_factors(
        self, ns_N: NDArray[np.float64], read_N: NDArray[Any], written_N: NDArray[Any]
    ) -> NDArray[np.float64]:
        for factors in (self.remainders, self.pairs):
            if factors is not None:
                ns_N = ns_N * factors(read_N, written_N)
        return ns_N


def functions_of(widths_N: ArrayLike) -> NDArray[np.float64]:
    """The K functions of a width: 1, itself, rounded up to each step; then 1 and itself in each of some cases.

    The cases are that it fills no block of a step, that it is below a number, and that it is not.

    Example:
        >>> functions_of(6)[:6].tolist()
        [1.0, 6.0, 8.0, 8.0, 16.0, 32.0]
    """
    widths = np.asarray(widths_N, dtype=np.float64)
    rounded = [np.ceil(widths / step) * step for step in STEPS]
    cases = [
        *(widths % step != 0 for step in STEPS),
        *(widths < least for least in _NARROW),
        *(widths >= least for least in _NARROW),
    ]
    both = [values for case in cases for values in (case.astype(np.float64), widths * case)]
    return np.stack([np.ones_like(widths), widths, *rounded, *both], axis=-1)


def _terms() -> Iterator[NDArray[np.float64]]:
    """Each term of the fit as coefficients of products of functions."""
    plain = range(2 + len(STEPS))
    for row in plain:
        for column in plain:
            yield _products((row, column, 1.0))
    for number in range(len(STEPS) + 2 * len(_NARROW)):
        first = 2 + len(STEPS) + 2 * number  # 1 in this case; behind it the width in this case
        for row in range(2):
            for column in range(2):
                by_read, by_written = (first + row, column, 1.0), (row, first + column, 1.0)
                yield _products(by_read)
                yield _products(by_written)
                if number < len(STEPS):  # by either of them
                    yield _products(by_read, by_written, (first + row, first + column, -1.0))


def _products(*entries: tuple[int, int, float]) -> NDArray[np.float64]:
    count = 2 + 3 * len(STEPS) + 4 * len(_NARROW)
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
