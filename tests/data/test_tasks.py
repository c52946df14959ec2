"""What tasks measure: by hand, whatever the batches, and the same in another process."""

import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from nas_prune.data.metric import ACCURACY, Metric
from nas_prune.data.task import Task
from nas_prune.data.tasks import known_task, register_task, task_named
from nas_prune.errors import BadInputError


def of_all(task: Task, outputs: Tensor, targets: Tensor, batch: int) -> float:
    own = [task.statistics(*pair) for pair in zip(outputs.split(batch), targets.split(batch), strict=True)]
    return task.value(torch.cat(own) if task.is_collected else torch.stack(own).sum(0))


def classes(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(rng.standard_normal((30, 4))), torch.from_numpy(rng.integers(0, 4, 30))


def several(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(rng.standard_normal((30, 4))), torch.from_numpy(
        rng.integers(0, 2, (30, 4))
    ).float()


def numbers(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(rng.standard_normal((30, 2))), torch.from_numpy(rng.standard_normal((30, 2)))


def masks(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    wanted = torch.from_numpy(rng.integers(0, 4, (30, 6, 6)).astype(np.uint8))
    wanted[wanted == 3] = 255
    return torch.from_numpy(rng.standard_normal((30, 3, 3, 3))).float(), wanted


@pytest.mark.parametrize(
    ("name", "drawn"),
    [("classification", classes), ("multi-label", several), ("regression", numbers), ("segmentation", masks)],
)
def test_values_do_not_depend_on_batches(
    name: str, drawn: Callable[[np.random.Generator], tuple[Tensor, Tensor]]
) -> None:
    task, (outputs, targets) = task_named(name), drawn(np.random.default_rng(0))
    whole = of_all(task, outputs, targets, 30)
    assert of_all(task, outputs, targets, 7) == pytest.approx(whole, rel=1e-12)
    assert 0 < whole < 2


def test_the_mean_of_intersection_over_union_is_over_all_pixels_that_count() -> None:
    task = task_named("segmentation")
    masks_NHW = torch.tensor([[[0, 0], [1, 255]], [[0, 1], [1, 1]]], dtype=torch.uint8)
    said = torch.tensor([[[0, 1], [1, 1]], [[0, 1], [0, 1]]])
    outputs = torch.nn.functional.one_hot(said, 4).permute(0, 3, 1, 2).float()
    # Class 0: 2 of 4 pixels; class 1: 3 of 5; 2 and 3 are nowhere; the pixel of 255 counts nowhere.
    assert of_all(task, outputs, masks_NHW, 1) == pytest.approx((2 / 4 + 3 / 5) / 2)


def test_smaller_maps_are_measured_at_the_size_of_the_masks() -> None:
    task = task_named("segmentation")
    masks_NHW = torch.zeros((1, 8, 8), dtype=torch.uint8)
    masks_NHW[:, :, 4:] = 1
    outputs = torch.tensor([[[[5.0, -5.0]] * 2, [[-5.0, 5.0]] * 2]])
    assert of_all(task, outputs, masks_NHW, 1) == 1
    assert float(task.loss(outputs, masks_NHW)) < 1


def test_a_mask_without_a_pixel_that_counts_has_no_loss() -> None:
    task, nothing = task_named("segmentation"), torch.full((1, 2, 2), 255, dtype=torch.uint8)
    assert float(task.loss(torch.ones(1, 3, 2, 2), nothing)) == 0


def test_the_mean_average_precision_is_that_of_ranks_and_leaves_out_classes_of_no_image() -> None:
    outputs = torch.tensor([[3.0, 0.0, 1.0], [2.0, 1.0, 1.0], [1.0, 2.0, 1.0]])
    targets = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    # The first class: found at ranks 1 and 3, (1 + 2/3) / 2; the second at rank 2.
    assert of_all(task_named("multi-label"), outputs, targets, 2) == pytest.approx(
        ((1 + 2 / 3) / 2 + 1 / 2) / 2
    )


def test_errors_are_in_the_numbers_own_units_and_less_is_better() -> None:
    task = task_named("regression")
    statistics = task.statistics(
        torch.tensor([[1.0, 10.0], [2.0, 40.0]]), torch.tensor([[0.0, 20.0], [4.0, 20.0]])
    )
    assert task.value(statistics) == pytest.approx((1.5 + 15) / 2)
    assert task.score(statistics) == -task.value(statistics)


def test_a_registered_task_travels_by_its_name() -> None:
    class Loss:
        def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
            return (outputs - targets).sum()

    own = Task(
        "test-own",
        "numbers",
        Metric("PSNR"),
        Loss(),
        lambda outputs, _: outputs.sum(0),
        lambda sums: float(sums[0]),
    )
    register_task(own)
    assert pickle.loads(pickle.dumps(own)) is own  # noqa: S301  (our own)
    assert known_task("test-own") == "test-own"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("clasification", "--task must be one of classification, multi-label, regression, segmentation"),
        ("os:getcwd", "--task os:getcwd must be given by you: no code that only a file names is imported."),
    ],
)
def test_what_is_no_task_is_refused_in_one_line(name: str, said: str) -> None:
    with pytest.raises(BadInputError) as caught:
        task_named(name)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["classification", "Mine", "a b"])
def test_a_task_cannot_take_a_name_that_is_taken_or_is_none(name: str) -> None:
    with pytest.raises(BadInputError, match="must be free"):
        register_task(Task(name, "class", ACCURACY, torch.add, torch.add, float))
    with pytest.raises(BadInputError, match="must be a nas_prune.Task, got str"):
        register_task("mine")  # type: ignore[arg-type]
