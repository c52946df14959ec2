"""Scores of channels, in the form that every width method gives them and every cut takes them."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from nas_prune.graph.selection import spread_order
from nas_prune.space.search_space import SearchSpace

Scores: TypeAlias = "Sequence[NDArray[np.float64] | None]"


def shares_of(
    space: SearchSpace,
    column: int,
    share: float,
    order_of: Callable[[int], NDArray[np.int64]] = spread_order,
) -> NDArray[np.float64]:
    """`shares_below` of a group; which channels those are decides nothing, but where they are selected."""
    size = space.base_G[column]
    scores = shares_below(size, share)
    return scores if space.groups[column].role != "selection" else scores[np.argsort(order_of(size))]


def shares_below(size: int, share: float) -> NDArray[np.float64]:
    """Scores of which a threshold of 1/t leaves t · share of a group.

    Example:
        >>> shares_below(4, 0.5).round(2).tolist()
        [4.0, 1.33, 0.8, 0.57]
    """
    return share / ((np.arange(size) + 0.5) / size)


def within_groups(scores: Scores) -> Scores:
    """The same order of channels in each group, at scores of which a global threshold leaves the same share of each."""
    return [
        None
        if values is None
        else shares_below(len(values), 1.0)[np.argsort(np.argsort(-values, kind="stable"))]
        for values in scores
    ]
