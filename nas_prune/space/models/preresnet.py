"""Pre-activation ResNets of 9n + 2 layers with bottlenecks (He et al. 2016b), as Liu et al. 2017 prune them."""

from torch import Tensor, nn
from torch.nn.functional import relu

from nas_prune.space.models.layers import initialise


class Bottleneck(nn.Module):
    """Norm and activation before each of three convolutions; the shortcut carries the raw stream."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, channels * 4, 1, bias=False)
        changes = stride != 1 or in_channels != channels * 4
        self.shortcut = (
            nn.Conv2d(in_channels, channels * 4, 1, stride, bias=False) if changes else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Features, N×C×H×W."""
        inner = self.conv1(relu(self.bn1(x)))
        inner = self.conv2(relu(self.bn2(inner)))
        inner = self.conv3(relu(self.bn3(inner)))
        features: Tensor = inner + self.shortcut(x)
        return features


class PreResNet(nn.Module):
    """A 3×3 stem, three stages of n bottlenecks with 16, 32 and 64 inner channels, a norm, one linear layer."""

    def __init__(self, blocks: int, *, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.layer1 = _stage(blocks, 16, 16, stride=1)
        self.layer2 = _stage(blocks, 64, 32, stride=2)
        self.layer3 = _stage(blocks, 128, 64, stride=2)
        self.bn = nn.BatchNorm2d(256)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(256, num_classes)
        initialise(self, norm_scale=0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores, N×classes."""
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        scores: Tensor = self.fc(self.pool(relu(self.bn(x))).flatten(1))
        return scores


def _stage(blocks: int, in_channels: int, channels: int, *, stride: int) -> nn.Sequential:
    first = Bottleneck(in_channels, channels, stride)
    return nn.Sequential(first, *(Bottleneck(channels * 4, channels, 1) for _ in range(blocks - 1)))


def preresnet(depth: int, *, in_channels: int, num_classes: int, image_size: int) -> PreResNet:  # noqa: ARG001
    """PreResNet-164 (any depth 9n + 2)."""
    return PreResNet((depth - 2) // 9, in_channels=in_channels, num_classes=num_classes)
