"""First values that a constructor worked out from sizes, written down as numbers, at other widths."""

import math
from collections.abc import Callable

import numpy as np
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
        for own, other in zip(ours[:-2], right[:-2], strict=True):  # type: ignore[index]
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
    """Channels that are averaged by weights that are held: 1/75 each."""

    shares: Tensor

    def __init__(self, width: int = 75) -> None:
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
    space = load_space(lambda: nn.Sequential(conv(3, 75), *layers, Equalised(75, 7)), (3, 8, 8))
    small = space.build([6], seed=0)[3]  # type: ignore[index]
    assert small.gain == pytest.approx(math.sqrt(2 / 6), rel=1e-12)
    assert float(small.lift) == pytest.approx(math.sqrt(1 / 6), rel=1e-6)
    narrow = space.narrow(space.build(seed=0), [np.arange(6)])[3]  # type: ignore[index]
    assert narrow.gain == math.sqrt(2 / 75)  # what was trained with a number keeps it
    assert float(narrow.lift) == pytest.approx(math.sqrt(1 / 75), rel=1e-6)


def test_an_even_share_of_each_channel_is_one_over_their_number() -> None:
    space = load_space(Averaged, (3, 8, 8))
    assert space.base_G == (75,)
    for width in (75, 5, 90):
        small, right = space.build([width], seed=0), Averaged(width)
        for name in ("shares", "tenth", "learnt"):
            own, other = getattr(small, name), getattr(right, name)
            assert torch.allclose(own, other, rtol=1e-6), name
    narrow = space.narrow(space.build(seed=0), [np.arange(5)])
    assert torch.equal(narrow.shares, torch.full((5,), 1 / 75))  # type: ignore[arg-type]


class Chance(nn.Module):
    """Numbers that are as a power of a size by chance: strides, rates, 1/√2 and 1/√12."""

    def __init__(self, inner: int, outer: int, number: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inner, outer, 1)
        self.share, self.up, self.rate = 1 / 4 / 2**number, 4.0 * 2**number, (0.1, 0.2, 0.4)[number]
        self.skip, self.depth = 2**-0.5, 12**-0.5
        nn.init.constant_(self.conv.bias, 0.1 * 2**number)  # type: ignore[arg-type]
        nn.init.normal_(self.conv.weight, 0.0, 0.04 / 2**number)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.conv(x * self.skip) * self.rate * self.share * self.up * self.depth)


def test_numbers_that_somebody_wrote_down_stay() -> None:
    def make() -> nn.Module:
        sizes = enumerate(((4, 16), (16, 32), (32, 64)))
        return nn.Sequential(*(Chance(*pair, number) for number, pair in sizes), nn.Conv2d(64, 4, 1))

    small, made = load_space(make, (4, 8, 8)).build([12, 8, 24], seed=0), make()
    for own, other in zip(small[:3], made[:3], strict=True):  # type: ignore[index]
        for name in ("share", "up", "rate", "skip", "depth"):
            assert getattr(own, name) == getattr(other, name), name
        assert float(own.conv.bias[0].detach()) == float(other.conv.bias[0].detach())
        assert float(own.conv.weight.std().detach()) == pytest.approx(
            float(other.conv.weight.std().detach()), rel=0.5
        )


def shifted(*widths: int) -> nn.Module:
    """Means beside deviations that follow; bounds of so many deviations; weights loaded over themselves."""
    made = of_old(*widths)
    with torch.no_grad():
        for layer in made[:-2]:  # type: ignore[index]
            deviation = layer.weight[0].numel() ** -0.5
            nn.init.normal_(layer.bias, 1.0, deviation / 10)
            nn.init.trunc_normal_(layer.weight, 0.0, deviation, a=-deviation, b=deviation)
    return made


