"""Which image files a folder holds. Links are followed, and no folder is entered twice."""

import os
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from nas_prune.data.parts import part_called
from nas_prune.errors import DataError
from nas_prune.runs.text import printable

# What torchvision's ImageFolder reads, and what else Pillow does.
_EXTENSIONS = (
    ".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif", ".avif", ".jp2", ".jfif",
)  # fmt: skip
# What cameras and drawing programs write and is not read here; it is counted and named.
_OTHER_PICTURES = (
    ".heic",
    ".heif",
    ".svg",
    ".dng",
    ".cr2",
    ".cr3",
    ".nef",
    ".arw",
    ".raf",
    ".psd",
    ".jxl",
    ".xcf",
)
_NO_CLASSES = ("__MACOSX",)  # what one system's archives hold beside everything

_MOST_ENTRIES = 2_000_000  # in a class: more than in all of ImageNet

Entry = os.DirEntry[str]
Identity = tuple[int, int]  # device and inode


def is_folder(path: Path) -> bool:
    """Whether there is a folder, or a link to one, that can be reached."""
    try:
        return path.is_dir()
    except OSError:
        return False


def class_folders(folder: Path) -> list[str]:
    """The names of the folders in a folder, sorted, without those that begin with a dot.

    Raises:
        DataError: it cannot be read.
    """
    return sorted(
        entry.name
        for entry in _entries(folder)
        if not _is_hidden(entry) and entry.name not in _NO_CLASSES and _leads_to_folder(entry)
    )


def named_parts(folder: Path) -> dict[str, Path]:
    """The folders of the parts in a folder, by what they are: whatever capitals they are written in.

    Raises:
        DataError: two folders are of one part.
    """
    found: dict[str, Path] = {}
    for name in class_folders(folder):
        part = part_called(name)
        if part is None:
            continue
        if part in found:
            raise DataError(
                f"{printable(str(folder))} must have one folder for each part, got {found[part].name} and {name}. "
                "Put their images into one."
            )
        found[part] = folder / name
    return found


def said_of_left_out(folder: Path, parts: Collection[Path]) -> tuple[str, ...]:
    """What a person should know where folders beside those of the parts are not used."""
    others = [name for name in class_folders(folder) if folder / name not in parts]
    return (
        (f"Left out beside {', '.join(one.name for one in parts)}: {shortened(others)}.",) if others else ()
    )


def check_links(folder: Path) -> None:
    """Refuse links that lead nowhere in a folder of classes: a class would be missing unnoticed.

    Raises:
        DataError: there are some, or the folder cannot be read.
    """
    _refuse_lost([entry.name for entry in _entries(folder) if _is_lost(entry)], folder)


def image_files(folder: Path) -> list[Path]:
    """The files of a class with the name of an image, in its folder and below, sorted by their paths.

    What has such a name and is no file (a pipe, a folder without images) is listed as well, and cannot be read. A link
    back to a folder that holds this one is passed over.

    Raises:
        DataError: a folder that cannot be read, or a link that leads nowhere.
    """
    seen = set(_above(folder))
    found: list[str] = []
    odd: list[str] = []
    lost: list[str] = []
    waiting, linked = [str(folder)], list[str]()
    looked_at = 0
    while waiting or linked:
        where = waiting.pop() if waiting else linked.pop()
        if not _is_new(where, seen):
            continue
        inner = []
        for entry in _entries(where):
            looked_at += 1
            if looked_at > _MOST_ENTRIES:
                raise DataError(
                    f"{printable(str(folder))} must hold the images of a class, got more than {_MOST_ENTRIES:,} "
                    "names in it and below. Name the folder of the images."
                )
            is_image = entry.name.lower().endswith(_EXTENSIONS) and not _is_hidden(entry)
            if entry.name in _NO_CLASSES:
                continue
            if _leads_to_folder(entry):
                inner.append(entry)
                odd += [entry.path] * is_image
            elif is_image:
                found.append(entry.path)
            elif _is_lost(entry):
                lost.append(str(Path(entry.path).relative_to(folder)))
        inner.sort(key=lambda entry: entry.name, reverse=True)
        for entry in inner:
            (linked if entry.is_symlink() else waiting).append(entry.path)
    _refuse_lost(lost, folder)
    found.sort()
    found += [path for path in odd if not _has_below(found, path)]
    return [Path(path) for path in sorted(found)]


def holds_images(folder: Path) -> bool:
    """Whether there are images in a folder itself."""
    return any(
        entry.name.lower().endswith(_EXTENSIONS) and not _is_hidden(entry) for entry in _entries(folder)
    )


def other_pictures(folder: Path) -> list[Path]:
    """Pictures of a class in formats that are not read, sorted; not of folders that links lead to."""
    return sorted(
        Path(where) / name
        for where, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(_OTHER_PICTURES) and not name.startswith(".")
    )


def is_other_picture(path: Path) -> bool:
    """Whether a file is a picture, by its name, in a format that is not read."""
    return path.name.lower().endswith(_OTHER_PICTURES)


def shortened(names: Sequence[str]) -> str:
    """The first three names, and how many there are when there are more."""
    shown = ", ".join(map(printable, names[:3]))
    return shown + (f", … ({len(names)} in all)" if len(names) > 3 else "")


def _entries(folder: Path | str) -> Iterator[Entry]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError as error:
        raise DataError(
            f"the folders of the images must be readable, got {printable(str(folder))} ({error.strerror}). "
            "Make it readable or move it elsewhere."
        ) from None


def _is_hidden(entry: Entry) -> bool:
    return entry.name.startswith(".")


def _leads_to_folder(entry: Entry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or to where we may not go
        return False


def _is_lost(entry: Entry) -> bool:
    """Whether an entry is a link that leads nowhere; those with a dot in front are locks of editors."""
    if _is_hidden(entry) or not entry.is_symlink():
        return False
    try:
        entry.stat()
    except OSError:
        return True
    return False


def _refuse_lost(names: Sequence[str], folder: Path) -> None:
    if names:
        raise DataError(
            f"the links in {printable(str(folder))} must lead to a file or a folder, "
            f"got {shortened(sorted(names))}. Repair or remove them."
        )


def _above(folder: Path) -> Iterable[Identity]:
    """The folders that hold one, by its path and by that of where it really is."""
    for path in {*folder.parent.resolve().parents, folder.parent.resolve(), *folder.resolve().parents}:
        with suppress(OSError):
            yield _identity(path)


def _identity(path: Path | str) -> Identity:
    status = os.stat(path)  # noqa: PTH116  (of text too)
    return status.st_dev, status.st_ino


def _is_new(folder: str, seen: set[Identity]) -> bool:
    """Whether a folder was not seen before; it is now."""
    try:
        identity = _identity(folder)
    except OSError:
        return True  # it cannot be read either, and that is said
    is_new = identity not in seen
    seen.add(identity)
    return is_new


def _has_below(found_sorted: Sequence[str], folder: str) -> bool:
    place = bisect_left(found_sorted, folder + os.sep)
    return place < len(found_sorted) and found_sorted[place].startswith(folder + os.sep)
