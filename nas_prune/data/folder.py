"""Data sets in a folder: one sub-folder for each class, with or without a split into train, val and test."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from nas_prune.data.decode import decode_files
from nas_prune.data.listing import check_links, class_folders, image_files, is_folder, shortened
from nas_prune.data.source import OnDecoded, Source
from nas_prune.data.split import IntArray, split_off
from nas_prune.errors import DataError
from nas_prune.runs.text import printable

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
    if not is_folder(path):
        raise DataError(
            f"--data folder:PATH must name a folder, got {printable(str(path))}, {_state_of(path)}. "
            f"Give one laid out as {_LAYOUT}."
        )
    check_links(path)
    there = {name: path / name for name in ("test", "val") if is_folder(path / name)}
    if is_folder(path / "train") and (there or class_folders(path) == ["train"]):
        return (path / "train", *there.values())
    _refuse_parts_as_classes(path)
    return (path,)


def _state_of(path: Path) -> str:
    """What is wrong with a path that is no folder."""
    try:
        return "which is a file" if path.exists() else "which does not exist"
    except OSError as error:
        return f"which cannot be read ({error.strerror})"


def _refuse_parts_as_classes(path: Path) -> None:
    """Refuse a folder whose folders hold folders of classes: its parts have names we do not know."""
    names = class_folders(path)
    nested = [name for name in names if len(class_folders(path / name)) > 1]
    if names and len(nested) == len(names):
        raise DataError(
            f"the parts of a folder must be called train and test (or val), got {shortened(nested)} in "
            f"{printable(str(path))}. Rename them."
        )


def _indices(listings: Sequence[_Listing]) -> tuple[IntArray, IntArray, IntArray | None]:
    """Which of the files, part after part, are for training, testing and validation."""
    if len(listings) == 1:
        return *split_off(listings[0].labels, 0.2, np.random.default_rng(0), is_every_class_held=True), None
    ends = np.cumsum([len(listing.paths) for listing in listings])
    parts = np.split(np.arange(ends[-1]), ends[:-1])
    return parts[0], parts[1], parts[2] if len(parts) == 3 else None


def _listed(folder: Path) -> _Listing:
    check_links(folder)
    names, shown = class_folders(folder), printable(str(folder))
    files = [image_files(folder / name) for name in names]
    if not any(files):
        raise DataError(
            f"{shown} must hold images in one folder for each class, found none. Lay it out as {_LAYOUT}."
        )
    if len(names) == 1:
        raise DataError(
            f"{shown} must have at least two classes, got only {printable(names[0])!r}. Lay it out as {_LAYOUT}."
        )
    empty = [name for name, found in zip(names, files, strict=True) if not found]
    if empty:
        raise DataError(
            f"every class in {shown} must have images, got none for {shortened(empty)}. "
            "Add some or remove the folder."
        )
    labels = np.repeat(np.arange(len(names)), [len(found) for found in files])
    return _Listing(tuple(names), tuple(path for found in files for path in found), labels)


def _check_same_classes(train: _Listing, other: _Listing, folder: Path) -> None:
    missing = sorted(set(train.class_names) - set(other.class_names))
    extra = sorted(set(other.class_names) - set(train.class_names))
    if missing or extra:
        differences = [f"{shortened(missing)} missing"] * bool(missing) + [
            f"{shortened(extra)} not in train"
        ] * bool(extra)
        raise DataError(
            f"the classes of {printable(str(folder))} must be those of train, got {' and '.join(differences)}. "
            "Make the folders of both the same."
        )
