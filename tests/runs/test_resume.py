"""A killed search goes on to the same bits as one that was never stopped."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nas_prune.cli import main
from nas_prune.training.resumable import PREVIOUS

ARGUMENTS = [
    "search", "--epochs", "6", "--max-images", "400", "--budget", "macs<=50%", "--threads", "1",
]  # fmt: skip


def nas_prune(*arguments: str, cwd: Path) -> "subprocess.Popen[bytes]":
    code = "import sys; from nas_prune.cli import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=cwd)


@pytest.mark.slow
def test_a_search_killed_between_epochs_resumes_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*ARGUMENTS, "--out", "whole"]) == 0
    killed = nas_prune(*ARGUMENTS, "--out", "killed", cwd=tmp_path)
    metrics = tmp_path / "killed" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not (metrics.exists() and metrics.read_text().count("\n") >= 2):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert metrics.read_text().count("\n") < 6
    assert not (tmp_path / "killed" / "widths").exists()
    assert main(["search", "--resume", "killed"]) == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def contents(run: Path) -> dict[str, bytes]:
    """Every file of a run, but for the checkpoint before the last, which is written when there is time for it."""
    files = (path for path in run.rglob("*") if path.is_file() and path.name != PREVIOUS)
    return {str(path.relative_to(run)): path.read_bytes() for path in files}
