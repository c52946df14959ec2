"""Choosing images class by class: exact sizes, and each class in proportion.

Shape letter: K classes.
"""

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


def allocate(counts_K: IntArray, total: int, *, least_K: IntArray, most_K: IntArray) -> IntArray:
    """How many to take of each class: in proportion to `counts_K`, by largest remainder, within bounds.

    Args:
        counts_K: members of each class.
        total: how many to take in all.
        least_K: the fewest of each class.
        most_K: the most of each class; at least `least_K`.

    Returns:
        Numbers with the sum `total`, or the nearest sum that the bounds allow.

    Example:
        >>> allocate(np.array([10, 30, 1]), 8, least_K=np.array([0, 0, 0]), most_K=np.array([9, 29, 0]))
        array([2, 6, 0])
    """
    share_K = counts_K * (total / max(int(counts_K.sum()), 1))
    taken_K: IntArray = np.clip(np.floor(share_K + 1e-9).astype(np.int64), least_K, most_K)
    while taken_K.sum() != total:
        step = 1 if taken_K.sum() < total else -1
        has_room_K = taken_K < most_K if step == 1 else taken_K > least_K
        if not has_room_K.any():
            break
        missing_K = np.where(has_room_K, (share_K - taken_K) * step, -np.inf)
        taken_K[missing_K.argmax()] += step
    return taken_K


def split_off(
    labels: IntArray, fraction: float, rng: np.random.Generator, *, is_every_class_held: bool = False
) -> tuple[IntArray, IntArray]:
    """Cut a stratified part off.

    At most half of a class is cut off (rounded up), so a class of one image stays whole.

    Args:
        labels: the class of each image.
        fraction: the share to cut off, in (0, 0.5]; round(fraction·N) images, at least one.
        rng: chooses the images.
        is_every_class_held: cut off at least one image of each class that has two.

    Returns:
        Indices that stay and indices that are cut off, each ascending.
    """
    counts_K = np.bincount(labels)
    most_K = np.where(counts_K > 1, (counts_K + 1) // 2, 0)
    least_K = np.minimum(most_K, int(is_every_class_held))
    total = max(1, round(fraction * len(labels)))
    held = _draw(labels, allocate(counts_K, total, least_K=least_K, most_K=most_K), rng)
    return np.setdiff1d(np.arange(len(labels)), held), held


def subset(labels: IntArray, size: int, rng: np.random.Generator) -> IntArray:
    """A stratified choice of exactly `size` images, or all where there are no more.

    Args:
        labels: the class of each image.
        size: how many; with two for each class, every class keeps two (or all it has).
        rng: chooses the images.

    Returns:
        The indices chosen, ascending.
    """
    counts_K = np.bincount(labels)
    least_K = np.minimum(counts_K, min(2, size // len(counts_K)))
    return _draw(labels, allocate(counts_K, size, least_K=least_K, most_K=counts_K), rng)


def _draw(labels: IntArray, taken_K: IntArray, rng: np.random.Generator) -> IntArray:
    chosen = [rng.permutation(np.flatnonzero(labels == label))[:num] for label, num in enumerate(taken_K)]
    return np.sort(np.concatenate(chosen))
