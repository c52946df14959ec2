"""`load_data`: from the name of a data set to three parts in memory.

What to read is decided by labels alone (parts, subset, validation cut); only then are these images read.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from nas_prune.data.copies import notes_of_copies, same_files, same_pixels
from nas_prune.data.images import ImageData, ImageSet, Part, moments
from nas_prune.data.kinds import notes_of
from nas_prune.data.listing import shortened
from nas_prune.data.pictures import Picture
from nas_prune.data.source import Decoded, OnDecoded, Source
from nas_prune.data.sources import source_named
from nas_prune.data.split import IntArray, allocate, split_off, subset
from nas_prune.data.streamed import StreamedSet, default_workers, listed_stamps
from nas_prune.data.targets import Targets, TargetScale
from nas_prune.data.task import Task
from nas_prune.data.tasks import task_named
from nas_prune.errors import BadInputError, DataError
from nas_prune.runs.data_name import CLASSIFICATION

_FEW = 10  # images of a class
_MOST_BYTES = 8_000_000_000
STREAM_BYTES = 2_000_000_000  # decoded pixels of a folder beyond which its images stay in their files


@dataclass(frozen=True, slots=True, eq=False)
class _Parts:
    """Indices of the images of each part, within a source."""

    train: IntArray
    val: IntArray
    test: IntArray

    @property
    def in_order(self) -> tuple[IntArray, list[int]]:
        """All of them, part after part, and how many each part has."""
        parts = (self.train, self.val, self.test)
        return np.concatenate(parts), [*map(len, parts)]


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """The images of each part.

    Attributes:
        parts: training, validation, test.
        notes: what a person should know of them, in sentences.
        mean, std: of each channel of the training part, if they are known.
    """

    parts: tuple[Part, Part, Part]
    notes: tuple[str, ...]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


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
    task: Task | None = None,
) -> ImageData:
    """A data set in three parts, in memory or in its files.

    The test part is the same for every seed. The validation part is cut from the training images, class by
    class; images of one's own with both `val` and `test` keep theirs, and then `val_fraction` has no use.

    Args:
        name: one of `KNOWN_DATA`.
        image_size: pixels a side, at least 8; None for the data set's own size, and 32 for a person's own images.
        in_channels: 1 (grey) or 3 (colour); None for the data set's own, and 3 for a person's own images.
        seed: fixes the validation cut and the subset.
        val_fraction: share of the training images kept for validation, in (0, 0.5].
        max_images: keep this many training and validation images in all, chosen class by class; the test part
            is untouched.
        stream: whether a person's own images stay in their files and are decoded batch by batch, on other processes;
            None for what their number and size suggest (more than 2 GB decoded). The pixels are the same.
        data_dir: where downloads are kept; `~/.cache/nas-prune` when None.
        progress: called as (done, total) while images are decoded.
        task: what is to be learned of each image; classification if None.

    Raises:
        BadInputError: a name or a setting that cannot be used, also of `NAS_PRUNE_MOST_PIXELS`.
        DataError: images that are not there, cannot be read, or do not fit into memory.
    """
    _check_settings(image_size, in_channels, seed, val_fraction)
    task = task or task_named(CLASSIFICATION)
    source = source_named(name, data_dir, task.kind)
    parts = _chosen(source, np.random.default_rng(seed), val_fraction, max_images)
    if source.targets is None:
        _check_classes(source, parts)
    size, channels = image_size or source.image_size, in_channels or source.in_channels
    found = _found(source, parts, (channels, size, size), progress, stream)
    notes = (*source.notes, *_of_small_classes(source, parts), *found.notes, *_of_parts(source))
    data = ImageData(
        name,
        *found.parts,
        source.class_names,
        source.flip,
        found.mean,
        found.std,
        notes,
        held_out=source.held_out,
    )
    if source.targets is None:
        return data
    return replace(_with_targets(data, source.targets, parts, size, progress), task=task)


def _found(
    source: Source,
    parts: _Parts,
    shape: tuple[int, int, int],
    progress: OnDecoded | None,
    stream: bool | None,  # noqa: FBT001
) -> _Found:
    """The images, in memory or to be read out of their files as they are needed."""
    count, (channels, size, _) = len(parts.in_order[0]), shape
    if _streams(source, asked=stream, num_bytes=count * channels * size * size):
        return _streamed(source, parts, shape, progress)
    _check_memory(count, channels, size)
    return _read(source, parts, shape, progress)


def _with_targets(
    data: ImageData, targets: Targets, parts: _Parts, size: int, progress: OnDecoded | None
) -> ImageData:
    """The images with what else is to be learned of them; numbers with mean 0 and deviation 1 in the training part."""
    chosen, counts = parts.in_order
    if targets.kind == "mask":
        _check_memory(len(chosen), 1, size)
    train, val, test = targets.read(chosen, size, progress).split(counts)
    scale = TargetScale.of(train) if targets.kind == "numbers" else None
    if scale is not None:
        train, val, test = map(scale.scaled, (train, val, test))
    return replace(
        data,
        train=data.train.with_labels(train),
        val=data.val.with_labels(val),
        test=data.test.with_labels(test),
        scale=scale,
    )


def _of_parts(source: Source) -> tuple[str, ...]:
    """Which images are kept for testing, where a person has not said so."""
    of_each = " of each class" * (source.targets is None)
    return (f"There is no part for testing: a fifth{of_each} is kept for it.",) if source.keeps_fifth else ()


def _of_small_classes(source: Source, parts: _Parts) -> tuple[str, ...]:
    """A warning where a class has too few images to be learned, or to say anything about."""
    if source.targets is not None:
        return ()
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
        raise BadInputError(
            "--stream must come with --data folder:PATH, csv:FILE, hf:DIR or wds:DIR, got images that are read whole."
        )
    return bool(source.files) and (num_bytes > STREAM_BYTES if asked is None else asked)


def _streamed(
    source: Source, parts: _Parts, shape: tuple[int, int, int], _progress: OnDecoded | None
) -> _Found:
    """The parts in their files. What is said of pixels is of those that are decoded to know mean and deviation."""
    chosen, counts = parts.in_order
    files = tuple(source.files[place] for place in chosen)
    stamps_N2 = listed_stamps(files, source.root)
    ends = np.cumsum(counts)
    train, val, test = (
        StreamedSet(
            files[end - count : end],
            torch.from_numpy(source.labels[chosen[end - count : end]]),
            shape,
            source.root,
            workers=default_workers(),
            stamps=stamps_N2[end - count : end],
        )
        for count, end in zip(counts, ends, strict=True)
    )
    looked_at, sample = train.looked_at()
    mean, std = moments(sample.images)
    sizes = np.array(
        [stamps_N2[i, 0] if isinstance(file, Path) else file.size for i, file in enumerate(files)]
    )
    notes = _of_kinds(sample, [files[i] for i in looked_at], source.root, is_sample=True)
    copies = notes_of_copies(same_files(files, counts, sizes), source, chosen, counts)
    return _Found((train, val, test), (*notes, *copies), mean, std)


def _read(source: Source, parts: _Parts, shape: tuple[int, int, int], progress: OnDecoded | None) -> _Found:
    """The parts in memory."""
    chosen, counts = parts.in_order
    found = source.read(chosen, shape[1], shape[0], progress)
    labels = torch.from_numpy(source.labels[chosen]).split(counts)
    train, val, test = map(ImageSet, found.images.split(counts), labels)
    if not source.files and not source.is_own:
        return _Found((train, val, test), ())
    notes = () if source.is_own else _of_kinds(found, [source.files[place] for place in chosen], source.root)
    copies = notes_of_copies(same_pixels(found.images), source, chosen, counts)
    return _Found((train, val, test), (*notes, *copies))


def _of_kinds(
    found: Decoded, pictures: Sequence[Picture], root: Path, *, is_sample: bool = False
) -> tuple[str, ...]:
    return () if found.kinds_N is None else notes_of(found.kinds_N, pictures, root, is_sample=is_sample)


def _chosen(source: Source, rng: np.random.Generator, val_fraction: float, max_images: int | None) -> _Parts:
    least = _least_images(source)
    if max_images is not None and max_images < 2 * least:
        each = f", two for each of {least} classes" * (least > 1)
        raise BadInputError(f"--max-images must be at least {2 * least}{each}, got {max_images}.")
    if source.val is not None:
        train, val = _both_reduced(source, source.val, rng, max_images)
        return _Parts(train, val, source.test)
    pool = source.train
    if max_images is not None:
        pool = pool[subset(source.labels[pool], max_images, rng)]
    stay, held = split_off(source.labels[pool], val_fraction, rng)
    if not len(held):
        two = "two images" if source.targets is not None else "two images of some class"
        raise DataError(
            f"the training part must have {two}, got one{' of each' * (source.targets is None)}. Add images."
        )
    return _Parts(pool[stay], pool[held], source.test)


def _least_images(source: Source) -> int:
    """How many images a part must have: one of each class, where an image is of one."""
    return len(source.class_names) if source.targets is None else 1


def _both_reduced(
    source: Source, val: IntArray, rng: np.random.Generator, max_images: int | None
) -> tuple[IntArray, IntArray]:
    """The training and validation part a data set has itself, reduced alike to `max_images` in all."""
    counts = np.array([len(source.train), len(val)])
    if max_images is None or max_images >= counts.sum():
        return source.train, val
    least = np.array([_least_images(source), 1])
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
