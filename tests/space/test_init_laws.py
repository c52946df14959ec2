"""First values that a constructor worked out from sizes, written down as numbers, at other widths."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_prune.space.load import load_space
from tests.graph.cases import conv


def of_old(*widths: int) -> nn.Module:
    """Convolutions that are set as those of the first ResNets in PyTorch were."""
    layers: list[nn.Module] = []
    for inner, outer in zip((3, *widths), (*widths, 7), strict=True):
        layer = nn.Conv2d(inner, outer, 3, padding=1)
        layer.weight.data.normal_(0, math.sqrt(2.0 / (9 * outer)))
        assert layer.bias is not None
        layer.bias.data.zero_()
        layers.append(layer)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def by_fan_in(*widths: int) -> nn.Module:
    made = of_old(*widths)
    for layer in made[:-2]:  # type: ignore[index]
        with torch.no_grad():
            layer.weight.copy_(torch.randn_like(layer.weight) / layer.weight[0].numel() ** 0.5)
            bound = 1 / layer.weight[0].numel() ** 0.5
            nn.init.uniform_(layer.bias, -bound, bound)
    return made


def by_both(*widths: int) -> nn.Module:
    made = of_old(*widths)
    for layer in made[:-2]:  # type: ignore[index]
        outer, inner = layer.weight.shape[:2]
        nn.init.normal_(layer.weight, std=math.sqrt(3.0 / (9 * (outer + inner))))
    return made


def small(*widths: int) -> nn.Module:
    made = of_old(*widths)
    for layer in made[:-2]:  # type: ignore[index]
        nn.init.normal_(layer.weight, 0.0, 0.01)
    return made


@pytest.mark.parametrize("make", [of_old, by_fan_in, by_both, small])
def test_deviations_that_follow_from_fans_follow_them(make: Callable[..., nn.Module]) -> None:
    space = load_space(lambda: make(32, 48, 64), (3, 8, 8))
    for widths in ([32, 48, 64], [8, 24, 40], [60, 90, 20]):
        ours, right = (model.requires_grad_(False) for model in (space.build(widths, seed=0), make(*widths)))
        for own, other in zip(ours[:-2], right[:-2], strict=True):  # type: ignore[index, arg-type]
            count = own.weight.numel()
            near = 6 / math.sqrt(2 * count)
            assert float(own.weight.std()) == pytest.approx(float(other.weight.std()), rel=2 * near)
            bounds = [float(one.bias.abs().max()) for one in (own, other)]
            assert bounds[0] == pytest.approx(bounds[1], rel=0.3 if len(own.bias) > 20 else 1)


class Equalised(nn.Module):
    """A layer whose factor is held beside a layer that holds the weight."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.inside = nn.Linear(inner, outer)
        nn.init.normal_(self.inside.weight)
        self.gain = math.sqrt(2 / inner)
        self.register_buffer("lift", torch.tensor(1 / math.sqrt(inner)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.inside(x * self.gain) * self.lift)


class Averaged(nn.Module):
    """Channels that are averaged by weights that are held: 1/24 each."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.first = conv(3, width)
        self.register_buffer("shares", torch.full((width,), 1 / width))
        self.learnt = nn.Parameter(torch.full((width,), 1 / width**0.5))
        self.register_buffer("tenth", torch.full((width,), 0.1))
        self.last = nn.Linear(width, 5)

    def forward(self, images: Tensor) -> Tensor:
        x = self.first(images).mean((2, 3)) * self.learnt
        return torch.as_tensor(self.last(x * self.tenth) + F.linear(x, self.shares[None]))


def test_a_number_beside_the_only_weight_below_follows_it() -> None:
    layers = (nn.AdaptiveAvgPool2d(1), nn.Flatten())
    space = load_space(lambda: nn.Sequential(conv(3, 11), *layers, Equalised(11, 7)), (3, 8, 8))
    small = space.build([6], seed=0)[3]  # type: ignore[index]
    assert small.gain == pytest.approx(math.sqrt(2 / 6), rel=1e-12)
    assert float(small.lift) == pytest.approx(math.sqrt(1 / 6), rel=1e-6)
    narrow = space.narrow(space.build(seed=0), [range(6)])[3]  # type: ignore[index]
    assert narrow.gain == math.sqrt(2 / 11)  # what was trained with a number keeps it
    assert float(narrow.lift) == pytest.approx(math.sqrt(1 / 11), rel=1e-6)


def test_an_even_share_of_each_channel_is_one_over_their_number() -> None:
    space = load_space(Averaged, (3, 8, 8))
    assert space.base_G == (24,)
    for width in (24, 5, 33):
        small, right = space.build([width], seed=0), Averaged(width)
        for name in ("shares", "tenth", "learnt"):
            own, other = getattr(small, name), getattr(right, name)
            assert torch.allclose(own, other, rtol=1e-6), name
    narrow = space.narrow(space.build(seed=0), [range(5)])
    assert torch.equal(narrow.shares, torch.full((5,), 1 / 24))  # type: ignore[arg-type]
