"""The channel graph of real networks: groups, roles, stages, what is frozen and why."""

import pytest
import torch
from torch import Tensor, nn

from nas_prune.errors import BadInputError
from nas_prune.graph.channels import ChannelGraph, channel_graph
from tests.networks import known


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("torchvision:resnet18", 13),
        ("torchvision:resnet50", 38),
        ("torchvision:mobilenet_v2", 26),
        ("vgg16", 14),
    ],
)
def test_the_number_of_groups_is_that_of_the_coupled_channels(name: str, count: int) -> None:
    assert len(known(name).graph.groups) == count


def test_resnet20_has_one_stream_for_each_stage_and_one_inner_group_for_each_block() -> None:
    groups = known("resnet20").groups
    assert [group.name for group in groups if group.role == "stream"] == [
        "conv1",
        "layer2.0.conv2",
        "layer3.0.conv2",
    ]
    assert [group.position for group in groups if group.stage == 1 and group.role == "inner"] == [0, 0.5, 1]
    assert [group.output_size for group in groups[:1]] == [(32, 32)]


def test_vgg_is_a_stem_and_inner_groups_in_the_stages_of_its_resolutions() -> None:
    groups = known("vgg16").groups
    assert [group.role for group in groups] == ["stem", *["inner"] * 12]
    assert [group.stage for group in groups] == [0, 0, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]


def test_what_a_dense_layer_adds_is_growth() -> None:
    assert {group.role for group in known("densenet40").groups} == {"growth"}


def test_layers_after_global_pooling_are_head() -> None:
    roles = {group.name: group.role for group in known("torchvision:vgg16_bn").groups}
    assert roles["classifier.0"] == roles["classifier.3"] == "head"
    assert roles["features.40"] == "inner"


def test_a_depthwise_convolution_shares_the_group_of_its_input() -> None:
    groups = {group.name: group for group in known("torchvision:mobilenet_v2").groups}
    assert groups["features.2.conv.0.0"].layers == (
        "features.2.conv.0.0",
        "features.2.conv.0.1",
        "features.2.conv.1.0",
        "features.2.conv.1.1",
    )
    assert groups["features.0.0"].role == "stem"


def test_a_group_knows_the_norms_that_hold_it() -> None:
    streams = [group for group in known("resnet20").groups if group.role == "stream"]
    assert streams[1].norms == ("layer2.0.bn2", "layer2.0.shortcut.1", "layer2.1.bn2", "layer2.2.bn2")


def test_the_classifier_is_frozen_as_the_output() -> None:
    frozen = [group for group in known("resnet20").graph.groups if group.frozen]
    assert [(group.name, group.frozen) for group in frozen] == [("fc", "the network's output")]


class _Odd(nn.Module):
    """Bounds the norms of its channels, which no rule knows."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3)
        self.b = nn.Conv2d(8, 5, 3)
        self.c = nn.Conv2d(5, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.c(self.b(torch.renorm(self.a(x), 2, 1, 1.0)))
        return scores


def test_an_operation_without_a_rule_freezes_what_it_touches_and_says_so() -> None:
    reasons = _reasons(channel_graph(_Odd(), (3, 16, 16)))
    assert reasons["a"] == "no rule for aten.renorm in the network itself"
    assert reasons["b"] is None


class _Slices(nn.Module):
    """Splits a convolution's channels between two others."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 10, 1)
        self.left = nn.Conv2d(4, 5, 1)
        self.right = nn.Conv2d(6, 5, 1)
        self.last = nn.Conv2d(10, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        scores: Tensor = self.last(torch.cat([self.left(x[:, :4]), self.right(x[:, 4:])], 1))
        return scores


def test_slices_make_a_group_each() -> None:
    graph = channel_graph(_Slices(), (3, 8, 8))
    assert [(group.name, group.size) for group in graph.groups[:2]] == [("a[0]", 4), ("a[1]", 6)]
    assert {group.role for group in graph.groups[2:4]} == {"growth"}


class _Auxiliary(nn.Module):
    """Has a second head that runs only in training."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3)
        self.head = nn.Conv2d(8, 4, 3)
        self.inner_aux = nn.Conv2d(8, 6, 3)
        self.aux = nn.Conv2d(6, 4, 3)
        self.unused = nn.Linear(7, 7)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        x = self.a(x)
        return (self.head(x), self.aux(self.inner_aux(x))) if self.training else self.head(x)


def test_training_only_heads_and_unused_layers_are_known() -> None:
    reasons = _reasons(channel_graph(_Auxiliary(), (3, 16, 16)))
    assert reasons["inner_aux"] is None
    assert reasons["aux"] == "the network's output"
    assert reasons["unused"] == "no operation of the forward pass uses it"


def _reasons(graph: ChannelGraph) -> dict[str, str | None]:
    return {group.name: group.frozen for group in graph.groups}


def test_a_forward_that_fails_is_told_in_one_line() -> None:
    with pytest.raises(BadInputError, match=r"must run on an input of shape \[1, 8, 8\], got: .*channels"):
        channel_graph(nn.Conv2d(3, 8, 3), (1, 8, 8))
