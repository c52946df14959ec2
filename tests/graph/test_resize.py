"""Resizing: dead channels go without a trace, live ones do not; fresh networks inherit nothing."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nas_prune.errors import BadInputError, NasPruneError, WidthsError
from nas_prune.graph.channels import channel_graph
from nas_prune.graph.resize import narrowed
from nas_prune.space.initialise import initialise
from nas_prune.space.load import load_space
from tests.networks import CASES, BakedIn, known
from tests.surgery import kill, lively, outputs, random_halves


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_dead_channels_go_unnoticed_and_live_ones_do_not(name: str, shape: tuple[int, int, int]) -> None:
    space = known(name, shape)
    model, kept = lively(space), random_halves(space)
    before = outputs(model, space)
    live_removed = outputs(space.narrow(model, kept), space)
    assert (live_removed - before).abs().max() > 1e-4 * before.abs().max()
    kill(model, space, kept)
    dead = outputs(model, space)
    dead_removed = outputs(space.narrow(model, kept), space)
    assert (dead_removed - dead).abs().max() < 1e-10


@pytest.mark.parametrize(("name", "shape"), [case for case in CASES if case.id != "torchvision:vgg16_bn"])
def test_removing_one_live_channel_of_a_group_changes_the_output(
    name: str, shape: tuple[int, int, int]
) -> None:
    space = known(name, shape)
    model = lively(space)
    before = outputs(model, space)
    some = np.random.default_rng(0).permutation(len(space.groups))[:6]
    for column in some:
        kept = [np.arange(base) for base in space.base_G]
        kept[column] = kept[column][1:]
        assert not torch.allclose(outputs(space.narrow(model, kept), space), before, rtol=0, atol=1e-12)


def test_narrowing_leaves_the_network_as_it_was() -> None:
    space = load_space("resnet20", (3, 16, 16))
    model = lively(space)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    small = space.narrow(model, random_halves(space))
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.zero_()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_modules_know_their_new_sizes() -> None:
    space = known("torchvision:mobilenet_v2")
    model = space.build([max(1, base // 3) for base in space.base_G], seed=0)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            assert module.weight.shape[:2] == (module.out_channels, module.in_channels // module.groups)
        elif isinstance(module, nn.BatchNorm2d):
            assert module.weight.shape == (module.num_features,)
        elif isinstance(module, nn.Linear):
            assert module.weight.shape == (module.out_features, module.in_features)


def test_a_fresh_network_has_the_same_weights_for_the_same_seed_only() -> None:
    space = load_space("vgg11", (1, 8, 8))
    widths = [base // 2 for base in space.base_G]
    one, again, other = (space.build(widths, seed=seed) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), again.parameters(), strict=True))
    assert not torch.equal(next(one.parameters()), next(other.parameters()))


def test_building_leaves_the_global_random_state_alone() -> None:
    space = load_space("vgg11", (1, 8, 8))
    before = torch.get_rng_state()
    space.build(seed=5)
    assert torch.equal(before, torch.get_rng_state())


def test_first_weights_follow_the_constructor_at_the_new_size() -> None:
    space = load_space("vgg16", (3, 32, 32))
    model = space.build([base // 4 for base in space.base_G], seed=0)
    conv, norm = model.get_submodule("features.10"), model.get_submodule("features.11")
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    expected = (2 / (9 * conv.out_channels)) ** 0.5
    assert float(conv.weight.detach().std()) == pytest.approx(expected, rel=0.05)
    assert norm.weight.unique().tolist() == [0.5]


def test_layers_that_initialise_themselves_do_so_at_the_new_size() -> None:
    space = load_space(
        nn.Sequential(nn.Conv2d(3, 64, 3), nn.Conv2d(64, 64, 3), nn.Conv2d(64, 2, 3)), (3, 16, 16)
    )
    second = space.build([16, 64], seed=0).get_parameter("1.weight")
    assert float(second.detach().abs().max()) == pytest.approx((16 * 9) ** -0.5, rel=0.02)


def test_a_parameter_without_a_rule_is_not_left_to_chance() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3))

    with pytest.raises(NasPruneError, match="parameter scale must have a rule for its first values"):
        initialise(Scaled(), (), seed=0)


def test_a_network_can_be_widened() -> None:
    space = load_space("resnet20", (3, 16, 16))
    wide = space.build([2 * base for base in space.base_G], seed=0)
    assert (
        sum(p.numel() for p in wide.parameters()) == space.cost_at([2 * base for base in space.base_G]).params
    )


def test_a_width_multiplier_scales_every_searchable_group() -> None:
    narrow, whole = load_space("vgg16", (3, 16, 16), width_multiplier=0.5), load_space("vgg16", (3, 16, 16))
    assert narrow.base_G == tuple(base // 2 for base in whole.base_G)
    assert narrow.build(seed=0)(torch.zeros(2, 3, 16, 16)).shape == (2, 10)


def test_widths_a_network_cannot_have_are_refused() -> None:
    space = load_space("vgg11", (1, 8, 8))
    with pytest.raises(WidthsError, match=r"a width must be a whole number of at least 1, got 0"):
        space.build([0] * 8, seed=0)
    with pytest.raises(WidthsError, match="must have 8 numbers, got 1"):
        space.build([4], seed=0)
    with pytest.raises(WidthsError, match="must be a whole number of at least 1, got 2.5"):
        space.cost_at([2.5] * 8)  # type: ignore[list-item]


def test_a_width_baked_into_forward_is_frozen_by_the_self_check() -> None:
    space = load_space(BakedIn(), (3, 8, 8))
    frozen = {group.name: group.frozen for group in space.graph.groups}
    assert frozen["first"] == "the network's code expects 8 channels: eight channels, please"
    assert [group.name for group in space.groups] == ["second"]


def test_a_network_with_nothing_to_narrow_is_refused() -> None:
    with pytest.raises(BadInputError, match="must have something to narrow"):
        load_space(nn.Conv2d(3, 4, 3), (3, 8, 8))


@pytest.mark.parametrize(
    "kept",
    [
        [],
        [[0, 1]],
        [[0, 1], []],
        [[0, 1], [1, 1]],
        [[0, 1], [2, 1]],
        [[0, 1], [0, 6]],
        [[-1, 1], [0]],
        [[0, 1], [0.5]],
        [[0, 1], [[0, 1]]],
    ],
)
def test_what_is_kept_must_be_channels_in_order(kept: list[Any]) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 6, 3), nn.Conv2d(6, 4, 3))
    graph = channel_graph(model, (3, 9, 9))
    with pytest.raises(WidthsError, match="channels kept"):
        narrowed(model, graph, [np.array(own) for own in kept])
