"""What can be refused without any library of networks is refused before one is loaded."""

import os
import re
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
    "export": [str(Path(__file__).parent), "--out", "x", "--space", "resnte20"],
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


RUNS = Path(__file__).parents[1] / "earlier_runs"
NOT_THERE = [
    ["report", "nothere", "--format", "md"],
    ["predict", "nothere", "x.png"],
    ["export", "nothere", "--out", "x"],
    ["guide", "nothere"],
    ["compare", "nothere"],
    ["evaluate", "nothere", "--space", "resnet20", "--budget", "macs<=50%"],
    ["study", "rank", "nothere"],
    ["study", "recover", "nothere"],
    ["study", "run", "./nothere"],
    ["dashboard", "nothere"],
    *([command, "--resume", "nothere"] for command in ("search", "train", "compare", "evaluate", "transfer")),
    ["train", "--widths", "nothere"],
    ["train", "--widths", f"{RUNS}/train/widths.json", "--from", "nothere"],
    ["train", "--widths", f"{RUNS}/train/widths.json", "--teacher", "nothere"],
    ["compare", "--widths", "nothere"],
    ["compare", f"{RUNS}/search", "--study", "nothere"],
    ["apply", "--guideline", "nothere.yaml", "--space", "resnet20"],
    ["evaluate", "--guideline", "uniform", "--direct", "nothere"],
]
OTHER_KINDS = [
    (["train", "--widths", f"{RUNS}/study.yaml"], "study file. nas-prune study run"),
    (["train", "--widths", f"{RUNS}/guideline.yaml"], "guideline. nas-prune apply"),
    (["train", "--widths", f"{RUNS}/search/result.json"], "result of a run. Name its directory"),
    (["train", "--widths", f"{RUNS}/study"], "directory of a study. Its widths are"),
    (["compare", f"{RUNS}/study.yaml"], "study file. nas-prune study run"),
    (["compare", "--widths", f"{RUNS}/search"], "directory of a search. Its widths are"),
    (
        ["apply", "--guideline", f"{RUNS}/train/widths.json", "--space", "vgg11"],
        "widths file. nas-prune train",
    ),
    (["guide", "--guideline", f"{RUNS}/study.yaml"], "study file. nas-prune study run"),
    (["guide", f"{RUNS}/train"], "directory of a training. nas-prune predict"),
    (["study", "run", f"{RUNS}/compare.yaml"], "comparison file. nas-prune compare"),
    (["study", "rank", f"{RUNS}/search"], "directory of a search"),
    (["dashboard", f"{RUNS}/compare"], "directory of a comparison"),
    (["predict", f"{RUNS}/train/widths.json", "x.png"], "widths file"),
    (["export", f"{RUNS}/train/widths.json", "--out", "x"], "widths file"),
    (["report", f"{RUNS}/study.yaml", "--format", "md"], "study file"),
    (["search", "--resume", f"{RUNS}/search/config.yaml"], "settings of a run. Name its directory"),
]


def test_what_is_not_there_is_the_same_line_at_once(tmp_path: Path) -> None:
    for said, typed in zip(refusals(NOT_THERE, tmp_path), NOT_THERE, strict=True):
        assert re.search(r", got (\./)?nothere", said), typed
        assert ", which does not exist." in said, typed


def test_what_is_another_kind_of_file_is_named_at_once(tmp_path: Path) -> None:
    for said, (typed, wanted) in zip(
        refusals([one for one, _ in OTHER_KINDS], tmp_path), OTHER_KINDS, strict=True
    ):
        assert f", which is a {wanted}" in said or f", which is the {wanted}" in said, (typed, said)
