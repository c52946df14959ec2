"""Widths that look at neither weights nor images: what every found width vector must be compared with.

Scores alone say nothing about widths; these are chosen so that one global threshold gives each group the share wanted.
"""

import numpy as np

from nas_prune.search.methods.contract import Evidence, WidthMethod
from nas_prune.space.scores import Scores, shares_of
from nas_prune.space.search_space import SearchSpace


def uniform(evidence: Evidence) -> Scores:
    """The same share of every group: by channels, or at matched parameters or MACs, as the budget says.

    The channels that a selection takes are evenly spread over those it could take.
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
