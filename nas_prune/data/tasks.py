"""The tasks by name: classification, several classes, numbers, masks; registered ones, and those of a person's code.

Shape letters: B images of a batch, N images, K classes, D numbers, H rows, W columns.
"""

import copyreg
import re
from collections.abc import Callable
from typing import get_args

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, interpolate, smooth_l1_loss

from nas_prune.data.metric import ACCURACY, Metric
from nas_prune.data.targets import UNLABELLED, TargetKind
from nas_prune.data.task import Task
from nas_prune.errors import BadInputError
from nas_prune.runs.data_name import CLASSIFICATION
from nas_prune.runs.own_code import imported, is_own_code
from nas_prune.runs.text import first_line
from nas_prune.runs.typed import Typed

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")


def _hits(outputs: Tensor, targets: Tensor) -> Tensor:
    """How many images are right, and how many there are."""
    right = (outputs.argmax(1) == targets).sum()
    return torch.stack([right, right.new_tensor(len(targets))]).double()


def _share(statistics: Tensor) -> float:
    return float(statistics[0] / statistics[1])


def _outputs_and_targets(outputs: Tensor, targets: Tensor) -> Tensor:
    return torch.cat([outputs, targets], dim=1).double()


def mean_average_precision(rows_NS: Tensor) -> float:
    """The mean over classes of the average precision, of the classes that some image is of (scikit-learn's).

    Args:
        rows_NS: of each image K outputs and K targets.
    """
    from sklearn.metrics import average_precision_score

    outputs_NK, targets_NK = rows_NS.cpu().numpy().reshape(len(rows_NS), 2, -1).swapaxes(0, 1)
    precisions = [
        float(average_precision_score(targets_N, outputs_N))
        for outputs_N, targets_N in zip(outputs_NK.T, targets_NK.T, strict=True)
        if targets_N.any()
    ]
    return sum(precisions) / max(1, len(precisions))


def _errors(outputs: Tensor, targets: Tensor) -> Tensor:
    """The sum of the distances of each number, and how many images there are."""
    return torch.cat([(outputs - targets).abs().sum(0), outputs.new_tensor([len(outputs)])]).double()


def _mean_error(statistics: Tensor) -> float:
    return float((statistics[:-1] / statistics[-1]).mean())


def of_the_size(outputs: Tensor, masks: Tensor) -> Tensor:
    """Class scores of pixels, B×K×h×w, at the size of the masks."""
    if outputs.shape[-2:] == masks.shape[-2:]:
        return outputs
    return interpolate(outputs, size=masks.shape[-2:], mode="bilinear", align_corners=False)


def _pixel_loss(outputs: Tensor, masks: Tensor) -> Tensor:
    """The cross entropy of the pixels that count."""
    wanted = masks.long()
    total = cross_entropy(of_the_size(outputs, masks), wanted, ignore_index=UNLABELLED, reduction="sum")
    return total / (wanted != UNLABELLED).sum().clamp(min=1)


def _confusion(outputs: Tensor, masks: Tensor) -> Tensor:
    """How many pixels of each class were taken for each, row by row: K²."""
    classes = outputs.shape[1]
    found, wanted = of_the_size(outputs, masks).argmax(1), masks.long()
    counts = wanted != UNLABELLED
    return torch.bincount(wanted[counts] * classes + found[counts], minlength=classes**2).double()


def mean_iou(confusion: Tensor) -> float:
    """The mean over classes of intersection over union, over all pixels together; classes that are nowhere left out.

    Args:
        confusion: K², as `_confusion` counts.
    """
    classes = round(len(confusion) ** 0.5)
    counts_KK = confusion.reshape(classes, classes)
    both_K = counts_KK.diagonal()
    either_K = counts_KK.sum(0) + counts_KK.sum(1) - both_K
    return float((both_K / either_K)[either_K > 0].mean()) if either_K.any() else 0.0


