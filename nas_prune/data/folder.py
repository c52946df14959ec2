"""Data sets in a folder: one sub-folder for each class, with or without a split into train, val and test."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from nas_prune.data.decode import decode_files
from nas_prune.data.source import OnDecoded, Source
from nas_prune.data.split import IntArray, split_off
from nas_prune.errors import DataError

# what torchvision's ImageFolder reads
_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
_LAYOUT = "PATH/CLASS/*.jpg, or PATH/train/CLASS/*.jpg and PATH/test/CLASS/*.jpg"


@dataclass(frozen=True, slots=True)
class _Listing:
    """The image files of one part, class by class, and the label of each."""

    class_names: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: IntArray


def folder_source(path: Path) -> Source:
    """The images under `path`, listed and not yet decoded.

    `train/` and `test/` are the parts; so is `val/` where all three exist. With `val/` and no `test/`, `val/`
    is the test part; with neither, a fixed fifth of each class is. Names with a dot in front are skipped.

    Raises:
        DataError: no such folder, no images, one class only, or classes that differ between the parts.
    """
    listings = [_listed(part) for part in _parts(path)]
    for part, listing in zip(_parts(path)[1:], listings[1:], strict=True):
        _check_same_classes(listings[0], listing, part)
    labels = np.concatenate([listing.labels for listing in listings])
    train, test, val = _indices(listings)
    paths = [file for listing in listings for file in listing.paths]

    def read(indices: IntArray, image_size: int, in_channels: int, progress: OnDecoded | None) -> Tensor:
        chosen = [paths[i] for i in indices]
        return decode_files(
            chosen, image_size=image_size, in_channels=in_channels, root=path, progress=progress
        )

    return Source(
        labels,
        train,
        test,
        val,
        class_names=listings[0].class_names,
        flip=True,
        image_size=32,
        in_channels=3,
        read=read,
        files=tuple(paths),
        root=path,
    )


def _parts(path: Path) -> tuple[Path, ...]:
    """The folders of the training, test and validation part, as far as they exist, in that order."""
    if not path.is_dir():
        state = "which is a file" if path.exists() else "which does not exist"
        raise DataError(
            f"--data folder:PATH must name a folder, got {path}, {state}. Give one laid out as {_LAYOUT}."
        )
    there = {name: path / name for name in ("test", "val") if (path / name).is_dir()}
    if (path / "train").is_dir() and (there or _class_folders(path) == ["train"]):
        return (path / "train", *there.values())
    _refuse_parts_as_classes(path)
    return (path,)


def _refuse_parts_as_classes(path: Path) -> None:
    """Refuse a folder whose folders hold folders of classes: its parts have names we do not know."""
    names = _class_folders(path)
    nested = [name for name in names if len(_class_folders(path / name)) > 1]
    if names and len(nested) == len(names):
        raise DataError(
            f"the parts of a folder must be called train and test (or val), got {shortened(nested)} in {path}. "
            "Rename them."
        )


def _indices(listings: Sequence[_Listing]) -> tuple[IntArray, IntArray, IntArray | None]:
    """Which of the files, part after part, are for training, testing and validation."""
    if len(listings) == 1:
        return *split_off(listings[0].labels, 0.2, np.random.default_rng(0), is_every_class_held=True), None
    ends = np.cumsum([len(listing.paths) for listing in listings])
    parts = np.split(np.arange(ends[-1]), ends[:-1])
    return parts[0], parts[1], parts[2] if len(parts) == 3 else None


def _listed(folder: Path) -> _Listing:
    names = _class_folders(folder)
    files = [_image_files(folder / name) for name in names]
    if not any(files):
        raise DataError(
            f"{folder} must hold images in one folder for each class, found none. Lay it out as {_LAYOUT}."
        )
    if len(names) == 1:
        raise DataError(
            f"{folder} must have at least two classes, got only {names[0]!r}. Lay it out as {_LAYOUT}."
        )
    empty = [name for name, found in zip(names, files, strict=True) if not found]
    if empty:
        raise DataError(
            f"every class in {folder} must have images, got none for {shortened(empty)}. "
            "Add some or remove the folder."
        )
    labels = np.repeat(np.arange(len(names)), [len(found) for found in files])
    return _Listing(tuple(names), tuple(path for found in files for path in found), labels)


def _class_folders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _image_files(folder: Path) -> list[Path]:
    found = (
        os.path.join(where, name)  # noqa: PTH118  (ten times faster than Path for 50,000 files)
        for where, _, names in os.walk(folder, followlinks=True)
        for name in names
        if name.lower().endswith(_EXTENSIONS) and not name.startswith(".")
    )
    return [Path(path) for path in sorted(found)]


def _check_same_classes(train: _Listing, other: _Listing, folder: Path) -> None:
    missing = sorted(set(train.class_names) - set(other.class_names))
    extra = sorted(set(other.class_names) - set(train.class_names))
    if missing or extra:
        differences = [f"{shortened(missing)} missing"] * bool(missing) + [
            f"{shortened(extra)} not in train"
        ] * bool(extra)
        raise DataError(
            f"the classes of {folder} must be those of train, got {' and '.join(differences)}. "
            "Make the folders of both the same."
        )


def shortened(names: Sequence[str]) -> str:
    """The first three names, and how many there are when there are more."""
    return ", ".join(names[:3]) + (f", … ({len(names)} in all)" if len(names) > 3 else "")
