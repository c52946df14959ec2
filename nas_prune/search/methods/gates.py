"""Factors on channels: put on the outputs of layers while a network runs, its parameters untouched.

Shape letters: N images, C channels of a group.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_prune.search.methods.layer_channels import channel_dim, gate_places
from nas_prune.space.search_space import SearchSpace


@dataclass(frozen=True, slots=True)
class Spot:
    """One layer's output, and which factors act where on it.

    Attributes:
        path: the layer.
        columns: the groups that have channels there, or blocks that end there.
        places: for each output channel an index into the factors of these groups, one after the other; the index
            behind the last where no factor is.
    """

    path: str
    columns: tuple[int, ...]
    places: NDArray[np.int64]


def spots(space: SearchSpace, columns: Sequence[int]) -> list[Spot]:
    """Every layer that factors on the channels of some groups act on."""
    found: dict[str, list[tuple[int, NDArray[np.int64]]]] = defaultdict(list)
    for column in columns:
        for place in gate_places(space, column):
            found[place.path].append((column, place.channels))
    result = []
    for path, parts in found.items():
        places, offset = np.full(len(parts[0][1]), -1), 0
        for column, channels in parts:
            places = np.where(channels >= 0, channels + offset, places)
            offset += space.size_at(column)
        places = np.where(places < 0, offset, places)
        result.append(Spot(path, tuple(column for column, _ in parts), places))
    return result


Factors = Callable[[], Mapping[int, Tensor]]


@contextmanager
def gated(model: nn.Module, space: SearchSpace, columns: Sequence[int], factors: Factors) -> Iterator[None]:
    """Multiply the channels of some groups by factors whenever the network runs inside the block.

    Args:
        model: the network; it is not changed.
        space: its search space.
        columns: the groups, by place.
        factors: gives for each of them, by place, C factors, or N×C, one for each image; asked at every layer.
    """
    modules = dict(model.named_modules())
    handles = [
        modules[spot.path].register_forward_hook(_multiplier(spot, factors)) for spot in spots(space, columns)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _multiplier(spot: Spot, factors: Factors) -> Callable[[nn.Module, object, Tensor], Tensor]:
    def multiply(module: nn.Module, _: object, output: Tensor) -> Tensor:
        given = factors()
        return multiplied(module, output, spot, [given[column] for column in spot.columns])

    return multiply


def multiplied(
    module: nn.Module, output: Tensor, spot: Spot, factors: Sequence[Tensor], *, dim: int | None = None
) -> Tensor:
    """A tensor with the channels of some groups multiplied.

    Args:
        module: the layer whose output (or parameter) it is.
        output: the tensor.
        spot: where the groups lie.
        factors: of each of the spot's groups C, or N×C, one for each image.
        dim: the dimension of the channels; that of the layer's output if None.
    """
    ones = factors[0].new_ones((*factors[0].shape[:-1], 1))
    places = torch.from_numpy(spot.places).to(output.device)
    spread = torch.cat([*factors, ones], dim=-1).index_select(-1, places)
    shape = [1] * output.dim()
    shape[channel_dim(module, output.shape, len(places)) if dim is None else dim] = len(places)
    if spread.dim() == 2:
        shape[0] = len(spread)
    return output * spread.reshape(shape).to(output.dtype)