_BUILTIN = {
    task.name: task
    for task in (
        Task(CLASSIFICATION, "class", ACCURACY, cross_entropy, _hits, _share),
        Task(
            "multi-label",
            "classes",
            Metric("mAP", is_share=True),
            binary_cross_entropy_with_logits,
            _outputs_and_targets,
            mean_average_precision,
            is_collected=True,
        ),
        Task(
            "regression",
            "numbers",
            Metric("MAE", is_greater_better=False),
            smooth_l1_loss,
            _errors,
            _mean_error,
        ),
        Task("segmentation", "mask", Metric("mIoU", is_share=True), _pixel_loss, _confusion, mean_iou),
    )
}
_REGISTERED: dict[str, Task] = {}


def task_names() -> tuple[str, ...]:
    """The names of all tasks that this process knows."""
    return (*_BUILTIN, *_REGISTERED)


def register_task(task: Task) -> None:
    """Make a task known to this program; workers know it where it is registered at the top level of the script.

    Raises:
        BadInputError: its name cannot be used, or is taken.
    """
    _check(task, "a task")
    if not _NAME.fullmatch(task.name) or task.name in _BUILTIN:
        raise BadInputError(
            f"a task's name must be free, of small letters, digits and -, got {task.name!r}. Choose another name."
        )
    _REGISTERED[task.name] = task


def known_task(name: str) -> str:
    """A name of which there may be a task: nothing is imported to know it.

    Raises:
        BadInputError: there is none.
    """
    if name in task_names() or is_own_code(name):
        return name
    raise BadInputError(
        f"--task must be one of {', '.join(task_names())}, or package.module:task of your own, got {name!r}."
    )


def task_named(name: str) -> Task:
    """A task: one of `task_names`, or `package.module:task` of a person's own code.

    Raises:
        BadInputError: there is none of that name, or it is no task.
    """
    found = _BUILTIN.get(name) or _REGISTERED.get(name)
    if found is not None:
        return found
    own = imported(known_task(name), "--task")
    if callable(own) and not isinstance(own, Task):
        own = _made(own, name)
    _check(own, f"--task {name}")
    return _own(name, own)


def metric_of_task(name: str) -> Metric:
    """The metric of a task; a plain score where the task is code that nobody has named here, which is not imported."""
    return task_named(name).metric if name in task_names() or isinstance(name, Typed) else Metric("score")


def is_builtin(task: Task) -> bool:
    """Whether a task is one that comes along."""
    return _BUILTIN.get(task.name) is task


def _made(make: Callable[[], object], name: str) -> object:
    """What a function of a person's own returns.

    Raises:
        BadInputError: it fails.
    """
    try:
        return make()
    except Exception as error:
        said = f"{type(error).__name__}: {first_line(error)}"
        raise BadInputError(f"--task {name} must be a nas_prune.Task or make one, got {said}.") from error


def _own(name: str, task: Task) -> Task:
    """A task of a person's code, which travels by the name that it is imported by."""
    return task if task.name == name else Task(name, *(getattr(task, part) for part in _PARTS))


def _travelling(task: Task) -> tuple[Callable[[str], Task], tuple[str]]:
    return task_named, (task.name,)


copyreg.pickle(Task, _travelling)  # to another process by its name: its functions may be any
_TAKEN = ("val_loss", "val_balanced_accuracy")
_PARTS = ("kind", "metric", "loss", "statistics", "value", "is_collected")


def _check(task: object, what: str) -> None:
    if not isinstance(task, Task):
        raise BadInputError(f"{what} must be a nas_prune.Task, got {type(task).__name__}.")
    if task.kind not in get_args(TargetKind):
        raise BadInputError(
            f"{what} must be of kind {', '.join(get_args(TargetKind))}, got {task.kind!r:.40}."
        )
    if not isinstance(task.metric, Metric) or not all(
        map(callable, (task.loss, task.statistics, task.value))
    ):
        raise BadInputError(
            f"{what} must have a nas_prune.Metric, and functions for loss, statistics and value."
        )
    is_taken = task.metric.key("val") in _TAKEN or (
        task.metric.name == ACCURACY.name and task.metric != ACCURACY
    )
    if is_taken:
        raise BadInputError(
            f"the metric of {what} must have a name that nothing else has in files, got {task.metric.name!r}. Choose "
            "another."
        )
