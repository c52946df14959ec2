"""The loss of a batch, and how many of its images a network gets right: for whole labels and for shares of classes.

Shape letters: B images of a batch, K classes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from nas_prune.data import ImageData
from nas_prune.data.balance import class_weights
from nas_prune.data.task import Task
from nas_prune.data.tasks import task_named
from nas_prune.errors import BadInputError
from nas_prune.runs.data_name import CLASSIFICATION
from nas_prune.training.recipe import Recipe

Teacher: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Loss:
    """What is minimised.

    Attributes:
        recipe: smoothing of labels, and how a teacher is imitated.
        weights: of each class, K, 1 on average over the training images; None where all count alike.
        teacher: gives the scores to imitate; None for none.
        task: what is learned.
    """

    recipe: Recipe
    weights: Tensor | None = None
    teacher: Teacher | None = None
    task: Task = field(default_factory=partial(task_named, CLASSIFICATION))

    def of(self, scores: Tensor, labels: Tensor, images: Tensor) -> Tensor:
        """The mean over a batch.

        Args:
            scores: B×K, or the outputs of another task.
            labels: int64, B, or the shares of the classes, B×K, or the targets of another task.
            images: what the teacher looks at.
        """
        loss = self._of_labels(scores, labels)
        if self.teacher is None:
            return loss
        each = imitation(scores, self.teacher(images), self.recipe.temperature)
        taught = each.sum() / len(each) if self.weights is None else self._weighted(each.sum(1), labels)
        return torch.lerp(loss, taught, self.recipe.teacher_share)

    def _weighted(self, each: Tensor, labels: Tensor) -> Tensor:
        """The mean over a batch of each image's loss, B, times its class's weight; a mixed one takes its classes' mean.

        It is divided by the number of images: by the sum of their weights, each batch would count as if it were even.
        """
        assert self.weights is not None
        weight = labels @ self.weights if labels.dim() == 2 else self.weights[labels]
        return (each * weight).mean()

    def _of_labels(self, scores: Tensor, labels: Tensor) -> Tensor:
        if self.task.loss is not cross_entropy:
            return mean_loss(self.task, scores, labels)
        smoothing = self.recipe.label_smoothing
        if self.weights is None:
            return cross_entropy(scores, labels, label_smoothing=smoothing)
        # PyTorch's own weights multiply each class of a smoothed or mixed target, which then says another class.
        each = cross_entropy(scores, labels, label_smoothing=smoothing, reduction="none")
        return self._weighted(each, labels)


def loss_of(recipe: Recipe, data: ImageData, teacher: Teacher | None) -> Loss:
    """The loss of a recipe on some images."""
    is_weighted = recipe.balance == "weights"
    weights = class_weights(data.train.labels, data.num_classes) if is_weighted else None
    return Loss(recipe, weights, teacher, data.task)


def summed_loss(task: Task, outputs: Tensor, targets: Tensor) -> Tensor:
    """The plain loss of a task on a batch, summed over its images.

    Raises:
        BadInputError: a loss of a person's own gives no number.
    """
    if task.loss is cross_entropy:
        return cross_entropy(outputs, targets, reduction="sum")
    return mean_loss(task, outputs, targets) * len(targets)


def mean_loss(task: Task, outputs: Tensor, targets: Tensor) -> Tensor:
    """The same, the mean.

    Raises:
        BadInputError: a loss of a person's own gives no number.
    """
    loss = task.loss(outputs, targets)
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        got = f"shape {list(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise BadInputError(
            f"the loss of --task {task.name} must be one number for a batch, as a tensor, got {got}."
        )
    return loss.reshape(())


def check_goes_with(task: Task, recipe: Recipe, *, has_teacher: bool = False) -> None:
    """Refuse what is for images of one class each, where a task is another.

    Raises:
        BadInputError: the recipe, or a teacher, is for classification.
    """
    asked = {
        "label_smoothing": recipe.label_smoothing > 0,
        "mixup or cutmix": recipe.augment(8, can_mirror=False).mixes,
        "balance": recipe.balance != "none",
        "a teacher": has_teacher,
    }
    moved = {"randaugment": recipe.randaugment is not None} if task.kind in ("mask", "numbers") else {}
    is_other = task.loss is not cross_entropy
    found = [name for name, is_asked in {**(asked if is_other else {}), **moved}.items() if is_asked]
    if found:
        raise BadInputError(
            f"{found[0]} must come with images of one class each, got --task {task.name}. Leave it out."
        )


def imitation(scores: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """How far the scores of each image are from a teacher's: B×K, with the sum T² KL(softmax(t/T) ‖ softmax(s/T)).

    Hinton et al. 2015, section 2.1.
    """
    ours = log_softmax(scores / temperature, 1)
    theirs = log_softmax(wanted.float() / temperature, 1)
    return temperature**2 * kl_div(ours, theirs, reduction="none", log_target=True)


def count_right(scores: Tensor, labels: Tensor) -> Tensor:
    """How many images of a batch are right; a mixed one counts for the share of the class that it is taken for."""
    taken_for = scores.argmax(1)
    if labels.dim() == 1:
        return (taken_for == labels).sum()
    return labels.gather(1, taken_for.unsqueeze(1)).sum()
