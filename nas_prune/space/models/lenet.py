"""LeNet as compression is measured on: layers of 300 and 100, or two convolutions before a layer of 500.

LeCun et al. 1998, in the sizes of Caffe's example, which Han et al. 2015 and 2016 take. Convolutions are padded here,
so that images of 8 pixels do.
"""

from torch import Tensor, nn

_CONVOLUTIONS: dict[int, tuple[int, ...]] = {3: (), 5: (20, 50)}  # by depth
_LINEAR: dict[int, tuple[int, ...]] = {3: (300, 100), 5: (500,)}


class LeNet(nn.Module):
    """5×5 convolutions, each before a pooling, then linear layers."""

    def __init__(self, depth: int, *, in_channels: int, num_classes: int, image_size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels, size = in_channels, image_size
        for width in _CONVOLUTIONS[depth]:
            layers += [nn.Conv2d(channels, width, 5, padding=2), nn.MaxPool2d(2), nn.ReLU(inplace=True)]
            channels, size = width, size // 2
        self.features = nn.Sequential(*layers)
        layers, channels = [], channels * size * size
        for width in _LINEAR[depth]:
            layers += [nn.Linear(channels, width), nn.ReLU(inplace=True)]
            channels = width
        self.classifier = nn.Sequential(*layers, nn.Linear(channels, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Class scores, N×classes."""
        scores: Tensor = self.classifier(self.features(x).flatten(1))
        return scores


def lenet(depth: int, *, in_channels: int, num_classes: int, image_size: int) -> LeNet:
    """LeNet-300-100 (3) or LeNet-5 (5)."""
    return LeNet(depth, in_channels=in_channels, num_classes=num_classes, image_size=image_size)
