"""A task of somebody's own that cannot work is refused before anything is trained."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from nas_prune.data import ImageData, ImageSet
from nas_prune.data.metric import Metric
from nas_prune.data.task import Task
from nas_prune.data.tasks import register_task
from nas_prune.errors import BadInputError
from nas_prune.space.load import load_space
from nas_prune.training.task_check import try_task

GOOD = Task(
    "test-good",
    "numbers",
    Metric("RMSE", is_greater_better=False),
    mse_loss,
    lambda outputs, targets: torch.stack(
        [(outputs - targets).square().sum(), torch.tensor(float(len(outputs)))]
    ),
    lambda sums: float((sums[0] / sums[1]).sqrt()),
)
SPACE = load_space("vgg11", (1, 8, 8), num_classes=2, width_multiplier=0.125)


def with_task(task: Task) -> ImageData:
    part = ImageSet(torch.randint(0, 255, (4, 1, 8, 8), dtype=torch.uint8), torch.zeros(4, 2))
    return ImageData("test", part, part, part, ("a", "b"), flip=False, task=task)


def fails(*_: Any) -> Any:
    raise ZeroDivisionError("division by zero")


def test_one_that_works_is_tried_in_silence() -> None:
    asked: list[int] = []

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        asked.append(len(outputs))
        return mse_loss(outputs, targets)

    try_task(SPACE.build(seed=0), with_task(replace(GOOD, loss=loss)))
    assert asked == [2]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"loss": fails}, "the loss of --task test-good must work, got ZeroDivisionError: division by zero."),
        (
            {"loss": lambda outputs, targets: mse_loss(outputs.detach(), targets)},
            "must depend on the outputs",
        ),
        (
            {"loss": lambda outputs, _: outputs},
            "must be one number for a batch, as a tensor, got shape [2, 2].",
        ),
        ({"statistics": lambda *_: 1.0}, "must be numbers that add up, a tensor, got float."),
        ({"is_collected": True}, "must be a row for each of 2 images, got shape [2]."),
        ({"value": lambda sums: sums}, "the value of --task test-good must work, got"),
        ({"value": fails}, "the value of --task test-good must work, got ZeroDivisionError"),
        ({"value": lambda _: float("nan")}, "must be a finite number, got nan for two images."),
    ],
)
def test_what_does_not_work_is_named(changes: dict[str, Callable[..., Tensor]], said: str) -> None:
    with pytest.raises(BadInputError) as caught:
        try_task(SPACE.build(seed=0), with_task(replace(GOOD, **changes)))  # type: ignore[arg-type]
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "number"}, "must be of kind class, classes, numbers, mask, got 'number'."),
        ({"metric": Metric("loss")}, "must have a name that nothing else has in files, got 'loss'."),
        ({"metric": Metric("balanced accuracy")}, "that nothing else has in files, got 'balanced accuracy'."),
        ({"metric": Metric("accuracy")}, "that nothing else has in files, got 'accuracy'."),
        ({"value": 3}, "must have a nas_prune.Metric, and functions for loss, statistics and value."),
    ],
)
def test_what_cannot_be_a_task_is_not_registered(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInputError) as caught:
        register_task(replace(GOOD, name="test-other", **changes))
    assert said in str(caught.value)
