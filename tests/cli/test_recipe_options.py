"""What `--balance`, `--patience` and recipe files with the newer settings print and write."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nas_prune.cli import main
from nas_prune.space.load import load_space

SPACE = load_space("resnet20", (1, 8, 8))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory with widths for the digits, and uneven images: 48 dark ones, 8 light ones."""
    monkeypatch.chdir(tmp_path)
    SPACE.widths([max(1, base // 4) for base in SPACE.base_G]).write(tmp_path / "widths.json")
    rng = np.random.default_rng(0)
    for name, count, level in (("dark", 48, 60), ("light", 8, 180)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 70, (8, 8, 3), dtype=np.uint8) + np.uint8(level)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.png")
    return tmp_path


def result(run: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Path(run, "result.json").read_text(encoding="utf-8"))
    return content


TRAIN = [
    "train",
    "--widths",
    "widths.json",
    "--data",
    "digits",
    "--max-images",
    "200",
    "--schedule",
    "scratch-e",
]


def test_patience_says_at_which_epoch_it_stopped_and_which_was_kept(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wild = ["--learning-rate", "2", "--epochs", "30", "--patience", "1"]
    assert main([*TRAIN, *wild, "--out", "run"]) == 0
    (seed,) = result("run")["seeds"]
    kept, done = seed["kept_epoch"], seed["epochs_done"]
    assert len(seed["epochs"]) == done < 30
    assert seed["val_accuracy"] == max(line["val_accuracy"] for line in seed["epochs"])
    said = capsys.readouterr().out
    assert f"(one seed), at the best epoch by validation, {kept} of {done}." in said
    assert f"{kept}  {done} of 30" in said
    assert main(["report", "run", "--out", "report.md"]) == 0
    assert "Accuracy at each seed's best epoch by validation" in Path("report.md").read_text(encoding="utf-8")


def test_the_last_epoch_is_said_by_default(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TRAIN, "--epochs", "1", "--out", "run"]) == 0
    said = capsys.readouterr().out
    assert "(one seed), after the last epoch." in said
    assert "best epoch" not in said
    assert "balanced" not in said


SEARCH = ["search", "--data", "folder:images", "--image-size", "8", "--budget", "macs<=60%", "--epochs", "1"]


@pytest.mark.slow
def test_uneven_classes_are_told_once_and_what_to_type(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SEARCH, "--out", "plain"]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Classes are uneven")]
    assert said == [
        (
            "Classes are uneven: dark has 36 training images, light has 5. --balance weights lets rare classes count "
            "more, --balance sampling shows all classes equally often."
        )
    ]
    for balance in ("weights", "sampling"):
        assert main([*SEARCH, "--balance", balance, "--out", balance]) == 0
        assert "Classes are uneven" not in capsys.readouterr().err
    metrics = {name: Path(name, "metrics.jsonl").read_text() for name in ("plain", "weights", "sampling")}
    assert len(set(metrics.values())) == 3
    assert (
        main(["train", "--widths", "weights/widths/macs-60pct.json", *SEARCH[1:3], "--out", "trained"]) == 0
    )
    out, err = capsys.readouterr()
    assert "Classes are uneven" not in err  # the widths file has the search's recipe
    assert "balanced test accuracy" in out
    (seed,) = result("trained")["seeds"]
    assert 0 <= seed["val_balanced_accuracy"] <= 1
    if seed["test_accuracy"] < 1:
        assert seed["test_balanced_accuracy"] != seed["test_accuracy"]


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        (["--patience", "0"], "--patience must be at least 1, got 0."),
        (["--balance", "both"], "is not one of 'none', 'weights', 'sampling'"),
        (["--log", "paper"], "is not 'tensorboard'"),
    ],
)
def test_wrong_values_are_refused(
    here: Path, capsys: pytest.CaptureFixture[str], typed: list[str], why: str
) -> None:
    assert main([*TRAIN, *typed, "--out", "run"]) == 2
    assert why in capsys.readouterr().err
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("optimizer: lion", "optimizer: it must be one of sgd, adamw, got 'lion'"),
        (
            "nesterov: true\noptimizer: adamw",
            "nesterov must come with optimizer: sgd, which uses it, got adamw",
        ),
        ("patience: 3\nkeep: last", "patience must come with keep: best, got last"),
        ("randaugment: {operation: 2}", "randaugment.operation: there is no such setting"),
        ("randaugment: {magnitude: 31}", "randaugment.magnitude: it must be at most 30"),
        ("color_jitter: {hue: 0.6}", "color_jitter.hue: it must be at most 0.5"),
        ("color_jitter: true", "color_jitter: it must be"),
        ("random_erasing: 1.5", "random_erasing: it must be at most 1"),
        ("mixup: -1", "mixup: it must be at least 0"),
        ("betas: [0.9, 1.0]\noptimizer: adamw", "betas.1: it must be below 1"),
    ],
)
def test_recipes_that_cannot_be_are_refused_in_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], line: str, why: str
) -> None:
    text = f"epochs: 1\nbatch_size: 32\nlearning_rate: 0.01\nschedule: cosine\n{line}\n"
    Path("mine.yaml").write_text(text, encoding="utf-8")
    assert main([*TRAIN, "--recipe", "mine.yaml", "--out", "run"]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("nas-prune: the recipe mine.yaml cannot be used: ")
    assert why in said
    assert not Path("run").exists()


@pytest.mark.slow
def test_a_comparison_charges_the_epochs_that_were_trained(here: Path) -> None:
    wild = ["--learning-rate", "2", "--epochs", "30", "--patience", "1"]
    search = ["search", "--data", "digits", "--max-images", "200", "--epochs", "1", "--method", "l1-norm"]
    assert main([*search, "--budget", "macs<=30%", "--out", "search"]) == 0
    assert main(["compare", "search", *wild, "--arm", "scratch-e", "--seeds", "2", "--out", "run"]) == 0
    arm = next(one for one in result("run")["arms"] if one["arm"] == "scratch-e")
    epochs = [one["epochs"] for one in arm["trained"]]
    assert all(one < 30 for one in epochs)
    assert arm["training_macs"] == sum(3 * one["macs"] * 180 * one["epochs"] for one in arm["trained"])
