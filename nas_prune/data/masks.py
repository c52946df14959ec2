"""Photographs with masks: folders of images and, beside them, of pictures that say which class each pixel is of.

Shape letters: N images, H rows, W columns.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas_prune.data.decode import file_reader, named, unreadable
from nas_prune.data.listing import (
    class_folders,
    image_files,
    is_folder,
    named_parts,
    said_of_left_out,
    shortened,
)
from nas_prune.data.mask_picture import mask_in, mask_square, photograph_in
from nas_prune.data.parts import indices_of_parts, part_called, parts_used, said_of_parts
from nas_prune.data.picture import most_pixels
from nas_prune.data.source import Source
from nas_prune.data.split import IntArray
from nas_prune.data.targets import MOST_MASK_CLASSES, UNLABELLED, Targets
from nas_prune.errors import DataError
from nas_prune.runs.reading import open_regular, read_text
from nas_prune.runs.text import printable

_IMAGES = ("images", "image", "imgs", "img", "jpegimages", "photos")
_MASKS = ("masks", "mask", "labels", "annotations", "segmentationclass", "segmentations")
_NAMES = "classes.txt"
_LAYOUT = "PATH/train/images/*.jpg and PATH/train/masks/*.png, and the same in PATH/test; or PATH/images and PATH/masks"
_LOSSY = (".jpg", ".jpeg", ".jfif", ".webp", ".avif", ".jp2")
_ALL = 256
_MOST_UNNAMED = 64  # levels, or masks are taken for pictures


@dataclass(frozen=True, slots=True)
class _Pairs:
    """The images of one part and their masks, in order."""

    images: tuple[Path, ...]
    masks: tuple[Path, ...]


def mask_source(path: Path) -> Source:
    """The photographs under a folder and their masks, listed and not yet decoded.

    A mask has the name of its image but for the ending, and is a picture of one channel: of class numbers from 0, where
    255 counts nowhere, or of black and white. `classes.txt`, a name on each line, says what the classes are called.

    Raises:
        DataError: no such folder, images without masks, or masks that are none.
    """
    parts = _parts(path)
    pairs = [_paired(part) for part in parts]
    images = tuple(image for one in pairs for image in one.images)
    masks = tuple(mask for one in pairs for mask in one.masks)
    levels = _levels(masks, path)
    names, is_black_and_white = _classes(path, levels)
    zeros = [np.zeros(len(one.images), dtype=np.int64) for one in pairs]
    train, test, val = indices_of_parts(zeros)

    def read(indices: IntArray, size: int, progress: Callable[[int, int], None] | None) -> Tensor:
        chosen = [(images[place], masks[place]) for place in indices]
        found = _decoded(chosen, size, path, progress)
        if is_black_and_white:
            found[found == UNLABELLED] = 1
        return found

    return Source(
        np.concatenate(zeros),
        train,
        test,
        val,
        class_names=names,
        flip=True,
        image_size=64,
        in_channels=3,
        read=file_reader(images, path),
        files=images,
        root=path,
        notes=(
            *(said_of_left_out(path, parts) if parts != [path] else ()),
            *said_of_parts([part_called(part.name) or "" for part in parts]),
            *_of_unseen(names, levels),
        ),
        keeps_fifth=len(pairs) == 1,
        targets=Targets("mask", read),
    )


def refuse_masks(path: Path) -> None:
    """Refuse to take images and masks for two classes.

    Raises:
        DataError: that is how the folder is laid out.
    """
    if not is_folder(path):
        return
    for folder in (path, *_folders(path)):
        names = class_folders(folder)
        if len(names) == 2 and _named(folder, _IMAGES) and _named(folder, _MASKS):
            raise DataError(
                f"the classes in {printable(str(folder))} must not be images and masks, got {' and '.join(names)}. "
                "For masks there is --task segmentation; if they are classes, rename the folders."
            )


def _folders(path: Path) -> Iterator[Path]:
    return (path / name for name in class_folders(path))


def _named(folder: Path, names: Sequence[str]) -> Path | None:
    return next((one for one in _folders(folder) if one.name.lower() in names), None)


def _parts(path: Path) -> list[Path]:
    if not is_folder(path):
        raise DataError(
            f"--data folder:PATH must name a folder, got {printable(str(path))}. Give one laid out as {_LAYOUT}."
        )
    there = named_parts(path)
    if "train" in there:
        return [there[part] for part in parts_used(there)]
    return [path]


def _paired(part: Path) -> _Pairs:
    images, masks = _named(part, _IMAGES), _named(part, _MASKS)
    if images is None or masks is None:
        raise DataError(
            f"{printable(str(part))} must hold a folder images and a folder masks, got "
            f"{shortened(class_folders(part)) or 'none'}. Lay it out as {_LAYOUT}."
        )
    photographs, by_stem = image_files(images), dict[Path, Path]()
    for mask in image_files(masks):
        stem = mask.relative_to(masks).with_suffix("")
        if stem in by_stem:
            raise DataError(
                f"an image must have one mask, got {printable(mask.name)} and {printable(by_stem[stem].name)} in "
                f"{printable(str(masks))}. Take one out."
            )
        by_stem[stem] = mask
    stems = [photograph.relative_to(images).with_suffix("") for photograph in photographs]
    missing = [str(stem) for stem in stems if stem not in by_stem]
    if missing or not stems:
        got = f"none for {shortened(missing)}" if missing else "no images"
        raise DataError(f"every image in {printable(str(images))} must have a mask of its name, got {got}.")
    if len(set(stems)) < len(stems):
        twice = sorted({str(stem) for stem in stems if stems.count(stem) > 1}) if len(stems) < 10_000 else []
        raise DataError(
            f"images in {printable(str(images))} must differ in more than their endings: {shortened(twice)}."
        )
    used = tuple(by_stem[stem] for stem in stems)
    lossy = [mask.name for mask in used if mask.suffix.lower() in _LOSSY]
    if lossy:
        raise DataError(
            f"masks must be stored without loss, such as PNG, got {shortened(lossy)} in {printable(str(masks))}: what "
            "such files blur are class numbers."
        )
    return _Pairs(tuple(photographs), used)


def _levels(masks: Sequence[Path], root: Path) -> NDArray[np.int64]:
    """How many pixels of all masks have each of the 256 levels."""
    most, problems, total = most_pixels(), list[str](), np.zeros(_ALL, dtype=np.int64)

    def counted(path: Path) -> NDArray[np.int64] | str:
        try:
            with open_regular(path) as stream:
                return np.array(mask_in(stream, most_pixels=most).histogram()[:_ALL], dtype=np.int64)
        except Exception as error:  # noqa: BLE001  (decoders raise errors of many types; each is reported by name)
            return named(path, root, error)

    with _threads() as pool:
        for found in pool.map(counted, masks):
            if isinstance(found, str):
                problems.append(found)
            else:
                total += found
    if problems:
        raise unreadable(problems, len(masks), root, what="masks")
    return total


def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1)))


def _classes(path: Path, levels: NDArray[np.int64]) -> tuple[tuple[str, ...], bool]:
    """The names of the classes, and whether masks are black and white."""
    there = np.flatnonzero(levels)
    is_black_and_white = set(there.tolist()) == {0, UNLABELLED}
    largest = (
        1 if is_black_and_white else max((int(level) for level in there if level != UNLABELLED), default=0)
    )
    given = _given_names(path / _NAMES)
    names = given or tuple(str(number) for number in range(largest + 1))
    if len(there) > _MOST_UNNAMED and not given:
        raise DataError(
            f"the masks in {printable(str(path))} must be of class numbers, got {len(there)} levels, as pictures have. "
            f"If they are so many classes, name them in {_NAMES}."
        )
    if len(names) <= largest:
        raise DataError(
            f"{printable(str(path / _NAMES))} must name every class of the masks, got {len(names)} names and a pixel "
            f"of class {largest}."
        )
    if not 2 <= len(names) <= MOST_MASK_CLASSES:
        raise DataError(
            f"the masks in {printable(str(path))} must be of 2 to {MOST_MASK_CLASSES} classes, got {len(names)}: a "
            "pixel's level is its class, from 0; 255 counts nowhere."
        )
    return names, is_black_and_white


def _of_unseen(names: Sequence[str], levels: NDArray[np.int64]) -> tuple[str, ...]:
    """A note where classes are on no pixel."""
    unseen = [printable(name) for number, name in enumerate(names) if not levels[number]]
    if levels[1:UNLABELLED].sum() == 0 or not unseen:  # black and white masks have other levels
        return ()
    return (f"On no pixel of any mask: {shortened(unseen)}; nothing is learned of such a class.",)


def _given_names(file: Path) -> tuple[str, ...]:
    if not file.exists():
        return ()
    try:
        names = tuple(line.strip() for line in read_text(file).splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{printable(str(file))} must be text that can be read, got: {error}.") from None
    if len(set(names)) < len(names):
        raise DataError(f"{printable(str(file))} must name each class once.")
    return names


def _decoded(
    pairs: Sequence[tuple[Path, Path]], size: int, root: Path, progress: Callable[[int, int], None] | None
) -> Tensor:
    """The masks of some images, cut and resized as these are: uint8, N×H×W."""
    masks_NHW = np.empty((len(pairs), size, size), dtype=np.uint8)
    most, stopped, problems = most_pixels(), Event(), list[str]()

    def write(place: int) -> str | None:
        image, mask = pairs[place]
        if stopped.is_set():
            return None
        try:
            with open_regular(image) as stream:
                photograph = photograph_in(stream)
            with open_regular(mask) as stream:
                whole = mask_in(stream, most_pixels=most)
            masks_NHW[place] = np.asarray(mask_square(whole, size, photograph))
        except Exception as error:  # noqa: BLE001  (as above)
            return named(mask, root, error)
        return None

    with _threads() as pool:
        try:
            for done, problem in enumerate(pool.map(write, range(len(pairs))), 1):
                problems += [problem] if problem else []
                if progress is not None and (done % 64 == 0 or done == len(pairs)):
                    progress(done, len(pairs))
        finally:
            stopped.set()
            pool.shutdown(cancel_futures=True)
    if problems:
        raise unreadable(problems, len(pairs), root, what="masks")
    return torch.from_numpy(masks_NHW)
