"""The commands as a person types them: what they print, what they write, and how they refuse."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

from nas_prune.cli import COMMANDS, main
from nas_prune.space.widths import read_widths


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real, very short search on the digits."""
    out = tmp_path_factory.mktemp("search") / "run"
    budgets = ["--budget", "macs<=50%", "--budget", "params<=100K", "--budget", "channels<=40%"]
    assert main(["search", "--epochs", "2", "--max-images", "300", "--out", str(out), *budgets]) == 0
    return out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must fail as a user's mistake; returns its one line."""
    code = main(list(arguments))
    printed = capsys.readouterr()
    assert code == 2, printed.err
    assert printed.out == ""
    lines = printed.err.strip().splitlines()
    assert len(lines) == 1, printed.err
    return lines[0]


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for name in COMMANDS:
        assert main([name, "--help"]) == 0
        assert "Usage: nas-prune" in capsys.readouterr().out


def test_help_does_not_load_torch() -> None:
    code = "import sys; from nas_prune.cli import main; main(['--help']); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_spaces_and_methods_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spaces", "--format", "json"]) == 0
    names = [row["name"] for row in json.loads(capsys.readouterr().out)]
    assert {"resnet20", "vgg16", "densenet40", "preresnet164", "torchvision:mobilenet_v2"} <= set(names)
    assert main(["methods"]) == 0
    text = capsys.readouterr().out
    assert "slimming            automatic   training: with a penalty" in text
    assert "uniform             control     training: none" in text
    assert "variational-dropout automatic   training: with a penalty" in text
    assert (
        "soft-filter         predefined  training: as usual, but for what it changes after each epoch" in text
    )


