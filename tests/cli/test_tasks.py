"""Tasks that are not one class of each image, from the command line: each metric goes by its name to the end."""

import json
import re
import sys
from pathlib import Path

import pytest

from nas_prune.cli import main
from nas_prune.runs.typed import typed_here
from tests.photographs import write_masked, write_table

SMALL = ("--epochs", "2", "--threads", "1")
NARROW = ("--space", "resnet20", "--width-multiplier", "0.25", "--image-size", "8")


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return out


@pytest.mark.parametrize(
    ("task", "labels", "metric", "key"),
    [
        pytest.param("regression", "mean+spread", "MAE", "mae", marks=pytest.mark.slow),
        pytest.param("multi-label", "tags", "mAP", "map", marks=pytest.mark.slow),
    ],
)
def test_tables_lead_to_predictions(
    in_empty_directory: Path,
    capsys: pytest.CaptureFixture[str],
    task: str,
    labels: str,
    metric: str,
    key: str,
) -> None:
    write_table(in_empty_directory / "mine", 60)
    data = f"csv:mine/all.csv,label={labels}"
    found = ("search", "--data", data, "--task", task, *NARROW, *SMALL, "--budget", "macs<=50%", "--out", "s")
    assert main([*found]) == 0
    assert f"val. {metric}" in " ".join(printed(capsys).split())
    assert f"val_{key}_cut" in json.loads(Path("s/result.json").read_text())["budgets"][0]
    assert main(["train", "s", "--schedule", "scratch-e", "--seeds", "2", *SMALL, "--out", "t"]) == 0
    assert re.search(rf"Test {metric} [\d.,]+ ± [\d.,]+", printed(capsys))
    result = json.loads(Path("t/result.json").read_text())
    seeds = [one[f"test_{key}"] for one in result["seeds"]]
    assert all(value > 0 for value in seeds)
    assert result["metric"]["is_greater_better"] == (task == "multi-label")
    best = max if task == "multi-label" else min
    kept = best(result["seeds"], key=lambda one: one[f"val_{key}"])
    capsys.readouterr()
    assert main(["predict", "t", "--data", data, "--format", "json"]) == 0
    said = json.loads(printed(capsys))
    assert said[key] == pytest.approx(kept[f"test_{key}"], rel=1e-4)  # of the best by validation
    assert main(["export", "t", "--to", "safetensors", "--out", "e"]) == 0
    assert f"{metric} " in printed(capsys)
    assert main(["report", "s", "t", "--out", "page.html"]) == 0
    page = Path("page.html").read_text(encoding="utf-8")
    assert f"Validation {metric}" in page
    assert "Validation accuracy" not in page


def segmenter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    assert "tests.photographs" in sys.modules


