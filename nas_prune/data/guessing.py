"""What somebody gets right who looks at no image."""

from collections.abc import Mapping
from math import sqrt
from typing import Any

from torch import Tensor, bincount

_MORE = 1.5  # times the share of one class of many alike
_DEVIATIONS = 2


def guess_share(labels_N: Tensor, num_classes: int) -> float:
    """The accuracy below which a network is hardly better than always naming the largest class.

    Args:
        labels_N: of the images that the accuracy is of.
        num_classes: that there are.

    Example:
        >>> import torch
        >>> round(guess_share(torch.tensor([0] * 75 + [1] * 25), 2), 3)
        0.837
    """
    largest = int(bincount(labels_N.cpu(), minlength=num_classes).max()) / len(labels_N)
    by_chance = largest + _DEVIATIONS * sqrt(largest * (1 - largest) / len(labels_N))
    return min(1.0, max(_MORE / num_classes if num_classes > 2 else 0.0, by_chance))


def is_guess(base: Mapping[str, Any]) -> bool:
    """Whether what the result of a search says of the whole network is hardly better than guessing.

    Args:
        base: its accuracy and what guessing gives; of methods that train nothing, and of earlier versions, without.
    """
    accuracy, guess = base.get("val_accuracy"), base.get("guess")
    return accuracy is not None and guess is not None and accuracy < guess
