"""Scores from the weights alone: the L1 norm of filters, and their distance to one another.

A filter is the weights that a layer computes a channel with: one row of a convolution's or linear layer's weight, or
several where a channel stands for several places (one for each group of a grouped convolution, say). A group that
several layers write has a filter in each; their scores are added. Biases and norms play no part, as in the papers.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_prune.graph.axes import Atom, atoms_of, channel_at
from nas_prune.search.methods.contract import Evidence, WidthMethod
from nas_prune.search.methods.layer_channels import writers
from nas_prune.space.scores import Scores
from nas_prune.space.search_space import SearchSpace


def can_score(space: SearchSpace, column: int) -> bool:
    """Whether layers with a weight of their own write the channels."""
    places = writers(space, column)
    return bool(places) and all(f"{place.path}.weight" in space.graph.parameters for place in places)


def filters(model: nn.Module, space: SearchSpace, column: int) -> Iterator[Tensor]:
    """For each layer that writes a group, the filters of its channels as rows: C × weights, float64."""
    for weight, dim, channels in _weights(model, space, column):
        order = np.argsort(channels, kind="stable")[(channels < 0).sum() :]
        rows = weight.detach().double().cpu().movedim(dim, 0).flatten(1)[torch.from_numpy(order)]
        yield rows.reshape(space.groups[column].size, -1)


@torch.no_grad()
def zero_filters(model: nn.Module, space: SearchSpace, column: int, channels: NDArray[np.int64]) -> None:
    """Set the filters of some channels of a group to zero, in place."""
    for weight, dim, held in _weights(model, space, column):
        places = torch.from_numpy(np.flatnonzero(np.isin(held, channels)))
        weight.index_fill_(dim, places.to(weight.device), 0)


def _weights(
    model: nn.Module, space: SearchSpace, column: int
) -> Iterator[tuple[nn.Parameter, int, NDArray[np.int64]]]:
    """For each layer that writes a group its weight, the dimension of its filters, and whose channel each is; or -1."""
    atom = Atom(space.graph.searchable[column])
    for place in writers(space, column):
        weight = model.get_parameter(f"{place.path}.weight")
        axes = space.graph.parameters[f"{place.path}.weight"]
        is_transposed = isinstance(model.get_submodule(place.path), nn.modules.conv._ConvTransposeNd)  # noqa: SLF001
        dims = [1, 0] if is_transposed else range(len(axes))
        dim = next(dim for dim in dims if atom in set(atoms_of(axes[dim])))
        yield weight, dim, channel_at(axes[dim], atom, lambda other: space.graph.groups[other.index].size)


def norms(evidence: Evidence) -> Scores:
    """Σ |w| over a channel's filters, as a share of its group's mean.

    The paper (section 3.1) compares filters of one layer only. The share makes layers comparable, where they are to
    be: the plain sum grows with the number of weights in a filter.
    """

    def score(column: int) -> NDArray[np.float64]:
        total = sum(rows.abs().sum(1) for rows in filters(evidence.model, evidence.space, column))
        assert isinstance(total, Tensor)
        return shares(total)

    return evidence.for_each(score)


def distances(evidence: Evidence) -> Scores:
    """Σ over the other channels of the Euclidean distance between their filters, as a share of the group's mean.

    The filter nearest to the geometric median of all (the one with the smallest sum) can best be replaced by the
    others (section 3.3, equation 6 of the paper).
    """

    def score(column: int) -> NDArray[np.float64]:
        blocks = filters(evidence.model, evidence.space, column)
        total = sum(torch.cdist(rows, rows).sum(1) for rows in blocks)
        assert isinstance(total, Tensor)
        return shares(total)

    return evidence.for_each(score)


def shares(values: Tensor) -> NDArray[np.float64]:
    """Values as multiples of their mean."""
    mean = float(values.mean())
    return (values / mean if mean > 0 else values).numpy()


ASKS_TO_FILTER = "convolutions or linear layers that write the channels"
L1_NORM = WidthMethod(
    name="l1-norm",
    summary="L1 norm of each channel's filters after training",
    scope="local",
    citation="Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017",
    scores=norms,
    can_score=can_score,
    asks=ASKS_TO_FILTER,
    is_cheap=True,
)
FPGM = WidthMethod(
    name="fpgm",
    summary="distance of each channel's filters to the layer's others after training; the nearest go",
    scope="local",
    citation="He et al., Filter Pruning via Geometric Median, CVPR 2019",
    scores=distances,
    can_score=can_score,
    asks=ASKS_TO_FILTER,
    is_cheap=True,
)
