"""Storages: where Optuna keeps trials, by any of its own URLs; a journal in the study's directory by default."""

import re
import sqlite3
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from json import JSONDecodeError
from pathlib import Path
from time import sleep
from typing import Any, TypeVar
from urllib.parse import urlsplit

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import BaseJournalBackend, JournalRedisBackend
from optuna.trial import FrozenTrial
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from nas_prune.errors import BadInputError, StorageError
from nas_prune.runs.reading import check_regular
from nas_prune.study.journal import broken, open_journal

JOURNAL = "journal.log"
_WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds between tries of a storage that does not answer
_SECRET = re.compile("pass|pwd|secret|token|key", re.IGNORECASE)  # names of parts of a URL's query
_COMPUTED = re.compile(r"\bVIRTUAL\b|\bGENERATED\b|\bAS\s*\(", re.IGNORECASE)  # in the making of a table
_SQLITE_WAIT = 60.0  # seconds that a locked file is waited for
HEARTBEAT = 60.0
_GRACE = 3.0  # heartbeats that may be missed
TRANSIENT = (SQLAlchemyError, StorageInternalError, ConnectionError, TimeoutError)

StaleCallback = Callable[[optuna.Study, FrozenTrial], None]
Answer = TypeVar("Answer")


def has_heartbeat(url: str | None) -> bool:
    """Whether Optuna itself notices there that a worker has died."""
    return url is not None and "://" in url and urlsplit(url).scheme not in ("redis", "rediss", "grpc")


def open_storage(
    url: str | None, run: Path, *, on_stale: StaleCallback | None = None, heartbeat: float = HEARTBEAT
) -> BaseStorage:
    """The storage of a URL; tried again for some seconds where it does not answer.

    Args:
        url: any of Optuna's, `redis://…`, `grpc://HOST:PORT`, or the path of a journal file; None for the journal in
            the study's directory.
        run: that directory.
        on_stale: called with the trial of a worker that has died, by databases.
        heartbeat: seconds between signs of life, in databases.

    Raises:
        StorageError: it cannot be reached, or is no storage.
    """
    path = journal_path(url, run)
    if path is not None:
        return open_journal(path)
    assert url is not None
    _checked(url)
    if url.startswith("sqlite") and make_url(url).database in (None, "", ":memory:"):
        raise StorageError(
            f"--storage must outlive a process, got {shown(url)}. Name a file: sqlite:///trials.db."
        )
    if url.startswith("sqlite"):
        _check_tables(Path(str(make_url(url).database)), url)
    return answered(lambda: _served(url, on_stale, heartbeat), url)


@contextmanager
def opened(
    url: str | None, run: Path, *, on_stale: StaleCallback | None = None, heartbeat: float = HEARTBEAT
) -> Iterator[BaseStorage]:
    """As `open_storage`, for the time of the block; connections are closed at its end."""
    storage = open_storage(url, run, on_stale=on_stale, heartbeat=heartbeat)
    try:
        yield storage
    finally:
        if isinstance(storage, RDBStorage):
            storage.remove_session()
            storage.engine.dispose()


def journal_path(url: str | None, run: Path) -> Path | None:
    """Where the journal file is; None for a storage that is not a journal.

    Absolute, since Optuna's lock is a symbolic link to this name: a relative one leads nowhere, and a process that
    waits for a lock whose owner was killed would wait forever.
    """
    if url is not None and "://" in url:
        return None
    return (run / JOURNAL if url is None else Path(url)).absolute()


def answered(ask: Callable[[], Answer], url: str | None) -> Answer:
    """What a storage says, tried again where it does not answer or is locked.

    Raises:
        StorageError: it still does not; what was written is safe.
    """
    for wait in (*_WAITS, None):
        try:
            return ask()
        except (ArgumentError, NoSuchModuleError) as error:
            raise StorageError(
                f"--storage must be a URL that Optuna takes, got {shown(url)}: {error}."
            ) from None
        except ImportError as error:
            raise StorageError(
                f"--storage {shown(url)} must have its driver installed, got: {error}. "
                "For PostgreSQL: pip install 'nas-prune[postgresql]'."
            ) from None
        except (UnboundLocalError, JSONDecodeError) as error:  # Optuna's, where its journal is incomplete
            if not isinstance(error, JSONDecodeError) and not isinstance(error.__context__, ValueError):
                raise
            raise StorageError(broken(shown(url), error)) from None
        except TRANSIENT as error:
            if wait is None:
                raise StorageError(
                    f"storage {shown(url)} must answer, got {_first_line(error)}. See that it runs, is not locked by "
                    "another program and can be reached from here; then type the same command again: what was "
                    "finished is kept."
                ) from None
            sleep(wait)
    raise AssertionError


