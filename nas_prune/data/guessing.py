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


def guess_of_classes(num_classes: int) -> float:
    """The same where the images are not known any more, as if all classes had as many: of runs of earlier versions."""
    return min(1.0, _MORE / num_classes)


def guesses(accuracy: float | None, guess: float | None) -> bool:
    """Whether an accuracy is hardly better than guessing.

    Args:
        accuracy: of a network; None where there is none.
        guess: what `guess_share` gives for the same images; None where that is not known.
    """
    return accuracy is not None and guess is not None and accuracy < guess


def is_guess(base: Mapping[str, Any]) -> bool:
    """Whether what the result of a search says of the whole network is hardly better than guessing.

    Args:
        base: its accuracy and what guessing gives; of methods that train nothing, and of earlier versions, without.
    """
    return guesses(base.get("val_accuracy"), base.get("guess"))


def about_equal(accuracies: list[float], num_images: int) -> bool:
    """Whether accuracies are no further apart than two networks that are equally good may well be.

    Args:
        accuracies: of different networks.
        num_images: that each is of.
    """
    if len(accuracies) < 3:
        return False
    mean = sum(accuracies) / len(accuracies)
    deviation = sqrt(2 * mean * (1 - mean) / num_images)
    return max(accuracies) - min(accuracies) <= max(_DEVIATIONS * deviation, 1 / num_images)
