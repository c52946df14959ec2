"""Studies with a rule on real images: repeats get other seeds, and the finalists are the rule's."""

import json
from pathlib import Path

import pytest

from nas_prune.study import trial_record as record
from nas_prune.study.config import StudyConfig
from nas_prune.study.context import load_study
from nas_prune.study.finalists import finalists
from nas_prune.study.location import StudyLocation, read_trials, studies_in
from nas_prune.study.rank import rank_study
from nas_prune.study.rule_search import answer_of, seen_in
from nas_prune.study.run import run_study
from tests.study.test_run import SMALL

RULE: StudyConfig = SMALL.model_copy(update={"sampler": "rule", "trials": 11})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> StudyLocation:
    run = tmp_path_factory.mktemp("ruled") / "small"
    run_study(RULE, run)
    return StudyLocation(run)


def test_equal_widths_are_another_seed(tmp_path: Path) -> None:
    run = tmp_path / "small"
    run_study(RULE.model_copy(update={"trials": 1}), run)
    location = StudyLocation(run)
    with studies_in(location, RULE) as studies:
        studies["small"].enqueue_trial(studies["small"].trials[0].params)
    run_study(RULE.model_copy(update={"trials": 2}), run)
    first, again = read_trials(location).trials["small"][:2]
    assert record.widths_of(first) == record.widths_of(again)
    assert [one.user_attrs[record.SEED] for one in (first, again)] == [0, 1]
    assert record.REPEAT_OF not in again.user_attrs
    assert again.user_attrs[record.TRAINING_MACS] == first.user_attrs[record.TRAINING_MACS] > 0
    assert first.value != again.value


def test_the_finalists_are_the_rules_answer_and_what_it_expects_most_of(finished: StudyLocation) -> None:
    context = load_study(finished.run)
    (budget,) = context.config.budgets
    points, trials = context.parametrised(budget), read_trials(finished).trials["small"]
    chosen = finalists(trials, 2, points)
    answer = points.widths_G(answer_of(points, seen_in(trials))[0])
    assert set(chosen) >= {"uniform"}
    assert answer in [vector for _, vector in chosen.values()]
    assert context.space.cost_at(answer).macs <= context.space.limit(budget)
    assert len(chosen) - sum(name in record.SOURCES for name in chosen) == 2
    by_value = finalists(trials, 2, None)
    assert "rule" not in by_value


@pytest.mark.slow  # the same with a plan, in test_planning, is not
def test_a_ranking_orders_by_the_rule_of_all_trials_and_short_trainings(finished: StudyLocation) -> None:
    (ranking,) = rank_study(finished, top=2, seeds=2, full_seeds=1)
    expected = [one.expected for one in ranking.candidates]
    assert expected == sorted(expected, reverse=True)
    assert sum(one.probability for one in ranking.candidates) == pytest.approx(1)
    assert all(
        1 <= len(one.short) <= 2 for one in ranking.candidates
    )  # a rule knows the noise before the race
    for name in set(ranking.baselines) - {ranking.winner.name}:
        assert ranking.priors[name].is_by_rule
        assert ranking.priors[name].difference == pytest.approx(
            expected[0] - next(one.expected for one in ranking.candidates if one.name == name)
        )
    content = json.loads((ranking.folder / "result.json").read_text(encoding="utf-8"))
    assert [one["expected"] for one in content["candidates"]] == expected
    (again,) = rank_study(finished, top=2, seeds=2, full_seeds=1)
    assert again.candidates == ranking.candidates
