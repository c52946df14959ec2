"""The journal: a file of one record a line, which Optuna replays; what may be wrong with it, and how it is mended."""

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from time import monotonic, sleep
from typing import Any

from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.storages.journal._file import get_lock_file
from optuna.storages.journal._storage import JournalOperation, JournalStorageReplayResult

from nas_prune.errors import StorageError
from nas_prune.runs.files import saying_why, write_whole
from nas_prune.runs.reading import check_regular, load_json, open_regular, read_bytes
from nas_prune.runs.settings import CONFIG

_MOST = 2**31  # bytes: a journal grows by 5 to 20 kB with each trial
_BEGIN = b'{"op_code"'
# Records that say something of a study that is there: without one of them the others mean the same.
_OF_A_STUDY = tuple(int(one) for one in JournalOperation if one.name.startswith("SET_STUDY"))
_LOCK_TAKES = 3.0  # seconds that another process may hold a lock under another name of the directory
_LONG = 2**24  # bytes of a line: the longest of ours is a picture of a figure, a hundredth of this


def open_journal(path: Path) -> BaseStorage:
    """The storage in a journal, made if it is not there.

    Raises:
        StorageError: it is no file, cannot be read, or holds what is no record of Optuna's.
    """
    if not path.parent.is_dir():
        raise StorageError(f"--storage must be in a directory that exists, got {path}.")
    try:
        with suppress(FileNotFoundError):
            check_regular(path)
            _check_lines(path)
        _check_lock(path)
        return JournalStorage(_Journal(str(path)))
    except StorageError:  # which is an `OSError`, too
        raise
    except OSError as error:
        raise StorageError(f"journal {path} must be readable and writable, got: {error.strerror}.") from None
    except Exception as error:  # noqa: BLE001  (Optuna checks no record; whatever it stumbles over is said)
        raise StorageError(broken(str(path), error)) from None


def broken(path: str, error: Exception) -> str:
    """What to say of a journal that Optuna cannot replay, and what to do."""
    is_torn = isinstance(error, (json.JSONDecodeError, UnboundLocalError))  # Optuna's, for half a line
    said = "it breaks off" if is_torn else f"{type(error).__name__}: {' '.join(str(error).split()):.200}"
    return (
        f"journal {path} must hold whole records of Optuna's, got one that is not ({said}). "
        f"Stop its workers and mend it: {_mending(path)}"
    )


def _mending(path: Path | str) -> str:
    """The command that mends a journal; of one that is not in its study's directory, RUN stands for that."""
    run = Path(path).parent
    if (run / CONFIG).exists():
        return f"nas-prune study recover {quote(str(run))}"
    return f"nas-prune study recover RUN --storage {quote(str(path))}"


