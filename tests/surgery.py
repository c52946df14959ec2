"""Killing channels of real networks, so that narrowing can be compared with what it must not change."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_prune.graph.axes import Atom, channel_at
from nas_prune.space import SearchSpace


def lively(space: SearchSpace) -> nn.Module:
    """A network in float64 with random scales and shifts, its statistics those of some random images."""
    model = space.build(seed=1).double()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
                module.weight.uniform_(0.1, 0.3, generator=generator)
                module.bias.uniform_(0.6, 1.2, generator=generator)  # so that no channel is cut off by a ReLU
            elif isinstance(module, nn.Linear):
                module.bias.uniform_(3.0, 4.0, generator=generator)
        images = torch.rand(8, *space.reference.input_shape, generator=generator, dtype=torch.float64)
        model.train()(images)
    return model.eval()


def random_halves(space: SearchSpace) -> list[NDArray[np.int64]]:
    rng = np.random.default_rng(3)
    return [np.sort(rng.choice(base, max(1, base // 2), replace=False)) for base in space.base_G]


def kill(model: nn.Module, space: SearchSpace, kept: Sequence[NDArray[np.int64]]) -> None:
    """Make every channel that is not kept dead.

    A channel is dead when γ = β = 0 in every norm that holds it and no layer reads it but through a norm. Where
    some layer does (pre-activation shortcuts), or no norm holds it, it is dead when every reader ignores it.
    """
    for column, group in enumerate(space.groups):
        dead = np.setdiff1d(np.arange(group.size), kept[column])
        for path in group.norms:
            _zero(model, space, column, f"{path}.weight", 0, dead)
            _zero(model, space, column, f"{path}.bias", 0, dead)
        if not group.is_gated:
            for name, axes in space.graph.parameters.items():
                if len(axes) > 1:
                    _zero(model, space, column, name, 1, dead)


def _zero(
    model: nn.Module, space: SearchSpace, column: int, name: str, dim: int, dead: NDArray[np.int64]
) -> None:
    axis = space.graph.parameters[name][dim]
    atom = Atom(space.graph.searchable[column])
    channels = channel_at(axis, atom, lambda other: space.graph.groups[other.index].size)
    places = torch.from_numpy(np.isin(channels, dead).nonzero()[0])
    with torch.no_grad():
        model.get_parameter(name).index_fill_(dim, places, 0)


def outputs(model: nn.Module, space: SearchSpace) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    images = torch.rand(2, *space.reference.input_shape, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        scores: Tensor = model(images)
    return scores
