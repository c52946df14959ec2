"""Files that are either whole or absent."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter, sleep
from typing import IO

from filelock import lock_descriptor

from nas_prune.errors import BadInputError, FileError, NasPruneError

_UNFINISHED = ".part"
_PATIENCE = 10.0  # seconds that another process is given to let go of a directory


@contextmanager
def passing_folder(parent: Path) -> Iterator[Path]:
    """A directory for the time of the block; `remove_partial_files` removes it where the block was killed."""
    with saying_why(parent), tempfile.TemporaryDirectory(prefix=".", suffix=_UNFINISHED, dir=parent) as name:
        yield Path(name)


@contextmanager
def alone_in(folder: Path, *, is_needed: bool = True) -> Iterator[None]:
    """Hold a directory for this process; the hold ends with the process, however it ends.

    The directory itself is locked, not a file in it as `filelock.FileLock` would: `kill -9` would leave that file
    behind, and an otherwise empty directory would be refused as the place of a new run. Children that the process has
    forked (loaders of images) share the hold, and end about a second after it; that is why we wait.

    Nothing is locked on Windows, where a directory cannot be opened, or on a file system without locks.

    Raises:
        BadInputError: another process holds it.
    """
    if not is_needed or os.name == "nt":
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        _wait_for(handle, folder)
        yield
    finally:
        os.close(handle)


def _wait_for(handle: int, folder: Path) -> None:
    until = perf_counter() + _PATIENCE
    with suppress(OSError):  # a file system without locks
        while not lock_descriptor(handle, blocking=False):
            if perf_counter() > until:
                raise BadInputError(
                    f"{folder} must be written by one process at a time, and another holds it. Wait, or stop that one."
                )
            sleep(0.1)


def refuse_links(run: Path) -> None:
    """Refuse a run with a link that leads out of it: what is written there would be written elsewhere.

    Raises:
        BadInputError: there is one.
    """
    inside = Path(os.path.realpath(run))  # `Path.resolve` fails on a link to itself
    for folder, folders, files in os.walk(run):
        for name in (*folders, *files):
            path = Path(folder) / name
            if path.is_symlink() and not _leads_inside(path, inside):
                raise BadInputError(
                    f"a run must hold no links that lead out of it, got {path}. Put what it leads to in its place."
                )


def _leads_inside(link: Path, folder: Path) -> bool:
    return Path(os.path.realpath(link)).is_relative_to(folder)


def remove_partial_files(folder: Path) -> None:
    """Remove the unfinished files of processes that were killed, in a directory and below."""
    for path in folder.rglob(f".*{_UNFINISHED}"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes | str, *, previous: Path | None = None) -> None:
    """Write a file so that a reader, or a crash, never sees half of it.

    The bytes go to a temporary name in the same directory, are synced, and are renamed.

    Args:
        path: the file; its directory must exist.
        content: the bytes, or text that is encoded as UTF-8.
        previous: where a file that is there already is moved; None to replace it.

    Raises:
        FileError: the operating system refused to write; a file that was there is unchanged.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_whole(pathlib.Path(folder) / "note.txt", "all or nothing")
        ...     (pathlib.Path(folder) / "note.txt").read_text()
        'all or nothing'
    """
    raw = content.encode() if isinstance(content, str) else content
    with saying_why(path):
        _write_whole(path, raw, previous)


def write_new(path: Path, content: str) -> None:
    """As `write_whole`, for a file that must not be there.

    Raises:
        BadInputError: it is there by now; it is as it was.
        FileError: the operating system refused to write.
    """
    with passing_folder(path.parent) as folder:
        write_whole(folder / path.name, content)
        with saying_why(path):
            try:
                os.link(folder / path.name, path)
            except FileExistsError:
                raise _taken(path) from None
            except OSError:  # a file system without links
                if is_there(path):
                    raise _taken(path) from None
                (folder / path.name).replace(path)
    sync(path.parent)


def is_there(path: Path) -> bool:
    """Whether something has this name, be it a link that leads nowhere.

    Raises:
        BadInputError: nothing can have it: it is too long, or lies where we may not look.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise BadInputError(f"--out must be a path that can be used, got {path!s:.100} ({why}).") from None
    return True


def check_new(path: Path) -> None:
    """Refuse the name of a new file, before any work is done.

    Raises:
        BadInputError: it is taken, is none, or its directory is not there.
    """
    if path.name in ("", ".."):
        raise BadInputError(f"--out must be a new file, got {str(path)!r}. Type its name.")
    if is_there(path):
        raise _taken(path)
    if not path.parent.is_dir():
        raise BadInputError(f"--out must be in a directory that exists, got {path}.")


def _taken(path: Path) -> BadInputError:
    return BadInputError(f"--out must be a new file, got {path}, which exists. Choose another name.")


_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_IS_IN_THE_WAY = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP, errno.EINVAL)


@contextmanager
def saying_why(path: Path) -> Iterator[None]:
    """Turn a full disk or a forbidden directory into one line.

    Raises:
        FileError: the operating system refused to write; it would refuse other files, too.
        BadInputError: something else is in the place of this one.
    """
    try:
        yield
    except NasPruneError:  # of which some are `OSError`s, too
        raise
    except OSError as error:
        what = f"{path.name} must be written, which failed: {error.strerror} ({path})."
        whole = "what was written before is whole, and the run can be resumed."
        if error.errno in _IS_IN_THE_WAY:
            raise BadInputError(f"{what} Remove what is in its place; {whole}") from None
        is_full = error.errno in _IS_FULL
        advice = (
            "Make room or choose another directory" if is_full else "Choose a directory that can be written"
        )
        raise FileError(f"{what} {advice}; {whole}") from None


def _write_whole(path: Path, raw: bytes, previous: Path | None) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_UNFINISHED, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(raw)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o666 & ~_umask())
        if previous is not None and path.exists():
            path.replace(previous)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync(path.parent)


def open_own(path: Path) -> IO[str]:
    """A text file of a run, opened to add to its end; never through a link, which may lead out of the run.

    Raises:
        OSError: it cannot be written, or is a link.
    """
    flags = (
        os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    )
    return os.fdopen(os.open(path, flags, 0o666), "a", encoding="utf-8")


def sync(path: Path) -> None:
    """Force a file, or the names in a directory, onto the disk, where the system can."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def shipped(kind: str) -> Path:
    """The directory of the shipped `search_spaces` or `studies`."""
    package = Path(__file__).parent.parent
    for place in (package / "shipped" / kind, package.parent / kind):
        if place.is_dir():
            return place
    raise NasPruneError(f"the shipped {kind} must be beside the package, got none. Install nas-prune again.")
