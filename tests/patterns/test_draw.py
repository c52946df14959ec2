"""Masks drawn from statistics: as many weights of each layer and position, as uneven, and no two draws alike."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nas_prune.errors import BadInputError
from nas_prune.patterns.draw import drawn_mask, drawn_masks, positions_of
from nas_prune.patterns.layers import WeightLayer, weight_layers
from nas_prune.patterns.pattern import KernelMap, LayerPattern, Pattern
from nas_prune.patterns.statistics import by_filter, kernel_maps, pattern_of, spread_of
from nas_prune.space.load import load_space
from tests.networks import known
from tests.patterns.conftest import UpAndDown, at_densities, costs_for, drawn, layer_of, small_space

SPACE = small_space()
COSTS = costs_for(SPACE)


def of(masks: dict[str, Tensor]) -> Pattern:
    return pattern_of(SPACE, COSTS, masks)


def redrawn(layer: WeightLayer, mask: Tensor, seed: int = 0) -> Tensor:
    """A mask with the statistics of one."""
    mask_OIP = by_filter(layer, mask)
    own = LayerPattern(
        name=layer.name,
        kind="conv" if layer.kind == "conv" else "linear",
        stage=layer.stage,
        shape=layer.shape,
        nonzero=int(mask.sum()),
        filters=spread_of(mask_OIP.mean((1, 2))),
        inputs=spread_of(mask_OIP.mean((0, 2))),
    )
    maps = {(one.stage, one.shape): one for one in kernel_maps([layer], {layer.name: mask_OIP})}
    return drawn_mask(layer, own, maps, np.random.default_rng(seed))


@pytest.mark.parametrize("density", [0.0, 0.05, 0.4, 0.99, 1.0])
def test_each_layer_has_exactly_as_many_weights(density: float) -> None:
    masks = at_densities(COSTS.layers, density)
    found = drawn_masks(of(masks), COSTS.layers, 3)
    assert {name: int(mask.sum()) for name, mask in found.items()} == {
        name: int(mask.sum()) for name, mask in masks.items()
    }
    assert {name: mask.shape for name, mask in found.items()} == {
        name: mask.shape for name, mask in masks.items()
    }
    assert all(mask.dtype == torch.bool and mask.is_contiguous() for mask in found.values())


def test_the_same_seed_draws_the_same_bits_and_another_does_not() -> None:
    pattern = of(drawn(COSTS.layers, 0.3))
    one, again, other = (drawn_masks(pattern, COSTS.layers, seed) for seed in (0, 0, 1))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert all(not torch.equal(one[name], other[name]) for name in one)


def test_the_statistics_of_a_draw_are_those_it_was_drawn_from() -> None:
    space = known("resnet20", (3, 16, 16))
    costs = costs_for(space)
    masks = drawn(costs.layers, 0.2)
    pattern = pattern_of(space, costs, masks)
    again = pattern_of(space, costs, drawn_masks(pattern, costs.layers, 0))
    assert again.cost == pattern.cost
    for one, other in zip(pattern.kernels, again.kernels, strict=True):
        assert other.kept == pytest.approx(one.kept, abs=2 / one.kernels * len(pattern.layers))


@pytest.mark.parametrize("out_dim", [0, 1])
def test_positions_are_met_as_nearly_as_rounding_allows(out_dim: int) -> None:
    layer = layer_of((12, 10, 3, 3), out_dim=out_dim)
    shares = torch.tensor([0.02, 0.1, 0.02, 0.3, 1.0, 0.3, 0.0, 0.15, 0.05]).view(3, 3)
    mask = torch.rand(layer.shape, generator=torch.Generator().manual_seed(0)) < shares
    found = redrawn(layer, mask)
    assert (found.sum((0, 1)) - mask.sum((0, 1))).abs().max() <= 1
    assert int(found.sum()) == int(mask.sum())
    assert bool(found[:, :, 1, 1].all())
    assert not bool(found[:, :, 2, 0].any())


@pytest.mark.parametrize("out_dim", [0, 1])
def test_uneven_filters_and_inputs_are_drawn_as_uneven(out_dim: int) -> None:
    layer = layer_of((60, 50, 3, 3), out_dim=out_dim)
    by_out = torch.linspace(0, 1, layer.shape[out_dim]) ** 2
    by_in = torch.linspace(0.2, 0.6, layer.shape[1 - out_dim])
    odds = by_out[:, None] * by_in if out_dim == 0 else by_in[:, None] * by_out
    mask = torch.rand(layer.shape, generator=torch.Generator().manual_seed(1)) < odds[:, :, None, None]
    own, other = (by_filter(layer, one) for one in (mask, redrawn(layer, mask)))
    for axes in ((1, 2), (0, 2)):
        left, right = (
            np.array(spread_of(own.mean(axes)).deciles),
            np.array(spread_of(other.mean(axes)).deciles),
        )
        assert np.abs(left - right).max() < 0.09
    assert spread_of(other.mean((1, 2))).deciles[-1] > 3 * spread_of(other.mean((1, 2))).deciles[3]
    for axes in ((1, 2), (0, 2)):  # which filter and which input is which is drawn
        assert abs(np.corrcoef(own.mean(axes), other.mean(axes))[0, 1]) < 0.5


@pytest.mark.parametrize(
    "shape", [(1, 8, 3, 3), (8, 1, 3, 3), (1, 1, 1, 1), (1, 5), (7, 1), (2, 2, 1, 5), (3, 2, 4)]
)
@pytest.mark.parametrize("count", [1, 2, None])
def test_the_smallest_layers_are_drawn(shape: tuple[int, ...], count: int | None) -> None:
    layer = layer_of(shape, kind="conv" if len(shape) > 2 else "linear")
    count = layer.size if count is None else min(count, layer.size)
    mask = torch.zeros(layer.shape, dtype=torch.bool)
    mask.view(-1)[:count] = True
    assert int(redrawn(layer, mask).sum()) == count


def test_a_stage_may_hold_more_of_a_position_than_a_layer_has_kernels_for() -> None:
    layer = layer_of((2, 3, 1, 3))
    whole = spread_of(np.ones(2))
    own = LayerPattern(
        name="one.weight",
        kind="conv",
        stage=0,
        shape=layer.shape,
        nonzero=14,
        filters=whole,
        inputs=spread_of(np.ones(3)),
    )
    one = KernelMap(stage=0, shape=(1, 3), kernels=100, kept=(0.0, 1.0, 0.0))
    counts = drawn_mask(layer, own, {(0, one.shape): one}, np.random.default_rng(0)).sum((0, 1, 2)).tolist()
    assert counts == [4, 6, 4]


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 10**6), st.lists(st.floats(0, 1), min_size=1, max_size=25))
def test_positions_add_up_and_none_has_more_than_there_are(
    data: st.DataObject, kernels: int, shares: Sequence[float]
) -> None:
    total = data.draw(st.integers(1, kernels * len(shares)))
    counts = positions_of(total, np.array(shares), kernels)
    assert counts.sum() == total
    assert counts.min() >= 0
    assert counts.max() <= kernels
    order = np.argsort(shares, kind="stable")
    assert (np.diff(counts[order]) >= -1).all()  # more of a position that has more, but for rounding


def test_transposed_and_grouped_layers_are_drawn_in_their_shapes() -> None:
    space = load_space(UpAndDown, (3, 8, 8))
    layers = weight_layers(space)
    pattern = pattern_of(space, costs_for(space), drawn(layers, 0.4))
    found = drawn_masks(pattern, layers, 0)
    assert {name: tuple(mask.shape) for name, mask in found.items()} == {
        one.name: one.shape for one in layers.layers
    }
    assert [int(mask.sum()) for mask in found.values()] == [one.nonzero for one in pattern.layers]


def test_a_pattern_of_another_network_is_refused_by_the_first_difference() -> None:
    pattern = of(drawn(COSTS.layers, 0.5))
    wider = weight_layers(small_space(8))
    with pytest.raises(
        BadInputError, match=r"got shape \[6, 1, 3, 3\] for 0.weight, which is shape \[8, 1, 3, 3\]"
    ):
        drawn_masks(pattern, wider, 0)
    with pytest.raises(BadInputError, match="got no such layer for conv1.weight, which is shape"):
        drawn_masks(pattern, weight_layers(known("resnet20")), 0)
    with pytest.raises(
        BadInputError, match=r"got shape \[6, 6, 3, 3\] for 2.weight, which is none of the network"
    ):
        drawn_masks(pattern, weight_layers(SPACE, ["2"]), 0)
