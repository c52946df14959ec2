"""The accuracies of many networks at once: how their errors are spread, and which networks no other beats."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def edf(errors: Sequence[float]) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """The steps of the empirical distribution function: errors, rising, and the share of networks at or below each.

    Example:
        >>> edf([0.3, 0.1])
        (array([0.1, 0.3]), array([0.5, 1. ]))
    """
    rising = np.sort(np.asarray(errors, dtype=np.float64))
    return rising, np.arange(1, len(rising) + 1) / len(rising)


def pareto_front(costs: Sequence[float], accuracies: Sequence[float]) -> tuple[list[float], list[float]]:
    """The networks that no cheaper or equally cheap one reaches: their costs, rising, and their accuracies, rising.

    Of networks that are equal in both, one is on the front.

    Example:
        >>> pareto_front([3, 1, 2, 2], [0.9, 0.7, 0.6, 0.8])
        ([1, 2, 3], [0.7, 0.8, 0.9])
    """
    front: tuple[list[float], list[float]] = ([], [])
    networks = zip(costs, accuracies, strict=True)
    for cost, accuracy in sorted(networks, key=lambda network: (network[0], -network[1])):
        if not front[1] or accuracy > front[1][-1]:
            front[0].append(cost)
            front[1].append(accuracy)
    return front
