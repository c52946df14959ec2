"""A disk that is full or cannot be written: one clear line, and the run goes on from its last good state."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nas_prune.cli import main
from tests.runs.test_resume import contents

Run = Callable[..., tuple[int, list[str]]]
SEARCH = ("search", "--epochs", "2", "--max-images", "200", "--budget", "macs<=50%")


def mounted(place: Path, *options: str) -> bool:
    if shutil.which("mount") is None:
        return False
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(place)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB: a checkpoint of 2.2 MB fits, two do not."""
    place = tmp_path / "disk"
    place.mkdir()
    if not mounted(place, "size=3m"):
        pytest.skip("mounting a file system needs rights")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """A function that runs a command in a directory: its exit code, and what it said."""

    def run(*arguments: str, cwd: Path) -> tuple[int, list[str]]:
        before = Path.cwd()
        os.chdir(cwd)
        try:
            code = main(list(arguments))
        finally:
            os.chdir(before)
        return code, capsys.readouterr().err.splitlines()

    return run


def test_a_full_disk_keeps_the_last_good_state_and_the_run_goes_on_elsewhere(
    small_disk: Path, tmp_path: Path, run: Run
) -> None:
    assert main([*SEARCH, "--out", str(tmp_path / "whole")]) == 0
    code, said = run(*SEARCH, "--out", "run", cwd=small_disk)
    assert code == 2
    assert said[-1].startswith(
        "nas-prune: checkpoint.safetensors must be written, which failed: No space left"
    )
    assert not list((small_disk / "run").glob(".*.part"))
    assert run("search", "--resume", "run", cwd=small_disk)[0] == 2  # still full
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    code, said = run("search", "--resume", "run", cwd=small_disk)
    assert code == 0
    assert "sparse training: 1 of 2 epochs are done" in said
    assert contents(small_disk / "run") == contents(tmp_path / "whole")


def test_a_disk_that_became_read_only_is_said_in_one_line(small_disk: Path, run: Run) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    code, said = run(*SEARCH, "--out", "run", cwd=small_disk)
    assert code == 2
    assert len(said) == 1
    assert said[0].startswith("nas-prune: the run's directory must be writable, got: [Errno 30] Read-only")
    subprocess.run(["mount", "-o", "remount,rw,size=30m", str(small_disk)], check=True)
    assert run(*SEARCH, "--out", "run", cwd=small_disk)[0] == 0
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    code, said = run("search", "--resume", "run", cwd=small_disk)
    assert code == 2
    assert said[-1].startswith("nas-prune: ")
    assert "Read-only" in said[-1]
