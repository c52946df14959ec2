"""`load_data`: from the name of a data set to three parts in memory.

What to read is decided by labels alone (parts, subset, validation cut); only then are these images read.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import numpy as np
import torch

from nas_prune.data.folder import folder_source
from nas_prune.data.images import ImageData, ImageSet, Part
from nas_prune.data.listing import is_folder, shortened
from nas_prune.data.named import digits_source, downloaded_source
from nas_prune.data.source import OnDecoded, Source
from nas_prune.data.split import IntArray, allocate, split_off, subset
from nas_prune.data.streamed import StreamedSet, default_workers, listed_stamps
from nas_prune.errors import BadInputError, DataError
from nas_prune.runs.directory import expanded

KNOWN_DATA: dict[str, str] = {
    "digits": "1,797 real 8×8 scans of digits, grey; comes with scikit-learn, no download",
    "cifar10": "60,000 32×32 photographs of 10 kinds of things, colour; 170 MB download",
    "cifar100": "60,000 32×32 photographs of 100 kinds of things, colour; 170 MB download",
    "mnist": "70,000 28×28 scans of digits, grey; 12 MB download",
    "fashion-mnist": "70,000 28×28 pictures of clothing, grey; 30 MB download",
    "svhn": "99,289 32×32 photographs of house numbers, colour; 250 MB download",
    "folder:PATH": "your own images: PATH/train/CLASS/*.jpg and PATH/test/CLASS/*.jpg, or PATH/CLASS/*.jpg",
}

_FEW = 10  # images of a class
_MOST_BYTES = 8_000_000_000
STREAM_BYTES = 2_000_000_000  # decoded pixels of a folder beyond which its images stay in their files


@dataclass(frozen=True, slots=True, eq=False)
class _Parts:
    """Indices of the images of each part, within a source."""

    train: IntArray
    val: IntArray
    test: IntArray


def load_data(  # noqa: PLR0913  (all but the first by keyword)
    name: str,
    *,
    image_size: int | None = None,
    in_channels: int | None = None,
    seed: int = 0,
    val_fraction: float = 0.1,
    max_images: int | None = None,
    stream: bool | None = None,
    data_dir: Path | None = None,
    progress: OnDecoded | None = None,
) -> ImageData:
    """A data set in three parts, in memory or in its files.

    The test part is the same for every seed. The validation part is cut from the training images, class by
    class; a folder that has both `val/` and `test/` keeps its own, and then `val_fraction` has no use.

    Args:
        name: one of `KNOWN_DATA`, or `folder:PATH`.
        image_size: pixels a side, at least 8; None for the data set's own size, and 32 for folders.
        in_channels: 1 (grey) or 3 (colour); None for the data set's own, and 3 for folders.
        seed: fixes the validation cut and the subset.
        val_fraction: share of the training images kept for validation, in (0, 0.5].
        max_images: keep this many training and validation images in all, chosen class by class; the test part
            is untouched.
        stream: whether a folder's images stay in their files and are decoded batch by batch, on other processes; None
            for what their number and size suggest (more than 2 GB decoded). The pixels are the same.
        data_dir: where downloads are kept; `~/.cache/nas-prune` when None.
        progress: called as (done, total) while the images of a folder are decoded.

    Raises:
        BadInputError: a name or a setting that cannot be used, also of `NAS_PRUNE_MOST_PIXELS`.
        DataError: images that are not there, cannot be read, or do not fit into memory.
    """
    _check_settings(image_size, in_channels, seed, val_fraction)
    source = _source(name, data_dir)
    parts = _chosen(source, np.random.default_rng(seed), val_fraction, max_images)
    _check_classes(source, parts)
    size, channels = image_size or source.image_size, in_channels or source.in_channels
    count = sum(map(len, (parts.train, parts.val, parts.test)))
    if _streams(source, asked=stream, num_bytes=count * channels * size * size):
        train, val, test = _streamed(source, parts, (channels, size, size))
    else:
        _check_memory(count, channels, size)
        train, val, test = _read(source, parts, (channels, size, size), progress)
    notes = (*source.notes, *_of_small_classes(source, parts))
    return ImageData(name, train, val, test, source.class_names, source.flip, notes=notes)


def _of_small_classes(source: Source, parts: _Parts) -> tuple[str, ...]:
    """A warning where a class has too few images to be learned, or to say anything about."""
    counts = np.bincount(source.labels[parts.train], minlength=len(source.class_names))
    small = [f"{source.class_names[label]} ({counts[label]})" for label in np.flatnonzero(counts < _FEW)]
    if not small:
        return ()
    return (
        f"Fewer than {_FEW} training images: {shortened(small)}; what is found of such a class is chance.",
    )


def half_of_memory() -> int:
    """Bytes; what images take twice over is not left for anything else."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):  # not to be had from this system
        return _MOST_BYTES


