"""Images in files that several processes map into their memory, so that there is one copy for all."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nas_prune.data.images import ImageData, ImageSet

_PARTS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class SharedImages:
    """A data set whose images in memory have been put into files.

    Attributes:
        data: the data set with empty parts in place of these images.
        folder: where the files are.
        names: the parts that are in files.
    """

    data: ImageData
    folder: Path
    names: tuple[str, ...]

    def attach(self) -> ImageData:
        """The data set, its images mapped from the files (changes stay with this process)."""
        parts: dict[str, Any] = {}
        for name in self.names:
            images, labels = (
                torch.from_numpy(np.load(self.folder / f"{name}-{what}.npy", mmap_mode="c"))
                for what in ("images", "labels")
            )
            parts[name] = ImageSet(images, labels)
        return replace(self.data, **parts)


def share(data: ImageData, folder: Path) -> SharedImages:
    """Write the images that are in memory into files of a folder."""
    parts: dict[str, Any] = {}
    for name in _PARTS:
        part = getattr(data, name)
        if isinstance(part, ImageSet):
            np.save(folder / f"{name}-images.npy", part.images.cpu().numpy())
            np.save(folder / f"{name}-labels.npy", part.labels.cpu().numpy())
            parts[name] = ImageSet(part.images[:0].clone(), part.labels[:0].clone())
    return SharedImages(replace(data, **parts), folder, tuple(parts))
