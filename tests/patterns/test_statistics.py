"""What a pattern says of masks, by hand on small ones; whole channels that are left out, by taking them out."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import SqueezeExcitation

from nas_prune.patterns.costs import costs_of
from nas_prune.patterns.layers import WeightLayers, weight_layers
from nas_prune.patterns.pattern import GroupLeft
from nas_prune.patterns.statistics import (
    WholeChannels,
    by_filter,
    conformance,
    groups_left,
    kernel_maps,
    pattern_of,
    spread_of,
    whole_channels,
)
from nas_prune.space.load import load_space
from nas_prune.space.search_space import SearchSpace
from nas_prune.training.masks import masked
from tests.graph.test_random_networks import Network, load, networks
from tests.networks import known, thin_densenet40
from tests.patterns.conftest import UpAndDown, costs_for, drawn, layer_of, small_space
from tests.surgery import lively


def array(*rows: Any) -> NDArray[np.bool_]:
    return np.array(rows, dtype=bool)


def test_deciles_are_quantiles_and_empty_ones_are_counted() -> None:
    spread = spread_of(np.array([0.0, 0.0, 0.5, 1.0]))
    assert spread.empty == 2
    assert spread.deciles == (0, 0, 0, 0, 0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1)
    assert spread_of(np.array([0.25])).deciles == (0.25,) * 11


def test_n_of_m_counts_runs_of_neighbouring_inputs_at_each_position() -> None:
    row = [1, 1, 1, 0, 0, 0, 0, 1]  # by hand: 3 and 1 of 4, 4 of 8
    other = [0, 1, 0, 1, 1, 1, 1, 1]  # 2 and 4, 6
    assert conformance(array(np.transpose([row, other]))) == {"1:4": 0.25, "2:4": 0.5, "4:8": 0.5}
    assert conformance(array(np.transpose([[*row, 1, 1]]))) == {"1:4": 0.5, "2:4": 0.5, "4:8": 1.0}
    assert conformance(array([[1], [0], [0]])) == {}
    assert conformance(array([[1], [0], [0], [0]])) == {"1:4": 1.0, "2:4": 1.0}


def test_filters_come_first_however_a_layer_stores_them() -> None:
    mask = torch.zeros(2, 3, 1, 2, dtype=torch.bool)
    mask[1, 0, 0, 1] = True
    assert by_filter(layer_of((2, 3, 1, 2)), mask)[1, 0].tolist() == [False, True]
    assert by_filter(layer_of((2, 3, 1, 2), out_dim=1), mask)[0, 1].tolist() == [False, True]
    assert by_filter(layer_of((2, 3), kind="linear"), mask[:, :, 0, 1]).shape == (2, 3, 1)


def test_positions_are_shares_of_all_kernels_of_a_stage_and_shape() -> None:
    layers = [layer_of(shape, stage=stage) for shape, stage in (((2, 1, 1, 3), 0), ((2, 1, 1, 3), 1))]
    more = layer_of((1, 1, 1, 3), stage=1)
    point, linear = layer_of((4, 4, 1, 1)), layer_of((4, 4), kind="linear")
    named = {"a": layers[0], "b": layers[1], "c": more, "d": point, "e": linear}
    renamed = [type(one)(name, *(getattr(one, f) for f in one.__slots__[1:])) for name, one in named.items()]
    masks = {
        "a": array([[1, 0, 0]], [[1, 1, 0]]),
        "b": array([[1, 1, 1]], [[0, 0, 1]]),
        "c": array([[0, 0, 1]]),
        "d": np.ones((4, 4, 1), dtype=bool),
        "e": np.ones((4, 4, 1), dtype=bool),
    }
    found = kernel_maps(renamed, masks)
    assert [(one.stage, one.shape, one.kernels) for one in found] == [(0, (1, 3), 2), (1, (1, 3), 3)]
    assert found[0].kept == (1, 0.5, 0)
    assert found[1].kept == pytest.approx((1 / 3, 1 / 3, 1), abs=1e-6)


def test_a_pattern_says_what_its_masks_hold() -> None:
    space = small_space()
    costs = costs_for(space)
    masks = drawn(costs.layers, 0.3)
    pattern = pattern_of(space, costs, masks, budget="nonzero<=30%", seed=3)
    assert {one.name: one.nonzero for one in pattern.layers} == {
        name: int(mask.sum()) for name, mask in masks.items()
    }
    first = pattern.layers[1]
    mask = masks[first.name].double()
    assert first.filters.deciles[0] == pytest.approx(float(mask.mean((1, 2, 3)).min()), abs=1e-6)
    assert first.inputs.deciles[-1] == pytest.approx(float(mask.mean((0, 2, 3)).max()), abs=1e-6)
    assert pattern.kernels[0].kept == pytest.approx(
        masks["0.weight"].double().mean((0, 1)).flatten().tolist(), abs=1e-6
    )
    assert (pattern.cost.nonzero, pattern.base_cost.nonzero) == (
        sum(int(m.sum()) for m in masks.values()),
        402,
    )
    assert (pattern.budget, pattern.seed) == ("nonzero<=30%", 3)


# Whole channels


class Excited(nn.Module):
    """Squeeze-and-excitation between a depthwise convolution and a projection."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.each = nn.Conv2d(3, 12, 1), nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.gate, self.last, self.head = SqueezeExcitation(12, 6), nn.Conv2d(12, 8, 1), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.gate(self.each(self.first(x).relu()).relu())
        return torch.as_tensor(self.head(self.last(x).relu().mean((2, 3))))