class _Journal(JournalFileBackend):
    """Optuna's journal, in which a record that does not fit on the disk leaves no half a line."""

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add records, all or none.

        Raises:
            FileError: the operating system refused to write.
        """
        raw = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        path = Path(self._file_path)
        with saying_why(path), get_lock_file(self._lock), path.open("ab", buffering=0) as stream:
            length = stream.tell()
            try:
                while raw:
                    raw = raw[stream.write(raw) :]
                os.fsync(stream.fileno())
            except OSError:
                with suppress(OSError):
                    stream.truncate(length)
                raise


def _check_lines(path: Path) -> None:
    """Refuse a line that no record of ours could be: reading it would take all memory."""
    if path.stat().st_size <= _LONG:
        return
    length = 0
    with open_regular(path) as stream:
        while block := stream.read(_LONG):
            first, last = block.find(b"\n"), block.rfind(b"\n")
            if length + (len(block) if first < 0 else first) > _LONG:
                raise StorageError(
                    f"journal {path} must hold records of Optuna's, got a line of more than {_LONG:,} bytes. "
                    f"Mend it: {_mending(path)}"
                )
            length = length + len(block) if last < 0 else len(block) - last - 1


def _check_lock(path: Path) -> None:
    """Refuse a lock that is none of Optuna's, which would be waited for forever.

    Optuna's is a link to the journal, and is taken away after 30 seconds where its owner has died.
    """
    lock, since = path.with_name(f"{path.name}.lock"), monotonic()
    while os.path.lexists(lock):
        with suppress(OSError):  # it may have gone meanwhile
            if lock.is_symlink() and lock.samefile(path):
                return
            if lock.is_symlink() and monotonic() - since < _LOCK_TAKES:
                sleep(0.05)
                continue
        raise StorageError(
            f"the journal's lock {lock} must be gone where nobody writes, got one that is not of this journal. "
            "See that no worker of this study runs, and remove it."
        )


@dataclass(frozen=True, slots=True)
class Mended:
    """What was done to a journal.

    Attributes:
        dropped: lines that were removed or cut.
        before: the journal as it was, where more than unfinished lines went.
        is_cut: whether it ends where a trial began that cannot be told.
    """

    dropped: int
    before: Path | None = None
    is_cut: bool = False


def mend_journal(path: Path, *, only_unfinished: bool = False) -> Mended:
    """Remove from a journal what is no record: what a killed writer left unfinished, and what cannot be replayed.

    It is read and replaced inside the journal's lock, so that a writer in the middle of a record is waited for. But no
    other process may go on with it, since its place in the file would be another. Where a whole line was written after
    the beginning of another, the whole one is kept. Trials are numbered by the order of their records: after one that
    began a trial, or may have, nothing that follows can be told, and the journal ends there. As it was, it stays beside
    it, as `journal.log.damaged`, unless nothing but unfinished lines went.

    Args:
        path: the journal.
        only_unfinished: whether it is left as it is where more would go.

    Raises:
        StorageError: it is no file, or cannot be read, or its lock is none of Optuna's.
    """
    try:
        check_regular(path)
    except OSError as error:
        raise _unreadable(path, error) from None
    _check_lock(path)
    with saying_why(path), get_lock_file(JournalFileSymlinkLock(str(path.absolute()))):
        return _mended(path, only_unfinished=only_unfinished)


def _unreadable(path: Path, error: OSError) -> StorageError:
    return StorageError(f"journal {path} must be a file that can be read, got: {error}.")


def _mended(path: Path, *, only_unfinished: bool) -> Mended:
    """As `mend_journal`, inside the lock."""
    try:
        lines = read_bytes(path, most=_MOST).splitlines(keepends=True)
    except OSError as error:
        raise _unreadable(path, error) from None
    replayed, kept = _Replayed(), list[bytes]()
    dropped, is_damaged, is_cut = 0, False, False
    for number, line in enumerate(lines, start=1):
        whole, record = _whole(line)
        is_kept = record is not None and replayed.takes(record)
        kept.append(whole if is_kept else b"")
        dropped += whole != line or not is_kept
        is_damaged |= not is_kept and (
            record is not None or not _is_unfinished(line, is_last=number == len(lines))
        )
        if record is not None and not is_kept and not _says_one_thing(record):
            dropped, is_cut = dropped + len(lines) - number, True
            break
    if not dropped or (only_unfinished and is_damaged):
        return Mended(0)
    before = _free_name(path) if is_damaged else None
    write_whole(path, b"".join(kept), previous=before)
    return Mended(dropped, before, is_cut)


def _is_unfinished(line: bytes, *, is_last: bool) -> bool:
    """Whether a line is what a killed writer leaves: the beginning of a record."""
    return line.startswith(_BEGIN[: len(line)]) and (is_last or line.endswith(b"\n"))


def _says_one_thing(record: dict[str, Any]) -> bool:
    """Whether the records after this one mean the same without it: it names a trial or a study that is there."""
    return "trial_id" in record or record["op_code"] in _OF_A_STUDY


def _free_name(path: Path) -> Path:
    """Where the journal as it was can lie; what lies there already may be all that is left of earlier trials."""
    number, name = 1, path.with_name(f"{path.name}.damaged")
    while name.exists():
        number += 1
        name = path.with_name(f"{path.name}.damaged-{number}")
    return name


class _Replayed:
    """What Optuna makes of records, one after another."""

    def __init__(self) -> None:
        self._state = JournalStorageReplayResult("mending")

    def takes(self, record: dict[str, Any]) -> bool:
        """Whether a record can be replayed after those before it."""
        try:
            self._state.apply_logs([record])
        except Exception:  # noqa: BLE001  (Optuna checks no record)
            return False
        return True


def _whole(line: bytes) -> tuple[bytes, dict[str, Any] | None]:
    """What of a line is a record, and what it says; nothing and None if no part of it is one."""
    if not line.endswith(b"\n"):
        record = _record_in(line)
        return (b"" if record is None else line + b"\n"), record
    start = 0
    while start >= 0:
        record = _record_in(line[start:])
        if record is not None:
            return line[start:], record
        start = line.find(_BEGIN, start + 1)
    return b"", None


def _record_in(line: bytes) -> dict[str, Any] | None:
    try:
        record = load_json(line, allows_nan=True)
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None
    is_whole = isinstance(record, dict) and "op_code" in record and "worker_id" in record
    return record if is_whole else None
