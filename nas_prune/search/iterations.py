"""Removing channels in several steps: score, remove a part, train on, score again.

Optimal Brain Damage and the Taylor criterion do it so in their papers: what a channel is worth changes when others have
gone. The steps lie at the ends of epochs in the second half of the training, evenly; the last is the final cut. Costs
fall from step to step by one factor. Channels that have gone are held at zero by factors, which a checkpoint holds.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nas_prune.search.methods.learned_gates import Gates, gates_of, put_in
from nas_prune.space.budget import Budget
from nas_prune.space.cut import feasible_range
from nas_prune.space.scores import Scores
from nas_prune.space.search_space import SearchSpace


def epochs_of_steps(epochs: int, iterations: int) -> tuple[int, ...]:
    """After which epochs channels go, the final cut left out; epochs count from 1.

    Example:
        >>> epochs_of_steps(16, 4)
        (10, 12, 14)
    """
    return tuple(round(epochs * (1 + step / iterations) / 2) for step in range(1, iterations))


def bound_at(
    space: SearchSpace, budget: Budget, step: int, iterations: int, columns: Sequence[int]
) -> Budget:
    """The budget of one step out of so many: costs fall from those of the whole network by equal factors.

    Args:
        space: the network.
        budget: that of the final cut.
        step: which, from 1.
        iterations: how many there are, with the final cut.
        columns: the groups that are searched.
    """

    def at_step(one: Budget) -> Budget:
        limit, (_, whole) = space.limit(one, columns), feasible_range(space, one, columns)
        bound = max(limit, round(whole * (limit / whole) ** (step / iterations)))
        return Budget(one.kind, absolute=bound)

    first, *others = map(at_step, budget.bounds)
    return replace(first, more=tuple(others))


def hold(model: nn.Module, space: SearchSpace, columns: Sequence[int]) -> None:
    """Give a network factors of 1 that nothing moves, in place."""
    gates = Gates(space, columns, 1.0)
    gates.requires_grad_(requires_grad=False)
    put_in(model, space, gates)


@torch.no_grad()
def remove(model: nn.Module, kept_G: Sequence[NDArray[np.int64]]) -> None:
    """Set the factors of all channels that are not kept to zero, in place."""
    gates = gates_of(model)
    for column, factor in zip(gates.columns, gates.factors, strict=True):
        gone = np.setdiff1d(np.arange(len(factor)), kept_G[column])
        factor[torch.from_numpy(gone)] = 0.0


def with_removed_last(model: nn.Module, scores: Scores) -> Scores:
    """Scores in which channels that have gone come after all others, whatever the method says of them."""
    gates = gates_of(model)
    gone = {
        column: (factor == 0).cpu().numpy()
        for column, factor in zip(gates.columns, gates.factors, strict=True)
    }
    lowest = min(float(values.min()) for values in scores if values is not None) - 1
    return [
        values if values is None else np.where(gone[column], lowest, values)
        for column, values in enumerate(scores)
    ]
