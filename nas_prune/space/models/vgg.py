"""VGG with batch norm for small images (Simonyan & Zisserman 2015, as Liu et al. 2017 train it on CIFAR)."""

from torch import Tensor, nn

from nas_prune.space.models.layers import initialise

STAGES: dict[int, tuple[tuple[int, ...], ...]] = {
    11: ((64,), (128,), (256,) * 2, (512,) * 2, (512,) * 2),
    13: ((64,) * 2, (128,) * 2, (256,) * 2, (512,) * 2, (512,) * 2),
    16: ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3),
    19: ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4),
}


class VGG(nn.Module):
    """3×3 convolutions with batch norm, halved between stages while 2 px are left, then one linear layer."""

    def __init__(self, depth: int, *, in_channels: int, num_classes: int, image_size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels, size = in_channels, image_size
        for number, stage in enumerate(STAGES[depth]):
            if number and size // 2 >= 2:
                layers.append(nn.MaxPool2d(2))
                size //= 2
            for width in stage:
                layers += [
                    nn.Conv2d(channels, width, 3, padding=1, bias=False),
                    nn.BatchNorm2d(width),
                    nn.ReLU(inplace=True),
                ]
                channels = width
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)
        initialise(self, norm_scale=0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores, N×classes."""
        scores: Tensor = self.classifier(self.pool(self.features(x)).flatten(1))
        return scores


def vgg(depth: int, *, in_channels: int, num_classes: int, image_size: int) -> VGG:
    """VGG-11, 13, 16 or 19 with batch norm."""
    return VGG(depth, in_channels=in_channels, num_classes=num_classes, image_size=image_size)
