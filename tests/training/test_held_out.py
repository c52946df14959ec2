"""A training that keeps a fifth of a person's images for testing says which, and they can be tested with again."""

import csv
import json
import re
from pathlib import Path

import pytest

from nas_prune.cli import main
from tests.conftest import WriteDigits

SHORT = ("--epochs", "2", "--image-size", "8", "--width-multiplier", "0.25", "--budget", "macs<=60%")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "csv"])
@pytest.mark.usefixtures("in_empty_directory")
def test_the_part_that_was_kept_gives_the_accuracy_that_the_run_reports(
    kind: str, write_digits: WriteDigits, capsys: pytest.CaptureFixture[str]
) -> None:
    write_digits("mine", {"3": 40, "5": 30})
    data = "folder:mine"
    if kind == "csv":
        rows = [f"{path},{path.parent.name}\n" for path in sorted(Path("mine").rglob("*.png"))]
        Path("all.csv").write_text("path,label\n" + "".join(rows), encoding="utf-8")
        data = "csv:all.csv"
    assert main(["search", "--space", "resnet20", "--data", data, *SHORT, "--out", "s"]) == 0
    assert "a fifth of each class is kept for it" in capsys.readouterr().err
    assert main(["train", "s", "--epochs", "2", "--out", "t"]) == 0
    told = json.loads(Path("t/result.json").read_text(encoding="utf-8"))["seeds"][0]["test_accuracy"]
    with Path("t/test-images.csv").open(encoding="utf-8", newline="") as stream:
        kept = list(csv.DictReader(stream))
    assert [Path(row["path"]).parent.name for row in kept] == [row["label"] for row in kept]
    assert len(kept) == 14
    capsys.readouterr()
    assert main(["predict", "t", "--data", data, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["part"], found["accuracy"], len(found["images"])) == ("kept for testing", told, 14)
    assert main(["predict", "t", "--data", data]) == 0
    assert re.search(r"of 14 images that the training kept for testing\.", capsys.readouterr().out)
    write_digits("mine", {"3": 41})  # other images now: which were trained on is not known
    if kind == "folder":
        assert main(["predict", "t", "--data", data, "--format", "json"]) == 0
        printed = capsys.readouterr()
        assert json.loads(printed.out)["part"] == "all"
        assert "also those that were trained on, if any were" in printed.err


@pytest.mark.usefixtures("in_empty_directory")
def test_what_cannot_be_looked_at_is_said_as_a_person_would(
    write_digits: WriteDigits, capsys: pytest.CaptureFixture[str]
) -> None:
    write_digits("mine/train", {"3": 20, "5": 20})
    write_digits("mine/val", {"3": 4, "5": 4})
    assert main(["search", "--space", "resnet20", "--data", "folder:mine", *SHORT, "--out", "s"]) == 0
    assert "val is tested with, and a part of train validates" in capsys.readouterr().err
    Path("x.heic").touch()
    Path("list.csv").touch()
    for typed, said in (
        (["s", "nofile.jpg"], "IMAGES must be there, got nofile.jpg, which does not exist."),
        (["s", "x.heic"], "in formats that are read, got x.heic, which is not. Save it as JPEG or PNG."),
        (["s", "list.csv"], "IMAGES must be images, got list.csv. Its images: --data csv:list.csv"),
        (["s"], "one of the two, got neither."),
        (["s", "x.heic", "--data", "folder:mine"], "one of the two, got both."),
    ):
        assert main(["predict", *typed]) == 2
        assert said in capsys.readouterr().err
    Path("runs").mkdir()
    Path("s").rename("runs/s")
    assert main(["train", "runs"]) == 2
    assert "folder of images" not in capsys.readouterr().err
