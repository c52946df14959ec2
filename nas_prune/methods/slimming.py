"""Network slimming (Liu et al. 2017): an L1 pull on the scale γ of every norm; channels with small γ go.

A group's score for a channel is the mean of |γ| over all norms that hold the channel. A convolution inside a
block has one such norm. A residual stream has one for each block that adds to it (or, before the activation,
that reads it); the channels a dense layer grows have one for each later layer that reads them. The mean keeps
such groups on the scale of the others, whatever the number of their norms.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nas_prune.graph.axes import Atom, channel_at
from nas_prune.methods.contract import Scores, WidthMethod
from nas_prune.space import SearchSpace

INITIAL_SCALE = 0.5  # γ before training (the authors' code)


def _norms(model: nn.Module, space: SearchSpace, columns: Sequence[int]) -> Iterator[nn.Parameter]:
    """The γ of every norm that holds channels of a searched group, once each."""
    paths = dict.fromkeys(path for column in columns for path in space.groups[column].norms)
    return (model.get_parameter(f"{path}.weight") for path in paths)


def prepare(model: nn.Module, space: SearchSpace, columns: Sequence[int]) -> None:
    """Set γ of every norm concerned to 0.5, in place."""
    for scale in _norms(model, space, columns):
        nn.init.constant_(scale, INITIAL_SCALE)


def penalty(space: SearchSpace, columns: Sequence[int], strength: float) -> Callable[[nn.Module], None]:
    """The function that adds strength · sign(γ) to the gradient of every γ concerned."""

    def pull(model: nn.Module) -> None:
        for scale in _norms(model, space, columns):
            if scale.grad is not None:
                scale.grad.add_(torch.sign(scale.detach()), alpha=strength)

    return pull


def scores(model: nn.Module, space: SearchSpace, columns: Sequence[int]) -> Scores:
    """Mean |γ| of each channel over the norms that hold it."""
    searched = set(columns)
    return [
        _group_scores(model, space, column) if column in searched else None
        for column in range(len(space.groups))
    ]


def _group_scores(model: nn.Module, space: SearchSpace, column: int) -> NDArray[np.float64]:
    group, atom = space.groups[column], Atom(space.graph.searchable[column])
    total, count = np.zeros(group.size), np.zeros(group.size)
    for path in group.norms:
        (axis,) = space.graph.parameters[f"{path}.weight"]
        channels = channel_at(axis, atom, lambda other: space.graph.groups[other.index].size)
        scale = model.get_parameter(f"{path}.weight").detach().abs().double().cpu().numpy()
        held = channels >= 0
        np.add.at(total, channels[held], scale[held])
        np.add.at(count, channels[held], 1)
    return total / count


def can_score(space: SearchSpace, column: int) -> bool:
    """Whether γ = β = 0 makes a channel of a group dead.

    It does not where a layer reads the channels without a norm: the shortcuts between the stages of a
    pre-activation ResNet do, which is why the paper leaves its first convolution and its streams whole.
    """
    return bool(space.groups[column].norms) and space.groups[column].is_gated


SLIMMING = WidthMethod(
    name="slimming",
    summary="L1 pull on the scale of every norm while training; a global threshold on it",
    is_automatic=True,
    citation="Liu et al., Learning Efficient Convolutional Networks through Network Slimming, ICCV 2017",
    prepare=prepare,
    penalty=penalty,
    scores=scores,
    can_score=can_score,
)
