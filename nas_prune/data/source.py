"""What a data set is before its pixels are read: labels, parts, and how to read chosen images."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from nas_prune.data.kinds import KindArray
from nas_prune.data.pictures import Picture
from nas_prune.data.pixels import fit_images
from nas_prune.data.split import IntArray
from nas_prune.data.targets import Targets

OnDecoded = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """Pictures that were read.

    Attributes:
        images: uint8, N×C×H×W.
        kinds_N: what each does not keep of its file, as `Kind`; None where it keeps all.
    """

    images: Tensor
    kinds_N: KindArray | None = None


# (indices, image size, channels, progress) -> the images
Reader = Callable[[IntArray, int, int, OnDecoded | None], Decoded]


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A data set whose images are still to be read.

    Attributes:
        labels: the class of every image; where `targets` are something else, what each is kept in proportion by.
        train, test: indices of the two parts.
        val: indices of a validation part that the data set has itself; None where it is cut from `train`.
        class_names: one for each label; of numbers, what they are called.
        flip: whether images may be mirrored.
        image_size, in_channels: used when the caller asks for nothing else.
        read: reads the images at given indices.
        files: where the picture of every image is, if they are in files.
        root: the folder that messages name files relative to.
        notes: what a person should know, in sentences.
        keeps_fifth: whether the images have no part for testing, and a fifth of them is kept for that.
        targets: what is to be learned of each image; its label if None.
        is_own: whether the images are a person's, though in no files.
    """

    labels: IntArray
    train: IntArray
    test: IntArray
    val: IntArray | None
    class_names: tuple[str, ...]
    flip: bool
    image_size: int
    in_channels: int
    read: Reader
    files: tuple[Picture, ...] = ()
    root: Path = Path()
    notes: tuple[str, ...] = ()
    keeps_fifth: bool = False
    targets: Targets | None = None
    is_own: bool = False

    @property
    def held_out(self) -> tuple[str, ...]:
        """Names of the images that are kept for testing, relative to their folder; none where a part is for that."""
        if not self.keeps_fifth:
            return ()
        return tuple(_name(self.files[place], self.root) for place in self.test)

    def has_held_out(self, names: frozenset[str]) -> bool:
        """Whether images of these names are the ones that are kept for testing.

        Runs of before have pictures in larger files under the path as it was typed.
        """
        if not self.keeps_fifth or not names:
            return False
        return names in (frozenset(self.held_out), frozenset(str(self.files[place]) for place in self.test))


def _name(picture: Picture, root: Path) -> str:
    if isinstance(picture, Path):
        return Path(os.path.relpath(picture, root)).as_posix()
    part = Path(os.path.relpath(picture.part, root))
    return f"{'' if part == Path() else part.as_posix()}[{picture.row}]"


def memory_reader(images: Tensor) -> Reader:
    """A reader of images that are in memory: uint8, N×C×H×W."""

    def read(indices: IntArray, image_size: int, in_channels: int, _progress: OnDecoded | None) -> Decoded:
        return Decoded(fit_images(images[indices], image_size, in_channels))

    return read