def test_means_stay_and_bounds_follow() -> None:
    ours, right = (
        load_space(lambda: shifted(32, 48, 64), (3, 8, 8)).build([8, 20, 12], seed=0),
        shifted(8, 20, 12),
    )
    for own, other in zip(ours[:-2], right[:-2], strict=True):  # type: ignore[index]
        assert float(own.bias.mean().detach()) == pytest.approx(1, abs=0.1)
        ratio = float((own.weight.abs().max() / other.weight.abs().max()).detach())
        assert ratio == pytest.approx(1, abs=0.1)


def test_square_layers_follow_where_all_their_sizes_change_alike() -> None:
    def make(width: int = 75) -> nn.Module:
        layers = [nn.Linear(width, width) for _ in range(3)]
        for layer in layers:
            nn.init.normal_(layer.weight, 0.0, (2 / width) ** 0.5)
        pooled = (nn.Conv2d(3, width, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return nn.Sequential(*pooled, *layers, nn.ReLU(), nn.Linear(width, 5))

    small = load_space(make, (3, 8, 8)).build([25] * 4, seed=0)
    assert float(small[4].weight.std().detach()) == pytest.approx((2 / 25) ** 0.5, rel=0.15)  # type: ignore[index]


def test_weights_loaded_over_themselves_and_sent_through_half_precision_keep_their_rules() -> None:
    def make(width: int = 32) -> nn.Module:
        model = nn.Sequential(
            nn.Conv2d(3, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 5)
        )
        model.load_state_dict(model.state_dict() | {"0.weight": torch.randn(width, 3, 3, 3) / 10})
        return model

    for _ in range(5):
        for one in load_space(make, (3, 8, 8)).build([16], seed=0).parameters():
            assert float(one.detach().abs().max()) < 1

    class Kept(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = conv(3, 64)
            self.learnt = nn.Parameter(torch.full((64, 1, 1), 0.5))
            self.last = nn.Linear(64, 5)
            for layer in (self.first, self.last):
                nn.init.normal_(layer.weight, 0.0, 0.01)
                nn.init.constant_(layer.bias, 7.0)  # type: ignore[arg-type]

        def forward(self, x: Tensor) -> Tensor:
            return torch.as_tensor(self.last((self.first(x) * self.learnt).mean((2, 3))))

    for _ in range(5):
        small = load_space(lambda: Kept().half().float(), (3, 8, 8)).build([24], seed=0)
        assert small.get_parameter("learnt").tolist() == torch.full((24, 1, 1), 0.5).tolist()


def test_parameters_without_places_are_no_reason_to_fail() -> None:
    class Empty(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last, self.rate = conv(3, 16), conv(16, 5), 0.3
            self.nothing = nn.Parameter(torch.empty(0, 8))
            nn.init.normal_(self.nothing, 0, 0.02)
            self.endless = nn.Parameter(torch.full((16, 1, 1), float("inf")))

        def forward(self, x: Tensor) -> Tensor:
            return torch.as_tensor(self.last(self.first(x).clamp(max=self.endless)).mean((2, 3)))

    assert load_space(Empty, (3, 8, 8)).build([5], seed=0).endless.shape == (5, 1, 1)


def points(*widths: int) -> nn.Module:
    """1×1 convolutions, of which a width of one leaves a single row or column of numbers."""
    layers: list[nn.Module] = []
    for inner, outer in zip((3, *widths), (*widths, 7), strict=True):
        layer = nn.Conv2d(inner, outer, 1, bias=False)
        layer.weight.data.normal_(0, math.sqrt(2.0 / outer))
        layers.append(layer)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_a_layer_of_which_one_row_is_left_still_follows_its_law() -> None:
    space = load_space(lambda: points(48, 96, 64), (3, 8, 8))
    narrow = space.build([1, 96, 1], seed=0).requires_grad_(requires_grad=False)
    for layer, expected in zip(narrow[:4], (2.0, 2 / 96, 2.0, 2 / 7), strict=True):  # type: ignore[index]
        weights = layer.weight.flatten()
        near = 6 / math.sqrt(2 * len(weights))
        assert float(weights.std() if len(weights) > 8 else 0) == pytest.approx(
            math.sqrt(expected) if len(weights) > 8 else 0, rel=near
        )
