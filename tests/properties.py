"""What must hold of every network, whoever wrote it."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from nas_prune.graph.check import failure
from nas_prune.space.search_space import SearchSpace
from tests.restricted import restricted_outputs
from tests.space.test_cost import count_by_pytorch
from tests.surgery import images_of, kill, lively, outputs, random_halves


def random_widths(space: SearchSpace, count: int, *, seed: int = 0) -> list[list[int]]:
    """Width vectors between every group's floor and its base."""
    rng = np.random.default_rng(seed)
    widths: list[list[int]] = rng.integers(
        space.floor_G, np.array(space.base_G) + 1, (count, len(space.groups))
    ).tolist()
    return widths


def check_costs(space: SearchSpace, vectors: Sequence[Sequence[int]]) -> None:
    """At each width vector the network runs in both modes, and costs what PyTorch counts."""
    for widths in vectors:
        cost = space.cost_at(widths)
        assert count_by_pytorch(space, list(widths)) == (cost.params, cost.macs)
        assert failure(space.template, space.graph, space.reference.input_shape, widths) is None


def check_dead_channels(space: SearchSpace, *, tolerance: float = 1e-10) -> None:
    """Dead channels go without changing the outputs, in float64; live ones do not.

    Where an operation reduces over channels, the whole network's reductions are restricted to those that are left;
    where the network's own code computes more coarsely than in float64, the comparison is as coarse.
    """
    model, kept = lively(space), random_halves(space)
    before = leaves(outputs(model, space))
    changed = leaves(outputs(space.narrow(model, kept), space))
    assert max(float((one - other).abs().max()) for one, other in zip(before, changed, strict=True)) > 1e-9
    kill(model, space, kept)
    expected, how = restricted_outputs(model, space, kept, images_of(space))
    tolerance = max(tolerance, 100 * how.precision)
    narrowed = leaves(outputs(space.narrow(model, kept), space))
    for one, other in zip(leaves(expected), narrowed, strict=True):
        assert bool(torch.isfinite(other).all())
        assert float((one - other).abs().max()) <= tolerance * max(1.0, float(one.abs().max()))


def leaves(output: object) -> list[Tensor]:
    """The tensors of whatever a network puts out."""
    return [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)]
