"""What a trained network says of image files, and how right it is where their classes are known.

Shape letters: N images, C classes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import softmax

from nas_prune.data.listing import image_files, is_folder, is_other_picture, other_pictures, shortened
from nas_prune.data.pictures import Picture
from nas_prune.data.preprocessing import Preprocessing
from nas_prune.data.sources import labelled_pictures, source_named
from nas_prune.data.table import Labelled
from nas_prune.errors import BadInputError, DataError
from nas_prune.runs.data_name import own_data
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.runs.text import printable
from nas_prune.training.evaluation import class_scores
from nas_prune.training.held_out import held_out_by
from nas_prune.training.load_network import network_at, network_in, record_at
from nas_prune.training.reading_images import decoded
from nas_prune.training.task_prediction import TaskPredictions, known_images, predict_task


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What a network says of images.

    Attributes:
        network: its file.
        classes: the names of the classes, in order.
        files: the images.
        shares_NC: the probability of each class, by softmax.
        labels_N: the right classes; None where they are not known.
        part: of a data set: `test`, `kept for testing` by the training, or `all`; None where classes are not known.
    """

    network: Path
    classes: tuple[str, ...]
    files: tuple[Picture, ...]
    shares_NC: NDArray[np.float32]
    labels_N: NDArray[np.int64] | None = None
    part: str | None = None

    @property
    def found_N(self) -> NDArray[np.int64]:
        """The most probable class of each image."""
        return np.asarray(self.shares_NC.argmax(1), dtype=np.int64)

    def best(self, image: int, count: int) -> list[tuple[str, float]]:
        """The most probable classes of an image and their probabilities, the first one first."""
        order = np.argsort(-self.shares_NC[image], kind="stable")[:count]
        return [(self.classes[label], float(self.shares_NC[image, label])) for label in order]

    @property
    def confusion_CC(self) -> NDArray[np.int64]:
        """How many images of each class (row) were taken for each (column)."""
        counts = np.zeros((len(self.classes), len(self.classes)), dtype=np.int64)
        np.add.at(counts, (self._right, self.found_N), 1)
        return counts

    @property
    def accuracy(self) -> float:
        """The share of images whose class was found."""
        return float((self.found_N == self._right).mean())

    @property
    def recall(self) -> dict[str, tuple[int, float]]:
        """For each class that has images: how many, and which share of them was found."""
        counts = self.confusion_CC
        return {
            name: (int(counts[label].sum()), float(counts[label, label] / counts[label].sum()))
            for label, name in enumerate(self.classes)
            if counts[label].sum()
        }

    @property
    def balanced_accuracy(self) -> float:
        """The mean of the shares found of each class."""
        return float(np.mean([share for _, share in self.recall.values()]))

    def worst(self, count: int) -> list[int]:
        """The images whose right class was found least probable among those that were mistaken, the worst first."""
        right_N = self.shares_NC[np.arange(len(self.files)), self._right]
        wrong = np.flatnonzero(self.found_N != self._right)
        return [int(image) for image in wrong[np.argsort(right_N[wrong], kind="stable")][:count]]

    @property
    def _right(self) -> NDArray[np.int64]:
        if self.labels_N is None:
            raise BadInputError("the right classes must be known for this: predict with --data.")
        return self.labels_N


