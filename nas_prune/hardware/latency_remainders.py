"""How the time of a layer depends on what its widths leave over when divided into a runtime's blocks.

Kernels have ways of their own for what is left: 14 channels may take longer than 16, 10 no longer than 9, and which do
differs from runtime to runtime. So each remainder has a factor of its own, found from all layers of one shape together:
the stages of a network repeat the same layer, and each is timed at other widths.

Shape suffixes: M measurements, R remainders.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas_prune.hardware.ridge import ridge

BLOCK = 32  # channels: the largest that runtimes compute in
_FEWEST = 2 * BLOCK  # measurements; fewer say nothing of as many factors
_LEAST, _MOST = 0.5, 2.0


@dataclass(frozen=True, slots=True)
class Remainders:
    """Factors on a layer's time.

    Attributes:
        read_R: what is added to 1 for each remainder of the width read.
        written_R: of the width written.
    """

    read_R: NDArray[np.float64]
    written_R: NDArray[np.float64]

    def __call__(self, read_N: ArrayLike, written_N: ArrayLike) -> NDArray[np.float64]:
        """The factor for each of N pairs of whole widths; they may be arrays that broadcast."""
        read, written = (np.asarray(widths, dtype=np.int64) % BLOCK for widths in (read_N, written_N))
        return np.asarray(np.clip(1 + self.read_R[read] + self.written_R[written], _LEAST, _MOST))


def remainders_of(layers: Sequence[tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike]]) -> Remainders:
    """The factors that layers of one shape have in common.

    Args:
        layers: for each the widths read, the widths written, by which factor each time is off what was fitted without
            remainders, and the number of the network that each is of.

    Example:
        >>> import numpy as np
        >>> read, written = np.arange(640) % 64 + 1, np.arange(640) // 10 + 1
        >>> slow = np.where(read % 32 == 14, 1.2, 1.0)
        >>> found = remainders_of([(read, written, slow, np.arange(640))])
        >>> [round(float(found(width, 16)), 1) for width in (13, 14, 46)]
        [1.0, 1.2, 1.2]
    """
    read_M, written_M, ratio_M, of_M = (
        np.concatenate([np.asarray(one[n]) for one in layers]) for n in range(4)
    )
    if len(ratio_M) < _FEWEST:
        return Remainders(np.zeros(BLOCK), np.zeros(BLOCK))
    features_MF = np.concatenate([_one_of(read_M), _one_of(written_M)], axis=1)
    weights_F = ridge(features_MF, ratio_M - 1, of_M)
    return Remainders(weights_F[:BLOCK], weights_F[BLOCK:])


def _one_of(widths_M: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(widths_M[:, None] % BLOCK == np.arange(BLOCK), dtype=np.float64)
