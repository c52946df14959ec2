"""What can be refused without any library of networks is refused before one is loaded."""

import os
import subprocess
import sys
from pathlib import Path

SPACES = {
    "search": ["--space", "resnte20"],
    "inspect": ["--space", "resnte20"],
    "apply": ["--guideline", "uniform", "--space", "resnte20"],
    "evaluate": ["--guideline", "uniform", "--space", "resnte20", "--budget", "macs<=50%"],
    "transfer": ["--guideline", "uniform", "--space", "resnte20", "--budget", "macs<=50%"],
    "train": ["--widths", __file__, "--space", "resnte20"],
    "predict": [str(Path(__file__).parent), "--space", "resnte20"],
    "compare": [str(Path(__file__).parent), "--space", "resnte20"],
    "study": ["run", "--space", "resnte20"],
    "guide": [str(Path(__file__).parent), "--space", "resnte20"],
}
PROGRAM = """
import sys
from nas_prune.cli import main
code = 0
for line in sys.stdin.read().splitlines():
    print("COMMAND", line, file=sys.stderr, flush=True)
    if main(line.split("\\t")) != 2:
        sys.exit(f"not refused: {line}")
    if "torch" in sys.modules:
        sys.exit(f"torch was loaded by: {line}")
"""


def refusals(commands: list[list[str]], cwd: Path) -> list[str]:
    """What one fresh process says against each command, none of which may load torch."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input="\n".join("\t".join(command) for command in commands),
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    said = [block.split("\n", 1)[1].strip() for block in done.stderr.split("COMMAND ")[1:]]
    assert len(said) == len(commands)
    assert all(len(one.splitlines()) == 1 for one in said), said
    return said


def test_a_network_that_nobody_has_is_refused_at_once(tmp_path: Path) -> None:
    for said in refusals([[command, *typed] for command, typed in SPACES.items()], tmp_path):
        assert "nas-prune: --space must be one of densenet40" in said
        assert "got 'resnte20'. Did you mean resnet20" in said
