"""Reading image files into one tensor, on several threads.

Shape letters: C channels, H rows, W columns, N images.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from nas_prune.data.picture import MOST_BYTES, most_pixels, square
from nas_prune.data.semaphore import WeightedSemaphore
from nas_prune.data.source import OnDecoded
from nas_prune.errors import DataError
from nas_prune.runs.reading import open_regular
from nas_prune.runs.text import printable

_CHUNK = 64
_MOST_SAID = 150  # characters of a decoder's reason

Stamp = tuple[int, int]  # size of a file in bytes, and time of its last change in nanoseconds


def decode_files(
    paths: Sequence[Path], *, image_size: int, in_channels: int, root: Path, progress: OnDecoded | None = None
) -> Tensor:
    """The pictures in files, as squares of one size.

    Each is cut to its centred square and resized bilinearly with antialiasing; Pillow lets other threads
    run while it decodes. Transparency is dropped. All threads together hold about 500 MB, or one larger image.

    Args:
        paths: the files.
        image_size: pixels a side.
        in_channels: 1 for grey, 3 for colour.
        root: the folder that messages name files relative to.
        progress: called as (done, total) after every few images.

    Returns:
        uint8, N×in_channels×image_size×image_size, in the order of `paths`.

    Raises:
        BadInputError: `NAS_PRUNE_MOST_PIXELS` is no number.
        DataError: files that cannot be read; none is skipped.
    """
    pixels = np.empty((len(paths), in_channels, image_size, image_size), dtype=np.uint8)
    decoder, stopped = _Decoder(root, most_pixels()), Event()

    def decode_chunk(first: int) -> list[str]:
        problems = []
        for i in range(first, min(first + _CHUNK, len(paths))):
            if stopped.is_set():
                break
            if why := decoder.write(paths[i], pixels[i]):
                problems.append(why)
        return problems

    starts = range(0, len(paths), _CHUNK)
    problems: list[str] = []
    with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:
        try:
            for first, found in zip(starts, pool.map(decode_chunk, starts), strict=True):
                problems += found
                if progress is not None:
                    progress(min(first + _CHUNK, len(paths)), len(paths))
        finally:  # an interrupt need not wait for the rest of the files
            stopped.set()
            pool.shutdown(cancel_futures=True)
    if problems:
        raise unreadable(problems, len(paths), root)
    return torch.from_numpy(pixels)


def decode_file(
    path: Path,
    *,
    image_size: int,
    in_channels: int,
    root: Path,
    most_pixels: int,
    stamp: Stamp | None = None,
) -> Tensor | str:
    """One picture as `decode_files` makes it, C×H×W; or why it cannot be read.

    Args:
        path: the file.
        image_size: pixels a side.
        in_channels: 1 for grey, 3 for colour.
        root: the folder that a reason names the file relative to.
        most_pixels: how many it may have.
        stamp: what `stamp_of` said of the file that is meant; None for any.
    """
    pixels = np.empty((in_channels, image_size, image_size), dtype=np.uint8)
    return _Decoder(root, most_pixels).write(path, pixels, stamp) or torch.from_numpy(pixels)


def stamp_of(status: os.stat_result) -> Stamp:
    """What tells a file from another that has taken its place."""
    return status.st_size, status.st_mtime_ns


def unreadable(problems: Sequence[str], total: int, root: Path) -> DataError:
    """The error that names files which cannot be read, of so many in a folder."""
    return DataError(
        f"the images in {printable(str(root))} must be readable, but {len(problems)} of {total} are not: "
        f"{'; '.join(problems[:3])}{'; …' if len(problems) > 3 else ''}. Repair or remove them."
    )


def named(path: Path, root: Path, error: Exception) -> str:
    """A file and why it cannot be read, on one line."""
    return f"{printable(str(path.relative_to(root)))} ({_reason(error, path)})"


@dataclass(frozen=True, slots=True, eq=False)
class _Decoder:
    """Decodes images, on several threads at a time.

    Attributes:
        root: the folder that reasons name files relative to.
        most_pixels: how many an image may have.
        semaphore: bounds the bytes that all threads hold.
    """

    root: Path
    most_pixels: int
    semaphore: WeightedSemaphore = field(default_factory=lambda: WeightedSemaphore(MOST_BYTES))

    def write(self, path: Path, into: NDArray[np.uint8], stamp: Stamp | None = None) -> str | None:
        """Write one image, C×H×W; or say why it cannot be read."""
        channels, size, _ = into.shape
        mode = "L" if channels == 1 else "RGB"
        try:
            with open_regular(path) as stream:
                found = None if stamp is None else stamp_of(os.fstat(stream.fileno()))
                image = square(stream, mode, size, most_pixels=self.most_pixels, semaphore=self.semaphore)
        except Exception as error:  # noqa: BLE001  (decoders raise errors of many types; each is reported by name)
            return named(path, self.root, error)
        if found != stamp:
            return named(path, self.root, ValueError("changed since it was listed"))
        pixels = np.frombuffer(image.tobytes(), np.uint8)  # in less time than by NumPy's interface
        into[...] = pixels.reshape(size, size, channels).transpose(2, 0, 1)
        return None


def _reason(error: Exception, path: Path) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, IsADirectoryError):
        return "not a regular file"
    if isinstance(error, Image.DecompressionBombError):
        return "more pixels than Pillow decodes"
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    line = " ".join(said.replace(str(path), path.name).removeprefix("it is ").split())
    return printable(line[:_MOST_SAID]) or type(error).__name__
