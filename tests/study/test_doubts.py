"""Studies whose trials guess, or are all alike, say so: at their end, in reports and rankings."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial

from nas_prune.cli import main
from nas_prune.cli.ranking import print_ranking
from nas_prune.data.config import DataConfig
from nas_prune.space.widths import read_widths
from nas_prune.study import trial_record as record
from nas_prune.study.config import StudyConfig
from nas_prune.study.doubts import doubts_about
from nas_prune.study.rank_result import Candidate, Course, Ranking, RankTerms, Spent, notes_on, summary

CONFIG = StudyConfig(
    name="some", space="resnet20", data=DataConfig(), epochs=2, budgets=("macs<=30%",), trials=4
)
WIDTHS = Path(__file__).parents[1] / "earlier_runs" / "train" / "widths.json"


def trials(values: Sequence[float], guess: float | None = 0.15, images: int = 1000) -> list[FrozenTrial]:
    noted = {} if guess is None else {record.GUESS: guess, record.VAL_IMAGES: images}
    attributes = {record.MACS: 1, record.PARAMS: 1, record.WIDTHS: "[1]", **noted}
    return [optuna.trial.create_trial(value=value, user_attrs=attributes) for value in values]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            [0.10, 0.12, 0.09, 0.14],
            "Every trial is hardly better than guessing the largest class, after 2 epochs each",
        ),
        ([0.10, 0.12, 0.09, 0.40], "3 of 4 trials are hardly better than guessing"),
        ([0.10, 0.30, 0.35, 0.40], None),
        (
            [0.950, 0.951, 0.952, 0.953],
            "All 4 trials are about equal (95.00 to 95.30 %, no further apart than chance",
        ),
        ([1.0, 1.0, 1.0], "All 3 trials are about equal"),
        ([0.95, 0.95], None),  # too few to say that of
        ([0.90, 0.95, 0.93, 0.91], None),
        ([], None),
    ],
)
def test_what_makes_trials_say_little_is_said(values: list[float], said: str | None) -> None:
    found = doubts_about(trials(values), CONFIG)
    assert found == [] if said is None else said in found[0]


def test_trials_of_earlier_versions_are_read_without_a_word() -> None:
    assert doubts_about(trials([0.1, 0.1, 0.1], guess=None), CONFIG) == []


def test_a_study_that_guesses_says_so_at_its_end_and_in_its_report(
    in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "space: resnet20\nwidth_multiplier: 0.25\nbudget: macs<=30%\ntrials: 2\nepochs: 1\nthreads: 1\n"
    Path("own.yaml").write_text(
        f"{text}data: {{name: digits, max_images: 80, val_fraction: 0.4}}\n", encoding="utf-8"
    )
    assert main(["study", "run", "own.yaml"]) == 0
    assert (
        "Every trial is hardly better than guessing the largest class, after 1 epoch each"
        in capsys.readouterr().out
    )
    assert main(["study", "run", "own.yaml", "--format", "json"]) == 0
    (study,) = json.loads(capsys.readouterr().out)["studies"]
    assert "Every trial is hardly better than guessing" in study["doubts"][0]
    assert main(["report", "runs/own", "--format", "md"]) == 0
    assert "Every trial is hardly better than guessing" in capsys.readouterr().out


def ranking(tmp_path: Path) -> Ranking:
    widths = read_widths(WIDTHS)
    rows = [
        Candidate("trial 1", 1, widths, (0.50, 0.52), (0.80, 0.82), (0.8, 0.8), 0.51, 0.6),
        Candidate("trial 2", 2, widths, (0.48, 0.49), (0.90,), (0.9,), 0.48, 0.2),
        Candidate("uniform", 0, widths, (0.47, 0.47), (0.70, 0.72), (0.7, 0.7), 0.47, 0.2),
    ]
    return Ranking(
        "some",
        tuple(rows),
        tmp_path,
        "scratch-e",
        (),
        Course(2, "seeds", 0.05, 2),
        Spent(1, 1, 1),
        RankTerms(2, 2, 2, "scratch-e", None, 4),
        {},
        0.15,
    )


def test_a_full_training_that_is_better_than_the_winners_is_named(tmp_path: Path) -> None:
    found = ranking(tmp_path)
    (note,) = notes_on(found, CONFIG)
    assert note.startswith(
        "In full (20 epochs), trial 2 did better than the winner: trial 2 90.00 % (n = 1) beside trial 1 81.00 % "
        "(n = 2). The order is that of the short trainings (2 epochs)"
    )
    content = summary(found, CONFIG)
    assert (content["ordered_by"], content["better_in_full"], content["notes"]) == (
        "short",
        ["trial 2"],
        [note],
    )
    worse = replace(found, candidates=(found.candidates[0], found.candidates[2]))
    assert notes_on(worse, CONFIG) == []
    assert summary(worse, CONFIG)["better_in_full"] == []
    raced = replace(found, candidates=tuple(replace(one, full=()) for one in found.candidates))
    assert notes_on(raced, CONFIG) == []


def test_a_ranking_whose_networks_guess_says_after_which_trainings(tmp_path: Path) -> None:
    found = replace(ranking(tmp_path), guess=0.6)
    assert "after short training (2 epochs): the order says little" in notes_on(found, CONFIG)[1]
    assert "after full training (20 epochs)" in notes_on(replace(found, guess=0.95), CONFIG)[2]


def test_the_lengths_stand_above_the_columns_and_in_the_report(
    in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    print_ranking(ranking(in_empty_directory), CONFIG)
    printed = capsys.readouterr().out
    assert "short: 2 ep. (n)" in printed
    assert "full: 20 ep. (n)" in printed
    assert "trial 2 did better than the winner" in printed
    shutil.copytree(Path(__file__).parents[1] / "earlier_runs" / "study", "study")
    (path,) = Path("study/rank").glob("*/result.json")
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"notes": ["trial 2 did better."]}), encoding="utf-8"
    )
    assert main(["report", "study", "--format", "md"]) == 0
    assert "trial 2 did better." in capsys.readouterr().out
