"""Widths that look at neither weights nor images: what every found width vector must be compared with.

Scores alone say nothing of widths; these are chosen so that one global threshold gives each group the share wanted.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nas_prune.graph.selection import spread_order
from nas_prune.search.methods.contract import Evidence, Scores, WidthMethod
from nas_prune.space.search_space import SearchSpace


def uniform(evidence: Evidence) -> Scores:
    """The same share of every group: by channels, or at matched parameters or MACs, as the budget says.

    What a selection takes lies evenly over what it could take.
    """
    return evidence.for_each(lambda column: shares_of(evidence.space, column, 1.0))


def random(evidence: Evidence) -> Scores:
    """A share of its own for every group, uniform on (0, 1], all of them multiplied by one number to meet the budget.

    The product is 1 at most. Another seed gives other widths, and other channels that selections take.
    """
    rng = np.random.default_rng(evidence.seed)
    shares = 1 - rng.random(len(evidence.space.groups))
    return evidence.for_each(
        lambda column: shares_of(evidence.space, column, shares[column], rng.permutation)
    )


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


def _any(space: SearchSpace, column: int) -> bool:
    return 0 <= column < len(space.groups)


UNIFORM = WidthMethod(
    name="uniform",
    summary="the same share of every group, at whatever cost the budget bounds",
    scope="global",
    citation="the baseline of Liu et al., Rethinking the Value of Network Pruning, ICLR 2019, section 5",
    scores=uniform,
    can_score=_any,
    asks="channels",
    trains=False,
    is_control=True,
)
RANDOM = WidthMethod(
    name="random",
    summary="a random share of each group, at whatever cost the budget bounds",
    scope="global",
    citation="Li et al., Revisiting Random Channel Pruning for Neural Network Compression, CVPR 2022",
    scores=random,
    can_score=_any,
    asks="channels",
    trains=False,
    is_control=True,
)
