"""Runs killed with `kill -9` at random moments go on to the bits of one that was never stopped."""

import os
import pty
import random
import signal
import subprocess
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from nas_prune.cli import main
from nas_prune.space.load import load_space
from tests.forking import FORKING
from tests.runs.test_resume import contents, nas_prune

TRAIN = (
    "--widths",
    "widths.json",
    "--data",
    "digits",
    "--epochs",
    "2",
    "--max-images",
    "300",
    "--seeds",
    "2",
)
COMMANDS = {
    "search": ("--epochs", "4", "--max-images", "300", "--budget", "macs<=50%", "--threads", "1"),
    "train": TRAIN,
    "workers": (*TRAIN, "--workers", "2"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, float]]:
    """Runs that were never stopped, and the seconds from the first file to the last."""
    place = tmp_path_factory.mktemp("whole")
    runs = {}
    space = load_space("resnet20", (1, 8, 8))
    space.widths([base // 2 for base in space.base_G]).write(place / "widths.json")
    for name in ("search", "train"):
        started, before = time.monotonic(), Path.cwd()
        os.chdir(place)
        assert main([name, *COMMANDS[name], "--out", str(place / name)]) == 0
        os.chdir(before)
        runs[name] = (place / name, time.monotonic() - started)
    runs["workers"] = (place / "train", runs["train"][1] + 3)
    return runs


def run_in(cwd: str, arguments: list[str]) -> None:
    """What a forked process does."""
    os.chdir(cwd)
    sys.exit(main(arguments))


def start(name: str, out: Path, *, cwd: Path) -> BaseProcess:
    command = "train" if name == "workers" else name
    process = FORKING.Process(
        target=run_in, args=(str(cwd), [command, *COMMANDS[name], "--out", str(out)]), daemon=False
    )
    process.start()
    return process


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def check_killed(
    name: str, seed: int, whole: dict[str, tuple[Path, float]], place: Path, *, kills: int = 1
) -> None:
    """Kill a run that many times, then let it finish."""
    expected, seconds = whole[name]
    rng = random.Random(seed)
    run = place / f"{name}-{seed}"
    process = start(name, run, cwd=expected.parent)
    wait_for(run / "config.yaml")
    time.sleep(rng.uniform(0, seconds))
    process.kill()
    process.join()
    for _ in range(1, kills):
        command = "train" if name == "workers" else name
        with nas_prune(command, "--resume", str(run), cwd=expected.parent) as again:
            time.sleep(2 + rng.uniform(0, seconds))  # about what it takes to start, and then at any moment
            again.kill()
    flags = ["--workers", "2"] if name == "workers" else []
    assert main(["train" if name == "workers" else name, "--resume", str(run), *flags]) == 0
    assert contents(run) == contents(expected)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "seed"), [("search", 1), ("train", 3)])
def test_a_run_killed_at_a_random_moment_resumes_to_the_same_bits(
    name: str, seed: int, whole: dict[str, tuple[Path, float]], tmp_path: Path
) -> None:
    check_killed(name, seed, whole, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 120))
def test_a_run_killed_at_twenty_random_moments_resumes_to_the_same_bits(
    seed: int, whole: dict[str, tuple[Path, float]], tmp_path: Path
) -> None:
    check_killed(("search", "train", "workers")[seed % 3], seed, whole, tmp_path, kills=1 + seed % 2)


LONG = [
    sys.executable,
    "-m",
    "nas_prune",
    "search",
    "--epochs",
    "500",
    "--max-images",
    "400",
    "--no-stop",
    "--out",
    "run",
]


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
    ],
)
def test_a_stopped_command_says_how_to_go_on(tmp_path: Path, number: signal.Signals) -> None:
    with subprocess.Popen(LONG, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        wait_for(tmp_path / "run" / "metrics.jsonl")
        process.send_signal(number)
        said = process.communicate()[1].splitlines()
    assert process.returncode == 130
    assert "Writing to run. If it is stopped: nas-prune search --resume run" in said
    assert said[-1].startswith("sparse training stopped: ")
    assert said[-1].endswith(" of 500 epochs are done. Go on with: nas-prune search --resume run")


@pytest.mark.slow
def test_a_closed_terminal_stops_a_run_as_asked_and_its_checkpoint_is_whole(tmp_path: Path) -> None:
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.execv(LONG[0], LONG)  # noqa: S606
    wait_for(tmp_path / "run" / "metrics.jsonl")
    os.close(terminal)  # what a lost connection does
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    assert (tmp_path / "run" / "checkpoint.safetensors").exists()
    with nas_prune("search", "--resume", "run", cwd=tmp_path) as again:
        time.sleep(6)
        again.send_signal(signal.SIGINT)
    assert again.returncode == 130


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.3, 1.0, 2.0])
def test_a_command_that_is_still_starting_ends_with_a_word(tmp_path: Path, seconds: float) -> None:
    with subprocess.Popen(LONG, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(seconds)
        process.terminate()
        said = process.communicate()[1]
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith(("stopped", "sparse training stopped"))
    assert "Traceback" not in said
