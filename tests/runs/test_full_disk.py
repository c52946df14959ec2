"""A disk that is full or cannot be written: one clear line, and the run goes on from its last good state."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nas_prune.cli import main
from nas_prune.study import trial_record as record
from nas_prune.study.location import StudyLocation, read_trials
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


STUDY = """
space: resnet20
data: {name: digits, max_images: 100, val_fraction: 0.3}
epochs: 1
budget: macs<=30%
trials: 3
"""


@pytest.mark.parametrize("size", ["24k", "200k"])
def test_a_full_disk_costs_a_study_no_trial(size: str, small_disk: Path, run: Run) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(small_disk)], check=True)
    (small_disk.parent / "s.yaml").write_text(STUDY, encoding="utf-8")
    for command in (
        ("study", "run", "../s.yaml", "--out", "run"),
        ("study", "run", "../s.yaml", "--out", "run"),
    ):
        code, said = run(*command, cwd=small_disk)  # and again while it is still full
        assert code == 2
        assert said[-1].startswith("nas-prune: ")
        assert "No space left" in said[-1]
    subprocess.run(["mount", "-o", "remount,size=30m", str(small_disk)], check=True)
    assert run("study", "run", "../s.yaml", "--out", "run", cwd=small_disk)[0] == 0
    trials = read_trials(StudyLocation(small_disk / "run")).trials["s"]
    assert set(record.fates(trials)) <= {record.Fate.COMPLETE, record.Fate.RETRIED}
    assert record.count_finished(trials) == 3


@pytest.mark.slow
@pytest.mark.parametrize("command", ["transfer", "all"])
def test_a_full_disk_stops_what_trains_many(command: str, small_disk: Path, run: Run) -> None:
    subprocess.run(["mount", "-o", "remount,size=100k", str(small_disk)], check=True)
    arguments = {
        "transfer": ("transfer", "--guideline", "uniform", "--space", "resnet20", "--seeds", "2"),
        "all": ("search", "--method", "all"),
    }[command]
    common = ("--epochs", "1", "--max-images", "100", "--budget", "macs<=50%", "--out", "run")
    code, said = run(*arguments, *common, cwd=small_disk)
    assert code == 2
    assert "No space left" in said[-1]
    assert sum("No space left" in line for line in said) == 1


@pytest.mark.slow
def test_a_run_that_could_not_begin_can_be_begun_again(small_disk: Path, run: Run) -> None:
    subprocess.run(["mount", "-o", "remount,size=8k", str(small_disk)], check=True)
    command = (
        "transfer",
        "--guideline",
        "uniform",
        "--space",
        "resnet20",
        "--budget",
        "macs<=50%",
        "--seeds",
        "1",
    )
    more = ("--epochs", "1", "--max-images", "100", "--out", "run")
    assert run(*command, *more, cwd=small_disk)[0] == 2
    assert list((small_disk / "run").iterdir()) == []
    subprocess.run(["mount", "-o", "remount,size=30m", str(small_disk)], check=True)
    assert run(*command, *more, cwd=small_disk)[0] == 0


@pytest.mark.parametrize("out", ["n" * 300, "n/" * 3000])
@pytest.mark.parametrize(
    "command",
    [
        ("search", "--method", "uniform", "--max-images", "100"),
        ("study", "run", "quickstart"),
        ("report", "nothing"),
        ("apply", "--guideline", "uniform", "--space", "resnet20", "--budget", "macs<=50%"),
        ("guide", "nothing"),
    ],
    ids=lambda command: command[0],
)
def test_a_name_that_nothing_can_have_is_refused(
    command: tuple[str, ...], out: str, in_empty_directory: Path, run: Run
) -> None:
    code, said = run(
        *command, "--out", f"{out}.yaml" if command[0] == "guide" else out, cwd=in_empty_directory
    )
    assert code == 2
    assert len(said) == 1
    assert len(said[0]) < 2200
    assert list(in_empty_directory.iterdir()) == []
