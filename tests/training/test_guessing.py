"""Trainings carry what guessing gives on their test images; what earlier versions left is read by their classes."""

import json
from pathlib import Path

import pytest

from nas_prune.cli import main
from nas_prune.training.result import Trained, guessing, read_trained

RUNS = Path(__file__).parents[1] / "earlier_runs"


def trained(accuracy: float, guess: float | None) -> Trained:
    return Trained(0, accuracy, accuracy, 1, 1, 1, 0.0, guess=guess)


def test_arms_that_guess_are_named_by_the_largest_class_of_their_images() -> None:
    arms = {
        "good": [trained(0.7, 0.62)],
        "bad": [trained(0.6, 0.62), trained(0.61, 0.62)],
        "untrained": [],
        "earlier": [trained(0.2, None)],
    }
    assert guessing(arms) == ["bad"]
    assert guessing(arms, num_classes=5) == ["bad", "earlier"]
    assert guessing(arms, num_classes=10) == ["bad"]


def test_results_of_earlier_versions_are_read() -> None:
    paths = [*RUNS.glob("train/seed-*/result.json"), *RUNS.glob("compare/arms/*/seed-*/result.json")]
    assert paths
    found = [read_trained(path) for path in paths]
    assert all(one is not None and one.guess is None for one in found)


def test_a_training_that_guesses_says_so(
    in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    widths = str(RUNS / "train" / "widths.json")
    typed = [
        "train",
        "--widths",
        widths,
        "--data",
        "digits",
        "--schedule",
        "scratch-e",
        "--learning-rate",
        "1e-9",
    ]
    assert main([*typed, "--epochs", "1", "--max-images", "60", "--out", "run"]) == 0
    assert "It is no better than guessing the largest class may be." in capsys.readouterr().out
    assert 0.15 <= json.loads(Path("run/seed-0/result.json").read_text(encoding="utf-8"))["guess"] <= 0.2
    assert main(["report", "run", "--format", "md"]) == 0
    assert "It is no better than guessing the largest class may be." in capsys.readouterr().out


def test_a_network_that_finds_rare_classes_does_not_guess_whatever_the_largest_class_is() -> None:
    balanced = Trained(0, 0.4, 0.43, 1, 1, 1, 0.0, guess=0.79, test_balanced_accuracy=0.55)
    blind = Trained(0, 0.4, 0.43, 1, 1, 1, 0.0, guess=0.79, test_balanced_accuracy=0.26)
    assert guessing({"balanced": [balanced], "blind": [blind]}, num_classes=4) == ["blind"]
