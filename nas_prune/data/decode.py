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

from nas_prune.data.kinds import Kind
from nas_prune.data.picture import MOST_BYTES, most_pixels, square
from nas_prune.data.pictures import Picture, Stamp, Stored, opened, shown
from nas_prune.data.semaphore import WeightedSemaphore
from nas_prune.data.source import Decoded, OnDecoded, Reader
from nas_prune.data.split import IntArray
from nas_prune.errors import DataError
from nas_prune.runs.text import printable

_CHUNK = 64
_MOST_SAID = 150  # characters of a decoder's reason
_CHANGED = "changed since it was listed"


def decode_files(
    paths: Sequence[Picture],
    *,
    image_size: int,
    in_channels: int,
    root: Path,
    progress: OnDecoded | None = None,
) -> Decoded:
    """The pictures in files, as squares of one size.

    Each is cut to its centred square and resized bilinearly with antialiasing; Pillow lets other threads
    run while it decodes. All threads together hold about 500 MB, or one larger image.

    Args:
        paths: the files, or parts of files.
        image_size: pixels a side.
        in_channels: 1 for grey, 3 for colour.
        root: the folder that messages name files relative to.
        progress: called as (done, total) after every few images.

    Returns:
        Images of in_channels×image_size×image_size, in the order of `paths`.

    Raises:
        BadInputError: `NAS_PRUNE_MOST_PIXELS` is no number.
        DataError: files that cannot be read; none is skipped.
    """
    pixels = np.empty((len(paths), in_channels, image_size, image_size), dtype=np.uint8)
    kinds_N = np.zeros(len(paths), dtype=np.uint8)
    decoder, stopped = _Decoder(root, most_pixels()), Event()

    def decode_chunk(first: int) -> list[str]:
        problems = []
        for i in range(first, min(first + _CHUNK, len(paths))):
            if stopped.is_set():
                break
            done = decoder.write(paths[i], pixels[i])
            if isinstance(done, str):
                problems.append(done)
            else:
                kinds_N[i] = done
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
    return Decoded(torch.from_numpy(pixels), kinds_N)


def file_reader(pictures: Sequence[Picture], root: Path) -> Reader:
    """A reader of pictures that are in files.

    Args:
        pictures: of every image.
        root: the folder that messages name files relative to.
    """

    def read(indices: IntArray, image_size: int, in_channels: int, progress: OnDecoded | None) -> Decoded:
        chosen = [pictures[i] for i in indices]
        return decode_files(
            chosen, image_size=image_size, in_channels=in_channels, root=root, progress=progress
        )

    return read


def decode_file(
    path: Picture,
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
    done = _Decoder(root, most_pixels).write(path, pixels, stamp)
    return done if isinstance(done, str) else torch.from_numpy(pixels)


def unreadable(problems: Sequence[str], total: int, root: Path, what: str = "images") -> DataError:
    """The error that names files which cannot be read, of so many in a folder."""
    return DataError(
        f"the {what} in {printable(str(root))} must be readable, but {len(problems)} of {total} are not: "
        f"{'; '.join(problems[:3])}{'; …' if len(problems) > 3 else ''}. Repair or remove them."
    )


def named(path: Picture, root: Path, error: Exception) -> str:
    """A file and why it cannot be read, on one line."""
    return f"{shown(path, root)} ({_reason(error, path)})"


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

    def write(self, path: Picture, into: NDArray[np.uint8], stamp: Stamp | None = None) -> Kind | str:
        """Write one image, C×H×W; what it does not keep of its file, or why it cannot be read."""
        channels, size, _ = into.shape
        mode = "L" if channels == 1 else "RGB"
        try:
            with opened(path) as (stream, found):
                if isinstance(path, Stored) and stamp not in (None, found):  # other bytes are there now
                    return named(path, self.root, ValueError(_CHANGED))
                image, kind = square(
                    stream, mode, size, most_pixels=self.most_pixels, semaphore=self.semaphore
                )
        except Exception as error:  # noqa: BLE001  (decoders raise errors of many types; each is reported by name)
            return named(path, self.root, error)
        if stamp not in (None, found):
            return named(path, self.root, ValueError(_CHANGED))
        pixels = np.frombuffer(image.tobytes(), np.uint8)  # in less time than by NumPy's interface
        into[...] = pixels.reshape(size, size, channels).transpose(2, 0, 1)
        return kind


def _reason(error: Exception, path: Picture) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, IsADirectoryError):
        return "not a regular file"
    if isinstance(error, Image.DecompressionBombError):
        return "more pixels than Pillow decodes"
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    line = " ".join(said.replace(str(path), path.name).removeprefix("it is ").split())
    return printable(line[:_MOST_SAID]) or type(error).__name__
