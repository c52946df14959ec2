"""Reading image files into one tensor, on several threads."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from nas_prune.data.source import OnDecoded
from nas_prune.errors import DataError

_CHUNK = 64


def decode_files(
    paths: Sequence[Path], *, image_size: int, in_channels: int, root: Path, progress: OnDecoded | None = None
) -> Tensor:
    """The pictures in files, as squares of one size.

    Each is cut to its centred square and resized bilinearly with antialiasing; Pillow lets other threads
    run while it decodes. Transparency is dropped.

    Args:
        paths: the files.
        image_size: pixels a side.
        in_channels: 1 for grey, 3 for colour.
        root: the folder that messages name files relative to.
        progress: called as (done, total) after every few images.

    Returns:
        uint8, N×in_channels×image_size×image_size, in the order of `paths`.

    Raises:
        DataError: files that cannot be read; none is skipped.
    """
    pixels = np.empty((len(paths), in_channels, image_size, image_size), dtype=np.uint8)

    def decode_chunk(first: int) -> list[str]:
        chunk = range(first, min(first + _CHUNK, len(paths)))
        return [why for i in chunk if (why := _decode(paths[i], pixels[i], root))]

    starts = range(0, len(paths), _CHUNK)
    problems: list[str] = []
    with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:
        try:
            for first, found in zip(starts, pool.map(decode_chunk, starts), strict=True):
                problems += found
                if progress is not None:
                    progress(min(first + _CHUNK, len(paths)), len(paths))
        finally:  # an interrupt need not wait for the rest of the files
            pool.shutdown(cancel_futures=True)
    if problems:
        raise DataError(
            f"the images in {root} must be readable, but {len(problems)} of {len(paths)} are not: "
            f"{'; '.join(problems[:3])}{'; …' if len(problems) > 3 else ''}. Repair or remove them."
        )
    return torch.from_numpy(pixels)


def decode_file(path: Path, *, image_size: int, in_channels: int, root: Path) -> Tensor | str:
    """One picture as `decode_files` makes it, C×H×W; or why it cannot be read."""
    pixels = np.empty((in_channels, image_size, image_size), dtype=np.uint8)
    return _decode(path, pixels, root) or torch.from_numpy(pixels)


def _decode(path: Path, into: NDArray[np.uint8], root: Path) -> str | None:
    """Write one image, C×H×W; or say why it cannot be read."""
    channels, size, _ = into.shape
    try:
        square = _square(path, "L" if channels == 1 else "RGB", size)
    except Exception as error:  # noqa: BLE001  (decoders raise errors of many types; each is reported by name)
        return f"{path.relative_to(root)} ({_reason(error, path)})"
    into[...] = np.asarray(square).reshape(size, size, channels).transpose(2, 0, 1)
    return None


def _square(path: Path, mode: str, size: int) -> Image.Image:
    with Image.open(path) as image:
        # a large JPEG is decoded at 1/2, 1/4 or 1/8 of its size, but at least at twice the one wanted
        image.draft(mode, (2 * size, 2 * size))
        image.load()
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        return _in_mode(image, mode).resize(
            (size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side)
        )


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    """The image as 8-bit grey (`L`) or colour (`RGB`)."""
    if image.mode.startswith("I;16"):  # Pillow would clip 16 bits at 255 instead of scaling them
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert(mode)
    if image.mode in ("I", "F"):
        raise ValueError("32-bit pixels have no known range; save it with 8 or 16 bits")
    if image.mode == "P":  # through RGBA, or Pillow warns about transparent palettes
        return image.convert("RGBA").convert(mode)
    return image.convert(mode)


def _reason(error: Exception, path: Path) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    return " ".join(str(error).replace(str(path), path.name).split())[:100] or type(error).__name__
