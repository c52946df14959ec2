"""The paper's families: layers, resolutions, any image, and their first weights."""

import pytest
import torch
from torch import nn

from nas_prune.space.load import load_space
from nas_prune.space.models.densenet import densenet
from nas_prune.space.models.preresnet import preresnet
from nas_prune.space.models.resnet import resnet
from nas_prune.space.models.vgg import vgg
from nas_prune.space.names import known_spaces
from nas_prune.space.networks import FAMILIES


def convolutions(model: nn.Module) -> list[nn.Conv2d]:
    return [module for module in model.modules() if isinstance(module, nn.Conv2d)]


@pytest.mark.parametrize("name", known_spaces())
@pytest.mark.parametrize(("channels", "size", "classes"), [(1, 8, 3), (3, 20, 100)])
def test_every_family_takes_any_image_and_number_of_classes(
    name: str, channels: int, size: int, classes: int
) -> None:
    file = known_spaces()[name]
    model = FAMILIES[file.family](file.depth, in_channels=channels, num_classes=classes, image_size=size)
    with torch.no_grad():
        assert model.eval()(torch.zeros(2, channels, size, size)).shape == (2, classes)


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_a_resnet_has_its_depth_in_weighted_layers(depth: int) -> None:
    model = resnet(depth, in_channels=3, num_classes=10, image_size=32)
    on_the_path = [conv for conv in convolutions(model) if conv.kernel_size == (3, 3)]
    assert len(on_the_path) + 1 == depth
    shortcuts = [conv for conv in convolutions(model) if conv.kernel_size == (1, 1)]
    assert [(conv.in_channels, conv.out_channels) for conv in shortcuts] == [(16, 32), (32, 64)]


def test_preresnet_and_densenet_have_their_depths() -> None:
    pre = preresnet(164, in_channels=3, num_classes=10, image_size=32)
    assert len(convolutions(pre)) - 3 + 1 == 164
    dense = densenet(40, in_channels=3, num_classes=10, image_size=32)
    assert len(convolutions(dense)) + 1 == 40
    assert {conv.out_channels for conv in convolutions(dense) if conv.kernel_size == (3, 3)} == {24, 12}


@pytest.mark.parametrize(("depth", "count"), [(11, 8), (13, 10), (16, 13), (19, 16)])
def test_a_vgg_has_its_convolutions_and_one_linear_layer(depth: int, count: int) -> None:
    model = vgg(depth, in_channels=3, num_classes=10, image_size=32)
    assert len(convolutions(model)) == count
    assert sum(isinstance(module, nn.Linear) for module in model.modules()) == 1


@pytest.mark.parametrize(
    ("size", "sizes"), [(8, [8, 4, 2]), (16, [16, 8, 4, 2]), (32, [32, 16, 8, 4, 2]), (20, [20, 10, 5, 2])]
)
def test_a_vgg_leaves_pools_out_that_would_go_below_two_pixels(size: int, sizes: list[int]) -> None:
    groups = load_space("vgg16", (3, size, size)).groups
    assert sorted({group.output_size[0] for group in groups}, reverse=True) == sizes


@pytest.mark.parametrize(("name", "scale"), [("vgg11", 0.5), ("densenet40", 0.5), ("resnet20", 1.0)])
def test_first_scales_are_those_of_the_authors_code(name: str, scale: float) -> None:
    model = load_space(name, (3, 16, 16)).build(seed=0)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all((norm.weight == scale).all() and (norm.bias == 0).all() for norm in norms)
