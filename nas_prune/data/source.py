"""What a data set is before its pixels are read: labels, parts, and how to read chosen images."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from nas_prune.data.pixels import fit_images
from nas_prune.data.split import IntArray

OnDecoded = Callable[[int, int], None]
# (indices, image size, channels, progress) -> uint8 images, N×C×H×W
Reader = Callable[[IntArray, int, int, OnDecoded | None], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A data set whose images are still to be read.

    Attributes:
        labels: the class of every image.
        train, test: indices of the two parts.
        val: indices of a validation part that the data set has itself; None where it is cut from `train`.
        class_names: one for each label.
        flip: whether images may be mirrored.
        image_size, in_channels: used when the caller asks for nothing else.
        read: reads the images at given indices.
        files: the picture of every image, where each has a file.
        root: the folder that messages name files relative to.
        notes: what a person should know, in sentences.
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
    files: tuple[Path, ...] = ()
    root: Path = Path()
    notes: tuple[str, ...] = ()


def memory_reader(images: Tensor) -> Reader:
    """A reader of images that are in memory: uint8, N×C×H×W."""

    def read(indices: IntArray, image_size: int, in_channels: int, _progress: OnDecoded | None) -> Tensor:
        return fit_images(images[indices], image_size, in_channels)

    return read
