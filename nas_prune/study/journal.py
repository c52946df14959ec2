"""The journal: a file of one record a line, which Optuna replays; what may be wrong with it, and how it is mended."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._storage import JournalOperation, JournalStorageReplayResult

from nas_prune.errors import StorageError
from nas_prune.runs.files import write_whole
from nas_prune.runs.reading import check_regular, load_json, read_bytes

_MOST = 2**31  # bytes: a journal grows by 5 to 20 kB with each trial
_BEGIN = b'{"op_code"'
# Records that say one thing of a study or a trial that is there: without one of them the others mean the same.
_SAYS_ONE_THING = tuple(
    int(one)
    for one in JournalOperation
    if one.name.startswith("SET_") and one.name != "SET_TRIAL_STATE_VALUES"
)


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
        return JournalStorage(JournalFileBackend(str(path)))
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
        "Stop its workers and mend it: nas-prune study recover, with the study's directory."
    )


def mend_journal(path: Path) -> int:
    """Remove from a journal what is no record: what a killed writer left unfinished, and what cannot be replayed.

    No other process may be writing. Where a whole line was written after the beginning of another, the whole one is
    kept. Trials are numbered by the order of their records: after one that began a trial, or may have, nothing that
    follows can be told, and the journal ends there. As it was, it stays beside it, as `journal.log.damaged`.

    Returns:
        How many lines were removed or cut.

    Raises:
        StorageError: it is no file, or cannot be read.
    """
    try:
        lines = read_bytes(path, most=_MOST).splitlines(keepends=True)
    except OSError as error:
        raise StorageError(f"journal {path} must be a file that can be read, got: {error}.") from None
    replayed, kept, dropped = _Replayed(), [], 0
    for number, line in enumerate(lines, start=1):
        whole, record = _whole(line)
        is_kept = record is not None and replayed.takes(record)
        kept.append(whole if is_kept else b"")
        dropped += whole != line or not is_kept
        if record is not None and not is_kept and record["op_code"] not in _SAYS_ONE_THING:
            dropped += len(lines) - number
            break
    if dropped:
        write_whole(path, b"".join(kept), previous=path.with_name(f"{path.name}.damaged"))
    return dropped


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
