"""ResNets of 6n + 2 layers for small images (He et al. 2016, section 4.2), with 1×1 convolutions as shortcuts.

He et al. pad the shortcut's channels with zeros between stages, which would tie the widths of all stages.
"""

from torch import Tensor, nn
from torch.nn.functional import relu

from nas_prune.space.models.layers import initialise


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_channels != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Features, N×C×H×W."""
        inner = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        return relu(inner + self.shortcut(x))


class ResNet(nn.Module):
    """A 3×3 stem, three stages of n blocks with 16, 32 and 64 channels, one linear layer."""

    def __init__(self, blocks: int, *, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(blocks, 16, 16, stride=1)
        self.layer2 = _stage(blocks, 16, 32, stride=2)
        self.layer3 = _stage(blocks, 32, 64, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, num_classes)
        initialise(self, norm_scale=1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores, N×classes."""
        x = relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        scores: Tensor = self.fc(self.pool(x).flatten(1))
        return scores


def _stage(blocks: int, in_channels: int, channels: int, *, stride: int) -> nn.Sequential:
    first = BasicBlock(in_channels, channels, stride)
    return nn.Sequential(first, *(BasicBlock(channels, channels, 1) for _ in range(blocks - 1)))


def resnet(depth: int, *, in_channels: int, num_classes: int, image_size: int) -> ResNet:  # noqa: ARG001
    """ResNet-20, 32, 44, 56, 110 (any depth 6n + 2)."""
    return ResNet((depth - 2) // 6, in_channels=in_channels, num_classes=num_classes)
