"""What a report says of a ranking, also of one that an earlier version has written, and of trials not ranked yet."""

import optuna

from nas_prune.data.config import DataConfig
from nas_prune.report.study import _best, _pictures, _ranked
from nas_prune.study import trial_record as record
from nas_prune.study.config import StudyConfig

ANY = StudyConfig(name="study", space="resnet20", trials=1)


def candidate(name: str, *values: float) -> dict[str, object]:
    own = {"name": name, "short_mean": 0.5, "full": list(values), "full_test": list(values)}
    return {**own, "macs": 1_000_000, "params": 1_000_000}


def test_a_gain_of_an_earlier_version_is_reckoned_again() -> None:
    ranked = {
        "short_epochs": 1,
        "full_epochs": 5,
        "schedule": "scratch-e",
        "winner": "trial 7",
        "centre": "guideline",
        "candidates": [
            candidate("trial 7", 0.56, 0.58),
            candidate("guideline", 0.50, 0.52),
            candidate("uniform", 0.4),
        ],
        "gain": {"full_test": {"difference": 0.06, "seed_noise": 0.2, "is_detectable": False}},
    }
    said = _ranked("study", ranked, ANY).sentences[1]
    assert said.startswith(
        "Over just training the guideline, test accuracy in full: a gain: +6.00 points (90 % interval +1.87 to +10.13"
    )
    assert len(_ranked("study", {**ranked, "winner": "guideline"}, ANY).sentences) == 1
    assert len(_ranked("study", {**ranked, "centre": None}, ANY).sentences) == 1


def test_a_study_of_another_task_is_told_by_its_metric() -> None:
    data = DataConfig(name="csv:all.csv", task="regression")
    config = StudyConfig(name="study", space="resnet20", data=data, trials=2)
    attributes = {record.MACS: 10**6, record.PARAMS: 20_000, record.WIDTHS: "[1]"}
    trials = [
        optuna.trial.create_trial(values=[value], params={}, distributions={}, user_attrs=attributes)
        for value in (-0.34, -0.52)
    ]
    table = _best(trials, config)
    assert table.headings[2] == "validation MAE"
    assert [row[2] for row in table.rows] == ["0.3400", "0.5200"]
    *_, share = _pictures(trials, config, "r1")
    assert share.caption == "Share of trials whose MAE is at most e."
    drawn = share.draw()
    assert "validation MAE e<" in drawn
    assert "median 0.4300" in drawn
    ranked = {"short_epochs": 1, "full_epochs": 5, "schedule": "scratch-e", "winner": "a", "centre": None}
    headings = _ranked("study", {**ranked, "candidates": [candidate("a", -0.3)]}, config).tables[0].headings
    assert headings[1:4] == ["short, validation MAE", "full, validation MAE", "full, test MAE"]
    assert _ranked("study", {**ranked, "candidates": []}, ANY).tables[0].headings[3] == "full, test (%)"


def test_trials_are_not_shown_beside_uniform_widths_without_a_word_on_their_luck() -> None:
    attributes = {record.MACS: 1, record.PARAMS: 1, record.WIDTHS: "[1]"}
    trials = [
        optuna.trial.create_trial(value=0.5, user_attrs={**attributes, record.SOURCE: "uniform"}),
        optuna.trial.create_trial(value=0.6, user_attrs=attributes),
    ]
    assert "luck makes these too high" in (_best(trials, ANY).caption)