def _streams(source: Source, *, asked: bool | None, num_bytes: int) -> bool:
    if asked and not source.files:
        raise BadInputError("--stream must come with --data folder:PATH, got a data set that is one file.")
    return bool(source.files) and (num_bytes > STREAM_BYTES if asked is None else asked)


def _streamed(source: Source, parts: _Parts, shape: tuple[int, int, int]) -> list[Part]:
    places = (parts.train, parts.val, parts.test)
    files = tuple(source.files[place] for place in np.concatenate(places))
    stamps_N2 = listed_stamps(files, source.root)
    ends = np.cumsum([len(part) for part in places])
    return [
        StreamedSet(
            files[end - len(part) : end],
            torch.from_numpy(source.labels[part]),
            shape,
            source.root,
            workers=default_workers(),
            stamps=stamps_N2[end - len(part) : end],
        )
        for part, end in zip(places, ends, strict=True)
    ]


def _read(
    source: Source, parts: _Parts, shape: tuple[int, int, int], progress: OnDecoded | None
) -> list[Part]:
    places = (parts.train, parts.val, parts.test)
    images = source.read(np.concatenate(places), shape[1], shape[0], progress).split([*map(len, places)])
    labels = [torch.from_numpy(source.labels[part]) for part in places]
    return [*map(ImageSet, images, labels)]


def _source(name: str, data_dir: Path | None) -> Source:
    kind, _, path = name.partition(":")
    if kind == "folder" and path:
        return folder_source(expanded(path))
    if name not in KNOWN_DATA or kind == "folder":
        hint = (
            f" There is a folder of that name: --data {quote(f'folder:{name}')}."
            if is_folder(Path(name))
            else ""
        )
        raise BadInputError(f"--data must be one of {', '.join(KNOWN_DATA)}, got {name!r}.{hint}")
    if name == "digits":
        return digits_source()
    return downloaded_source(name, data_dir or Path.home() / ".cache" / "nas-prune")


def _chosen(source: Source, rng: np.random.Generator, val_fraction: float, max_images: int | None) -> _Parts:
    num_classes = len(source.class_names)
    if max_images is not None and max_images < 2 * num_classes:
        raise BadInputError(
            f"--max-images must be at least {2 * num_classes}, two for each of {num_classes} classes, "
            f"got {max_images}."
        )
    if source.val is not None:
        train, val = _both_reduced(source, source.val, rng, max_images)
        return _Parts(train, val, source.test)
    pool = source.train
    if max_images is not None:
        pool = pool[subset(source.labels[pool], max_images, rng)]
    stay, held = split_off(source.labels[pool], val_fraction, rng)
    if not len(held):
        raise DataError("the training part must have two images of some class, got one of each. Add images.")
    return _Parts(pool[stay], pool[held], source.test)


def _both_reduced(
    source: Source, val: IntArray, rng: np.random.Generator, max_images: int | None
) -> tuple[IntArray, IntArray]:
    """The training and validation part a data set has itself, reduced alike to `max_images` in all."""
    counts = np.array([len(source.train), len(val)])
    if max_images is None or max_images >= counts.sum():
        return source.train, val
    least = np.array([len(source.class_names), 1])
    num_train, num_val = allocate(counts, max_images, least_K=least, most_K=counts)
    train = source.train[subset(source.labels[source.train], int(num_train), rng)]
    return train, val[subset(source.labels[val], int(num_val), rng)]


def _check_settings(image_size: int | None, in_channels: int | None, seed: int, val_fraction: float) -> None:
    if image_size is not None and image_size < 8:
        raise BadInputError(f"--image-size must be at least 8, got {image_size}.")
    if in_channels not in (None, 1, 3):
        raise BadInputError(f"in_channels must be 1 (grey) or 3 (colour), got {in_channels}.")
    if seed < 0:
        raise BadInputError(f"--seed must be 0 or more, got {seed}.")
    if not 0 < val_fraction <= 0.5:
        raise BadInputError(f"val_fraction must be above 0 and at most 0.5, got {val_fraction}.")


def _check_classes(source: Source, parts: _Parts) -> None:
    for part, indices in (("training", parts.train), ("test", parts.test)):
        counts = np.bincount(source.labels[indices], minlength=len(source.class_names))
        missing = [source.class_names[label] for label in np.flatnonzero(counts == 0)]
        if missing:
            raise DataError(
                f"the {part} part must have images of every class, got none of {shortened(missing)}. "
                "Add images of them (two of a class at least) or leave the class out."
            )


def _check_memory(count: int, channels: int, size: int) -> None:
    num_bytes, most = count * channels * size * size, min(_MOST_BYTES, half_of_memory())
    if num_bytes > most:
        raise DataError(
            f"the images must fit into {most / 1e9:.1f} GB, got {count:,} of {channels}×{size}×{size}: "
            f"{num_bytes / 1e9:.1f} GB. Use a smaller --image-size, or fewer with --max-images."
        )
