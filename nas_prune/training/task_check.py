"""A task of somebody's own, tried on two images before anything is trained."""

from collections.abc import Callable
from math import isfinite
from typing import TypeVar

import torch
from torch import Tensor, nn

from nas_prune.data import ImageData, normalise
from nas_prune.data.task import Task
from nas_prune.data.tasks import is_builtin
from nas_prune.errors import BadInputError, NasPruneError
from nas_prune.runs.text import first_line
from nas_prune.training.evaluation import class_scores, in_own_units
from nas_prune.training.loss import mean_loss

_IMAGES = 2
_OF_ROWS = 2  # dimensions
Result = TypeVar("Result")


def try_task(network: nn.Module, data: ImageData) -> None:
    """Refuse a task whose loss, statistics or value fail on the first training images, or give something else.

    Args:
        network: of the kind that will be trained; it is not changed.
        data: images and task.

    Raises:
        BadInputError: one of them does.
    """
    task = data.task
    if is_builtin(task):
        return
    places = torch.arange(min(_IMAGES, len(data.train)))
    (images,) = data.train.batches([places])
    targets = data.train.labels[places.to(data.train.device)]
    device = next(network.parameters()).device
    shown = normalise(images, data.mean, data.std).to(device)
    outputs = class_scores(network.eval(), shown).float()
    targets = targets.to(device)
    loss = _tried(task, "loss", lambda: mean_loss(task, outputs, targets))
    if not loss.requires_grad:
        raise BadInputError(
            f"the loss of --task {task.name} must depend on the outputs, got one without a gradient."
        )
    in_units = (in_own_units(outputs.detach(), data), in_own_units(targets, data))
    found = _tried(task, "statistics", lambda: task.statistics(*in_units))
    wanted = (
        f"a row for each of {len(places)} images" if task.is_collected else "numbers that add up, a tensor"
    )
    is_good = isinstance(found, Tensor) and found.dim() <= _OF_ROWS
    if not is_good or (task.is_collected and (found.dim() != _OF_ROWS or len(found) != len(places))):
        got = f"shape {list(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise BadInputError(f"the statistics of --task {task.name} must be {wanted}, got {got}.")
    value = _tried(task, "value", lambda: float(task.value(found.double())))
    if not isfinite(value):
        raise BadInputError(
            f"the value of --task {task.name} must be a finite number, got {value} for two images."
        )


def _tried(task: Task, what: str, function: Callable[[], Result]) -> Result:
    try:
        return function()
    except NasPruneError:
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {first_line(error).rstrip('.')}"
        raise BadInputError(f"the {what} of --task {task.name} must work, got {said}.") from error
