"""A network of the user's own, from the command line: searched, trained, resumed, and never imported unasked."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nas_prune.cli import main
from tests.space.test_networks import OWN

SHORT = ("--epochs", "1", "--max-images", "200", "--budget", "macs<=50%")


@pytest.fixture
def own(in_empty_directory: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"mine_{in_empty_directory.name.replace('-', '_')}"
    Path(f"{name}.py").write_text(OWN, encoding="utf-8")
    monkeypatch.syspath_prepend(str(in_empty_directory))
    return f"{name}:make"


def test_ones_own_network_is_searched_trained_and_resumed(
    own: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", "--space", own, *SHORT, "--out", "run"]) == 0
    widths = json.loads(Path("run/widths/macs-50pct.json").read_text(encoding="utf-8"))
    assert widths["space"]["name"] == own
    assert widths["cost"]["macs"] <= 0.5 * widths["base_cost"]["macs"]
    train = [
        "train",
        "--widths",
        "run/widths/macs-50pct.json",
        "--epochs",
        "1",
        "--seeds",
        "1",
        "--out",
        "trained",
    ]
    assert main(train) == 2
    assert "no code that only a file names is imported" in capsys.readouterr().err
    assert not Path("trained").exists()
    assert main([*train, "--space", own]) == 0
    for command, run in (("search", "run"), ("train", "trained")):
        assert main([command, "--resume", run]) == 2
        assert f"--space {own} must be given again" in capsys.readouterr().err
        assert main([command, "--resume", run, "--space", own]) == 0


def test_a_file_that_names_code_does_not_run_it(own: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "--space", own, *SHORT, "--out", "run"]) == 0
    Path("evil.py").write_text("from pathlib import Path\nPath('ran').touch()\n", encoding="utf-8")
    path = Path("run/widths/macs-50pct.json")
    path.write_text(path.read_text(encoding="utf-8").replace(own, "evil:make"), encoding="utf-8")
    assert main(["train", "--widths", str(path), "--epochs", "1"]) == 2
    assert main(["train", "--widths", str(path), "--epochs", "1", "--space", own]) == 2
    assert f"--space must be evil:make, which the widths file is of, got {own}" in capsys.readouterr().err
    config = Path("run/config.yaml")
    config.write_text(config.read_text(encoding="utf-8").replace(own, "evil:make"), encoding="utf-8")
    assert main(["search", "--resume", "run"]) == 2
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("number", "must make a torch.nn.Module, got int"),
        ("crash", "could not be made: RuntimeError: out of paint"),
        ("nowhere", "must name a function or class"),
        (
            "Last",
            "must have something to narrow, got none: every channel group is frozen (the network's output)",
        ),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_2(
    own: str, network: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", "--space", own.replace("make", network)]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error


OTHERS = """
from torch import nn
from tests.space.test_inputs import Words, signals
from tests.space.test_part import Detector
"""


def test_what_is_no_image_and_a_part_are_named_on_the_command_line(
    own: str, capsys: pytest.CaptureFixture[str]
) -> None:
    module = own.partition(":")[0]
    path = Path(f"{module}.py")
    path.write_text(path.read_text(encoding="utf-8") + OTHERS, encoding="utf-8")
    assert main(["inspect", "--space", f"{module}:signals", "--input", "2x64"]) == 0
    assert f"{module}:signals: inputs 2×64, 5 classes" in capsys.readouterr().out
    words = ["--input", "words=7:int64<30", "--input", "mask=7"]
    assert main(["inspect", "--space", f"{module}:Words", *words]) == 0
    assert "inputs words=7:int64<30, mask=7" in capsys.readouterr().out
    detector = ["--space", f"{module}:Detector", "--part", "backbone", "--image-size", "16"]
    assert main(["inspect", *detector]) == 0
    assert "Its part backbone alone is searched, called with 3×16×16" in capsys.readouterr().out
    asked = ["--guideline", "uniform", "--budget", "macs<=50%", "--groups", "all"]
    assert main(["apply", *detector, *asked, "--out", "widths.json"]) == 0
    content = json.loads(Path("widths.json").read_text(encoding="utf-8"))
    assert (content["space"]["part"], content["groups"][0]["width"]) == ("backbone", 8)
    capsys.readouterr()
    assert (
        main(["train", "--widths", "widths.json", "--data", "digits", "--space", f"{module}:Detector"]) == 2
    )
    assert "must put out a row of class scores for each image to be trained here" in capsys.readouterr().err
    assert not Path("trained").exists()
    for wrong in (
        ["--input", "2y64"],
        ["--input", "x=3", "--input", "x=4"],
        ["--input", "0x3"],
        ["--input", ""],
    ):
        assert main(["inspect", "--space", f"{module}:signals", *wrong]) == 2
        assert "--input must" in capsys.readouterr().err


def test_inspect_takes_networks_of_every_kind(own: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name, groups in ((own, 1), ("torchvision:squeezenet1_1", 25)):
        assert main(["inspect", "--space", name, "--image-size", "64", "--format", "json"]) == 0
        assert len(json.loads(capsys.readouterr().out)["groups"]) == groups


@pytest.mark.slow
@pytest.mark.parametrize("is_loaded", [False, True])
def test_ones_own_network_is_searched_from_python(
    own: str, is_loaded: bool, in_empty_directory: Path
) -> None:
    """`nas_prune.search` is the room of that name once anything in it is loaded; either is called by a person."""
    load = "import nas_prune.search.run; " if is_loaded else ""
    lines = (
        f"{load}import nas_prune; config = nas_prune.SearchConfig(space={own!r}, method='uniform', "
        "budgets='macs<=60%'); nas_prune.search(config, __import__('pathlib').Path('s'))"
    )
    path = f"{in_empty_directory}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    done = subprocess.run(
        [sys.executable, "-c", lines],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert Path("s/widths/macs-60pct.json").is_file()