def shown(url: str | None) -> str:
    """A URL for messages, without its password or whatever else of it may be a secret."""
    if url is None:
        return JOURNAL
    if "://" not in url:
        return url
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return f"{url.partition('://')[0]}://…"
    secret = [name for name in parsed.query if _SECRET.search(name)]
    return parsed.update_query_dict(dict.fromkeys(secret, "***")).render_as_string(hide_password=True)


def _checked(url: str) -> None:
    """Refuse what is no URL, without saying what it holds.

    Raises:
        StorageError: it cannot be read.
    """
    try:
        _ = make_url(url).database, urlsplit(url).port
    except (ArgumentError, ValueError):
        raise StorageError(
            f"--storage must be a URL such as postgresql+psycopg://USER:PASSWORD@HOST:5432/NAME, got {shown(url)}."
        ) from None


def _check_tables(path: Path, url: str) -> None:
    """Refuse a database that would compute something when it is read or written: a view, a trigger, a virtual table.

    Raises:
        StorageError: it would, or is no file of SQLite.
    """
    if not path.exists():
        return
    try:
        check_regular(path)
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_SQLITE_WAIT)
        ) as found:
            rows = found.execute("SELECT type, sql FROM sqlite_master").fetchall()
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"--storage must be a database of SQLite, got {shown(url)}: {error}.") from None
    for kind, sql in rows:
        if kind not in ("table", "index") or _COMPUTED.search(str(sql)):
            raise StorageError(
                f"--storage must hold tables as Optuna makes them, got {shown(url)} with a {kind} that computes. "
                "Use another file."
            )


def _first_line(error: Exception) -> str:
    cause = error.__cause__ or error
    return f"{type(cause).__name__}: {str(cause).strip().splitlines()[0] if str(cause).strip() else ''}"


class WithoutSnapshots(BaseJournalBackend):
    """A journal's records alone, from the first one on.

    Redis may hold a snapshot too. It is a pickle, which Optuna would load, so that whoever can write there could run
    anything here. Without it a storage takes longer to open; the records say the same.

    Args:
        journal: where they are.
    """

    def __init__(self, journal: BaseJournalBackend) -> None:
        self._journal = journal

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """The records from a number on."""
        return self._journal.read_logs(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add records."""
        self._journal.append_logs(logs)


def _served(url: str, on_stale: StaleCallback | None, heartbeat: float) -> BaseStorage:
    scheme = urlsplit(url).scheme
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if scheme in ("redis", "rediss"):
            return JournalStorage(WithoutSnapshots(JournalRedisBackend(url)))
        if scheme == "grpc":
            return _proxy(url)
        engine: dict[str, Any] = {"pool_pre_ping": True}
        if scheme.startswith("sqlite"):
            engine = {"connect_args": {"timeout": _SQLITE_WAIT}}
        elif "psycopg" in scheme:  # which gives bytes for text where a database names no encoding
            engine["connect_args"] = {"client_encoding": "utf8"}
        return RDBStorage(
            url,
            engine_kwargs=engine,
            heartbeat_interval=max(1, round(heartbeat)),
            grace_period=max(2, round(_GRACE * heartbeat)),
            heartbeat_stale_trial_callback=on_stale,
        )


def _proxy(url: str) -> BaseStorage:
    location = urlsplit(url)
    if not location.hostname or not location.port:
        raise BadInputError(
            f"--storage must say host and port, e.g. grpc://localhost:13000, got {shown(url)}."
        )
    proxy: Any = optuna.storages.GrpcStorageProxy(host=location.hostname, port=location.port)
    try:
        proxy.wait_server_ready(timeout=10)
    except Exception as error:  # noqa: BLE001  (grpc's own kind, which need not be installed)
        raise ConnectionError(str(error) or type(error).__name__) from None
    return proxy  # type: ignore[no-any-return]
