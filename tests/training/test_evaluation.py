"""The balanced accuracy against a count by hand, whatever the batch."""

import pytest
import torch
from torch import Tensor, nn

from nas_prune.data import ImageData, ImageSet
from nas_prune.training.evaluation import balanced_accuracy, evaluate

# 400 of class 0, all right; 4 of class 1, one right; none of class 2.
LABELS = torch.tensor([0] * 400 + [1] * 4)
TAKEN_FOR = torch.tensor([0] * 400 + [1, 0, 0, 2])


class Told(nn.Module):
    """Takes each image for the class that its first pixel names."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.one_hot(x[:, 0, 0, 0].round().long(), 3).float()


def test_in_the_balanced_accuracy_all_classes_count_alike() -> None:
    pixels = TAKEN_FOR.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    part = ImageSet(pixels, LABELS)
    data = ImageData("x", part, part, part, ("a", "b", "c"), flip=False, mean=(0.0,), std=(1 / 255,))
    assert evaluate(Told(), part, data)[1] == pytest.approx(401 / 404)
    assert balanced_accuracy(Told(), part, data) == pytest.approx((1 + 1 / 4) / 2)
