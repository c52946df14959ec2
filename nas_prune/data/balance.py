"""Classes of different sizes: how uneven they are, what each image weighs, and an order in which all come as often.

Shape letters: N images, K classes.
"""

import torch
from torch import Tensor

UNEVEN = 3.0  # the largest class is more than so many times the smallest


def class_counts(labels: Tensor, num_classes: int) -> Tensor:
    """How many images each class has: int64, K, on the CPU."""
    return torch.bincount(labels.cpu(), minlength=num_classes)


def is_uneven(labels: Tensor, num_classes: int) -> bool:
    """Whether the largest class is more than three times as large as the smallest that has images."""
    counts_K = class_counts(labels, num_classes)
    there = counts_K[counts_K > 0]
    return bool(len(there)) and int(there.max()) > UNEVEN * int(there.min())


def class_weights(labels: Tensor, num_classes: int) -> Tensor:
    """The weight of each class: float32, K, inverse to its size, and 1 on average over the images.

    A class without images has 1, which nothing asks for.

    Example:
        >>> class_weights(torch.tensor([0, 0, 0, 1]), 2)
        tensor([0.6667, 2.0000])
    """
    counts_K = class_counts(labels, num_classes)
    is_there = counts_K > 0
    weights_K = len(labels) / (is_there.sum() * counts_K.clamp(min=1).double())
    return torch.where(is_there, weights_K, 1.0).float().to(labels.device)


def balanced_order(labels: Tensor, generator: torch.Generator) -> Tensor:
    """N places of images, shuffled, in which every class comes equally often, or once more than another.

    Of a small class images come again, each as often as another of its class or once more; of a large one some are
    left out, others in the next epoch. Which classes have one more is drawn.

    Args:
        labels: int64, N.
        generator: what it is drawn from.
    """
    labels = labels.cpu()
    classes = labels.unique()
    each, rest = divmod(len(labels), len(classes))
    has_more = torch.randperm(len(classes), generator=generator) < rest
    chosen = [
        _repeated((labels == label).nonzero().flatten(), each + int(more), generator)
        for label, more in zip(classes, has_more, strict=True)
    ]
    order = torch.cat(chosen)
    return order[torch.randperm(len(order), generator=generator)]


def _repeated(places: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """So many of some places: all of them, shuffled, again and again."""
    rounds = -(-count // len(places))
    drawn = [places[torch.randperm(len(places), generator=generator)] for _ in range(rounds)]
    return torch.cat([*drawn, places[:0]])[:count]
