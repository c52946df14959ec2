"""Streams that are closed, full, or nobody's: the work is done, and what cannot be said ends in one line."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

NAS_PRUNE = f"{sys.executable} -m nas_prune"


def shell(line: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["sh", "-c", line], cwd=cwd, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
@pytest.mark.parametrize("command", ["--help", pytest.param("methods --format json", marks=pytest.mark.slow)])
def test_output_that_does_not_fit_on_the_disk_is_said(command: str, tmp_path: Path) -> None:
    done = shell(f"{NAS_PRUNE} {command} > /dev/full", tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "nas-prune: the output must be written, got: No space left on device."
    ]


@pytest.mark.slow
def test_output_that_nobody_reads_ends_as_for_other_programs(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("the exit code of a part of a pipe needs bash")
    line = f"{NAS_PRUNE} methods --format json | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run([bash, "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() in ("141", "0")  # the reader may end after the writer
    assert done.stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", ">&-", "2>&-"])
def test_closed_streams_cost_nothing(closed: str, tmp_path: Path) -> None:
    options = "--method uniform --max-images 100 --budget 'macs<=50%' --out run"
    done = shell(f"{NAS_PRUNE} search {options} {closed}", tmp_path)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert (tmp_path / "run" / "result.json").exists()
