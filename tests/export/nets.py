"""Networks that tests export: small ones, and such as do something else while they are exported."""

import os
import time

import torch
from torch import Tensor, nn


class Small(nn.Module):
    """Convolutions with batch norms, a shortcut, code that looks at shapes, and two outputs."""

    def __init__(self, num_classes: int = 10, in_channels: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 24, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(24)
        self.conv3 = nn.Conv2d(24, 16, 3, padding=1)
        self.scale = nn.Parameter(torch.ones(1))
        self.drop = nn.Dropout(0.1)
        self.fc = nn.Linear(16, num_classes)

    def features(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        while x.shape[-1] > 4:
            x = nn.functional.max_pool2d(x, 2)
        inner = torch.relu(self.bn2(self.conv2(x)))
        x = torch.relu(self.conv3(inner) + self.scale * x)
        count, channels, height, width = x.shape
        features: Tensor = self.drop(x.reshape(count, channels, height * width).mean(-1))
        return features

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(x)
        return self.fc(features), features.sum(1, keepdim=True)


class OtherClass(Small):
    """Another network while it is exported."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scores, features = super().forward(x)
        return (-scores if torch.compiler.is_exporting() else scores), features


class OtherScores(Small):
    """The same classes, other scores."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scores, features = super().forward(x)
        return (1.01 * scores if torch.compiler.is_exporting() else scores), features


class NoNumbers(Small):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scores, features = super().forward(x)
        return (scores / 0 - scores / 0 if torch.compiler.is_exporting() else scores), features


class Branches(Small):
    """Looks at what the numbers are, where that cannot be known."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scores, features = super().forward(x)
        if torch.compiler.is_exporting() and scores.sum() > 0:
            scores = 2 * scores
        return scores, features


class OneBatch(Small):
    """Insists on a number of images."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scores, features = super().forward(x)
        return (scores.reshape(3, -1) if torch.compiler.is_exporting() else scores), features


class NotInOnnx(Small):
    """An operation that ONNX has not."""

    def features(self, x: Tensor) -> Tensor:
        found = super().features(x)
        more: Tensor = torch.special.i1e(found)
        return found + more


@torch.library.custom_op("nas_prune_tests::twice", mutates_args=())
def twice(x: Tensor) -> Tensor:
    """An operation that no library but this file has."""
    return 2 * x


@twice.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


class OwnOperation(Small):
    def features(self, x: Tensor) -> Tensor:
        found = super().features(x)
        doubled: Tensor = twice(found) if torch.compiler.is_exporting() else 2 * found
        return doubled


ODD = "'\"); raise SystemExit("


class Quoted(Small):
    """Names of modules that are no words."""

    def __init__(self, num_classes: int = 10, in_channels: int = 1) -> None:
        super().__init__(num_classes, in_channels)
        self.add_module(ODD, nn.Linear(16, 16))

    def features(self, x: Tensor) -> Tensor:
        more: Tensor = self.get_submodule(ODD)(super().features(x))
        return more


class Waits(Small):
    """Stays while it is exported, where a file is to be made that says so."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        marker = os.environ.get("NAS_PRUNE_TEST_MARKER")
        if marker and torch.compiler.is_exporting():
            with open(marker, "w", encoding="utf-8"):  # noqa: PTH123
                time.sleep(60)
        return super().forward(x)


class Attention(nn.Module):
    """A small vision transformer, with attention of torch's own."""

    def __init__(self, num_classes: int = 10, in_channels: int = 1, image_size: int = 8) -> None:
        super().__init__()
        self.patches = nn.Conv2d(in_channels, 32, 2, 2)
        self.first = nn.Parameter(torch.zeros(1, 1, 32))
        self.places = nn.Parameter(0.02 * torch.randn(1, (image_size // 2) ** 2 + 1, 32))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                32, 4, 64, dropout=0.0, batch_first=True, norm_first=True, activation="gelu"
            )
            for _ in range(2)
        )
        self.norm = nn.LayerNorm(32)
        self.head = nn.Linear(32, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(x.shape[0], -1, -1), x], 1) + self.places
        for layer in self.layers:
            x = layer(x)
        scores: Tensor = self.head(self.norm(x)[:, 0])
        return scores
