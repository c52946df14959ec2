"""Labelled images in memory: one part of a data set, and a whole data set of three parts.

Shape letters: N images, C channels, H rows, W columns.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from nas_prune.data.targets import TargetScale
from nas_prune.data.task import Task
from nas_prune.data.tasks import task_named
from nas_prune.runs.data_name import CLASSIFICATION

# One grey level: smaller than the spread of any picture, large enough to divide by.
_SMALLEST_STD = 1 / 255


class Part(Protocol):
    """One part of a data set, wherever its images are; `len` is how many."""

    @property
    def labels(self) -> Tensor:
        """What is to be learned of each image, on the device: see `ImageData.task`."""

    @property
    def device(self) -> torch.device:
        """Where batches come out."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of an image: channels, height, width."""

    def __len__(self) -> int: ...

    def batches(self, places_K: Sequence[Tensor]) -> Iterator[Tensor]:
        """K batches of the images at given places: uint8, B×C×H×W, on the device."""

    def sample(self) -> Tensor:
        """All images, or enough of them to know their mean and deviation: uint8, N×C×H×W."""

    def to(self, device: torch.device | str) -> "Part":
        """The same images on another device."""

    def with_labels(self, labels: Tensor) -> "Part":
        """The same images, of which something else is to be learned."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageSet:
    """Images in memory and what is to be learned of them, on one device.

    Attributes:
        images: uint8, N×C×H×W.
        labels: int64, N, indices into the data set's class names; or what else the kind of `ImageData.task` says.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def device(self) -> torch.device:
        """Where the images are."""
        return self.images.device

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of an image: channels, height, width."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def batches(self, places_K: Sequence[Tensor]) -> Iterator[Tensor]:
        """K batches of the images at given places: uint8, B×C×H×W, on the device."""
        if not places_K:
            return iter(())
        places = torch.cat(list(places_K)).to(self.device)
        return (self.images[batch] for batch in places.split([len(batch) for batch in places_K]))

    def sample(self) -> Tensor:
        """All images."""
        return self.images

    def to(self, device: torch.device | str) -> "ImageSet":
        """The same images on another device."""
        return ImageSet(self.images.to(device), self.labels.to(device))

    def with_labels(self, labels: Tensor) -> "ImageSet":
        """The same images, of which something else is to be learned."""
        return ImageSet(self.images, labels)


@dataclass(frozen=True, slots=True, eq=False)
class ImageData:
    """A data set.

    Attributes:
        name: as the user typed it, such as `digits` or `folder:PATH`.
        train, val, test: disjoint parts; `val` comes out of the training images.
        class_names: one for each label, in order; of numbers, what they are called.
        flip: whether a mirrored image is still an image of its class.
        mean, std: of each channel of the training part, pixels in [0, 1]; found when not given. A constant
            channel has a standard deviation of 1/255, so that dividing by it is safe.
        notes: what a person should know of the images, in sentences.
        held_out: names of the test images, in order, where they were kept from a person's own images.
        task: what is to be learned of them; its kind says what the labels of the parts are.
        scale: leads from numbers as they are learned to those in their own units; None for other kinds.
    """

    name: str
    train: Part
    val: Part
    test: Part
    class_names: tuple[str, ...]
    flip: bool
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    task: Task = field(default_factory=partial(task_named, CLASSIFICATION))
    scale: TargetScale | None = None

    def __post_init__(self) -> None:
        if not self.mean:
            mean, std = moments(self.train.sample())
            object.__setattr__(self, "mean", mean)
            object.__setattr__(self, "std", std)

    @property
    def num_classes(self) -> int:
        """How many classes there are, or numbers: what a network puts out for an image."""
        return len(self.class_names)

    @property
    def image_size(self) -> int:
        """Pixels a side."""
        return self.train.shape[-1]

    @property
    def device(self) -> torch.device:
        """Where batches come out."""
        return self.train.device

    @property
    def in_channels(self) -> int:
        """1 for grey images, 3 for colour."""
        return self.train.shape[0]

    def to(self, device: torch.device | str) -> "ImageData":
        """The same data on another device; mean and std are carried over, not computed again."""
        return replace(self, train=self.train.to(device), val=self.val.to(device), test=self.test.to(device))


def moments(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, pixels in [0, 1].

    Args:
        images: uint8, N×C×H×W.
    """
    each = list(_moments(images))
    return tuple(mean for mean, _ in each), tuple(std for _, std in each)


def _moments(images: Tensor) -> Iterator[tuple[float, float]]:
    """Mean and standard deviation of each channel in [0, 1], from exact counts of the 256 levels."""
    levels = torch.arange(256, dtype=torch.float64) / 255
    for channel in images.unbind(1):
        counts = torch.bincount(channel.reshape(-1), minlength=256).cpu().double()
        shares = counts / counts.sum()
        mean = float((shares * levels).sum())
        variance = float((shares * (levels - mean) ** 2).sum())
        yield mean, max(variance**0.5, _SMALLEST_STD)