def predict(
    run: Path | str,
    images: Sequence[Path | str] | Path | str = (),
    *,
    data: Path | str | None = None,
    seed: int | None = None,
    space: str | None = None,
    progress: Progress = SILENT,
) -> Predictions | TaskPredictions:
    """What the trained network of a run says of images.

    Args:
        run: as `load_network` takes it.
        images: files, and folders that hold some.
        data: images of which the right answers are known instead, as they are for training: a folder with a folder for
            each class, `csv:FILE`, `hf:DIR`, or a folder of images and masks; their part `test` where they have one.
        seed: as `load_network` takes it.
        space: likewise.
        progress: reports how far the work is.

    Raises:
        BadInputError: there is no such network.
        DataError: there are no images, some cannot be read, or their folders are not of classes that the network knows.
    """
    path = network_in(Path(run), seed)
    record = record_at(path)
    known = record.preprocessing
    if (data is None) == (not images):
        got = "both" if images else "neither"
        raise BadInputError(f"IMAGES must be given, or a data set with --data, one of the two, got {got}.")
    files: Sequence[Picture]
    if known.kind != "class":
        right = None if data is None else known_images(str(data), known, path, progress)
        files = right.files if right is not None else _listed(_as_list(images), progress)
        return predict_task(path, network_at(path, record, space), known, files, right, progress)
    labels_N, part = None, None
    if data is None:
        files = _listed(_as_list(images), progress)
    else:
        files, labels_N, part = _labelled(str(data), known.classes, held_out_by(path), progress)
    network = network_at(path, record, space)
    shares_NC = np.concatenate([*_shares(network, known, files, progress)])
    return Predictions(path, known.classes, tuple(files), shares_NC, labels_N, part)


def _as_list(images: Sequence[Path | str] | Path | str) -> Sequence[Path | str]:
    return [images] if isinstance(images, (str, Path)) else images


def _shares(
    network: nn.Module, known: Preprocessing, files: Sequence[Picture], progress: Progress
) -> Iterable[NDArray[np.float32]]:
    for images in decoded(files, known, progress):
        with torch.inference_mode():
            yield softmax(class_scores(network, known.batch(images)).float(), 1).numpy()


def _listed(images: Sequence[Path | str], progress: Progress) -> list[Path]:
    found: list[Path] = []
    for path in map(Path, images):
        _check_picture(path)
        inside = image_files(path) if is_folder(path) else [path]
        left = other_pictures(path) if is_folder(path) else []
        if left:
            progress.say(
                f"Left out: {len(left)} in formats that are not read, such as {printable(left[0].name)}."
            )
        if not inside:
            raise DataError(
                f"IMAGES must be images or folders of some, got {printable(str(path))}, which has none."
            )
        found += inside
    return list(dict.fromkeys(found))


def _check_picture(path: Path) -> None:
    """Refuse what is not there, or is plainly no picture that can be read."""
    shown = printable(str(path))
    if not path.exists():
        raise DataError(f"IMAGES must be there, got {shown}, which does not exist.")
    if path.suffix.lower() in (".csv", ".tsv"):
        raise DataError(f"IMAGES must be images, got {shown}. Its images: --data csv:{shown}")
    if is_other_picture(path):
        raise DataError(
            f"IMAGES must be in formats that are read, got {shown}, which is not. Save it as JPEG or PNG."
        )


def _labelled(
    data: str, classes: Sequence[str], held_out: frozenset[str], progress: Progress
) -> tuple[tuple[Picture, ...], NDArray[np.int64], str]:
    shown = printable(data.removeprefix("folder:"))
    found, class_names, is_test = labelled_pictures(data)
    names = list(map(printable, class_names))
    other = [name for name in names if name not in classes]
    if other or not names:
        got = f"{shortened(other)} beside them" if other else "none"
        raise DataError(
            f"the images in {shown} must be of classes that the network knows ({shortened(classes)}), got {got}."
        )
    if not found.pictures:
        raise DataError(f"{shown} must hold images of each class, got none.")
    part = "test" if is_test else "all"
    if not is_test and held_out:
        source = source_named(data if own_data(data) else f"folder:{data}", None)
        if source.has_held_out(held_out):
            part, names = "kept for testing", list(map(printable, source.class_names))
            found = Labelled(tuple(source.files[place] for place in source.test), source.labels[source.test])
    if part == "all":
        progress.say(
            f"{shown} has no part test: all its images are looked at, also those that were trained on, if any were."
        )
    places = np.array([classes.index(name) for name in names], dtype=np.int64)
    return found.pictures, places[found.labels], part
