"""Killing channels of real networks, so that narrowing can be compared with what it must not change."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_prune.graph.axes import Atom, channel_at
from nas_prune.space.search_space import SearchSpace


def lively(space: SearchSpace) -> nn.Module:
    """A network in float64 with random scales and shifts, its statistics those of some random images."""
    model = space.build(seed=1).double()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.momentum = 1.0
                module.weight.uniform_(0.1, 0.3, generator=generator)
                module.bias.uniform_(0.6, 1.2, generator=generator)  # so that no channel is cut off by a ReLU
            elif isinstance(module, nn.Linear) and module.bias is not None:
                module.bias.uniform_(3.0, 4.0, generator=generator)
        for parameter in model.parameters():
            if parameter.numel() > 1 and bool((parameter == parameter.reshape(-1)[0]).all()):
                parameter.uniform_(0.3, 0.6, generator=generator)  # zeros would hide what lies before
        if space.reference.call.is_plain:
            images = torch.rand(8, *space.reference.input_shape, generator=generator, dtype=torch.float64)
            model.train()(images)
        else:
            space.forward.run(model.train(), space.forward.sampled(model, 8))
    return model.eval()


def random_halves(space: SearchSpace) -> list[NDArray[np.int64]]:
    rng = np.random.default_rng(3)
    return [np.sort(rng.choice(base, max(1, base // 2), replace=False)) for base in space.base_G]


def kill(model: nn.Module, space: SearchSpace, kept: Sequence[NDArray[np.int64]]) -> None:
    """Make every channel that is not kept dead.

    A channel is dead when γ = β = 0 in every norm that holds it and no layer reads it but through a norm. Where
    some layer does (pre-activation shortcuts), or no norm holds it, it is dead when every entry of every parameter
    that belongs to it is zero, so that its readers ignore it.
    """
    for column, group in enumerate(space.groups):
        dead = np.setdiff1d(np.arange(group.size), kept[column])
        norms = {f"{path}.{name}" for path in group.norms for name in ("weight", "bias")}
        for name, _ in model.named_parameters():
            if name in norms or not group.is_gated:
                _zero(model, space, column, name, dead)


def _zero(model: nn.Module, space: SearchSpace, column: int, name: str, dead: NDArray[np.int64]) -> None:
    atom = Atom(space.graph.searchable[column])
    for dim, axis in enumerate(space.graph.parameters[name]):
        channels = channel_at(axis, atom, lambda other: space.graph.groups[other.index].size)
        places = torch.from_numpy(np.isin(channels, dead).nonzero()[0])
        with torch.no_grad():
            model.get_parameter(name).index_fill_(dim, places, 0)


def images_of(space: SearchSpace, count: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.rand(count, *space.reference.input_shape, generator=generator, dtype=torch.float64)


def outputs(model: nn.Module, space: SearchSpace, count: int = 3) -> Tensor:
    with torch.no_grad():
        scores: Tensor = model(images_of(space, count))
    return scores
