"""Which workers of a study are alive: each holds a file of the study's directory locked, as long as its process lives.

Process numbers say nothing on another machine and are used again; a lock ends with its process, however that ends, and
is seen by whoever shares the directory.
"""

import os
import socket
from contextlib import suppress
from pathlib import Path
from time import sleep
from uuid import uuid4

from nas_prune.runs.files import saying_why

_FOLDER = "workers"
_WRITING_TAKES = 100  # hundredths of a second, for eight letters


class WorkerLock:
    """A worker that is there, until it is closed or its process ends.

    Attributes:
        name: what its trials bear.
    """

    def __init__(self, run: Path) -> None:
        folder = run / _FOLDER
        with saying_why(folder):
            folder.mkdir(exist_ok=True)
            whose = _identity(folder)
            while True:
                self.name = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}-{whose}"
                self._path = _path(run, self.name)
                self._handle = os.open(self._path, os.O_CREAT | os.O_RDWR)
                _lock(self._handle)
                if self._path.exists():  # and was not swept away before it was locked
                    return
                os.close(self._handle)

    def close(self) -> None:
        """Leave in an orderly way."""
        os.close(self._handle)
        with suppress(OSError):
            self._path.unlink()


def is_gone(run: Path, name: str) -> bool | None:
    """Whether a worker has ended; None where that cannot be told from here, as of one with another directory."""
    try:
        handle = os.open(_path(run, name), os.O_RDWR)
    except FileNotFoundError:
        # One of this directory that ended in an orderly way took its file with it.
        return True if name.endswith(f"-{_identity(run / _FOLDER)}") else None
    except OSError:
        return None
    try:
        return _lock(handle)
    finally:
        os.close(handle)


def live_workers(run: Path) -> list[str]:
    """The names of the workers that are known to be alive; the files of others are removed."""
    found = []
    for path in sorted((run / _FOLDER).glob("*.lock")):
        name = path.name.removesuffix(".lock")
        gone = is_gone(run, name)
        if gone:
            path.unlink(missing_ok=True)
        elif gone is False:
            found.append(name)
    return found


def _identity(folder: Path) -> str:
    """What tells this directory's workers from those of the same study in another; made by whoever comes first."""
    path = folder / "identity"
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(uuid4().hex[:8])
    except FileExistsError:
        pass
    except OSError:
        return "?"  # one may look at a directory in which one may not write
    for _ in range(_WRITING_TAKES):
        text = path.read_text(encoding="utf-8")
        if len(text) == 8:
            return text
        sleep(0.01)
    return "?"


def _path(run: Path, name: str) -> Path:
    return run / _FOLDER / f"{name}.lock"


def _lock(handle: int) -> bool | None:
    """Whether a file could be locked; None where the system has no locks."""
    try:
        import fcntl  # not on Windows
    except ImportError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
