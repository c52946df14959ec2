"""Alignment: steps that were worked out by hand, and cuts that keep to them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from nas_prune.hardware.aim import aim
from nas_prune.hardware.alignment import alignment, unaligned
from nas_prune.hardware.target import Channels, Kind, Target, known_targets, target_named
from nas_prune.space.budget import Budget
from nas_prune.space.cut import cut, matched
from nas_prune.space.load import load_space
from nas_prune.space.search_space import SearchSpace
from tests.networks import known


def target(least: "dict[Kind, Channels] | None" = None, **kinds: "tuple[int, int]") -> Target:
    """A target that wants multiples of (in, out) of each kind of layer."""
    rules = {kind: {"in": read, "out": made} for kind, (read, made) in kinds.items()}
    return Target.model_validate({"description": "a test", "alignment": rules, "least": least or {}})


def steps(space: SearchSpace, wanted: Target) -> dict[str, int]:
    return dict(zip((group.name for group in space.groups), alignment(space, wanted).steps_G, strict=True))


def reasons(space: SearchSpace, wanted: Target) -> dict[str, str]:
    return {one.group: one.reason for one in unaligned(space, wanted)}


def test_a_residual_network_wants_what_makers_and_readers_of_a_stream_want_together() -> None:
    space = known("resnet20", (3, 32, 32), 10)
    assert set(steps(space, target_named("tensorrt-fp16")).values()) == {8}
    assert set(steps(space, target(conv=(4, 6))).values()) == {
        12
    }  # every group is made by one and read by one
    last = space.groups[-1].name
    assert (
        steps(space, target(conv=(1, 4), linear=(16, 1)))["layer3.0.conv2"] == 16
    )  # the classifier reads it
    assert steps(space, target(conv=(1, 4), linear=(16, 1)))[last] == 4
    aimed = aim(space, target_named("cpu-onnxruntime"))
    assert aimed.allowed_G[0] == (16,)
    assert set(aimed.allowed_G) == {(16,), (16, 32), (16, 32, 48, 64)}
    assert aimed.target == "cpu-onnxruntime"
    assert reasons(space, target(conv=(1, 64)))["conv1"] == (
        "its 16 channels are fewer than 64, so that it stays whole"
    )


def test_depthwise_convolutions_want_the_same_of_both_sides() -> None:
    space = known("torchvision:mobilenet_v2", (3, 32, 32), 10)
    found = steps(space, target(depthwise=(1, 16), conv=(1, 4)))
    assert found["features.2.conv.0.0"] == 16  # a depthwise convolution follows
    assert found["features.2.conv.2"] == 4  # none reads or makes the stream
    assert reasons(space, target_named("cpu-onnxruntime")) == {
        "features.2.conv.2": "its 24 channels are no multiple of 16, so that only narrower widths are"
    }


def test_each_group_of_a_concatenation_is_aligned() -> None:
    space = known("densenet40", (3, 16, 16), 10)
    assert set(steps(space, target(conv=(4, 1))).values()) == {4, 1}
    assert steps(space, target(conv=(4, 1)))["features.0.conv"] == 4
    assert unaligned(space, target_named("ti-tinpu")) == ()  # 12 and 24 are multiples of 4
    growth = [group.name for group in space.groups if group.size == 12]
    assert len(growth) == 36
    assert set(reasons(space, target_named("tensorrt-fp16"))) == set(growth)


def test_heads_leave_the_multiple_to_their_size() -> None:
    space = known("torchvision:vit_b_16", (3, 32, 32), 10)
    found = steps(space, target_named("tensorrt-fp16"))
    assert (found["conv_proj[0]"], found["conv_proj[1]"]) == (1, 8)  # 12 heads of 64
    assert {step for name, step in found.items() if "mlp" in name} == {8}
    assert unaligned(space, target_named("tensorrt-fp16")) == ()


def test_shuffled_channels_that_cannot_be_narrowed_are_named() -> None:
    space = known("torchvision:shufflenet_v2_x1_0", (3, 64, 64), 10)
    wanted = target_named("tensorrt-fp16")
    assert steps(space, wanted)["stage2.0.branch2.0"] == 8
    found = reasons(space, wanted)
    assert (
        found["stage2.0.branch2.0"]
        == "its 58 channels are no multiple of 8, so that only narrower widths are"
    )
    assert found["stage2.0.branch1.2[0]"].startswith("it is left whole (channels arranged in another way")
    assert "conv1.0" not in found  # 24
    assert not any(name.startswith("fc") for name in found)  # what the network puts out


@pytest.mark.parametrize(("size", "step", "least"), [(2, 2, 4), (3, 8, 2), (4, 1, 1)])
def test_what_was_flattened_needs_smaller_steps(size: int, step: int, least: int) -> None:
    """A linear layer reads (channels × positions): 8 / gcd(8, positions), and 16 / positions rounded up."""
    model = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1), nn.AdaptiveAvgPool2d(size), nn.Flatten(), nn.Linear(12 * size**2, 5)
    )
    space = load_space(model, (3, 8, 8))
    wanted = target(least={"linear": Channels.model_validate({"in": 16})}, linear=(8, 1))
    found = alignment(space, wanted)
    assert (found.steps_G, found.least_G) == ((step,), (least,))
    assert aim(space, wanted).floor_G == (-(-least // step) * step,)


def test_grouped_convolutions_want_it_in_each_group() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 24, 1), nn.Conv2d(24, 48, 3, groups=2), nn.Flatten(), nn.Linear(48 * 36, 5)
    )
    space = load_space(model, (3, 8, 8))
    assert steps(space, target(grouped=(4, 6))) == {"0[0]": 1, "0[1]": 4, "1": 6}
    assert [group.size for group in space.groups] == [2, 12, 24]
    # What the first one makes, (2 × 12), is a multiple of 8 whatever becomes of the 2; of (1 × 4) it would not be.
    assert steps(space, target(grouped=(4, 6), conv=(1, 8))) == {"0[0]": 1, "0[1]": 8, "1": 6}


def test_channels_in_each_group_that_stay_whole_leave_less_to_the_number_of_groups() -> None:
    """ResNeXt's first stage has 4 channels in each of 32 groups; 16 in each is more than there are."""
    model = nn.Sequential(
        nn.Conv2d(3, 128, 1), nn.Conv2d(128, 128, 3, groups=32), nn.Conv2d(128, 2, 6), nn.Flatten()
    )
    space = load_space(model, (3, 8, 8))
    wanted = target_named("cpu-onnxruntime")
    assert steps(space, wanted) == {"0[0]": 4, "0[1]": 16, "1": 16}
    assert set(reasons(space, wanted)) == {"0[1]", "1"}
    assert aim(space, wanted).allowed_G[1:] == ((4,), (4,))


