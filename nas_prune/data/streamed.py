"""Images that stay in their files, decoded by worker processes while the network computes."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from stat import S_ISREG

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from nas_prune.data.decode import decode_file, decode_files, named, unreadable
from nas_prune.data.picture import most_pixels
from nas_prune.data.pictures import Picture, stamp_of
from nas_prune.data.source import Decoded
from nas_prune.data.split import IntArray
from nas_prune.errors import DataError
from nas_prune.runs.text import printable

_SAMPLE = 4096  # images whose pixels stand for all
_CPU = torch.device("cpu")
_AHEAD = 4  # batches that each worker has ready


@dataclass(frozen=True, slots=True, eq=False)
class StreamedSet:
    """Images in files and their classes; batches come out on one device.

    They have the same pixels as in memory: each is decoded, cut to its centred square and resized.

    Attributes:
        files: the pictures.
        labels: int64, N.
        shape: of an image: channels, height, width.
        root: the folder that messages name files relative to.
        device: where batches come out.
        workers: processes that decode; 0 to decode in this one.
        stamps: what tells each file from another that takes its place, N×2; None to take any.
    """

    files: tuple[Picture, ...]
    labels: Tensor
    shape: tuple[int, int, int]
    root: Path
    device: torch.device = _CPU
    workers: int = 0
    stamps: IntArray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, places_K: Sequence[Tensor]) -> Iterator[Tensor]:
        """K batches of the images at given places: uint8, B×C×H×W, on the device."""
        is_cuda = self.device.type == "cuda"
        workers = min(self.workers, len(places_K))
        loader: DataLoader[Tensor | str] = DataLoader(
            _Decoded(self.files, self.shape, self.root, self.stamps, most_pixels()),
            batch_sampler=[batch.tolist() for batch in places_K],
            num_workers=workers,
            prefetch_factor=_AHEAD if workers else None,
            pin_memory=is_cuda,
            collate_fn=_stacked,
            generator=torch.Generator(),  # or it would use the network's generator
        )
        for images in loader:
            if isinstance(images, str):
                raise DataError(
                    f"the images in {printable(str(self.root))} must be readable, got {images}. Repair or remove it."
                )
            yield images.to(self.device, non_blocking=is_cuda)

    def sample(self) -> Tensor:
        """Enough images to know their mean and deviation, evenly spread: uint8, N×C×H×W."""
        return self.looked_at()[1].images

    def looked_at(self) -> tuple[range, Decoded]:
        """The sample: its places, and the images."""
        places, (channels, size, _) = range(0, len(self), max(1, len(self) // _SAMPLE)), self.shape
        chosen = [self.files[place] for place in places]
        return places, decode_files(chosen, image_size=size, in_channels=channels, root=self.root)

    def to(self, device: torch.device | str) -> "StreamedSet":
        """The same images, coming out on another device."""
        return replace(self, labels=self.labels.to(device), device=torch.device(device))

    def with_labels(self, labels: Tensor) -> "StreamedSet":
        """The same images, of which something else is to be learned."""
        return replace(self, labels=labels)


@dataclass(frozen=True, slots=True, eq=False)
class _Decoded(Dataset[Tensor | str]):
    """Pictures by place; for what cannot be read, the reason as text, which can be sent between processes."""

    files: tuple[Picture, ...]
    shape: tuple[int, int, int]
    root: Path
    stamps: IntArray | None
    most_pixels: int

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, place: int) -> Tensor | str:
        channels, size, _ = self.shape
        stamp = None if self.stamps is None else (int(self.stamps[place, 0]), int(self.stamps[place, 1]))
        return decode_file(
            self.files[place],
            image_size=size,
            in_channels=channels,
            root=self.root,
            most_pixels=self.most_pixels,
            stamp=stamp,
        )


def _stacked(images: Sequence[Tensor | str]) -> Tensor | str:
    good = [image for image in images if isinstance(image, Tensor)]
    return (
        torch.stack(good) if len(good) == len(images) else next(one for one in images if isinstance(one, str))
    )


def default_workers() -> int:
    """One process for each core that this one may use, at most eight."""
    return min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def listed_stamps(files: Sequence[Picture], root: Path) -> IntArray:
    """What tells each file from another that may take its place, without opening it.

    Args:
        files: the pictures.
        root: the folder that messages name files relative to.

    Returns:
        N×2, a row for each file.

    Raises:
        DataError: files that are not there, or are none.
    """
    stamps_N2 = np.empty((len(files), 2), dtype=np.int64)
    problems = []
    last, status = Path(), os.stat_result([0] * 10)
    for place, path in enumerate(files):
        file = path if isinstance(path, Path) else path.file
        try:
            if file != last:  # many pictures may be in one
                last, status = file, file.stat()
            if not S_ISREG(status.st_mode):
                raise ValueError("not a regular file")  # noqa: TRY301
            stamps_N2[place] = stamp_of(status)
        except (OSError, ValueError) as error:
            problems.append(named(path, root, error))
    if problems:
        raise unreadable(problems, len(files), root)
    return stamps_N2
