"""Networks that hold numbers, estimates and kernels that follow from sizes."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_prune.space.load import load_space
from tests.graph.cases import conv
from tests.space.test_cost import count_by_pytorch
from tests.surgery import kill, lively, outputs, random_halves


class Scaled(nn.Conv2d):
    """A convolution that holds a number worked out from its fan-in, as those of normaliser-free networks do."""

    def __init__(self, inner: int, outer: int, size: int, factor: float) -> None:
        super().__init__(inner, outer, size)
        self.scale = factor * self.weight[0].numel() ** -0.5
        self.rate, self.share = factor, 0.25

    def forward(self, images: Tensor) -> Tensor:
        return F.conv2d(images, self.weight * self.scale, self.bias)


def scaled(factor: float, *widths: int) -> nn.Module:
    pairs = itertools.pairwise((3, *widths))
    convolutions = [
        Scaled(inner, outer, 1 + number % 2, factor) for number, (inner, outer) in enumerate(pairs)
    ]
    return nn.Sequential(*convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 5))


@pytest.mark.parametrize(
    ("factor", "widths"), [(1.7139588594436643, (16, 24, 20)), (2**0.5, (16, 24)), (1.0, (16, 24))]
)
def test_numbers_that_follow_from_a_fan_in_follow_it(factor: float, widths: tuple[int, ...]) -> None:
    space = load_space(lambda: scaled(factor, *widths), (3, 8, 8))
    base, made = space.build(seed=0), scaled(factor, *widths)
    for own, other in zip(base[: len(widths)], made[: len(widths)], strict=True):  # type: ignore[index]
        assert own.scale == other.scale  # to the last digit
    fewer = [width // 3 for width in widths]
    right = scaled(factor, *fewer)
    small = space.build(fewer, seed=0)
    for own, other in zip(small[: len(widths)], right[: len(widths)], strict=True):  # type: ignore[index]
        assert own.scale == pytest.approx(other.scale, rel=1e-12)
        assert (own.rate, own.share) == (factor, 0.25)
    # What was trained with a number keeps it.
    model, kept = lively(space), random_halves(space)
    kill(model, space, kept)
    narrow = space.narrow(model, kept)
    assert [one.scale for one in narrow[: len(widths)]] == [one.scale for one in base[: len(widths)]]  # type: ignore[index]
    assert torch.allclose(outputs(model, space), outputs(narrow, space), atol=1e-10)


def test_numbers_that_may_follow_from_several_sizes_stay() -> None:
    class Out(nn.Conv2d):
        def __init__(self, inner: int, outer: int) -> None:
            super().__init__(inner, outer, 3)
            self.gain = (2 / (outer * 9)) ** 0.5  # as well 1 / √fan-in, where each layer has twice as many

        def forward(self, x: Tensor) -> Tensor:
            return F.conv2d(x, self.weight * self.gain, self.bias, padding=1)

    space = load_space(lambda: nn.Sequential(Out(4, 8), Out(8, 16), Out(16, 32), Out(32, 64)), (4, 8, 8))
    assert space.build([3, 5, 7], seed=0)[0].gain == (2 / 72) ** 0.5  # type: ignore[index]


def test_numbers_that_follow_from_nothing_stay() -> None:
    space = load_space(lambda: scaled(1.3, 16, 16), (3, 8, 8))  # two numbers, and a factor of their own
    small: Any = space.build([4, 5], seed=0)
    assert small[1].scale == 1.3 * 64**-0.5


def spectral(norm: Callable[[nn.Module], nn.Module]) -> nn.Module:
    return nn.Sequential(
        norm(nn.Conv2d(3, 16, 3)), nn.ReLU(), norm(nn.ConvTranspose2d(16, 24, 2)), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), norm(nn.Linear(24, 5)),
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*spectral_norm:FutureWarning")
@pytest.mark.parametrize("norm", [nn.utils.parametrizations.spectral_norm, nn.utils.spectral_norm])
def test_weights_are_divided_by_the_largest_singular_value_that_they_have_now(
    norm: Callable[[nn.Module], nn.Module],
) -> None:
    torch.manual_seed(0)  # a power iteration begins anywhere: seldom where it needs more steps than it takes
    space = load_space(lambda: spectral(norm), (3, 8, 8))
    assert space.base_G == (16, 24)
    assert all(group.is_reduced for group in space.groups)
    images = torch.randn(4, 3, 8, 8)
    narrow = space.narrow(space.build(seed=1), [np.arange(4), np.arange(3, 9)])
    for small in (space.build(seed=1), space.build([8, 12], seed=1), narrow):
        assert small.eval()(images).shape == (4, 5)
        for number in (0, 2, 5):
            weight = small[number].weight.detach()  # type: ignore[index]
            matrix = weight.transpose(0, 1) if number == 2 else weight
            assert float(torch.linalg.matrix_norm(matrix.flatten(1), 2)) == pytest.approx(1, abs=0.05)
    count = count_by_pytorch(space, [8, 12])
    assert count[0] == space.cost_at([8, 12]).params


class Blurred(nn.Module):
    """A kernel of its own for each channel, all the same, as an antialiased pooling holds it."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv(3, 16), conv(16, 5)
        self.register_buffer(
            "kernel", torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]).expand(16, 1, 3, 3) / 16
        )

    def forward(self, images: Tensor) -> Tensor:
        x = self.a(images)
        return torch.as_tensor(self.b(F.conv2d(x, self.kernel, stride=2, groups=x.shape[1])).mean((2, 3)))


def test_what_is_the_same_for_every_channel_can_be_had_for_fewer() -> None:
    space = load_space(Blurred, (3, 8, 8))
    assert space.base_G == (16,)
    small = space.build([5], seed=0)
    assert torch.equal(small.kernel, Blurred().kernel[:5])  # type: ignore[arg-type]
    model, kept = lively(space), [np.array([1, 4, 9])]
    kill(model, space, kept)
    assert torch.allclose(outputs(model, space), outputs(space.narrow(model, kept), space), atol=1e-12)
