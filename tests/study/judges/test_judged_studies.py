"""Studies whose first trials are judged and whose others are trained, on real images."""

import json
from pathlib import Path

import numpy as np
import pytest
from optuna.trial import Trial, TrialState
from torch import nn

from nas_prune.errors import BadInputError, NasPruneError
from nas_prune.report.study import part_of_study
from nas_prune.runs.progress import Progress
from nas_prune.runs.typed import Typed
from nas_prune.space.budget import Budget
from nas_prune.space.widths import Widths
from nas_prune.study import trial_record as record
from nas_prune.study.config import StudyConfig
from nas_prune.study.context import load_study
from nas_prune.study.creation import OneStudy
from nas_prune.study.dashboard import note
from nas_prune.study.judges.agreement import agreements
from nas_prune.study.judges.prepare import folder_of, is_prepared, loaded_judge, macs_of_preparing
from nas_prune.study.location import StudyLocation, read_trials, studies_in
from nas_prune.study.objective import Objective
from nas_prune.study.rule_search import rule_of, seen_in
from nas_prune.study.run import resume_study, run_study
from nas_prune.study.short_numbers import short
from nas_prune.study.spending import spent
from nas_prune.study.standing import expected_of
from tests.study.test_run import SMALL

JUDGED: StudyConfig = SMALL.model_copy(
    update={"sampler": "rule", "judge": "inherited", "judge_epochs": 1, "judged": 10, "trials": 16}
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> StudyLocation:
    run = tmp_path_factory.mktemp("judged") / "small"
    run_study(JUDGED, run)
    return StudyLocation(run)


def test_the_first_trials_are_judged_and_the_others_trained(finished: StudyLocation) -> None:
    trials = read_trials(finished).trials["small"]
    judges = [record.judge_of(trial) for trial in trials]
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 16
    # Uniform widths are both, so that what is said of them and what they are can be compared.
    assert judges == ["inherited", "scratch", *["inherited"] * 8, *["scratch"] * 6]
    assert [trial.user_attrs.get(record.SOURCE) for trial in trials[:3]] == ["uniform", "uniform", None]
    said = record.SAID.format("inherited")
    assert trials[1].user_attrs[said] == trials[0].value
    for trial, judge in zip(trials, judges, strict=True):
        assert (said in trial.user_attrs) == (judge == "scratch")
        assert trial.user_attrs[record.TRAINING_MACS] > 0
    assert trials[0].user_attrs[record.TRAINING_MACS] < trials[1].user_attrs[record.TRAINING_MACS]


def test_what_a_judge_says_leads_the_rule_of_the_trainings_and_is_not_counted_as_one(
    finished: StudyLocation,
) -> None:
    trials = read_trials(finished).trials["small"]
    seen = seen_in(trials)
    assert (len(seen.values), len(seen.cheaper["inherited"][1])) == (7, 9)
    context = load_study(finished.run)
    points = context.parametrised(context.config.budgets[0])
    assert len(rule_of(points, seen).leads) == 1
    assert {one.number for one in record.best_first(trials)} == {1, *range(10, 16)}
    assert seen_in(trials, judge="inherited").cheaper == {}
    assert {one.name for one in expected_of(points, trials)} >= {"uniform"}
    (agreed,) = agreements(trials, "inherited", points)  # too few networks for one of the rule
    assert (agreed.judge, agreed.n) == (
        "inherited",
        len({record.widths_of(one) for one in trials[1:2] + trials[10:]}),
    )
    with studies_in(finished, context.config) as studies:  # nor is it Optuna's best, and the dashboard's
        assert studies["small"].best_value == max(seen.values)


def test_the_report_compares_trainings_alone(finished: StudyLocation) -> None:
    """A judge's values are not accuracies of trainings, and may be higher."""
    trials = read_trials(finished).trials["small"]
    assert {one.number for one in record.of_main_judge(trials)} == {1, *range(10, 16)}
    (table,) = next(one.tables for one in part_of_study(finished.run, "small", None).sections if one.pictures)
    numbers = {int(row[0]) for row in table.rows}
    assert numbers <= {1, *range(10, 16)}


def test_the_dashboard_says_who_judged_and_what_was_spent(finished: StudyLocation) -> None:
    context = load_study(finished.run)
    with studies_in(finished, context.config) as studies:
        one = OneStudy("small", studies["small"], context.config.budgets)
        trials = one.study.get_trials(deepcopy=False)
        text = note(context, one, trials)
    assert "The first 10 are judged by **inherited**" in text
    assert "Rank correlation with trainings:" in text
    assert "| network | expected, % | 90 % interval | beside uniform, points |" in text
    found = spent(context, {"small": trials})
    assert found.preparing == macs_of_preparing(context) > 0
    assert found.total == found.preparing + sum(one.user_attrs[record.TRAINING_MACS] for one in trials)
    assert f"Spent: {found.total / context.whole_training:.2f}x" in text


@pytest.mark.slow
def test_a_judges_network_is_trained_once_and_says_the_same_again(finished: StudyLocation) -> None:
    context = load_study(finished.run)
    network = folder_of(context) / "network.safetensors"
    assert is_prepared(context)
    before = network.stat().st_mtime_ns
    said: list[str] = []
    resume_study(finished, progress=Progress(say=said.append))
    assert network.stat().st_mtime_ns == before
    judge, trials = loaded_judge(context), read_trials(finished).trials["small"]
    assert judge is not None
    again = judge.judged(record.widths_of(trials[0]) or ())
    assert (short(again.accuracy), again.macs) == (
        trials[0].value,
        trials[0].user_attrs[record.TRAINING_MACS],
    )


def small_without_norms(num_classes: int = 10) -> nn.Module:
    """A network of one's own, of which slimming finds no channels."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, num_classes),
    )


def test_a_judged_trial_that_is_put_back_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = JUDGED.model_copy(update={"judge": "log-widths", "judged": None, "trials": 4})
    judged = Objective._judged

    def fails(self: Objective, trial: Trial, widths: Widths) -> float:
        if trial.number == 0:
            raise NasPruneError("planted.")
        return judged(self, trial, widths)

    with monkeypatch.context() as patch:
        patch.setattr(Objective, "_judged", fails)
        run_study(config, tmp_path / "small")
    trials = run_study(config, tmp_path / "small").trials["small"]
    assert [trial.state for trial in trials] == [TrialState.FAIL, *[TrialState.COMPLETE] * 4]


def test_budgets_take_turns_where_time_may_end(tmp_path: Path) -> None:
    budgets = (Budget("macs", 0.3), Budget("macs", 0.2))
    changes = {"judge": "log-widths", "judged": None, "trials": 3, "budgets": budgets, "timeout": 600.0}
    trials = run_study(JUDGED.model_copy(update=changes), tmp_path / "small").trials
    begun = [(trial.datetime_start, name) for name, own in trials.items() for trial in own]
    assert [name for _, name in sorted(begun)] == ["small macs<=30%", "small macs<=20%"] * 3


def test_a_network_without_norms_is_judged_by_other_scores(tmp_path: Path) -> None:
    own = Typed("tests.study.judges.test_judged_studies:small_without_norms")
    config = JUDGED.model_copy(update={"space": own, "judged": None, "trials": 3})
    trials = run_study(config, tmp_path / "small").trials["small"]
    assert [record.judge_of(trial) for trial in trials] == ["inherited"] * 3
    text = (tmp_path / "small" / "judges" / "inherited" / "config.yaml").read_text(encoding="utf-8")
    assert "method: taylor" in text


@pytest.mark.parametrize(
    "judge", [pytest.param("slimmable", marks=pytest.mark.slow), "synflow", "log-widths"]
)
def test_every_judge_can_judge_all_trials(judge: str, tmp_path: Path) -> None:
    changes = {"judge": judge, "judged": None, "trials": 3, "sampler": "random"}
    if judge != "slimmable":
        changes["judge_epochs"] = None
    config = JUDGED.model_copy(update=changes)
    trials = run_study(config, tmp_path / "small").trials["small"]
    assert [record.judge_of(trial) for trial in trials] == [judge] * 3
    assert len({trial.value for trial in trials}) > 1
    if judge == "slimmable":
        assert all(0 <= trial.values[0] < 1 for trial in trials)
    else:  # logarithms, whose differences are no smaller than a rule can tell
        assert np.ptp([trial.values[0] for trial in trials]) > 1e-3
        assert not record.shown(trials[0]).endswith("%")
    assert not list((tmp_path / "small" / "trials").rglob("metrics.jsonl"))
    if judge == "slimmable":
        content = json.loads((tmp_path / "small" / "judges" / judge / "result.json").read_text())
        assert content == {"epochs": 1}


def test_a_study_must_be_continued_with_its_judge(finished: StudyLocation) -> None:
    other = JUDGED.model_copy(update={"judge": "synflow", "judge_epochs": None})
    with pytest.raises(BadInputError, match="judge was .*inherited.* and is .*synflow"):
        run_study(other, finished.run)
