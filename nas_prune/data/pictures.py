"""Where the bytes of a picture are: in a file of its own, or in one that holds many."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, cast

from nas_prune.runs.reading import open_regular
from nas_prune.runs.text import printable

Stamp = tuple[int, int]  # size of a file in bytes, and time of its last change in nanoseconds


@dataclass(frozen=True, slots=True)
class Stored:
    """A picture in a file that holds many.

    Attributes:
        file: which.
        start, size: the bytes of it, as a picture's own file would have them.
        part: the directory of the part that it belongs to.
        row: its place in the part.
    """

    file: Path
    start: int
    size: int
    part: Path
    row: int

    def __str__(self) -> str:
        return f"{self.part}[{self.row}]"

    @property
    def name(self) -> str:
        """Without the directory of its part."""
        return f"{self.part.name}[{self.row}]"


Picture = Path | Stored


@contextmanager
def opened(picture: Picture) -> Iterator[tuple[IO[bytes], Stamp]]:
    """A picture's bytes, and what tells its file from another that has taken its place.

    Raises:
        OSError: it cannot be read, or is in no regular file.
    """
    with open_regular(picture if isinstance(picture, Path) else picture.file) as stream:
        stamp = stamp_of(os.fstat(stream.fileno()))
        if isinstance(picture, Path):
            yield stream, stamp
        else:
            part = _PartOfFile(stream.fileno(), picture.start, picture.size)
            yield cast("IO[bytes]", io.BufferedReader(part)), stamp


def absolute(picture: Picture) -> Picture:
    """The same picture, named from the root of the file system; links stay as they are named."""
    if isinstance(picture, Path):
        return picture.absolute()
    return replace(picture, part=picture.part.absolute())


def stamp_of(status: os.stat_result) -> Stamp:
    """What tells a file from another that has taken its place."""
    return status.st_size, status.st_mtime_ns


def shown(picture: Picture, root: Path) -> str:
    """A picture's name for a message, relative to a folder where it is in it."""
    name = str(picture)
    below = f"{root}{os.sep}"
    return printable(name.removeprefix(below) if root != Path() else name)


class _PartOfFile(io.RawIOBase):
    """Some bytes of an open file, as a file. It has no number of its own: decoders in C would read the whole."""

    def __init__(self, handle: int, start: int, size: int) -> None:
        self._handle, self._start, self._size, self._place = handle, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError("a place before the beginning")
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, into: memoryview) -> int:  # type: ignore[override]
        found = os.pread(
            self._handle, max(0, min(len(into), self._size - self._place)), self._start + self._place
        )
        into[: len(found)] = found
        self._place += len(found)
        return len(found)
