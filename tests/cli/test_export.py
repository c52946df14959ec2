"""`nas-prune export`: what it prints, and how it refuses."""

import json
import sys
from pathlib import Path

import pytest

from nas_prune.cli import main

SPACE = "tests.export.nets:Small"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("export") / "it's trained"
    widths = run.parent / "widths.json"
    shape = ["--in-channels", "1", "--image-size", "8", "--classes", "10"]
    words = ["--guideline", "uniform", "--space", SPACE, "--budget", "macs<=60%", *shape]
    assert main(["apply", *words, "--out", str(widths)]) == 0
    words = ["--data", "digits", "--epochs", "2", "--schedule", "scratch-e", "--threads", "1"]
    assert main(["train", "--widths", str(widths), *words, "--space", SPACE, "--out", str(run)]) == 0
    return run


@pytest.mark.slow
def test_it_says_what_was_checked_how_large_it_is_and_how_fast(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert (
        main(["export", str(trained), "--space", SPACE, "--out", str(out), "--fold-norms", "--images", "50"])
        == 0
    )
    said = capsys.readouterr().out
    assert "as model.onnx (normalised images, 2 of 2 norms folded)" in said
    assert "Checked on 50 test images of digits: the same class for each, scores within" in said
    assert [line.split()[0] for line in said.splitlines() if " ms" in line] == ["PyTorch", "ONNX"]
    assert f"Written: {out} (model.onnx, widths.json, README.md)" in said
    assert (out / "model.onnx").is_file()


@pytest.mark.slow
def test_int8_says_what_it_costs(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--to", "int8-onnx", "--images", "50", "--calibration", "30"]
    assert main(["export", str(trained), "--space", SPACE, *words, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "before," in said
    assert "with 8 bits;" in said
    assert "are said to be of another class." in said
    assert "ONNX Runtime, int8" in said


def test_programs_read_json(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--to", "pt2", "--images", "50", "--format", "json", "--with-preprocessing"]
    assert main(["export", str(trained), "--space", SPACE, *words, "--out", str(tmp_path / "out")]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["settings"]["with_preprocessing"] is True
    assert said["agreement"]["differing"] == 0
    assert [one["what"] for one in said["speeds"]] == ["PyTorch", "torch.export"]
    assert said["files"] == ["model.pt2", "widths.json", "README.md"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--to", "onx"], "'onx' is not one of"),
        (["--images", "0"], "images: it must be at least 1"),
        (["--calibration", "9"], "calibration must come with int8-onnx alone"),
        (["--threads", "0"], "threads: it must be at least 1"),
        (["--seed", "5"], "left a network with seed 5"),
        (["--data", "folder:nowhere"], "which does not exist"),
        (["--data", "nothing"], "--data must be one of"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_nothing_is_written(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], why: str
) -> None:
    assert main(["export", str(trained), "--space", SPACE, "--out", str(tmp_path / "out"), *words]) == 2
    said = capsys.readouterr().err.strip()
    assert why in said
    assert len(said.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_training_that_is_not_finished_is_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    for name in ("config.yaml", "widths.json"):
        (tmp_path / "run" / name).write_bytes((trained / name).read_bytes())
    assert main(["export", str(tmp_path / "run"), "--out", str(tmp_path / "out")]) == 2
    assert "RUN must be a finished training or search that left a network" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("to", "missing"), [("onnx", "onnxscript"), ("int8-onnx", "onnxruntime")])
def test_a_library_that_is_not_there_is_named_with_the_extra_that_brings_it(
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    to: str,
    missing: str,
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    assert main(["export", str(trained), "--space", SPACE, "--to", to, "--out", str(tmp_path / "out")]) == 2
    assert f"got no {missing}. pip install 'nas-prune[onnx]'" in capsys.readouterr().err
    assert (
        main(
            [
                "export",
                str(trained),
                "--space",
                SPACE,
                "--to",
                "pt2",
                "--images",
                "9",
                "--out",
                str(tmp_path / "out"),
            ]
        )
        == 0
    )
