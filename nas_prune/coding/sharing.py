"""Weights that share values: k-means in one dimension, started from evenly spaced values (Han et al. 2016, section 3).

In one dimension clusters are intervals of the sorted values, so that a step takes sums over intervals alone: all steps
of a layer of two million weights take less than sorting them once.

Shape letters: N non-zeros, K values.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
_MOST_STEPS = 300
_HALF = np.finfo(np.float16)
_OF_ITSELF, _OF_LARGEST = 1e-3, 1e-5  # how far 16 bits may move a number


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """A tensor whose non-zeros share a few values.

    Attributes:
        shape: of the tensor.
        places_N: of the non-zeros in the flat tensor, rising.
        indices_N: which value each has.
        values_K: the values.
        was_N: what the non-zeros were.
    """

    shape: tuple[int, ...]
    places_N: npt.NDArray[np.int64]
    indices_N: npt.NDArray[np.int64]
    values_K: Floats
    was_N: Floats

    @property
    def size(self) -> int:
        """How many weights, zeros included."""
        return int(np.prod(self.shape))

    @property
    def squared_error(self) -> float:
        """Σ (value − weight)²."""
        return float(((self.values_K[self.indices_N].astype(np.float64) - self.was_N) ** 2).sum())

    def with_values(self, values_K: Floats) -> "Shared":
        """The same weights with other values."""
        return Shared(self.shape, self.places_N, self.indices_N, values_K, self.was_N)

    def dense(self) -> Floats:
        """The tensor."""
        flat = np.zeros(self.size, np.float32)
        flat[self.places_N] = self.values_K[self.indices_N]
        return flat.reshape(self.shape)


def shared(weights: Floats, most: int) -> Shared:
    """Let the non-zeros of a tensor share at most so many values.

    Args:
        weights: of any shape.
        most: values; where there are no more different ones, they stay as they are.
    """
    flat = weights.reshape(-1)
    places_N = np.flatnonzero(flat)
    was_N = flat[places_N]
    order = np.argsort(was_N, kind="stable")
    ordered = was_N[order].astype(np.float64)
    starts = np.flatnonzero(np.concatenate([[True], np.diff(ordered) > 0]))
    if len(starts) > most:
        starts = _intervals(ordered, most)
    sizes = np.diff(np.concatenate([starts, [len(ordered)]]))
    values_K = (np.add.reduceat(ordered, starts) / sizes).astype(np.float32)
    indices_N = np.empty(len(flat[places_N]), np.int64)
    indices_N[order] = np.repeat(np.arange(len(sizes)), sizes)
    return Shared(weights.shape, places_N, indices_N, values_K, was_N)


def _intervals(ordered: npt.NDArray[np.float64], most: int) -> npt.NDArray[np.int64]:
    """Where the clusters begin that Lloyd's steps end with; those that lost all members are left out."""
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    centres = np.linspace(ordered[0], ordered[-1], most)
    before = np.empty(0, np.int64)
    for _ in range(_MOST_STEPS):
        inner = np.searchsorted(ordered, (centres[1:] + centres[:-1]) / 2)
        bounds = np.concatenate([[0], inner, [len(ordered)]])
        if np.array_equal(bounds, before):
            break
        before, sizes = bounds, np.diff(bounds)
        means = np.diff(sums[bounds]) / np.maximum(sizes, 1)
        centres = np.where(sizes > 0, means, centres)
    return before[:-1][np.diff(before) > 0]


def is_in_range(values: npt.NDArray[np.floating]) -> bool:
    """Whether numbers of 16 bits are large enough."""
    return bool(np.isfinite(values).all() and np.abs(values).max(initial=0) <= float(_HALF.max))


def goes_in_half(values: npt.NDArray[np.floating], *, is_exact: bool = False) -> bool:
    """Whether numbers of 16 bits say the same: none moves by a thousandth of itself and a 100,000th of the largest.

    Args:
        values: the numbers.
        is_exact: whether none may move at all.
    """
    if not values.size or not is_in_range(values):
        return False
    moved = np.abs(values.astype(np.float16).astype(np.float64) - values)
    if is_exact:
        return not moved.any()
    size = np.abs(values)
    return bool((moved <= np.maximum(_OF_ITSELF * size, _OF_LARGEST * size.max())).all())


def in_half(values: npt.NDArray[np.floating]) -> Floats:
    """Numbers as 16 bits have them."""
    return values.astype(np.float16).astype(np.float32)
