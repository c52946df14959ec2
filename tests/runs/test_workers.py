"""Trainings in processes of their own: results in order, and one's end is not the others'."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from nas_prune.errors import FileError, NasPruneError
from nas_prune.runs.files import saying_why
from nas_prune.runs.progress import Progress
from nas_prune.runs.workers import in_workers


def prepare() -> Callable[[str, Progress], tuple[str, int]]:
    def work(task: str, progress: Progress) -> tuple[str, int]:
        progress.update(task, 1, 2)
        match task:
            case "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "exits":
                os._exit(3)
            case "refuses":
                raise NasPruneError("it must not be so.")
        return task.upper(), os.getpid()

    return work


def test_one_crash_does_not_touch_the_others() -> None:
    seen: list[str] = []
    tasks = ["a", "killed", "b", "refuses", "exits", "c"]
    outcomes = in_workers(prepare, tasks, 2, Progress(update=lambda what, *_: seen.append(what)))
    assert [one.result and one.result[0] for one in outcomes] == ["A", None, "B", None, None, "C"]
    assert [one.error for one in outcomes] == [
        None,
        "its process was ended by SIGKILL, perhaps for lack of memory",
        None,
        "it must not be so.",
        "its process ended with exit code 3",
        None,
    ]
    assert set(seen) >= {"a", "b", "c", "refuses"}
    assert os.getpid() not in {one.result[1] for one in outcomes if one.result}


def test_a_bug_in_a_worker_keeps_its_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    (outcome,) = in_workers(broken, ["a"], 2)
    assert outcome.error == "its process ended with exit code 1"
    assert "ZeroDivisionError" in capfd.readouterr().err


def broken() -> Callable[[str, Progress], int]:
    return lambda _, __: 1 // 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_the_process_that_started_them(tmp_path: Path, number: signal.Signals) -> None:
    script = Path(__file__).with_name("sleepy_workers.py")
    parent = subprocess.Popen([sys.executable, str(script), str(tmp_path)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("started-*"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    children = [int(path.name.removeprefix("started-")) for path in tmp_path.glob("started-*")]
    os.kill(parent.pid, number)
    parent.wait(30)
    while any(map(is_alive, children)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert len(list(tmp_path.glob("stopped-*"))) == 2


@pytest.mark.slow
def test_workers_that_do_not_stop_end_all_the_same_when_they_are_orphans(tmp_path: Path) -> None:
    script = Path(__file__).with_name("sleepy_workers.py")
    parent = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path), "stubborn"], stderr=subprocess.DEVNULL
    )
    while len(list(tmp_path.glob("started-*"))) < 2:
        time.sleep(0.05)
    children = [int(path.name.removeprefix("started-")) for path in tmp_path.glob("started-*")]
    parent.kill()
    parent.wait(30)
    until = time.monotonic() + 6
    while any(map(is_alive, children)):
        assert time.monotonic() < until
        time.sleep(0.05)


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return not Path(f"/proc/{process}/stat").read_text(encoding="ascii").split(")")[1].startswith(" Z")


def test_workers_import_nothing_from_the_current_directory_of_their_own_accord(tmp_path: Path) -> None:
    """A stranger's directory may hold modules with names of the standard library's."""
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    elsewhere.mkdir()
    for name in ("pickle", "multiprocessing", "random", "json"):
        (here / f"{name}.py").write_text("open('canary', 'w').close()", encoding="utf-8")
    script = elsewhere / "started_like_the_console_script.py"
    lines = ["from nas_prune.runs.workers import in_workers", "from tests.runs.test_workers import prepare"]
    script.write_text(
        "\n".join([*lines, "if __name__ == '__main__':", "    print(in_workers(prepare, ['a'], 1))"])
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, script],
        cwd=here,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "'A'" in done.stdout, done.stderr
    assert not (here / "canary").exists()


def test_a_worker_that_cannot_write_ends_the_others_too(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="No space left"):
        in_workers(partial(on_a_full_disk, tmp_path), ["a", "b", "c"], 1)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def on_a_full_disk(folder: Path) -> Callable[[str, Progress], int]:
    def work(task: str, _: Progress) -> int:
        (folder / task).touch()
        with saying_why(folder):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return work