def test_a_group_beside_channels_that_stay_cannot_be_aligned() -> None:
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.head = nn.Conv2d(3, 8, 1), nn.Conv2d(11, 6, 1), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            scores: Tensor = self.head(self.second(torch.cat([self.first(x), x], 1)).mean((2, 3)))
            return scores

    space = load_space(Beside, (3, 8, 8))
    assert reasons(space, target(conv=(4, 1))) == {
        "first": "it stands beside 3 channels that stay, which are no multiple of 4"
    }
    assert reasons(space, target(conv=(3, 1)))["first"].startswith("its 8 channels are no multiple of 3")


AIMED = {
    name: aim(known("resnet20", (3, 16, 16), 10), target_named(name))
    for name in ("tensorrt-fp16", "ti-tinpu", "ethos-u")
}


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from(sorted(AIMED)),
    st.integers(0, 1000),
    st.sampled_from(["macs", "params"]),
    st.integers(60, 100),
    st.booleans(),
)
def test_every_cut_of_an_aimed_space_is_aligned_or_whole(
    name: str, seed: int, kind: str, share: int, is_searched: bool
) -> None:
    space, rng = AIMED[name], np.random.default_rng(seed)
    budget = Budget.parse(f"{kind}<={share}%")
    if is_searched:
        found = cut(space, [rng.random(base) for base in space.base_G], budget)
    else:
        found = matched(space, space.searched("all"), budget, rng)
    assert found.count <= found.limit
    for width, base, step in zip(found.widths_G, space.base_G, space.steps_G, strict=True):
        assert step in (4, 8, 16)
        assert width == base or width % step == 0


@pytest.mark.parametrize("name", known_targets())
def test_steps_of_every_shipped_target_are_those_it_names(name: str) -> None:
    wanted = target_named(name)
    numbers = {channels.made for channels in wanted.alignment.values()} or {1}
    assert set(alignment(known("resnet20", (3, 32, 32), 10), wanted).steps_G) == {max(numbers)}