def test_inspect_prints_groups_frozen_parts_and_costs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "--space", "resnet20"]) == 0
    text = capsys.readouterr().out
    assert "layer1.0.conv1  inner" in text
    assert "the network's output" in text
    assert "40,813,184" in text
    assert main(["inspect", "--space", "resnet20", "--format", "json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["base"]["macs"] == 40_813_184
    assert len(facts["groups"]) == 12


def test_a_search_writes_everything_a_run_directory_holds(run_directory: Path) -> None:
    found = {str(path.relative_to(run_directory)) for path in run_directory.rglob("*") if path.is_file()}
    assert found == {
        "config.yaml", "metrics.jsonl", "result.json", "widths.png", "kept.json", "scores.json", "network.safetensors",
        "widths/whole.json", "widths/macs-50pct.json", "widths/params-100K.json", "widths/channels-40pct.json",
    }  # fmt: skip
    rows = [json.loads(line) for line in (run_directory / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    with Image.open(run_directory / "widths.png") as picture:
        assert min(picture.size) > 300


def test_widths_found_meet_their_budgets(run_directory: Path) -> None:
    base = read_widths(run_directory / "widths" / "whole.json").cost
    half = read_widths(run_directory / "widths" / "macs-50pct.json")
    assert 0.49 * base.macs < half.cost.macs <= 0.5 * base.macs
    assert read_widths(run_directory / "widths" / "params-100K.json").cost.params <= 100_000
    assert half.method is not None
    assert half.method.name == "slimming"
    assert half.data is not None
    assert half.data.num_train + half.data.num_val == 300


def test_the_configuration_is_resolved(run_directory: Path) -> None:
    config = yaml.safe_load((run_directory / "config.yaml").read_text())
    assert config["space"] == "resnet20"
    assert config["data"]["image_size"] == 8
    assert config["sparsity"] > 0
    assert config["epochs"] == 2
    assert config["recipe"]["epochs"] == 20
    assert config["threads"] == 1


def test_widths_are_trained_from_scratch(
    run_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "train"
    widths = str(run_directory / "widths" / "macs-50pct.json")
    arguments = ["train", "--widths", widths, "--seeds", "2", "--out", str(out), "--format", "json"]
    assert main([*arguments, "--schedule", "scratch-b", "--epochs", "1"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["epochs"] == 2
    assert result["reference_epochs"] == 1
    assert result["multiplier"] == pytest.approx(2, abs=0.05)
    assert [one["seed"] for one in result["seeds"]] == [0, 1]
    assert 0 <= result["test_accuracy_mean"] <= 1
    assert sorted(path.name for path in (out / "seed-1").iterdir()) == [
        "metrics.jsonl",
        "network.safetensors",
        "result.json",
    ]


def test_the_same_search_gives_the_same_bytes(run_directory: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    budgets = ["--budget", "macs<=50%", "--budget", "params<=100K", "--budget", "channels<=40%"]
    assert main(["search", "--epochs", "2", "--max-images", "300", "--out", str(out), *budgets]) == 0
    for path in sorted(run_directory.rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (out / path.relative_to(run_directory)).read_bytes(), path.name


def test_no_file_of_a_run_holds_a_rooted_path(tmp_path: Path, in_empty_directory: Path) -> None:
    make_folder(tmp_path / "pictures")
    arguments = ["search", "--space", "vgg11", "--width-multiplier", "0.1", "--epochs", "1"]
    data = ["--data", f"folder:{tmp_path / 'pictures'}", "--image-size", "8"]
    assert main([*arguments, *data, "--budget", "macs<=60%", "--out", str(tmp_path / "run")]) == 0
    for path in (tmp_path / "run").rglob("*"):
        if path.is_file():
            assert str(tmp_path).encode() not in path.read_bytes(), path
            assert path.suffix in (".png", ".safetensors") or b'"/' not in path.read_bytes(), path
    assert (
        yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["data"]["name"] == "folder:../pictures"
    )
    assert main(["search", "--resume", "run"]) == 0
    assert in_empty_directory == tmp_path


def make_folder(root: Path, *, classes: int = 2) -> None:
    for part, number in (("train", 8), ("test", 3)):
        for label in range(classes):
            place = root / part / f"class{label}"
            place.mkdir(parents=True)
            for index in range(number):
                Image.new("RGB", (12, 10), (255 * label // 2, 20 * index, 90)).save(place / f"{index}.png")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["search", "--space", "resnet21"],
            "--space must be one of densenet40, lenet5, lenet300, preresnet164, resnet20",
        ),
        (["search", "--method", "magic"], "--method must be all or one of slimming, cost-aware, sss"),
        (["search", "--data", "imagenet"], "--data must be one of digits, cifar10"),
        (["search", "--data", "folder:nowhere"], "nowhere"),
        (["search", "--budget", "macs<=-3"], "a budget must be at least 1, got 'macs<=-3'"),
        (["search", "--budget", "macs<50"], "a budget must be an upper bound written with <="),
        (["search", "--budget", "flops<=50%"], "a budget must name MACs, not FLOPs"),
        (["search", "--budget", "macs<=1%"], "are feasible"),
        (
            ["search", "--budget", "latency<=3ms"],
            "latency of resnet20 must be known to be bounded, got no --target",
        ),
        (["search", "--recipe", "slow"], "--recipe must be one of"),
        (["search", "--epochs", "0"], "--epochs must be from 1 to 100,000, got 0"),
        (["search", "--image-size", "4"], "--image-size must be at least 8"),
        (["search", "--seed", "100000000000000"], "Invalid value for '--seed'"),
        (["train", "--image-size", "16"], "No such option"),
        (["search", "--sparsity", "-1"], "--sparsity must be at least 0"),
        (["search", "--width-multiplier", "0"], "--width-multiplier must be between"),
        (["search", "--space", "torchvision:resnet19"], "must name a classification or segmentation network"),
        (["search", "--groups", "some"], "Invalid value for '--groups'"),
        (["search", "--nonsense"], "No such option"),
        (
            ["search", "--resume", "nowhere"],
            "--resume must be a run's directory, got nowhere, which does not exist",
        ),
        (
            ["search", "--resume", ".", "--epochs", "3"],
            "--resume must stand alone, got --epochs beside it",
        ),
        (["inspect", "--space", "vgg12"], "--space must be one of"),
        (["train"], "RUN must name one search or widths file"),
        (
            ["train", "--widths", "nowhere.json"],
            "must be a widths file, got nowhere.json, which does not exist",
        ),
        (["prune"], "the command must be one of nas-prune's, got 'prune'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_one_line_and_leave_nothing(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], in_empty_directory: Path
) -> None:
    assert message in refused(capsys, *arguments)
    assert list(in_empty_directory.iterdir()) == []


def test_an_output_directory_that_holds_something_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "precious.txt").write_text("keep me")
    assert "--out must be a new or an empty directory" in refused(capsys, "search", "--out", str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_folders_that_cannot_be_used_are_refused(
    capsys: pytest.CaptureFixture[str], in_empty_directory: Path
) -> None:
    (in_empty_directory / "empty").mkdir()
    assert "empty" in refused(capsys, "search", "--data", "folder:empty")
    make_folder(in_empty_directory / "one", classes=1)
    assert "class" in refused(capsys, "search", "--data", "folder:one")
    make_folder(in_empty_directory / "broken")
    (in_empty_directory / "broken" / "train" / "class0" / "3.png").write_bytes(b"no picture")
    assert "train/class0/3.png" in refused(capsys, "search", "--data", "folder:broken")
    assert not (in_empty_directory / "runs").exists()


def test_a_second_run_takes_the_next_free_name(in_empty_directory: Path) -> None:
    arguments = ["search", "--epochs", "1", "--max-images", "100", "--budget", "macs<=50%"]
    assert main(arguments) == 0
    assert main(arguments) == 0
    names = sorted(path.name for path in (in_empty_directory / "runs").iterdir())
    assert names == ["resnet20-slimming-digits-001", "resnet20-slimming-digits-002"]
