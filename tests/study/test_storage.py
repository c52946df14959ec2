"""Storages: every kind of URL, those that do not answer, and journals that break off."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from optuna.storages.journal import JournalFileSymlinkLock
from optuna.storages.journal._file import get_lock_file

from nas_prune.errors import BadInputError, StorageError
from nas_prune.runs.progress import SILENT
from nas_prune.study import journal
from nas_prune.study import storage as storages
from nas_prune.study.journal import Mended, mend_journal
from nas_prune.study.location import StudyLocation, mend_if_idle, read_trials
from nas_prune.study.samplers import quiet
from nas_prune.study.storage import (
    answered,
    has_heartbeat,
    journal_path,
    open_storage,
    opened,
    shown,
)
from nas_prune.study.worker_lock import WorkerLock
from tests.study.servers import postgresql

quiet()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storages, "_WAITS", (0.01,))


def fill(storage: optuna.storages.BaseStorage, name: str = "s", count: int = 3) -> None:
    study = optuna.create_study(storage=storage, study_name=name, load_if_exists=True)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=count)


@pytest.mark.parametrize("url", ["sqlite:///trials.db", "other.log", None])
def test_trials_are_kept_by_any_storage(url: str | None, in_empty_directory: Path) -> None:
    with opened(url, in_empty_directory) as storage:
        fill(storage)
    with opened(url, in_empty_directory) as storage:
        assert len(optuna.load_study(study_name="s", storage=storage).trials) == 3


def test_a_journal_is_named_absolutely(in_empty_directory: Path) -> None:
    assert journal_path(None, Path("runs/s")) == in_empty_directory / "runs/s/journal.log"
    assert journal_path("deep/er.log", Path("run")) == in_empty_directory / "deep/er.log"
    assert journal_path("sqlite:///x.db", Path("run")) is None


def test_which_storages_notice_the_dead() -> None:
    server = "postgresql+psycopg://user@host/db"
    assert [has_heartbeat(url) for url in (None, "j.log", "sqlite:///x.db", server, "grpc://h:1", "redis://h")] == [
        False, False, True, True, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (
            "postgresql+psycopg://me:secret@127.0.0.1:1/db",
            "me:\\*\\*\\*@127.0.0.1:1/db must answer, got .*refused",
        ),
        ("nonsense://x", "must be a URL that Optuna takes"),
        pytest.param(  # its library waits for twenty seconds
            "grpc://127.0.0.1:1", "must answer|must have its driver installed", marks=pytest.mark.slow
        ),
        ("grpc://nowhere", "must say host and port|must have its driver installed"),
        ("mysql+pymysql://me@127.0.0.1:1/db", "must have its driver installed|must answer"),
        ("no/such/folder/j.log", "must be in a directory that exists"),
        ("sqlite://", "must outlive a process"),
        ("sqlite:///:memory:", "must outlive a process"),
    ],
)
def test_what_does_not_answer_is_said_in_one_line_without_the_password(
    url: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises((StorageError, ValueError), match=said) as caught:
        open_storage(url, tmp_path)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_storage_that_comes_back_is_waited_for() -> None:
    tries = []

    def ask() -> str:
        tries.append(1)
        if len(tries) < 2:
            raise ConnectionError("gone for a moment")
        return "here"

    assert answered(ask, "sqlite:///x.db") == "here"
    with pytest.raises(StorageError, match="gone for good"):
        answered(lambda: _raise(ConnectionError("gone for good")), "sqlite:///x.db")


def _raise(error: Exception) -> None:
    raise error


def test_passwords_are_not_shown() -> None:
    assert shown("postgresql+psycopg://me:secret@host/db") == "postgresql+psycopg://me:***@host/db"
    assert shown(None) == "journal.log"


def test_a_torn_journal_says_what_to_do_and_is_mended_without_losing_a_trial(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    with opened(None, tmp_path) as storage:
        fill(storage, count=4)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    # A writer was killed in a line, and another has written on behind it.
    path.write_bytes(b"".join(lines[:-2]) + b'{"op_code":8,"worker_id":"gone","tri' + b"".join(lines[-2:]))
    with pytest.raises(StorageError, match="nas-prune study recover"):
        open_storage(None, tmp_path)
    assert mend_journal(path, only_unfinished=True) == Mended(1)
    assert path.read_bytes() == whole
    assert mend_journal(path) == Mended(0)
    path.write_bytes(whole + b'{"op_code":5,"w')
    assert mend_journal(path) == Mended(1)
    assert path.read_bytes() == whole
    assert not (tmp_path / "journal.log.damaged").exists()
    for name in ("journal.log.damaged", "journal.log.damaged-2"):  # the one of before may be all that is left
        path.write_bytes(b'{"a":1}\n' + whole)  # JSON, but no record
        assert mend_journal(path, only_unfinished=True) == Mended(0)
        assert mend_journal(path) == Mended(1, tmp_path / name)
        assert path.read_bytes() == whole
        assert (tmp_path / name).read_bytes() == b'{"a":1}\n' + whole


def test_a_journal_is_not_mended_while_a_record_is_being_written(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    with opened(None, tmp_path) as storage:
        fill(storage, count=2)
    *before, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(before))
    with ThreadPoolExecutor(1) as others:
        with get_lock_file(JournalFileSymlinkLock(str(path))), path.open("ab", buffering=0) as stream:
            stream.write(last[:20])
            mending = others.submit(mend_journal, path)
            with pytest.raises(TimeoutError):
                mending.result(timeout=0.3)
            stream.write(last[20:])
        assert mending.result(timeout=5) == Mended(0)
    assert path.read_bytes() == b"".join([*before, last])


def test_a_journal_is_mended_unasked_by_the_only_worker_of_its_directory_alone(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for run in (here, there):
        run.mkdir()
    with opened(None, here) as storage:
        fill(storage, count=2)
    path = here / "journal.log"
    torn = path.read_bytes() + b'{"op_code":5,"w'
    path.write_bytes(torn)
    with closing(WorkerLock(there)) as stranger:  # whoever works here is not seen there
        mend_if_idle(StudyLocation(there, str(path)), stranger, SILENT)
    with closing(WorkerLock(here)) as first:
        with closing(WorkerLock(here)) as second:
            mend_if_idle(StudyLocation(here), second, SILENT)
        assert path.read_bytes() == torn
        mend_if_idle(StudyLocation(here), first, SILENT)
    assert path.read_bytes() == torn.rpartition(b"{")[0]


@pytest.mark.parametrize("kind", ["file", "folder", "link to nothing", "link to another file"])
def test_a_lock_that_is_not_of_the_journal_is_not_waited_for(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_LOCK_TAKES", 0.2)
    with opened(None, tmp_path) as storage:
        fill(storage, count=1)
    lock = tmp_path / "journal.log.lock"
    match kind:
        case "file":
            lock.touch()
        case "folder":
            lock.mkdir()
        case _:
            (tmp_path / "other").touch()
            lock.symlink_to(tmp_path / ("other" if "another" in kind else "nothing"))
    with pytest.raises(StorageError, match="lock .* must be gone where nobody writes"):
        open_storage(None, tmp_path)


def test_a_line_that_no_record_could_be_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(None, tmp_path) as storage:
        fill(storage, count=4)
    path = tmp_path / "journal.log"
    monkeypatch.setattr(journal, "_LONG", max(map(len, path.read_bytes().splitlines(keepends=True))))
    open_storage(None, tmp_path)
    with path.open("ab") as stream:
        stream.write(b"x" * (journal._LONG + 1))
    with pytest.raises(StorageError, match="got a line of more than"):
        open_storage(None, tmp_path)


@pytest.mark.slow
def test_a_real_postgresql_keeps_trials(tmp_path: Path) -> None:
    with postgresql() as url:
        with opened(url, tmp_path) as storage:
            fill(storage)
        with opened(url, tmp_path) as storage:
            assert len(optuna.load_study(study_name="s", storage=storage).trials) == 3
    with pytest.raises(StorageError, match="must answer"):
        open_storage(url, tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:s3cret@localhost:port/db",
        "postgresql+psycopg://me:s3cret@[::1/db",
        "redis://:s3cret@localhost:x/0",
        "grpc://me:s3cret@host",
        "nonsense://me:s3cret@x",
        "nonsense://x/db?password=s3cret&sslkey=s3cret",
        "sqlite://?token=s3cret",
    ],
)
def test_what_is_secret_in_a_url_is_never_said(url: str, tmp_path: Path) -> None:
    with pytest.raises((StorageError, BadInputError), match="--storage") as said:
        open_storage(url, tmp_path)
    assert "s3cret" not in str(said.value)
    assert "s3cret" not in shown(url)


JOURNAL_OF_BEFORE = Path(__file__).parents[1] / "earlier_runs" / "study" / "journal.log"


def spoilt(path: Path, operation: int, **changes: object) -> int:
    """Change the second record of a kind in a journal; how many lines stand before it."""
    lines = JOURNAL_OF_BEFORE.read_text().splitlines()
    place = [n for n, line in enumerate(lines) if json.loads(line)["op_code"] == operation][1]
    lines[place] = json.dumps(json.loads(lines[place]) | changes)
    path.write_text("\n".join(lines) + "\n")
    return place


@pytest.mark.parametrize(
    ("operation", "changes", "is_cut"),
    [
        (8, {"user_attr": None}, False),
        (7, {"trial_id": [1]}, False),
        (4, {"datetime_start": 5}, True),
        (4, {"op_code": 99}, True),
        (8, {"op_code": 99}, False),
        (6, {"state": "done"}, False),
    ],
)
def test_records_that_cannot_be_replayed_are_named_and_removed(
    operation: int, changes: dict[str, object], is_cut: bool, tmp_path: Path
) -> None:
    path = tmp_path / "journal.log"
    place, count = spoilt(path, operation, **changes), len(JOURNAL_OF_BEFORE.read_text().splitlines())
    as_it_was = path.read_bytes()
    with pytest.raises(StorageError, match="must hold whole records .*nas-prune study recover"):
        open_storage(None, tmp_path)
    dropped = count - place if is_cut else 1
    assert mend_journal(path) == Mended(dropped, path.with_name("journal.log.damaged"), is_cut)
    left = path.read_bytes().splitlines()
    assert len(left) == (place if is_cut else count - 1)
    assert left[:place] == as_it_was.splitlines()[:place]
    assert path.with_name("journal.log.damaged").read_bytes() == as_it_was
    open_storage(None, tmp_path)
    assert mend_journal(path) == Mended(0)


@pytest.mark.parametrize(
    "changes",
    [
        {"system_attrs": "1"},
        {"user_attrs": [1]},
        {"system_attrs": {"retry_history": [99]}},
        {"system_attrs": {"failed_trial": "x"}},
    ],
)
def test_trials_whose_attributes_cannot_be_ours_are_refused(
    changes: dict[str, object], tmp_path: Path
) -> None:
    shutil.copytree(JOURNAL_OF_BEFORE.parent, tmp_path / "study")
    spoilt(tmp_path / "study" / "journal.log", 4, **changes)
    with pytest.raises(StorageError, match="trial 1 must|must hold whole records"):
        read_trials(StudyLocation(tmp_path / "study"))


@pytest.mark.parametrize(
    ("operation", "changes", "why"),
    [
        (
            8,
            {"user_attr": {"told from trial": "1"}},
            "attributes as they are written here, got told from trial=1",
        ),
        (8, {"user_attr": {"latency_ms": "fast"}}, "attributes .*got latency_ms=fast"),
        (8, {"user_attr": {"worker": 7}}, "attributes .*got worker=7"),
        (8, {"user_attr": {"judge": "evil"}}, "attributes .*got judge=evil"),
        (8, {"user_attr": {"told from trial": 99}}, "attributes .*got told from trial=99"),
        (8, {"user_attr": {"widths": [1]}}, r"attributes .*got widths=\[1\]"),
        (6, {"values": ["0.5"]}, "numbers as values, got"),
        (6, {"values": None}, "a value and widths"),
        (7, {"intermediate_value": [0.5]}, "numbers as values, got"),
        (5, {"param_value_internal": [0.5]}, "parameters within their bounds, got slope"),
        (5, {"param_value_internal": 1e9}, "parameters within their bounds, got slope"),
    ],
)
def test_what_a_trial_says_of_another_kind_than_ours_is_refused(
    operation: int, changes: dict[str, object], why: str, tmp_path: Path
) -> None:
    shutil.copytree(JOURNAL_OF_BEFORE.parent, tmp_path / "study")
    spoilt(tmp_path / "study" / "journal.log", operation, **changes)
    with pytest.raises(StorageError, match=f"trial [01] must have {why}"):
        read_trials(StudyLocation(tmp_path / "study"))
