"""Soft filter pruning (He et al. 2018): after every epoch the smallest filters become zero, and may grow again."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_prune.search.methods.contract import Evidence, WidthMethod
from nas_prune.search.methods.filters import ASKS_TO_FILTER, can_score, filters, shares, zero_filters
from nas_prune.space.scores import Scores
from nas_prune.space.search_space import SearchSpace


def norms(evidence: Evidence) -> Scores:
    """The L2 norm of a channel's filters (equation 2 of the paper), as a share of its group's mean."""

    def score(column: int) -> NDArray[np.float64]:
        total = sum(rows.norm(dim=1) for rows in filters(evidence.model, evidence.space, column))
        assert isinstance(total, Tensor)
        return shares(total)

    return evidence.for_each(score)


def soften(model: nn.Module, space: SearchSpace, kept_G: Sequence[NDArray[np.int64]]) -> None:
    """Set the filters of all channels that are not kept to zero, in place; norms and biases stay (section 3.3)."""
    for column, kept in enumerate(kept_G):
        dropped = np.setdiff1d(np.arange(space.base_G[column]), kept)
        if len(dropped):
            zero_filters(model, space, column, dropped)


SOFT_FILTER = WidthMethod(
    name="soft-filter",
    summary="filters that the first budget drops by L2 norm are set to zero after each epoch, and may grow again",
    scope="local",
    citation="He et al., Soft Filter Pruning for Accelerating Deep Convolutional Neural Networks, IJCAI 2018",
    scores=norms,
    can_score=can_score,
    asks=ASKS_TO_FILTER,
    after_epoch=soften,
    is_cheap=True,
)