class Pairs(nn.Module):
    """Products of all pairs of channels, as bilinear networks have them, beside a reading by a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 5, 1), nn.Linear(36, 4)
        self.other = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        flat = x.flatten(2)
        pairs = (flat @ flat.transpose(1, 2)).flatten(1)
        return torch.as_tensor(self.head(pairs) + self.other(self.second(x).relu().mean((2, 3))))


class NonLocal(nn.Module):
    """Positions attend to each other by the products of their channels, some of which a convolution reads, too."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3)
        self.second, self.head = nn.Conv2d(8, 6, 1), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        query, key = self.query(x), self.key(x)
        weights = (query.flatten(2).transpose(1, 2) @ key.flatten(2)).softmax(1)
        return torch.as_tensor(self.head((self.second(query).relu().flatten(2) @ weights).mean(2)))


class Normed(nn.Module):
    """A layer norm, for which each channel counts, and a scale of three dimensions for each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.inner = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8), nn.Linear(8, 12)
        self.scale, self.head = nn.Parameter(torch.ones(12, 1, 1)), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.first(x).permute(0, 2, 3, 1))
        return torch.as_tensor(
            self.head((self.inner(x).relu().permute(0, 3, 1, 2) * self.scale).mean((2, 3)))
        )


class Tied(nn.Module):
    """A decoder that shares the encoder's weight, beside a head that reads the code."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.code, self.head = nn.Linear(27, 10), nn.Linear(10, 6), nn.Linear(6, 4)
        self.other = nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        code = self.code(self.first(x.flatten(1)).relu()).relu()
        back = F.linear(code, self.code.weight.t()).relu()
        return torch.as_tensor(self.head(code) + self.other(back))


