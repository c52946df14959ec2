"""Scratch training of widths: the right images, the right networks, and a kill that leaves no trace."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from nas_prune.cli import main
from nas_prune.data.config import DataConfig, load_images
from nas_prune.errors import BadInputError
from nas_prune.runs.progress import SILENT
from nas_prune.space.cost_record import CostRecord
from nas_prune.space.load import load_space
from nas_prune.training import resumable as keeping
from nas_prune.training import run as scratch
from nas_prune.training import seed as one_seed
from nas_prune.training.config import TrainConfig
from nas_prune.training.job import prepared
from nas_prune.training.ranks import ALONE
from nas_prune.training.recipe import recipe_named
from nas_prune.training.result import mean_and_deviation
from nas_prune.training.run import train
from tests.runs.test_resume import contents

SPACE = load_space("resnet20", (1, 8, 8))
WIDTHS = SPACE.widths([base // 2 for base in SPACE.base_G])
CONFIG = TrainConfig(
    data=DataConfig(max_images=200),
    recipe=recipe_named("digits").with_epochs(1),
    schedule="scratch-e",
    seeds=(0,),
    threads=1,
)


def test_test_images_are_read_once_a_seed_and_after_all_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts: list[str] = []

    def spying(model, part, data, compute):  # type: ignore[no-untyped-def]
        parts.append("test" if part is data.test else "val")
        return 0.0, {"val": 0.25, "test": 0.75}[parts[-1]]

    monkeypatch.setattr(one_seed, "evaluate", spying)
    result = train(CONFIG.model_copy(update={"seeds": (0, 1)}), WIDTHS, tmp_path / "run")
    assert parts == ["val", "test", "val", "test"]
    assert [one.test_accuracy for one in result.seeds] == [0.75, 0.75]
    assert [one.val_accuracy for one in result.seeds] == [0.25, 0.25]


def test_images_of_another_shape_or_number_of_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="of the shape the widths are for, 1×8×8, got 1×16×16"):
        train(CONFIG.model_copy(update={"data": DataConfig(image_size=16)}), WIDTHS, tmp_path / "run")
    seven = load_space("resnet20", (1, 8, 8), num_classes=7)
    with pytest.raises(BadInputError, match="must have the 7 classes of the widths, got 10"):
        train(CONFIG, seven.widths(seven.base_G), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_seed_that_stands_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="seeds must each be given once, got 3 2 times"):
        train(CONFIG.model_copy(update={"seeds": (3, 1, 3)}), WIDTHS, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_images_are_split_as_the_search_of_the_widths_split_them() -> None:
    for config, widths, seed in (
        (CONFIG, WIDTHS.model_copy(update={"seed": 3}), 3),
        (CONFIG, WIDTHS, 0),
        (CONFIG.model_copy(update={"data_seed": 1}), WIDTHS.model_copy(update={"seed": 3}), 1),
    ):
        job = prepared(config, widths, ALONE, SILENT, space=None)
        assert job.config.data_seed == seed
        split = load_images(config.data, seed, SILENT)
        assert job.data.val.labels.equal(split.val.labels)
    other = load_images(CONFIG.data, 0, SILENT).val.labels
    assert not load_images(CONFIG.data, 3, SILENT).val.labels.equal(other)


def test_costs_that_a_file_misstates_are_worked_out_anew(tmp_path: Path) -> None:
    edited = WIDTHS.model_copy(update={"cost": CostRecord(macs=1, params=1, activations=1)})
    result = train(CONFIG.model_copy(update={"schedule": "scratch-b"}), edited, tmp_path / "run")
    assert result.widths == WIDTHS
    assert result.config.multiplier == WIDTHS.base_cost.macs / WIDTHS.cost.macs


def test_a_finished_training_is_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    first = train(CONFIG, WIDTHS, tmp_path / "run")
    monkeypatch.setattr(keeping, "fit", lambda state, *_, **__: done.append(state.epochs_done))
    again = scratch.resume_train(tmp_path / "run")
    assert done == []
    assert again.seeds == (replace(first.seeds[0], seconds=0.0),)
    (tmp_path / "run" / "seed-0" / "result.json").write_text("{")  # what it says is found again
    (seed,) = scratch.resume_train(tmp_path / "run").seeds
    assert done == []
    assert replace(seed, seconds=first.seeds[0].seconds) == first.seeds[0]


def test_a_deviation_needs_two_values() -> None:
    assert mean_and_deviation([0.5]) == (0.5, None)
    mean, deviation = mean_and_deviation([0.4, 0.6])
    assert mean == pytest.approx(0.5)
    assert deviation == pytest.approx(0.02**0.5)


@pytest.mark.slow
def test_a_killed_training_resumes_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    WIDTHS.write(tmp_path / "widths.json")
    monkeypatch.chdir(tmp_path)
    code = "import sys; from nas_prune.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = [
        "train",
        "--widths",
        "widths.json",
        "--data",
        "digits",
        "--epochs",
        "4",
        "--max-images",
        "400",
        "--seeds",
        "2",
    ]
    assert main([*arguments, "--out", "whole"]) == 0
    killed = subprocess.Popen([sys.executable, "-c", code, *arguments, "--out", "killed"])
    metrics = tmp_path / "killed" / "seed-1" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not metrics.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert metrics.read_text().count("\n") < 16
    assert main(["train", "--resume", "killed"]) == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert [row["epoch"] for row in rows] == list(range(1, 17))


def test_a_validation_loss_that_is_no_number_ends_a_training_without_a_result(
    in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["search", "--max-images", "200", "--epochs", "2", "--learning-rate", "1e5", "--out", "run"]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "loss must stay finite" in error
    assert error.rstrip().endswith("Use a smaller --learning-rate or --sparsity.")
    assert main([*command[:-1], "plain", "--method", "taylor"]) == 2
    assert "Use a smaller --learning-rate." in capsys.readouterr().err
    written = in_empty_directory / "run"
    assert "NaN" not in "".join(path.read_text() for path in written.glob("*.json*"))
    assert not (written / "widths").exists()
    for number in ("1e9", "nan"):
        assert main([*command[:6], number, "--out", "other"]) == 2
    assert not Path("other").exists()
