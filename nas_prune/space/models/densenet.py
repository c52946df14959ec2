"""DenseNets of 3n + 4 layers without bottlenecks for small images (Huang et al. 2017, section 4)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from nas_prune.space.models.layers import initialise


class DenseLayer(nn.Module):
    """Norm, activation, a 3×3 convolution to `growth` channels, which join the input."""

    def __init__(self, in_channels: int, growth: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(in_channels)
        self.conv = nn.Conv2d(in_channels, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The input's channels, then the new ones, N×C×H×W."""
        return torch.cat([x, self.conv(relu(self.bn(x)))], dim=1)


class Transition(nn.Module):
    """Norm, activation, a 1×1 convolution, and half the resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels, 1, bias=False)
        self.pool = nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        """Features, N×C×H/2×W/2."""
        features: Tensor = self.pool(self.conv(relu(self.bn(x))))
        return features


class DenseNet(nn.Module):
    """A 3×3 stem, three dense blocks of n layers with transitions between them, a norm, one linear layer."""

    def __init__(self, layers: int, growth: int, *, in_channels: int, num_classes: int) -> None:
        super().__init__()
        channels = 2 * growth
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        blocks: list[nn.Module] = []
        for number in range(3):
            if number:
                blocks.append(Transition(channels))
            blocks += [DenseLayer(channels + growth * place, growth) for place in range(layers)]
            channels += growth * layers
        self.features = nn.Sequential(*blocks)
        self.bn = nn.BatchNorm2d(channels)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)
        initialise(self, norm_scale=0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores, N×classes."""
        x = relu(self.bn(self.features(self.conv1(x))))
        scores: Tensor = self.fc(self.pool(x).flatten(1))
        return scores


def densenet(
    depth: int,
    *,
    in_channels: int,
    num_classes: int,
    image_size: int,  # noqa: ARG001
    growth: int = 12,
) -> DenseNet:
    """DenseNet-40 (any depth 3n + 4) with `growth` channels a layer."""
    return DenseNet((depth - 4) // 3, growth, in_channels=in_channels, num_classes=num_classes)
