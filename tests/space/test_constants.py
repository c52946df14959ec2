"""Parameters that take no gradient hold what their constructor gave them, in fresh networks and in narrowed ones."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from nas_prune.errors import BadInputError
from nas_prune.space.load import load_space
from nas_prune.space.search_space import SearchSpace


class Bins(nn.Module):
    """A convolution with numbered weights, as detectors read distributions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 24, 3), nn.Conv2d(24, 64, 1)
        self.bins = nn.Conv2d(16, 1, 1, bias=False).requires_grad_(requires_grad=False)
        self.bins.weight.data[:] = torch.arange(16.0).view(1, 16, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        inner = self.second(self.first(images)).flatten(2)
        spread = inner.view(len(inner), 4, 16, -1).transpose(2, 1).softmax(1)
        return torch.flatten(self.bins(spread), 1, 2)


class Placed(nn.Module):
    """Sines of positions are added to channels that could be narrowed otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.inner, self.head = nn.Conv2d(3, 32, 4, 4), nn.Linear(32, 20), nn.Linear(20, 5)
        angles = torch.arange(16.0)[:, None] * torch.exp(-torch.arange(32) / 5)
        self.places = nn.Parameter(angles.sin()[None], requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.places
        return torch.as_tensor(self.head(self.inner(tokens).relu().mean(1)))


class Numbered(nn.Module):
    """A parameter of integers, by which channels are put in another order."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 24, 1), nn.Linear(24, 5)
        self.order = nn.Parameter(torch.arange(15, -1, -1), requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        return torch.as_tensor(self.head(self.second(self.first(images)[:, self.order]).mean((2, 3))))


class Wavelet(nn.Module):
    """A filter that is the same for every channel."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 16, 3, 1, 1), nn.Conv2d(32, 24, 1), nn.Linear(24, 5)
        self.haar = nn.Parameter(
            torch.tensor([[[[0.5, 0.5], [0.5, 0.5]]], [[[0.5, -0.5], [0.5, -0.5]]]]), False
        )

    def forward(self, images: Tensor) -> Tensor:
        inner = self.first(images)
        count, channels, high, wide = inner.shape
        split = conv2d(inner.reshape(count * channels, 1, high, wide), self.haar, stride=2)
        inner = split.view(count, 2 * channels, high // 2, wide // 2)
        return torch.as_tensor(self.head(self.second(inner).mean((2, 3))))


class Scaled(nn.Module):
    """One number for every channel, all the same: it has the values at any width."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 5, 1)
        self.scale = nn.Parameter(torch.full((16, 1, 1), 0.25), requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        return torch.as_tensor(self.second(self.first(images) * self.scale).mean((2, 3)))


KINDS = {"bins.weight": Bins, "places": Placed, "order": Numbered, "haar": Wavelet}


def space_of(kind: type[nn.Module], *, is_made: bool) -> tuple[nn.Module, SearchSpace]:
    made = kind()
    return made, load_space(made if is_made else lambda: made, (3, 16, 16))


@pytest.mark.parametrize("is_made", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_a_constant_keeps_its_values_in_fresh_networks_of_any_widths(name: str, is_made: bool) -> None:
    made, space = space_of(KINDS[name], is_made=is_made)
    for widths in (None, [max(1, width // 2) for width in space.base_G]):
        fresh = space.build(widths, seed=3)
        assert torch.equal(fresh.get_parameter(name), made.get_parameter(name))
        assert not fresh.get_parameter(name).requires_grad
        learning = next(path for path, one in fresh.named_parameters() if one.requires_grad)
        assert not torch.equal(fresh.get_parameter(learning), made.get_parameter(learning))


def test_what_a_constant_tells_apart_is_frozen() -> None:
    _, space = space_of(Placed, is_made=False)
    frozen = {group.name: group.frozen for group in space.graph.groups}
    assert frozen["patches"] == "parameter places holds values of its own for them"
    assert frozen["inner"] is None


def test_a_constant_that_is_the_same_everywhere_is_narrowed_with_its_channels() -> None:
    _, space = space_of(Scaled, is_made=False)
    assert space.base_G == (16,)
    assert space.build([6], seed=0).get_parameter("scale").flatten().tolist() == [0.25] * 6
    narrow = space.narrow(space.build(seed=0), [np.array([1, 4])])
    assert narrow.get_parameter("scale").flatten().tolist() == [0.25] * 2


def test_a_network_of_which_nothing_learns_is_no_constant() -> None:
    frozen = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3)).requires_grad_(requires_grad=False)
    space = load_space(frozen, (3, 8, 8))
    assert space.base_G == (8,)
    assert not torch.equal(space.build(seed=0).get_parameter("0.weight"), frozen.get_parameter("0.weight"))


def test_a_network_all_of_whose_layers_are_constants_is_refused_with_what_to_do() -> None:
    def make() -> nn.Module:
        model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 8, 3), nn.AdaptiveAvgPool2d(1))
        head = nn.Linear(8, 4)
        return nn.Sequential(*model.requires_grad_(requires_grad=False), nn.Flatten(), head)

    with pytest.raises(BadInputError, match="set requires_grad where its layer is to be searched"):
        load_space(make, (3, 8, 8))