def test_masks_lead_to_masks(
    in_empty_directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter(monkeypatch)
    write_masked(in_empty_directory / "mine", {"train": 60, "test": 12})
    own = ("--space", "tests.photographs:Segmenter")
    images = ("--data", "folder:mine", "--task", "segmentation", "--image-size", "16")
    assert main(["search", *own, *images, *SMALL, "--budget", "macs<=50%", "--out", "s"]) == 0
    assert "val. mIoU" in " ".join(printed(capsys).split())
    assert (
        main(
            ["train", "s", *own, "--schedule", "scratch-e", "--epochs", "12", "--threads", "1", "--out", "t"]
        )
        == 0
    )
    (seed,) = json.loads(Path("t/result.json").read_text())["seeds"]
    assert seed["test_miou"] > 0.35
    assert main(["predict", "t", *own, "--data", "mine", "--out", "p"]) == 0
    assert f"mIoU {100 * seed['test_miou']:.2f} %, of 12 images." in printed(capsys)
    assert len([*Path("p/masks").glob("*.png")]) == 12


UNET = """
import segmentation_models_pytorch
def make(num_classes=3):
    return segmentation_models_pytorch.Unet("resnet18", encoder_weights=None, classes=num_classes)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["torchvision:lraspp_mobilenet_v3_large", "unet_of_tests:make"])
def test_segmentation_networks_of_others_are_searched_cut_trained_and_reported(
    in_empty_directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    if name.startswith("unet"):
        pytest.importorskip("segmentation_models_pytorch")
        Path("unet_of_tests.py").write_text(UNET, encoding="utf-8")
        monkeypatch.syspath_prepend(str(in_empty_directory))
    write_masked(in_empty_directory / "mine", {"train": 120, "test": 24})
    own = ("--space", name, "--width-multiplier", "0.25", "--groups", "all")
    images = ("--data", "folder:mine", "--task", "segmentation", "--image-size", "32", "--threads", "1")
    assert main(["search", *own, *images, "--epochs", "4", "--budget", "macs<=50%", "--out", "s"]) == 0
    again = ("--space", name) if name.startswith("unet") else ()
    trained = (
        "train",
        "s",
        *again,
        "--schedule",
        "scratch-e",
        "--epochs",
        "25",
        "--threads",
        "1",
        "--out",
        "t",
    )
    assert main([*trained]) == 0
    result = json.loads(Path("t/result.json").read_text())
    assert result["macs"] <= 0.5 * json.loads(Path("s/result.json").read_text())["base"]["macs"]
    assert result["test_miou_mean"] > 0.3  # one class everywhere gives less than 0.2
    assert main(["report", "s", "t", "--out", "page.html"]) == 0
    assert "Validation mIoU" in Path("page.html").read_text(encoding="utf-8")


def test_networks_and_recipes_must_be_for_the_task(
    in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(in_empty_directory / "mine", 12)
    write_masked(in_empty_directory / "masked", {"": 12})
    table = ("search", "--data", "csv:mine/all.csv,label=mean", "--task", "regression", "--out", "s", *NARROW)
    for command, said in (
        (
            (*table, "--balance", "weights"),
            "balance must come with images of one class each, got --task regression.",
        ),
        ((*table, "--method", "obd"), "obd must come with images of one class each"),
        (
            ("search", "--data", "folder:masked", "--task", "segmentation", *NARROW, "--out", "s"),
            "must put out maps of class scores for each image to be trained here, got a row of class scores.",
        ),
        (("search", "--task", "counting"), "--task must be one of classification, multi-label, regression"),
        ((*table[:3], "--task", "tests.photographs:write_table"), "--task tests.photographs:write_table"),
    ):
        assert main([*command]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1 or "images for training" in error
        assert not Path("s").exists()


OWN = """
import torch
from nas_prune.data.metric import Metric
from nas_prune.data.task import Task

def loss(outputs, targets):
    return (outputs - targets).square().mean()

def errors(outputs, targets):
    return torch.stack([(outputs - targets).square().sum(), torch.tensor(float(outputs.numel()))]).double()

task = Task("anything", "numbers", Metric("RMSE", is_greater_better=False), loss, errors,
            lambda sums: float((sums[0] / sums[1]).sqrt()))
"""


@pytest.mark.slow
def test_a_task_of_ones_own_must_be_named_again_by_who_goes_on(
    in_empty_directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(in_empty_directory))
    Path("own_task_of_tests.py").write_text(OWN, encoding="utf-8")
    write_table(in_empty_directory / "mine", 40)
    own, name = ("--task", "own_task_of_tests:task"), "own_task_of_tests:task"
    data = ("--data", "csv:mine/all.csv,label=mean")
    assert main(["search", *data, *own, *NARROW, *SMALL, "--budget", "macs<=50%", "--out", "s"]) == 0
    assert "val. RMSE" in " ".join(printed(capsys).split())
    typed = vars(sys.modules[typed_here.__module__])["_TYPED_HERE"]
    typed.discard(name)  # as in another process
    assert main(["train", "s", "--schedule", "scratch-e", *SMALL, "--out", "t"]) == 2
    assert f"--task {name} must be given" in capsys.readouterr().err
    assert main(["search", "--resume", "s"]) == 2
    assert f"--task {name} must be given again, got none: s is of code of your own" in capsys.readouterr().err
    assert (
        main(
            [
                "train",
                "s",
                *own,
                "--schedule",
                "scratch-e",
                *SMALL,
                "--workers",
                "2",
                "--seeds",
                "2",
                "--out",
                "t",
            ]
        )
        == 0
    )
    assert "Test RMSE" in printed(capsys)
