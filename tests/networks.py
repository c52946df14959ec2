"""Networks that tests are run over."""

from functools import cache

import pytest
from torch import Tensor, nn

from nas_prune.space.load import load_space
from nas_prune.space.models.densenet import densenet
from nas_prune.space.models.preresnet import preresnet
from nas_prune.space.search_space import SearchSpace

FAMILIES = (
    ("resnet20", (3, 32, 32)),
    ("resnet56", (1, 16, 16)),
    ("preresnet164", (3, 8, 8)),
    ("vgg11", (1, 8, 8)),
    ("vgg16", (3, 32, 32)),
    ("vgg19", (3, 16, 16)),
    ("densenet40", (3, 16, 16)),
    ("lenet5", (1, 8, 8)),
    ("torchvision:resnet18", (3, 64, 64)),
    ("torchvision:resnet50", (3, 32, 32)),
    ("torchvision:vgg16_bn", (3, 32, 32)),
    ("torchvision:densenet121", (3, 32, 32)),
    ("torchvision:mobilenet_v2", (3, 32, 32)),
)


@cache
def known(name: str, shape: tuple[int, int, int] = (3, 32, 32), num_classes: int = 5) -> SearchSpace:
    """A named space, loaded once for all tests; it is immutable."""
    return load_space(name, shape, num_classes=num_classes)


NAMES = [name for name, _ in FAMILIES]
_SLOW = (
    "preresnet164", "resnet56", "vgg16", "vgg19",
    "torchvision:resnet18", "torchvision:resnet50", "torchvision:vgg16_bn", "torchvision:densenet121",
)  # fmt: skip
# Seconds for each of these; the default run has others of every kind.
CASES = [
    pytest.param(name, shape, id=name, marks=[pytest.mark.slow] * (name in _SLOW)) for name, shape in FAMILIES
]


class BakedIn(nn.Module):
    """A network whose own code holds a width as a plain integer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 6, 3, padding=1)
        self.last = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        assert x.shape[1] == 8, "eight channels, please"
        scores: Tensor = self.last(self.second(x).mean((2, 3)))
        return scores


def preresnet20(*, in_channels: int = 3, num_classes: int = 10, image_size: int = 32) -> nn.Module:
    """A pre-activation network of two blocks a stage."""
    return preresnet(20, in_channels=in_channels, num_classes=num_classes, image_size=image_size)


def thin_densenet40(*, in_channels: int = 3, num_classes: int = 10, image_size: int = 32) -> nn.Module:
    """DenseNet-40 with four new channels a layer."""
    return densenet(40, in_channels=in_channels, num_classes=num_classes, image_size=image_size, growth=4)
