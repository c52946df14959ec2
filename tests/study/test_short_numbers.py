"""What a study stores of its trials can be read, means the same, and goes on with what was stored before."""

import json
from pathlib import Path
from typing import Any, get_args

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import RandomSampler
from optuna.trial import create_trial

from nas_prune.cli import main
from nas_prune.guideline.hand import RULES
from nas_prune.space.budget import Budget
from nas_prune.space.load import load_space
from nas_prune.study import trial_record as record
from nas_prune.study.config import SamplerName, StudyConfig
from nas_prune.study.parameters import parametrisation
from nas_prune.study.samplers import quiet, sampler_named
from nas_prune.study.short_numbers import ShortNumbers, shortest
from nas_prune.study.study_record import KEPT, in_words, kept

SPACE = load_space("resnet20", (1, 8, 8))
BUDGET = Budget.parse("macs<=40%")
POINTS = parametrisation(RULES["erk"], SPACE, BUDGET)
STUDY = """
space: resnet20
data: {name: digits, max_images: 60, val_fraction: 0.4}
epochs: 1
budget: macs<=30%
guideline: erk
trials: 4
threads: 1
"""
quiet()


def digits(value: float) -> int:
    """How many stand behind the point."""
    return len(repr(value).partition(".")[2])


def objective(trial: optuna.Trial) -> float:
    drawn = {name: trial.suggest_float(name, *ends) for name, ends in POINTS.ranges.items()}
    widths = POINTS.widths_G(drawn)
    for name, value in (("widths", json.dumps(widths)), ("params", 1), ("macs", 1)):
        trial.set_user_attr(name, value)
    return -sum(value**2 for value in drawn.values())


@pytest.mark.parametrize("name", get_args(SamplerName))
def test_every_sampler_draws_short_numbers_also_after_long_ones(name: SamplerName) -> None:
    study = optuna.create_study(direction="maximize", sampler=sampler_named(name, POINTS, 7))
    long = {own: low + (high - low) / 3.7 for own, (low, high) in POINTS.ranges.items()}
    ranges: dict[str, BaseDistribution] = {
        own: FloatDistribution(*ends) for own, ends in POINTS.ranges.items()
    }
    attributes = {"widths": json.dumps(POINTS.widths_G(long)), "params": 1, "macs": 1}
    study.add_trial(create_trial(params=long, distributions=ranges, value=-50.0, user_attrs=attributes))
    study.optimize(objective, n_trials=8)
    new = study.trials[1:]
    assert len(new) == 8
    for trial in new:
        assert dict(trial.distributions) == ranges
        assert max(map(digits, trial.params.values())) <= 4
        assert all(low <= trial.params[own] <= high for own, (low, high) in POINTS.ranges.items())


def test_what_is_drawn_is_what_the_sampler_drew_but_for_its_digits() -> None:
    drawn = []
    for sampler in (RandomSampler(seed=3), ShortNumbers(RandomSampler(seed=3))):
        study = optuna.create_study(sampler=sampler)
        study.optimize(
            lambda trial: trial.suggest_float("x", -6, 6) + trial.suggest_int("n", 1, 9), n_trials=5
        )
        drawn.append([trial.params for trial in study.trials])
    for plain, short in zip(*drawn, strict=True):
        assert short == {"x": round(plain["x"], 4), "n": plain["n"]}


@pytest.mark.parametrize("rule", ["erk", "smart-ratio", "bottleneck-first", None])
def test_what_needs_no_search_keeps_its_widths(rule: str | None) -> None:
    points = parametrisation(None if rule is None else RULES[rule], SPACE, BUDGET)
    for parameters in (points.uniform, points.guideline):
        found = shortest(points, parameters)
        assert points.widths_G(found) == points.widths_G(parameters)
        assert max(map(digits, found.values())) <= max(map(digits, parameters.values()))
        assert all(low <= found[name] <= high for name, (low, high) in points.ranges.items())


def test_settings_are_words_and_short_numbers() -> None:
    config = StudyConfig(name="a", space="resnet20", budgets=(BUDGET,), width_multiplier=1 / 3)
    said = in_words(config)
    assert said["space"] == "resnet20"
    assert said["budgets"] == "macs<=40%"
    assert said["width multiplier"] == "0.3333"
    assert said["recipe, nesterov"] in ("yes", "no")
    assert not any("{" in value or "null" in value or "None" in value for value in said.values())


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A real study of four trials."""
    home = tmp_path_factory.mktemp("short")
    file, run = home / "small.yaml", home / "run"
    file.write_text(STUDY, encoding="utf-8")
    assert main(["study", "run", str(file), "--out", str(run)]) == 0
    return optuna.load_study(study_name="small", storage=storage_in(run)), run


def storage_in(run: Path) -> optuna.storages.JournalStorage:
    from optuna.storages.journal import JournalFileBackend

    return optuna.storages.JournalStorage(JournalFileBackend(str(run / "journal.log")))


def test_a_study_shows_people_nothing_but_words_and_short_numbers(study: tuple[optuna.Study, Path]) -> None:
    shown, _ = study
    assert set(kept(shown)) == set(KEPT) - {record.TARGET}  # it has none
    assert not set(KEPT) & set(shown.user_attrs)
    odd = {name: one for name, one in shown.user_attrs.items() if not isinstance(one, str) or "{" in one}
    assert odd == {}
    assert shown.user_attrs["sampler"] == "rule"
    for trial in shown.trials:
        assert max(map(digits, trial.params.values())) <= 4
        assert max(map(digits, [*trial.values, *trial.intermediate_values.values()])) <= 6
        assert all(digits(one) <= 4 for one in trial.user_attrs.values() if isinstance(one, float))
    note = "".join(
        str(value) for key, value in system_attributes(shown).items() if key.startswith("dashboard:note")
    )
    assert "## Settings" in note
    assert "| sampler | rule |" in note


def system_attributes(study: optuna.Study) -> dict[str, Any]:
    found: dict[str, Any] = study._storage.get_study_system_attrs(study._study_id)
    return found


def test_a_study_whose_settings_stand_where_they_did_before_goes_on(
    study: tuple[optuna.Study, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    _, run = study
    lines = [json.loads(line) for line in (run / "journal.log").read_text(encoding="utf-8").splitlines()]
    for line in lines:  # as an earlier version wrote them
        for name in set(line.get("system_attr", {})) & set(KEPT):
            line["op_code"], line["user_attr"] = 2, {name: line.pop("system_attr")[name]}
    before = run.parent / "before"
    before.mkdir()
    for path in run.iterdir():
        if path.name in ("config.yaml", "guideline.yaml"):
            (before / path.name).write_bytes(path.read_bytes())
    (before / "journal.log").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    old = optuna.load_study(study_name="small", storage=storage_in(before))
    assert set(KEPT) - {record.TARGET} <= set(old.user_attrs)  # which this study has none of
    assert main(["study", "run", str(before), "--trials", "5"]) == 0
    assert "5 complete" in capsys.readouterr().out
    assert (
        main(["study", "run", str(run.parent / "small.yaml"), "--sampler", "random", "--out", str(before)])
        == 2
    )
    assert "must be continued as it was created, but sampler was" in capsys.readouterr().err
