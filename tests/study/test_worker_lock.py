"""Whether a worker is alive is seen from its lock: at once when it has been killed, and whatever its number is."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from threading import Thread
from time import sleep

import pytest
from filelock import FileLock, lock_descriptor
from optuna.trial import TrialState, create_trial

from nas_prune.errors import FileError
from nas_prune.study import worker_lock
from nas_prune.study.recovery import worker_is_gone
from nas_prune.study.worker_lock import WorkerLock, is_gone, live_workers

WORKING = """
import os, sys, time
from pathlib import Path
from nas_prune.study.worker_lock import WorkerLock
lock = WorkerLock(Path(sys.argv[1]))
if "forking" in sys.argv and os.fork() == 0:
    time.sleep(8)  # a loader of images that has not yet seen that it is alone
    os._exit(0)
print(lock.name, flush=True)
time.sleep(60)
"""


@contextmanager
def worker(run: Path, *how: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The name of a worker in a process of its own, and that process."""
    command = [sys.executable, "-c", WORKING, str(run), *how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()


def lock_files(run: Path) -> list[str]:
    return sorted(path.stem for path in (run / "workers").glob("*.lock"))


@pytest.mark.parametrize("how", [(), ("forking",)])
def test_a_killed_worker_is_gone_at_once_even_if_a_child_of_it_lives_on(
    how: tuple[str, ...], tmp_path: Path
) -> None:
    with worker(tmp_path, *how) as (name, process), worker(tmp_path) as (other, _):
        assert live_workers(tmp_path) == sorted([name, other])
        process.kill()
        process.wait()
        assert is_gone(tmp_path, name) is True
        assert is_gone(tmp_path, other) is False
        assert lock_files(tmp_path) == sorted([name, other])
        assert live_workers(tmp_path) == [other] == lock_files(tmp_path)
        assert is_gone(tmp_path, name) is True


def test_the_number_of_a_dead_worker_may_be_used_again(tmp_path: Path) -> None:
    with closing(WorkerLock(tmp_path)) as own:
        dead = own.name.replace(own.name.split("-")[-2], "0" * 8)
        (tmp_path / "workers" / f"{dead}.lock").touch()  # as the earlier version left it too
        assert is_gone(tmp_path, dead) is True
        assert live_workers(tmp_path) == [own.name] == lock_files(tmp_path)
    assert lock_files(tmp_path) == []


def test_looking_for_a_worker_that_never_was_makes_no_file(tmp_path: Path) -> None:
    with closing(WorkerLock(tmp_path)):
        before = lock_files(tmp_path)
        assert is_gone(tmp_path, "of-another-directory") is None
        assert lock_files(tmp_path) == before


def test_a_worker_whose_file_is_removed_as_it_begins_is_alive_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker looks at the file between its making and its locking, and takes it for that of a dead one."""
    made: list[WorkerLock] = []
    beginning = Thread(target=lambda: made.append(WorkerLock(tmp_path)))
    looking: list[Thread] = []
    touch = Path.touch

    def seen(path: Path) -> None:
        touch(path)
        handle = os.open(path, os.O_RDWR)
        assert lock_descriptor(handle, blocking=False)
        looking.append(Thread(target=removed, args=(path, handle)))
        looking[0].start()

    def removed(path: Path, handle: int) -> None:
        sleep(0.3)
        path.unlink()
        os.close(handle)

    monkeypatch.setattr(Path, "touch", seen)
    beginning.start()
    beginning.join()
    looking[0].join()
    with closing(made[0]) as worker:
        assert is_gone(tmp_path, worker.name) is False
        assert live_workers(tmp_path) == [worker.name]


def test_without_locks_a_worker_works_and_nobody_can_tell_whether_it_is_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(FileLock, "acquire", refuse)
    monkeypatch.setattr(worker_lock, "lock_descriptor", refuse)
    with closing(WorkerLock(tmp_path)) as worker:
        assert is_gone(tmp_path, worker.name) is None
        assert live_workers(tmp_path) == []
    assert is_gone(tmp_path, worker.name) is True


def test_a_directory_that_cannot_be_written_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(FileError, match="Permission denied"):
        WorkerLock(tmp_path)


def test_a_trial_whose_worker_died_before_it_was_named_is_given_up_beside_others(tmp_path: Path) -> None:
    """Eight workers would wait for it forever, each for the others."""
    began = datetime.now()  # noqa: DTZ005  (Optuna's times have no zone)
    with closing(WorkerLock(tmp_path)), closing(WorkerLock(tmp_path)):
        for seconds, is_dead in ((5, False), (30, False), (90, True)):
            trial = create_trial(state=TrialState.RUNNING)
            trial.datetime_start = began - timedelta(seconds=seconds)
            assert worker_is_gone(tmp_path)(trial) is is_dead
    with closing(WorkerLock(tmp_path)):  # the one that asks
        trial.datetime_start = began - timedelta(seconds=30)
        assert worker_is_gone(tmp_path)(trial)


@pytest.mark.parametrize("name", ["../../outside", "a/b", "", "a\0b", "x" * 300])
def test_a_name_that_is_none_of_ours_leads_to_no_file(name: str, tmp_path: Path) -> None:
    (tmp_path / "run" / "workers").mkdir(parents=True)
    (tmp_path / "outside.lock").touch()
    assert is_gone(tmp_path / "run", name) is None


def test_an_identity_that_is_none_of_ours_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "identity").write_bytes(b"\xff" * 8)
    with closing(WorkerLock(tmp_path)) as lock:
        assert lock.name.endswith("-?")
