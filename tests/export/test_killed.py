"""An export that is killed in the middle leaves no directory of the name that was asked for, and can be repeated."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import nas_prune
from nas_prune.export.config import ExportConfig
from tests.export.conftest import NETS


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_what_is_killed_leaves_nothing_of_that_name(
    untrained: Callable[[str], Path], tmp_path: Path, how: signal.Signals
) -> None:
    path, out, marker = untrained("Waits"), tmp_path / "out", tmp_path / "marker"
    words = ["export", path, "--out", out, "--data", "digits", "--space", f"{NETS}:Waits"]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-m", "nas_prune", *map(str, words)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "NAS_PRUNE_TEST_MARKER": str(marker)},
        stderr=subprocess.PIPE,
    )
    until = time.monotonic() + 60
    while not marker.exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert marker.exists()
    process.send_signal(how)
    process.communicate(timeout=30)
    assert process.returncode == (-signal.SIGKILL if how == signal.SIGKILL else 130)
    assert not out.exists()
    config = ExportConfig(images=20, runs=1)
    result = nas_prune.export_network(path, config, out=out, space=f"{NETS}:Waits", data="digits")
    assert result.path.is_file()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["Waits", "marker", "out"]


def test_what_a_killed_export_left_is_removed_and_nothing_else(trained: Path, tmp_path: Path) -> None:
    for name in (".out.part", ".other.part"):
        (tmp_path / name / "kept").mkdir(parents=True)
        (tmp_path / name / "kept" / "model.onnx").write_bytes(b"half")
    config = ExportConfig(to="pt2", images=20, runs=1)
    result = nas_prune.export_network(trained, config, out=tmp_path / "out", space=f"{NETS}:Small")
    assert sorted(one.name for one in tmp_path.iterdir()) == [".other.part", "out"]
    assert sorted(one.name for one in result.out.iterdir()) == sorted(result.files)
