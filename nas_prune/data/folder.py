"""Data sets in a folder: one sub-folder for each class, with or without a split into train, val and test."""

import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas_prune.data.decode import file_reader
from nas_prune.data.listing import (
    Identity,
    check_links,
    class_folders,
    holds_images,
    image_files,
    is_folder,
    named_parts,
    other_pictures,
    said_of_left_out,
    shortened,
)
from nas_prune.data.parts import indices_of_parts, part_called, parts_used, said_of_parts
from nas_prune.data.source import Source
from nas_prune.data.split import IntArray
from nas_prune.errors import DataError
from nas_prune.runs.text import printable

_MOST_WRAPPERS = 4
_LAYOUT = "PATH/CLASS/*.jpg, or PATH/train/CLASS/*.jpg and PATH/test/CLASS/*.jpg"


@dataclass(frozen=True, slots=True)
class _Listing:
    """One part.

    Attributes:
        class_names: in order.
        paths: its image files, class by class.
        labels: of each.
        others: pictures that are not read.
        again: how many names lead to files that are there already.
    """

    class_names: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: IntArray
    others: tuple[Path, ...]
    again: int


def folder_source(path: Path) -> Source:
    """The images under `path`, listed and not yet decoded.

    `train/` and `test/` are the parts; so is `val/` (`valid`, `validation`, `dev`) where all three exist. With `val/`
    and no `test/`, `val/` is the test part; with neither, a fixed fifth of each class is. Capitals do not matter. A
    folder that holds nothing but another folder stands for that one. Names with a dot in front are skipped.

    Raises:
        DataError: no such folder, no images, one class only, or classes that differ between the parts.
    """
    parts, seen = _parts(path), set[Identity]()
    listings = [_listed(part, seen) for part in parts]
    for part, listing in zip(parts[1:], listings[1:], strict=True):
        _check_same_classes(listings[0], listing, part)
    labels = np.concatenate([listing.labels for listing in listings])
    train, test, val = indices_of_parts([listing.labels for listing in listings])
    paths = tuple(file for listing in listings for file in listing.paths)
    return Source(
        labels,
        train,
        test,
        val,
        class_names=listings[0].class_names,
        flip=True,
        image_size=32,
        in_channels=3,
        read=file_reader(paths, path),
        files=paths,
        root=path,
        notes=(
            *_notes(path, parts, listings),
            *said_of_parts([part_called(part.name) or "" for part in parts]),
        ),
        keeps_fifth=len(listings) == 1,
    )


def _notes(path: Path, parts: Sequence[Path], listings: Sequence[_Listing]) -> tuple[str, ...]:
    """What a person should know of a folder before its images are used."""
    notes, others = list[str](), [path for listing in listings for path in listing.others]
    home = _unwrapped(path)
    if len(parts) > 1:
        notes += said_of_left_out(home, parts)
    if home != path:
        notes.append(f"The images are those in {printable(str(home))}.")
    if again := sum(listing.again for listing in listings):
        notes.append(f"Passed over: {again} links to images that are there already.")
    if others:
        notes.append(f"Left out: {_kinds(others)}.")
    return tuple(notes)


def _parts(path: Path) -> tuple[Path, ...]:
    """The folders of the training, test and validation part, as far as they exist, in that order."""
    if not is_folder(path):
        raise DataError(
            f"--data folder:PATH must name a folder, got {printable(str(path))}, {_state_of(path)}. "
            f"Give one laid out as {_LAYOUT}."
        )
    path = _unwrapped(path)
    check_links(path)
    there = named_parts(path)
    used = parts_used(there)
    if "train" in there and (len(used) > 1 or class_folders(path) == [there["train"].name]):
        return tuple(there[part] for part in used)
    _refuse_parts_as_classes(path)
    _refuse_train_as_class(path, there)
    return (path,)


def _unwrapped(path: Path) -> Path:
    """The folder itself, or the only one in it as often as there is only one: archives are unpacked so."""
    for _ in range(_MOST_WRAPPERS):
        names = class_folders(path)
        if (
            holds_images(path)
            or len(names) != 1
            or part_called(names[0])
            or len(class_folders(path / names[0])) < 1
        ):
            return path
        path /= names[0]
    return path


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


def _refuse_train_as_class(path: Path, there: Mapping[str, Path]) -> None:
    """Refuse `train`, a folder of folders, beside others that are no parts: it would be a class of images.

    Raises:
        DataError: it is so.
    """
    train = there.get("train")
    if train is None or holds_images(train) or len(class_folders(train)) < 2:
        return
    others = [name for name in class_folders(path) if name != train.name]
    raise DataError(
        f"{printable(str(path))} must hold {train.name} alone or beside test (or val), got {shortened(others)}. If "
        f"that is a part, rename it; if it is none, take it out or type --data folder:{printable(str(train))}."
    )


def _listed(folder: Path, seen: set[Identity]) -> _Listing:
    check_links(folder)
    names, shown = class_folders(folder), printable(str(folder))
    listed = [image_files(folder / name) for name in names]
    files = [_new_ones(own, seen) for own in listed]
    others = [path for name in names for path in other_pictures(folder / name)]
    if not any(files):
        also = f" but {_kinds(others)}" if others else ""
        raise DataError(
            f"{shown} must hold images in one folder for each class, found none{also}. Lay it out as {_LAYOUT}."
        )
    if len(names) == 1:
        raise DataError(
            f"{shown} must have at least two classes, got only {printable(names[0])!r}. Lay it out as {_LAYOUT}."
        )
    _refuse_empty([name for name, found in zip(names, files, strict=True) if not found], folder, others)
    labels = np.repeat(np.arange(len(names)), [len(found) for found in files])
    again = sum(map(len, listed)) - sum(map(len, files))
    return _Listing(
        tuple(names), tuple(path for found in files for path in found), labels, tuple(others), again
    )


def _new_ones(files: Sequence[Path], seen: set[Identity]) -> list[Path]:
    """Those that are no links to files which are there already; all are seen now."""
    found = []
    for path in files:
        try:
            status = path.stat()
        except OSError:  # it cannot be read either, and that is said
            found.append(path)
            continue
        identity = (status.st_dev, status.st_ino)
        if identity not in seen or stat.S_ISDIR(status.st_mode):
            found.append(path)
        seen.add(identity)
    return found


def _refuse_empty(empty: Sequence[str], folder: Path, others: Sequence[Path]) -> None:
    """Refuse classes without images, and say why they seem to have none.

    Raises:
        DataError: there are some.
    """
    if empty:
        shown, own = (
            printable(str(folder)),
            [path for path in others if path.relative_to(folder).parts[0] in empty],
        )
        why = f" They hold {_kinds(own)}. Convert them." if own else " Add some or remove the folder."
        raise DataError(f"every class in {shown} must have images, got none for {shortened(empty)}.{why}")


def _kinds(others: Sequence[Path]) -> str:
    """Pictures that are not read, counted and named."""
    kinds = ", ".join(sorted({path.suffix.lower() for path in others}))
    return f"{len(others)} in formats that are not read ({kinds}), such as {printable(others[0].name)}"


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


def labelled_images(path: Path) -> tuple[list[tuple[str, list[Path]]], bool]:
    """The images to check a network with, class by class: of the test part where there is one, of all otherwise.

    Returns:
        Each class with its images, and whether it is the test part.

    Raises:
        DataError: no such folder.
    """
    parts = _parts(path)
    part = parts[min(1, len(parts) - 1)]
    return [(name, image_files(part / name)) for name in class_folders(part)], len(parts) > 1
