"""What single pairs of widths take beyond what widths and their remainders explain.

Runtimes choose a kernel and its blocking for each shape, so that some pairs have a time of their own: in PyTorch layers
of 16 channels are 5 % off, again and again. Layers of one shape tell it together; where a pair is seldom met, little is
believed.

Shape suffixes: M measurements, P pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas_prune.hardware.ridge import MARGIN, capped_loss, trust_in

_SHIFT = 32  # bits: a pair is one whole number
_DOUBTS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
_FEWEST = 64  # measurements of pairs that several networks have; fewer say nothing of a runtime
_LEAST, _MOST = 0.5, 2.0


@dataclass(frozen=True, slots=True)
class Pairs:
    """Factors on a layer's time.

    Attributes:
        keys_P: the pairs that are known, as whole numbers that rise.
        factors_P: of each.
    """

    keys_P: NDArray[np.int64]
    factors_P: NDArray[np.float64]

    def __call__(self, read_N: ArrayLike, written_N: ArrayLike) -> NDArray[np.float64]:
        """The factor for each of N pairs of whole widths, 1 for one that is not known; they may broadcast."""
        keys_N = _keys(read_N, written_N)
        if not len(self.keys_P):
            return np.ones(keys_N.shape)
        place_N = np.minimum(np.searchsorted(self.keys_P, keys_N), len(self.keys_P) - 1)
        return np.where(self.keys_P[place_N] == keys_N, self.factors_P[place_N], 1.0)


def pairs_of(layers: Sequence[tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike]]) -> Pairs:
    """The factors that layers of one shape have in common.

    A pair's factor is the mean of its measurements, drawn towards 1 as by so many more that say nothing. How many
    follows from what predicts measurements best that are left out, all of one network at once; no factors where none
    predict no worse. A pair that one network alone has met gets none: its measurement would confirm itself.

    Args:
        layers: for each the widths read, the widths written, by which factor each time is off what is predicted
            without pairs, and the number of the network that each is of.

    Example:
        >>> import numpy as np
        >>> read, written = np.arange(640) % 8 + 8, np.arange(640) // 8 % 8 + 8
        >>> slow = np.where((read == 10) & (written == 12), 1.05, 1.0)
        >>> found = pairs_of([(read, written, slow, np.arange(640))])
        >>> [round(float(found(10, width)), 2) for width in (11, 12)]
        [1.0, 1.04]
    """
    read_M, written_M, ratio_M, of_M = (
        np.concatenate([np.asarray(one[n]) for one in layers]) for n in range(4)
    )
    values_M = ratio_M - 1
    keys_P, pair_M = np.unique(_keys(read_M, written_M), return_inverse=True)
    owners, own_M = np.unique(np.stack([pair_M, of_M]), axis=1, return_inverse=True)
    is_met_P = np.bincount(owners[0], minlength=len(keys_P)) > 1
    trust_M = trust_in(values_M)
    weight_P, sum_P = (np.bincount(pair_M, trust_M * one) for one in (np.ones(len(values_M)), values_M))
    others_M = [
        np.bincount(pair_M, part)[pair_M] - np.bincount(own_M, part)[own_M]
        for part in (trust_M, trust_M * values_M)
    ]
    best, doubt = MARGIN * capped_loss(values_M, trust_M, values_M), np.inf
    for one in _DOUBTS:
        left_out = capped_loss(values_M - others_M[1] / (others_M[0] + one), trust_M, values_M)
        if left_out < best:
            best, doubt = left_out, one
    if doubt == np.inf or is_met_P[pair_M].sum() < _FEWEST:
        return Pairs(np.zeros(0, dtype=np.int64), np.zeros(0))
    factors_P = np.clip(1 + sum_P / (weight_P + doubt), _LEAST, _MOST)
    return Pairs(keys_P[is_met_P], factors_P[is_met_P])


def _keys(read_N: ArrayLike, written_N: ArrayLike) -> NDArray[np.int64]:
    read, written = (np.asarray(widths, dtype=np.int64) for widths in (read_N, written_N))
    return np.asarray((read << _SHIFT) + written)
