"""Pulls on the scale γ of every norm while training: network slimming (Liu et al. 2017), and by cost (MorphNet).

A group's score for a channel is the mean of |γ| over all norms that hold the channel. A convolution inside a
block has one such norm. A residual stream has one for each block that adds to it (or, before the activation,
that reads it); the channels a dense layer grows have one for each later layer that reads them. The mean keeps
such groups on the scale of the others, whatever the number of their norms.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_prune.graph.axes import Atom, channel_at
from nas_prune.search.methods.contract import (
    DrivingCost,
    Evidence,
    Penalty,
    PenaltyTarget,
    Sparsity,
    WidthMethod,
)
from nas_prune.space.scores import Scores
from nas_prune.space.search_space import SearchSpace

INITIAL_SCALE = 0.5  # γ before training (the authors' code)


def prepare(model: nn.Module, space: SearchSpace, columns: Sequence[int]) -> None:
    """Set γ of every norm that holds channels of a searched group to 0.5, in place."""
    for path in _norms(space, columns):
        nn.init.constant_(model.get_parameter(f"{path}.weight"), INITIAL_SCALE)


def mean_scale(model: nn.Module, space: SearchSpace, columns: Sequence[int]) -> float:
    """The mean |γ| of the norms that hold channels of some groups."""
    scales = [
        model.get_parameter(f"{path}.weight").detach().abs().flatten() for path in _norms(space, columns)
    ]
    return float(torch.cat(scales).mean())


def penalty(target: PenaltyTarget) -> Penalty:
    """The function that adds λ · sign(γ) to the gradient of every γ concerned.

    Under AdamW, which divides a gradient by its own size, it pulls each γ by λ · learning rate towards zero instead,
    and not beyond: a soft threshold apart from the optimiser's step, as its weight decay is.
    """
    weight_at = dict.fromkeys(target.columns, 1.0)
    return _penalty(target, weight_at)


def penalty_by_cost(target: PenaltyTarget) -> Penalty:
    """The function that adds λ · c · sign(γ) to the gradient, c the cost of the channel as a multiple of the mean.

    A channel's cost is what the whole network saves without it: the last channel of each group at its base width. The
    paper (section 3.2) takes the current widths instead.
    """
    assert target.cost is not None
    return _penalty(target, channel_costs(target.space, target.columns, target.cost))


def channel_costs(space: SearchSpace, columns: Sequence[int], cost: DrivingCost) -> dict[int, float]:
    """What one channel of each group costs at base widths, as a multiple of the mean over all their channels."""
    count = space.cost.kind(cost)
    base = np.array(space.base_G)
    saved = {}
    for column in columns:
        narrower = base.copy()
        narrower[column] -= 1
        saved[column] = float(count(base) - count(narrower))
    mean = sum(saved[column] * base[column] for column in columns) / sum(base[column] for column in columns)
    return {column: value / mean for column, value in saved.items()}


def _penalty(target: PenaltyTarget, weight_at: Mapping[int, float]) -> Penalty:
    weights = {path: torch.zeros(0) for path in _norms(target.space, target.columns)}
    for path in weights:
        values = np.zeros(0)
        for column in target.columns:
            if path in target.space.groups[column].norms:
                held = _channels(target.space, column, path) >= 0
                values = np.where(held, weight_at[column], values if len(values) else np.zeros(len(held)))
        weights[path] = torch.from_numpy(values).float()
    names = {f"{path}.weight": weight for path, weight in weights.items()}

    @torch.no_grad()
    def pull(model: nn.Module, rate: float) -> None:
        for name, weight in names.items():
            scale = model.get_parameter(name)
            if scale.grad is not None:
                at = names[name] = weight.to(scale.device)
                if target.is_decoupled:
                    length = (at * (rate * target.strength)).minimum(scale.abs())
                    scale.sub_(scale.sign() * length)
                else:
                    scale.grad.add_(torch.sign(scale) * at, alpha=target.strength)

    return pull


def scores(evidence: Evidence) -> Scores:
    """Mean |γ| of each channel over the norms that hold it."""
    return evidence.for_each(partial(_group_scores, evidence.model, evidence.space))


def _group_scores(model: nn.Module, space: SearchSpace, column: int) -> NDArray[np.float64]:
    group = space.groups[column]
    total, count = np.zeros(group.size), np.zeros(group.size)
    for path in group.norms:
        channels = _channels(space, column, path)
        scale: Tensor = model.get_parameter(f"{path}.weight").detach().abs()
        held = channels >= 0
        np.add.at(total, channels[held], scale.double().cpu().numpy()[held])
        np.add.at(count, channels[held], 1)
    return total / count


def _norms(space: SearchSpace, columns: Sequence[int]) -> list[str]:
    """Paths of the norms that hold channels of some groups."""
    return list(dict.fromkeys(path for column in columns for path in space.groups[column].norms))


def _channels(space: SearchSpace, column: int, path: str) -> NDArray[np.int64]:
    """Which channel of a group lies at each place of a norm's scale; -1 where none does."""
    (axis,) = space.graph.parameters[f"{path}.weight"]
    atom = Atom(space.graph.searchable[column])
    return channel_at(axis, atom, lambda other: space.graph.groups[other.index].size)


def can_score(space: SearchSpace, column: int) -> bool:
    """Whether γ = β = 0 makes a channel of a group dead.

    It does not where a layer reads the channels without a norm: the shortcuts between the stages of a
    pre-activation ResNet do, which is why the paper leaves its first convolution and its streams whole.
    """
    return bool(space.groups[column].norms) and space.groups[column].is_gated


def at_least_published(enough: float, space: SearchSpace) -> float:
    """What Liu et al. 2019 take, 1e-4 on VGG and 1e-5 on networks with streams, or more where that is not enough.

    In a training as long as theirs (160 epochs) weight decay alone takes an idle γ to zero: the penalty is there to
    tell channels that are little used from idle ones, against the gradients of the loss, which no length makes smaller.
    """
    has_streams = any(group.role in ("stream", "growth") for group in space.groups)
    return max(enough, 1e-5 if has_streams else 1e-4)


_ASKS = "norms with a scale, through which every layer reads the channels"
_SPARSITY = Sparsity(
    prepare,
    penalty,
    distance=INITIAL_SCALE,
    strength=at_least_published,
    distance_in=mean_scale,
    optimizers=("sgd", "adamw"),
)
SLIMMING = WidthMethod(
    name="slimming",
    summary="L1 penalty on the scale of every norm while training; a global threshold on it",
    scope="global",
    citation="Liu et al., Learning Efficient Convolutional Networks through Network Slimming, ICCV 2017",
    scores=scores,
    can_score=can_score,
    asks=_ASKS,
    sparsity=_SPARSITY,
    is_cheap=True,
)
COST_AWARE = WidthMethod(
    name="cost-aware",
    summary="as slimming, each channel pulled by what it costs in MACs, parameters or activations",
    scope="global",
    citation="Gordon et al., MorphNet: Fast & Simple Resource-Constrained Structure Learning, CVPR 2018",
    scores=scores,
    can_score=can_score,
    asks=_ASKS,
    # Its weights are multiples of λ: under AdamW those of costly channels are beyond what any gradient holds.
    sparsity=replace(_SPARSITY, penalty=penalty_by_cost, optimizers=("sgd",)),
    is_cheap=True,
    is_driven=True,
)
