"""Widths read off a narrowed network are those that it was built with; what is none of the space is refused."""

import pytest
import torch
from torch import nn

from nas_prune.errors import WidthsError
from nas_prune.space.of_network import vector_of
from nas_prune.space.search_space import SearchSpace
from tests.networks import known


def drawn(space: SearchSpace) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed(1)
    return tuple(
        allowed[int(torch.randint(len(allowed), (), generator=generator))] for allowed in space.allowed_G
    )


@pytest.mark.parametrize("name", ["resnet20", "vgg11", "densenet40"])
def test_what_was_built_is_read(name: str) -> None:
    space = known(name)
    widths_G = drawn(space)
    assert vector_of(space, space.build(widths_G, seed=0)) == widths_G
    assert vector_of(space, space.build(seed=0)) == space.base_G


def test_tensors_that_do_not_agree_are_named() -> None:
    space = known("resnet20")
    network = space.build(seed=0)
    layer = network.get_submodule("layer1.0.bn1")
    assert isinstance(layer, nn.BatchNorm2d)
    layer.weight = nn.Parameter(torch.ones(3))
    with pytest.raises(WidthsError, match=r"one width for each channel group, got .* where others say"):
        vector_of(space, network)


def test_another_network_is_refused() -> None:
    with pytest.raises(WidthsError, match="must have all of its tensors, got no conv1.weight"):
        vector_of(known("resnet20"), nn.Linear(3, 4))