class Halved(nn.Module):
    """A gated linear unit: each half of the channels holds the group."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 16, 3), nn.Conv2d(8, 6, 1), nn.Linear(6 * 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.glu(self.first(x), 1)
        return torch.as_tensor(self.head(F.adaptive_avg_pool2d(self.second(x).relu(), 2).flatten(1)))


NETWORKS: dict[str, Callable[[], SearchSpace]] = {
    "vgg11": lambda: known("vgg11", (1, 8, 8)),
    "resnet20": lambda: known("resnet20", (3, 16, 16)),
    "densenet40": lambda: load_space(thin_densenet40, (3, 8, 8)),
    "mobilenet_v2": lambda: known("torchvision:mobilenet_v2"),
    "mobilenet_v3_small": lambda: known("torchvision:mobilenet_v3_small"),
    "shufflenet_v2": lambda: known("torchvision:shufflenet_v2_x0_5"),
    "up and down": lambda: own(UpAndDown),
    "excited": lambda: own(Excited),
    "pairs": lambda: own(Pairs),
    "non-local": lambda: own(NonLocal),
    "normed": lambda: own(Normed),
    "tied": lambda: load_space(Tied, (3, 3, 3)),
    "halved": lambda: own(Halved),
}


def own(module: Callable[[], nn.Module]) -> SearchSpace:
    return load_space(module, (3, 8, 8))


def sparse(layers: WeightLayers, seed: int) -> dict[str, Tensor]:
    """Masks of a weight for every other channel, so that many channels are read, or written, by none."""
    generator, masks = torch.Generator().manual_seed(seed), {}
    for layer in layers.layers:
        flat = torch.rand(layer.size, generator=generator)
        count = max(2, max(layer.shape[:2]) // 2)
        masks[layer.name] = (flat <= flat.kthvalue(min(count, layer.size)).values).reshape(layer.shape)
    return masks


@pytest.mark.parametrize("name", NETWORKS)
def test_without_channels_that_none_reads_the_network_puts_out_the_same(name: str) -> None:
    space = NETWORKS[name]()
    assert without_unread(space, 0)


def without_unread(space: SearchSpace, seed: int) -> int:
    """Take out all channels that no layer reads, and see that nothing changes; how many there were."""
    layers = weight_layers(space)
    masks = sparse(layers, seed)
    found = whole_channels(space, layers.layers, masks)
    network = masked(lively(space), masks)
    kept = [np.flatnonzero(~one.unread) if not one.unread.all() else np.zeros(1, int) for one in found]
    narrow = space.narrow(network, kept).eval()
    images = torch.rand(3, *space.reference.input_shape, dtype=torch.float64)
    torch.testing.assert_close(narrow(images), network(images), rtol=1e-9, atol=1e-11)
    return sum(int(one.unread.sum()) for one in found)


@pytest.mark.slow
@settings(max_examples=100, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(networks(4), st.integers(0, 2**16))
def test_so_does_any_network(network: Network, seed: int) -> None:
    space = load(network)
    assume(space is not None)
    assert space is not None
    without_unread(space, seed)


def outputs_of(space: SearchSpace, network: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """What the convolutions put out, by path."""
    found: dict[str, Tensor] = {}
    handles = [
        module.register_forward_hook(lambda _, __, output, path=path: found.__setitem__(path, output))
        for path, module in network.named_modules()
        if path and not list(module.children())
    ]
    network(images)
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize("name", ["vgg11", "resnet20", "mobilenet_v2", "excited", "shufflenet_v2"])
def test_what_is_left_of_channels_that_none_writes_is_a_constant(name: str) -> None:
    space = NETWORKS[name]()
    layers = weight_layers(space)
    masks = sparse(layers, 1)
    network = masked(lively(space), masks)
    outputs = outputs_of(space, network, torch.rand(4, *space.reference.input_shape, dtype=torch.float64))
    seen = 0
    for one in whole_channels(space, layers.layers, masks):
        for path in one.group.layers:
            output = outputs[path]
            if one.constant.any() and output.dim() == 4 and output.shape[1] == one.group.size:
                spread = (output - output[:1, :, :1, :1]).abs().amax((0, 2, 3)).detach().numpy()
                assert float(spread[one.constant].max()) < 1e-12
                seen += int(one.constant.sum())
    assert seen


def test_channels_that_were_planted_are_found_in_a_chain() -> None:
    space = known("vgg11", (1, 8, 8))
    layers = weight_layers(space)
    masks = {layer.name: torch.ones(layer.shape, dtype=torch.bool) for layer in layers.layers}
    second, third = layers.layers[1].name, layers.layers[2].name
    masks[third][:, [3, 5, 7]] = False  # the second's 3, 5, 7 are not read
    masks[second][[5, 9]] = False  # and its 5, 9 not written
    left = {
        one.name: (one.base, one.unread, one.constant, one.width)
        for one in groups_left(space, layers.layers, masks)
    }
    assert left.pop(layers.layers[1].path) == (128, 3, 1, 124)
    assert {(base - width, unread, constant) for base, unread, constant, width in left.values()} == {
        (0, 0, 0)
    }


def test_a_stream_is_alive_while_one_of_its_layers_writes_it_or_reads_it() -> None:
    space = known("resnet20", (3, 16, 16))
    layers = weight_layers(space)
    stream = next(group for group in space.groups if group.role == "stream")
    writers = [layer for layer in layers.layers if layer.path in stream.layers]
    readers = [
        layer
        for layer in layers.layers
        if layer.path in ("layer1.0.conv1", "layer1.1.conv1", "layer1.2.conv1")
    ]
    readers += [
        layer for layer in layers.layers if layer.path.startswith("layer2.0") and layer.shape[1] == 16
    ]
    assert len(writers) == 4
    assert len(readers) == 5
    masks = {layer.name: torch.ones(layer.shape, dtype=torch.bool) for layer in layers.layers}
    for number, layer in enumerate(writers):
        masks[layer.name][4] = False
        assert counts(space, layers, masks)[stream.name] == (0, int(number == 3))
    for number, layer in enumerate(readers):
        masks[layer.name][:, 6] = False
        assert counts(space, layers, masks)[stream.name] == (int(number == 4), 1)


def counts(
    space: SearchSpace, layers: WeightLayers, masks: Mapping[str, Tensor]
) -> dict[str, tuple[int, int]]:
    return {one.name: (one.unread, one.constant) for one in groups_left(space, layers.layers, masks)}


def test_what_a_dense_layer_writes_or_reads_is_there() -> None:
    space = small_space()
    kept = costs_of(space, weight_layers(space, ["0"])).layers
    masks = {layer.name: torch.ones(layer.shape, dtype=torch.bool) for layer in kept.layers}
    masks["2.weight"][:, 1] = False
    masks["6.weight"][:, 2] = False
    assert counts(space, kept, masks) == {"0": (1, 0), "2": (1, 0)}
    kept = costs_of(space, weight_layers(space, ["2"])).layers
    masks = {layer.name: torch.ones(layer.shape, dtype=torch.bool) for layer in kept.layers}
    masks["0.weight"][[1, 4]] = False
    assert counts(space, kept, masks) == {"0": (0, 2), "2": (0, 0)}


def test_an_empty_group_has_a_channel_left() -> None:
    space = small_space()
    layers = weight_layers(space)
    masks = {layer.name: torch.zeros(layer.shape, dtype=torch.bool) for layer in layers.layers}
    assert groups_left(space, layers.layers, masks) == tuple(
        GroupLeft(name=name, base=6, unread=6, constant=0, width=1) for name in ("0", "2")
    )


def test_channels_that_meet_without_weights_are_never_left_out() -> None:
    space = own(Normed)
    layers = weight_layers(space)
    masks = {layer.name: torch.zeros(layer.shape, dtype=torch.bool) for layer in layers.layers}
    found: dict[str, WholeChannels] = {
        one.group.name: one for one in whole_channels(space, layers.layers, masks)
    }
    assert not found["first"].unread.any()
    assert not found["first"].constant.any()
    assert found["inner"].unread.all()


def test_channels_that_a_product_of_activations_sums_over_are_never_left_out() -> None:
    space = own(NonLocal)
    layers = weight_layers(space)
    masks = {layer.name: torch.ones(layer.shape, dtype=torch.bool) for layer in layers.layers}
    masks["second.weight"][:, 2] = False
    masks["head.weight"][:, 3] = False
    assert counts(space, layers, masks) == {"query": (0, 0), "second": (1, 0)}
    network = masked(lively(space), masks)
    images = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    before = network(images)
    with torch.no_grad():
        network.get_parameter("key.weight")[2] += 1
    assert not torch.allclose(network(images), before)
