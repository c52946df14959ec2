"""Whether a trained network is hardly better than guessing."""

from torch import nn

from nas_prune.data import ImageData
from nas_prune.data.guessing import guess_of_classes, guess_share, guesses
from nas_prune.training.compute import Compute
from nas_prune.training.evaluation import balanced_accuracy
from nas_prune.training.recipe import Recipe


def guess_of(network: nn.Module, data: ImageData, recipe: Recipe, compute: Compute) -> float | None:
    """The validation accuracy below which a network is no better than guessing.

    None where that says nothing: for other tasks, and where classes were evened out and the network tells them apart,
    at the cost of the largest then.
    """
    if not data.task.is_classification or _finds_rare_classes(network, data, recipe, compute):
        return None
    return guess_share(data.val.labels, data.num_classes)


def _finds_rare_classes(network: nn.Module, data: ImageData, recipe: Recipe, compute: Compute) -> bool:
    if recipe.balance == "none":
        return False
    found = balanced_accuracy(network, data.val, data, compute)
    return not guesses(found, guess_of_classes(data.num_classes))
