"""Studies with a rule on real images: repeats get other seeds, and the finalists are the rule's."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import create_trial

from nas_prune.space.budget import Budget
from nas_prune.study import trial_record as record
from nas_prune.study.config import StudyConfig
from nas_prune.study.context import load_study
from nas_prune.study.finalists import finalists
from nas_prune.study.location import StudyLocation, read_trials, studies_in
from nas_prune.study.parameters import ParametrisedNetwork, parametrised
from nas_prune.study.rank import rank_study
from nas_prune.study.rule_sampler import RuleSampler
from nas_prune.study.rule_search import Pool, Seen, answer_of, best_by_lead, in_order, seen_in
from nas_prune.study.run import run_study
from tests.guideline.synthetic import space
from tests.study.test_run import SMALL

RULE: StudyConfig = SMALL.model_copy(update={"sampler": "rule", "trials": 11})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> StudyLocation:
    run = tmp_path_factory.mktemp("ruled") / "small"
    run_study(RULE, run)
    return StudyLocation(run)


@pytest.fixture(scope="module")
def points() -> ParametrisedNetwork:
    return parametrised(None, space("resnet20"), Budget.parse("macs<=50%"), by_layer=False)


def judged(points: ParametrisedNetwork, count: int, *, best: int) -> optuna.Study:
    """So many trials of a cheaper judge at one end of the ranges, and the best one, of a number, at the other."""
    study = optuna.create_study(direction="maximize")
    for number in range(count):
        end = 1 if number == best else 0
        study.add_trial(
            create_trial(
                value=1.0 if number == best else number / count / 2,
                params={name: ends[end] for name, ends in points.ranges.items()},
                distributions={name: FloatDistribution(*ends) for name, ends in points.ranges.items()},
                user_attrs={record.WIDTHS: json.dumps([number + 1] * 9), record.JUDGE: "inherited"},
            )
        )
    return study


@pytest.mark.parametrize(
    ("count", "is_near"), [(18, True), (19, False), (302, True), (303, False), (641, False)]
)
def test_a_cheaper_judge_is_asked_near_the_best_and_everywhere_in_turns(
    points: ParametrisedNetwork, count: int, is_near: bool
) -> None:
    study = judged(points, count, best=7)
    assert max(seen_in(study.trials, judge="inherited").values) == 1.0
    drawn = []
    for seed in range(8):
        sampler = RuleSampler(points, seed, judge="inherited")
        own = sampler.sample_relative(study, SimpleNamespace(number=count), {})  # type: ignore[arg-type]
        drawn.append(list(own.values()))
    middle = np.abs(np.mean(drawn, axis=1))  # of 6: near one end or the other, or around the guideline
    assert (middle > 4).all() if is_near else (middle < 4).all()


@pytest.mark.slow
def test_a_rule_of_many_judgements_is_fitted_to_a_few_hundred(points: ParametrisedNetwork) -> None:
    rng = np.random.default_rng(0)
    pool = Pool(points, rng)
    pool.add_around(in_order(points, points.guideline), 2.0, 60)
    vectors = tuple(points.widths_G(pool.parameters(place)) for place in range(60)) * 10
    values = tuple(rng.uniform(size=600).tolist())
    some = np.linspace(0, 599, 300).round().astype(int).tolist()
    fewer = (tuple(vectors[at] for at in some), tuple(values[at] for at in some))
    asked = [
        best_by_lead(points, Seen((), (), (), {"inherited": own}), Pool(points, np.random.default_rng(1)))
        for own in ((vectors, values), fewer)
    ]
    assert asked[0] == asked[1]


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
