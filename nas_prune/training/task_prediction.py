"""What a trained network says of image files where an image is not of one class: several classes, numbers, or masks.

Shape letters: N images, K classes, D numbers, H rows, W columns.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_prune.data.metric import Metric
from nas_prune.data.pictures import Picture
from nas_prune.data.preprocessing import Preprocessing
from nas_prune.data.sources import source_named
from nas_prune.data.targets import TargetKind
from nas_prune.data.task import Task
from nas_prune.data.tasks import of_the_size, task_named
from nas_prune.errors import DataError
from nas_prune.runs.data_name import own_data
from nas_prune.runs.progress import Progress
from nas_prune.runs.text import printable
from nas_prune.runs.typed import trusted_here
from nas_prune.training.evaluation import class_scores
from nas_prune.training.held_out import held_out_by
from nas_prune.training.reading_images import decoded

LIKELY = 0.5  # the probability from which an image is said to be of a class


@dataclass(frozen=True, slots=True, eq=False)
class TaskPredictions:
    """What a network says of images.

    Attributes:
        network: its file.
        task: its name.
        kind: what is said of an image.
        names: of the classes, or of the numbers.
        files: the images.
        values: `classes`: N×K probabilities; `numbers`: N×D, in their own units; `mask`: uint8, N×H×W, the class of
            each pixel of the centred square of an image.
        metric: of the task; None where the right answers are not known.
        value: of the metric on these images.
        part: of a data set: `test`, `kept for testing` by the training, or `all`.
    """

    network: Path
    task: str
    kind: TargetKind
    names: tuple[str, ...]
    files: tuple[Picture, ...]
    values: NDArray[np.generic]
    metric: Metric | None = None
    value: float | None = None
    part: str | None = None

    def said_of(self, image: int) -> list[str]:
        """What is said of an image, for people: its classes, its numbers, or the share of each class's pixels."""
        own = self.values[image]
        if self.kind == "classes":
            return [
                f"{name} {100 * own[place]:.0f} %"
                for place, name in enumerate(self.names)
                if own[place] >= LIKELY
            ]
        if self.kind == "numbers":
            return [f"{name} {value:.4g}" for name, value in zip(self.names, own.tolist(), strict=True)]
        shares = np.bincount(own.reshape(-1), minlength=len(self.names)) / own.size
        order = [int(place) for place in np.argsort(-shares, kind="stable") if shares[place] > 0]
        return [f"{self.names[place]} {100 * shares[place]:.0f} %" for place in order]


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """Images of which it is known what is to be said.

    Attributes:
        files: the images; targets: of each, as the task's kind says; part: as in `TaskPredictions`.
    """

    files: tuple[Picture, ...]
    targets: Tensor
    part: str


def known_images(data: str, known: Preprocessing, network: Path, progress: Progress) -> Known:
    """The images of a data set to check a network with: its part for testing, what the training kept, or all.

    Raises:
        DataError: they cannot be read, or are of other classes or numbers.
    """
    name = data if own_data(data) else f"folder:{data}"
    source = source_named(name, None, known.kind)
    names, shown = tuple(map(printable, source.class_names)), printable(data)
    if names != known.classes:
        raise DataError(
            f"the images in {shown} must be of what the network says ({', '.join(known.classes[:5])}), got "
            f"{', '.join(names[:5])}."
        )
    part, places = "test", source.test
    if source.keeps_fifth:
        is_kept = source.has_held_out(held_out_by(network))
        part = "kept for testing" if is_kept else "all"
        places = source.test if is_kept else np.sort(np.concatenate([source.train, source.test]))
    if part == "all":
        progress.say(
            f"{shown} has no part test: all its images are looked at, also those that were trained on."
        )
    assert source.targets is not None
    return Known(
        tuple(source.files[place] for place in places), source.targets.read(places, known.size, None), part
    )


def predict_task(
    path: Path,
    network: nn.Module,
    known: Preprocessing,
    files: Sequence[Picture],
    right: Known | None,
    progress: Progress,
) -> TaskPredictions:
    """What a network says of images, and how good that is where the right answers are known.

    Raises:
        BadInputError: the task is code of a person's own, and has to be named again to be measured by.
    """
    task = None if right is None else task_named(trusted_here(known.task))
    said, statistics = [], _Statistics(task, right)
    for outputs in _outputs(network, known, files, progress):
        statistics.add(outputs if known.scale is None else known.scale.unscaled(outputs))
        said.append(_said(outputs, known))
    return TaskPredictions(
        path,
        known.task,
        known.kind,
        known.classes,
        tuple(files),
        np.concatenate(said),
        None if task is None else task.metric,
        statistics.value,
        None if right is None else right.part,
    )


def _outputs(
    network: nn.Module, known: Preprocessing, files: Sequence[Picture], progress: Progress
) -> Iterator[Tensor]:
    for images in decoded(files, known, progress):
        with torch.inference_mode():
            yield class_scores(network, known.batch(images)).float()


def _said(outputs: Tensor, known: Preprocessing) -> NDArray[np.generic]:
    if known.kind == "classes":
        return np.asarray(outputs.sigmoid().numpy())
    if known.scale is not None:
        return np.asarray(known.scale.unscaled(outputs).numpy())
    blank = torch.empty((len(outputs), known.size, known.size))
    return np.asarray(of_the_size(outputs, blank).argmax(1).to(torch.uint8).numpy())


class _Statistics:
    """What a task's metric is worked out from, batch by batch; nothing where nothing is known."""

    def __init__(self, task: Task | None, right: Known | None) -> None:
        self._task, self._right, self._seen = task, right, 0
        self._found: list[Tensor] = []

    def add(self, outputs: Tensor) -> None:
        if self._task is None or self._right is None:
            return
        targets = self._right.targets[self._seen : self._seen + len(outputs)]
        self._seen += len(outputs)
        self._found.append(self._task.statistics(outputs, targets).double())

    @property
    def value(self) -> float | None:
        if self._task is None:
            return None
        whole = torch.cat(self._found) if self._task.is_collected else torch.stack(self._found).sum(0)
        return float(self._task.value(whole))
