"""The images that an export is checked on, and calibrated with: those of the run.

Shape letters: N images, C channels, H rows, W columns.
"""

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from nas_prune.data import ImageData, Part
from nas_prune.data.config import load_images
from nas_prune.data.preprocessing import Preprocessing
from nas_prune.data.streamed import StreamedSet
from nas_prune.data.targets import TargetScale
from nas_prune.data.task import Task
from nas_prune.data.tasks import task_named
from nas_prune.export.origin import check_classes, origin_of
from nas_prune.runs.data_name import CLASSIFICATION, own_data
from nas_prune.runs.directory import published
from nas_prune.runs.progress import Progress
from nas_prune.runs.text import printable

_AT_A_TIME = 250


@dataclass(frozen=True, slots=True, eq=False)
class CheckImages:
    """Test images, evenly spread over the test part, and where more are.

    Attributes:
        images: uint8, N×C×H×W.
        labels: int64, N, or the targets of another task.
        names: of their files; empty where they have none.
        places: their numbers in the test part.
        data_name: of the data set, without directories.
        training: the training part.
        task: what the network was trained for; scale: of the numbers that it puts out, if it does.
    """

    images: Tensor
    labels: Tensor
    names: tuple[str, ...]
    places: tuple[int, ...]
    data_name: str
    training: Part
    task: Task = field(default_factory=partial(task_named, CLASSIFICATION))
    scale: TargetScale | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def called(self, number: int) -> str:
        """One of them, in words."""
        if self.names:
            return printable(self.names[number])
        return f"test image {self.places[number]} of {self.data_name}"

    def value(self, outputs: Tensor) -> float:
        """The task's metric of a network's outputs on these images."""
        in_units = outputs if self.scale is None else self.scale.unscaled(outputs)
        targets = self.labels if self.scale is None else self.scale.unscaled(self.labels)
        return float(self.task.value(self.task.statistics(in_units.float(), targets).double()))

    def for_calibration(self, count: int) -> Tensor:
        """So many training images, evenly spread: uint8, N×C×H×W."""
        return _read(self.training, _spread(len(self.training), count))


def check_images(
    network: Path, known: Preprocessing, count: int, data_name: str | None, progress: Progress
) -> CheckImages:
    """The images of the run that a network is of.

    Args:
        network: its file.
        known: what its images must be.
        count: how many test images at most.
        data_name: where they are, if they were moved or no run says it.
        progress: reports how far the work is.

    Raises:
        BadInputError: nothing says which images.
        DataError: they are not there, or of other classes.
    """
    data = _loaded(network, known, data_name, progress)
    check_classes(data, known)
    places = _spread(len(data.test), count)
    files = tuple(map(str, data.test.files)) if isinstance(data.test, StreamedSet) else ()
    with progress.waiting("reading test images"):
        images = _read(data.test, places)
    return CheckImages(
        images,
        data.test.labels[places],
        tuple(files[place] for place in places.tolist()) if files else (),
        tuple(places.tolist()),
        published(data.name),
        data.train,
        data.task,
        data.scale,
    )


def _loaded(network: Path, known: Preprocessing, data_name: str | None, progress: Progress) -> ImageData:
    origin = origin_of(network, data_name, "the export is checked", task=known.task)
    config = origin.data
    is_own = own_data(config.name) is not None
    config = config.model_copy(update={"image_size": known.size, "stream": True if is_own else None})
    data = load_images(config, origin.seed, progress, in_channels=known.channels)
    # few images are looked at: those of files are decoded here, without processes for that
    train, test = (
        replace(part, workers=0) if isinstance(part, StreamedSet) else part
        for part in (data.train, data.test)
    )
    return replace(data, train=train, test=test)


def _spread(count: int, wanted: int) -> Tensor:
    """So many places out of a number of them, evenly spread: parts may be in the order of their classes."""
    return (torch.arange(min(wanted, count)) * count) // min(wanted, count)


def _read(part: Part, places: Tensor) -> Tensor:
    return torch.cat([*part.batches(places.split(_AT_A_TIME))]).cpu()
