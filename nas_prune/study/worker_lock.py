"""Which workers of a study are alive: each keeps a file in the study's directory locked while its process lives.

Process numbers mean nothing on another machine and are reused. A lock ends with its process, however that ends, and
every machine that shares the directory can see it.
"""

import os
import re
import socket
from contextlib import suppress
from pathlib import Path
from time import sleep
from uuid import uuid4

from filelock import FileLock, lock_descriptor

from nas_prune.runs.files import saying_why
from nas_prune.runs.reading import read_text

_FOLDER, _SUFFIX = "workers", ".lock"
_NAME = re.compile(r"[A-Za-z0-9_?][A-Za-z0-9_.?-]{0,199}")
_WRITING_TAKES = 100  # hundredths of a second, for eight letters


class WorkerLock:
    """The sign that a worker is alive, until it is closed or its process ends.

    Children that the process forks do not hold the file: `FileLock` closes it in them.

    Attributes:
        name: of the worker, as its trials record it.
    """

    def __init__(self, run: Path) -> None:
        folder = run / _FOLDER
        with saying_why(folder):
            folder.mkdir(exist_ok=True)
            host = re.sub("[^A-Za-z0-9_.-]", "_", socket.gethostname()).lstrip("-.")[:100] or "_"
            self.name = f"{host}-{os.getpid()}-{uuid4().hex[:8]}-{_identity(folder)}"
            self._path = _path(run, self.name)
            self._path.touch()
        # Waits for a process that is checking the file, and makes it again if that one has removed it.
        self._lock = FileLock(self._path, thread_local=False, fallback_to_soft=False)
        with suppress(OSError):  # a file system without locks: others cannot see that this worker is alive
            self._lock.acquire()

    def close(self) -> None:
        """Release the lock and remove the file."""
        self._lock.release()
        with suppress(OSError):
            self._path.unlink()


def is_gone(run: Path, name: str) -> bool | None:
    """Whether a worker has ended; None if that cannot be seen from here, as with another directory."""
    return _looked_at(run, name, is_removed=False)


def live_workers(run: Path) -> list[str]:
    """The names of the workers that are known to be alive; the files of workers that have ended are removed."""
    names = [path.name.removesuffix(_SUFFIX) for path in sorted((run / _FOLDER).glob(f"*{_SUFFIX}"))]
    return [name for name in names if _looked_at(run, name, is_removed=True) is False]


def _looked_at(run: Path, name: str, *, is_removed: bool) -> bool | None:
    """Whether a worker has ended; if it has, its file may be removed.

    The file is removed while it is locked, so that a worker that has just made it sees that it must make it again.
    """
    if not _NAME.fullmatch(name):  # a storage may hold anything, and this is to be the name of a file
        return None
    path = _path(run, name)
    try:
        handle = os.open(path, os.O_RDWR)  # not by `FileLock`, which makes a file that is not there
    except FileNotFoundError:
        # A worker of this directory that was closed has removed its file.
        return True if name.endswith(f"-{_identity(run / _FOLDER)}") else None
    except OSError:
        return None
    try:
        is_ended = lock_descriptor(handle, blocking=False)
        if is_ended and is_removed:
            path.unlink()
    except OSError:
        return None
    finally:
        os.close(handle)
    return is_ended


def directory_identity(run: Path) -> str:
    """What the names of this directory's workers end with."""
    return _identity(run / _FOLDER)


def _identity(folder: Path) -> str:
    """What tells this directory's workers from those of the same study in another; made by the first worker."""
    path = folder / "identity"
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(uuid4().hex[:8])
    except FileExistsError:
        pass
    except OSError:
        return "?"  # the directory may be read-only
    for _ in range(_WRITING_TAKES):
        try:
            text = read_text(path)
        except (OSError, UnicodeDecodeError):  # it is not ours
            return "?"
        if len(text) == 8:
            return text if _NAME.fullmatch(text) else "?"
        sleep(0.01)
    return "?"


def _path(run: Path, name: str) -> Path:
    return run / _FOLDER / f"{name}{_SUFFIX}"
