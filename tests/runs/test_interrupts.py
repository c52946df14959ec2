"""Ctrl-C reaches every process of a terminal at once: at whatever moment, it is one line and exit code 130."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nas_prune.cli import main
from nas_prune.runs.stopping import interruptible, stoppable
from nas_prune.space.load import load_space

ROOT = Path(__file__).parents[2]
SLEEPY = Path(__file__).with_name("sleepy_workers.py")


def start(arguments: list[str], cwd: Path) -> "subprocess.Popen[str]":
    """A process that leads a group of its own, as a terminal's foreground process does."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def interrupted(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Press Ctrl-C; the exit code, and what all processes of the group have said."""
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    return process.returncode, said


def wait_for_children(process: "subprocess.Popen[str]", count: int) -> None:
    """Until so many processes that it started are there, the tracker of resources among them."""
    until, children = time.monotonic() + 60, Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while len(children.read_text(encoding="ascii").split()) < count:
        assert time.monotonic() < until
        time.sleep(0.001)


@pytest.mark.slow
def test_workers_that_are_being_started_say_nothing(tmp_path: Path) -> None:
    for delay in (0.0, 0.05, 0.07, 0.09, 0.11, 0.13, 0.16):
        process = start([str(SLEEPY), str(tmp_path)], tmp_path)
        wait_for_children(process, 2)
        time.sleep(delay)
        assert interrupted(process) == (130, ""), f"after {delay} s"


@pytest.mark.parametrize("delay", [0.25, 0.6])
def test_a_command_that_is_being_loaded_stops_in_one_line(delay: float, tmp_path: Path) -> None:
    process = start(["-m", "nas_prune", "search", "--out", "run"], tmp_path)
    time.sleep(delay)
    assert interrupted(process) == (130, "stopped\n")
    assert not list(tmp_path.iterdir())


def test_an_import_is_not_broken_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that swallows the interrupt would stay half loaded."""
    lines = ["import signal, time", "try:", "    signal.raise_signal(signal.SIGINT)", "    time.sleep(0.1)"]
    lines += ["except KeyboardInterrupt:", "    raise SystemExit('swallowed') from None", "whole = True"]
    (tmp_path / "swallowing.py").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt), interruptible():
        imported_then_waiting(5)
    assert sys.modules.pop("swallowing").whole


def imported_then_waiting(seconds: float) -> None:
    import swallowing  # type: ignore[import-not-found]  # noqa: F401

    until = time.monotonic() + seconds
    time.sleep(seconds)  # is woken from
    assert time.monotonic() < until


def test_work_within_an_import_can_be_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody's module may call us where it is imported."""
    lines = ["import signal, time", "from nas_prune.runs.stopping import interruptible"]
    lines += ["with interruptible():", "    signal.raise_signal(signal.SIGINT)", "    time.sleep(5)"]
    (tmp_path / "working.py").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        import working  # type: ignore[import-not-found]  # noqa: F401


def test_what_is_ignored_stays_so() -> None:
    """A command that a script has started in the background is not stopped by the Ctrl-C of its terminal."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        for number in numbers:
            with interruptible(leaves=True):
                signal.raise_signal(number)
            with stoppable() as stop:
                signal.raise_signal(number)
            assert not stop.is_asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    with stoppable() as stop:
        signal.raise_signal(signal.SIGTERM)
    assert stop.is_asked


STUDY = """
name: many
space: resnet20
data: {name: digits, max_images: 200}
budget: macs<=50%
trials: 40
epochs: 2
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    space = load_space("resnet20", (1, 8, 8))
    space.widths([base // 2 for base in space.base_G]).write(folder / "widths.json")
    (folder / "study.yaml").write_text(STUDY, encoding="utf-8")
    searched = ["search", "--epochs", "1", "--max-images", "200", "--budget", "macs<=50%"]
    assert main([*searched, "--out", str(folder / "search")]) == 0
    return folder


COMMANDS = {
    "train": ["train", "--widths", "widths.json", "--data", "digits", "--seeds", "4", "--epochs", "40"],
    "study": ["study", "run", "study.yaml"],
    "compare": ["compare", "search", "--seeds", "3", "--epochs", "40"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_at_any_moment_while_workers_start_is_one_line(name: str, place: Path) -> None:
    for number in range(20):
        command = [*COMMANDS[name], "--workers", "2", "--out", f"{name}-{number}"]
        process = start(["-m", "nas_prune", *command], place)
        time.sleep(0.1 + 0.4 * number)
        code, said = interrupted(process)
        last = said.splitlines()[-1]
        assert (code, last.partition(".")[0]) == (130, "stopped"), f"after {0.1 + 0.4 * number:.1f} s: {said}"
        assert "Traceback" not in said, said
