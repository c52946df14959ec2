"""One number for a whole study: what it pays for, that no more is spent, and what it cannot pay for."""

from dataclasses import replace
from pathlib import Path
from time import monotonic

import pytest
import yaml
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas_prune.errors import BadInputError
from nas_prune.guideline.hand import RULES
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.runs.settings import read_config, write_config
from nas_prune.space.budget import Budget
from nas_prune.study import trial_record as record
from nas_prune.study.clock import clock_of, time_taken
from nas_prune.study.config import SCRATCH, StudyConfig
from nas_prune.study.context import StudyContext, images_and_network, load_study
from nas_prune.study.creation import write_wanted
from nas_prune.study.engine import Engine
from nas_prune.study.location import StudyLocation, read_trials
from nas_prune.study.planning import costs_of, planned, resolved_plan, say_plan, with_plan
from nas_prune.study.rank import rank_study
from nas_prune.study.run import _as_before, resume_study, run_study
from nas_prune.study.spending import pays_for_another, said_of, spent
from tests.study.test_run import SMALL

ONE: StudyConfig = SMALL.model_copy(
    update={
        "sampler": "rule",
        "recipe": SMALL.recipe.with_epochs(4),
        "budget_training": 0.9,
        "data": SMALL.data.model_copy(update={"max_images": 120}),
    }
)


# For plans alone.
LONG = ONE.model_copy(update={"recipe": SMALL.recipe.with_epochs(20), "epochs": 10})


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> StudyContext:
    data, space = images_and_network(LONG, SILENT)
    return StudyContext(tmp_path_factory.mktemp("planned"), LONG, space, Engine(data), None)


def asking(context: StudyContext, **changes: object) -> StudyContext:
    return replace(context, config=LONG.model_copy(update=changes))


@pytest.mark.parametrize("times", [2, 5, 10, 40])
def test_a_plan_shares_out_all_that_may_be_spent_and_no_more(context: StudyContext, times: float) -> None:
    plan = planned(asking(context, budget_training=times))
    parts = plan.preparing + plan.judging + plan.training + plan.finalists
    assert parts == plan.total == round(times * context.whole_training)
    assert plan.finalists >= 0.24 * plan.total
    assert plan.trained >= 8
    assert (plan.judge == SCRATCH) == (times < 5)
    assert (plan.judged > 0) == (plan.judge != SCRATCH)
    assert plan.words[0].startswith(f"Plan: {times:.2f}x training MACs")


def test_a_named_judge_is_taken_even_where_it_is_dear(context: StudyContext) -> None:
    dear = asking(context, budget_training=3.9, judge="inherited")
    plan = planned(dear)
    assert (plan.judge, plan.preparing) == ("inherited", context.whole_training)
    assert planned(asking(context, budget_training=3.9)).judge == SCRATCH
    least = costs_of(dear, "inherited").least
    assert planned(asking(context, budget_training=least, judge="inherited")).trained >= 8
    with pytest.raises(BadInputError, match=f"{least:g}x, got 3x"):
        planned(asking(context, budget_training=3, judge="inherited"))


def test_what_a_trial_takes_is_that_of_all_its_seeds(context: StudyContext) -> None:
    plan = planned(asking(context, budget_training=10, seeds=3))
    assert plan.judge == SCRATCH
    assert plan.one_training == 3 * costs_of(asking(context, seeds=1), SCRATCH).one_training


def test_the_least_budget_pays_for_the_first_round_of_a_race(context: StudyContext) -> None:
    guided = replace(context, pattern=RULES["bottleneck-first"], _known={})
    least = costs_of(guided, SCRATCH).least
    plan = planned(asking(guided, budget_training=least))
    assert plan.finalists >= 3 * plan.one_training  # uniform widths, the guideline, and another
    assert costs_of(guided, SCRATCH).sources == 2
    # A guideline that asks for uniform widths is one source with these.
    assert costs_of(replace(context, pattern=RULES["uniform"], _known={}), SCRATCH).sources == 1


def test_several_budgets_share_one_number_and_one_judge(context: StudyContext) -> None:
    one = planned(asking(context, budget_training=10))
    two = asking(context, budget_training=10, budgets=(Budget("macs", 0.3), Budget("macs", 0.2)))
    both = planned(two)
    assert both.studies == 2
    assert both.preparing == one.preparing
    assert both.trained < one.trained
    assert both.total == one.total == both.preparing + both.judging + both.training + both.finalists


def test_what_pays_for_too_little_is_refused_with_what_would_do(context: StudyContext) -> None:
    with pytest.raises(BadInputError, match=r"must pay for 8 trials of 10 epochs .* 1\.6x, got 0\.5x"):
        planned(asking(context, budget_training=0.5))
    assert planned(asking(context, budget_training=1.6)).trained >= 8


def test_hours_become_trainings_by_what_they_take_here(context: StudyContext) -> None:
    said: list[str] = []
    asked = asking(context, budget_training=None, hours=0.05)
    found = resolved_plan(asked, 1, Progress(say=said.append))
    assert found.plan is not None
    assert found.budget_training is not None
    assert found.budget_training > 1
    assert "One training of the whole network takes about" in said[0]
    twice = resolved_plan(asked, 2, SILENT)
    assert twice.budget_training is not None
    assert twice.budget_training > 1.3 * found.budget_training


def test_trainings_alone_can_be_asked_for(context: StudyContext) -> None:
    assert planned(asking(context, budget_training=10)).judge == "inherited"
    assert planned(asking(context, budget_training=10, judge=SCRATCH)).judge == SCRATCH
    # Other samplers would take a judge's values for accuracies.
    assert planned(asking(context, budget_training=10, sampler="cma")).judge == SCRATCH


def test_a_plan_holds_no_more_trials_than_a_study_may_have(context: StudyContext) -> None:
    plan = planned(asking(context, budget_training=1e6))
    assert plan.trials == 100_000
    assert plan.preparing + plan.judging + plan.training + plan.finalists == plan.total


def test_trials_end_where_those_that_were_dearer_than_planned_have_taken_their_share(
    context: StudyContext,
) -> None:
    plan = planned(asking(context, budget_training=3.0))
    asked = replace(context, config=with_plan(context, plan))

    def trials(count: int, each: int) -> list[FrozenTrial]:
        own = {record.TRAINING_MACS: each, record.JUDGE: SCRATCH}
        found = [create_trial(value=0.5, user_attrs=own) for _ in range(count)]
        for number, one in enumerate(found):
            one.number = number
        return found

    assert pays_for_another(asked, trials(plan.trained - 1, plan.one_training))
    assert not pays_for_another(asked, trials(plan.trained - 1, plan.one_training + 1))
    assert not pays_for_another(asked, trials(plan.trained // 2 + 1, 2 * plan.one_training))
    ends = create_trial(
        state=TrialState.RUNNING,
        user_attrs={record.TRAINING_MACS: plan.one_training, record.JUDGE: SCRATCH},
    )
    ends.number = plan.trained
    assert pays_for_another(asked, [*trials(plan.trained - 2, plan.one_training), ends])  # counted once
    more = replace(asked, config=asked.config.model_copy(update={"trials": plan.trials + 1}))
    assert pays_for_another(more, trials(plan.trained, plan.one_training))


def written(context: StudyContext, run: Path, **changes: object) -> StudyConfig:
    asked = asking(context, **changes)
    config = with_plan(asked, planned(asked))
    run.mkdir()
    write_config(run, config)
    return config


def test_what_was_planned_holds_for_whoever_joins(context: StudyContext, tmp_path: Path) -> None:
    there = written(context, tmp_path / "run", budget_training=5.7, hours=0.5)
    joins = _as_before(LONG.model_copy(update={"budget_training": None, "hours": 0.5}), tmp_path / "run")
    assert joins == there
    with pytest.raises(BadInputError, match=r"hours was 0\.5 and is 2\.0"):
        _as_before(LONG.model_copy(update={"budget_training": None, "hours": 2.0}), tmp_path / "run")


def test_other_trials_or_another_judge_on_a_planned_study(context: StudyContext, tmp_path: Path) -> None:
    there = written(context, tmp_path / "run", budget_training=5.7)
    typed = LONG.model_copy(update={"budget_training": None, "trials": 200})
    more = _as_before(typed, tmp_path / "run")
    assert (more.trials, more.plan, more.judge) == (200, there.plan, "inherited")
    said: list[str] = []
    say_plan(more, Progress(say=said.append))
    assert "is to have 200 trials" in said[1]
    for changes, words in (
        ({"judge": SCRATCH}, "judge was"),
        ({"budget_training": 3.0}, "budget_training was"),
    ):
        with pytest.raises(BadInputError, match=words):
            _as_before(LONG.model_copy(update={"budget_training": 5.7, **changes}), tmp_path / "run")


def test_trials_that_were_asked_for_are_not_bound_by_hours_when_the_study_goes_on(
    context: StudyContext, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    there = written(context, run, budget_training=5.7, hours=0.5)
    write_wanted(run, there.model_copy(update={"trials": 5}))  # they ended early
    assert read_config(run, StudyConfig).hours == 0.5
    write_wanted(run, there.model_copy(update={"trials": 9, "hours": None}))  # more are asked for
    again = read_config(run, StudyConfig)
    assert (again.trials, again.hours, again.plan) == (9, None, there.plan)
    by_file = _as_before(LONG.model_copy(update={"budget_training": None, "hours": 0.5}), run)
    assert (by_file.trials, by_file.hours) == (9, None)


def test_a_timeout_says_when_and_not_how_many(context: StudyContext, tmp_path: Path) -> None:
    there = written(context, tmp_path / "run", budget_training=5.7)
    later = _as_before(LONG.model_copy(update={"budget_training": 5.7, "timeout": 9.0}), tmp_path / "run")
    assert (later.trials, later.plan, later.timeout) == (there.trials, there.plan, 9.0)
    asked = replace(context, config=there.model_copy(update={"timeout": 1.0, "hours": 1.0}))
    clock = clock_of(asked, 1, monotonic() - 2)
    assert clock.deadline == clock.timeout
    assert not clock.is_up  # the study is not at its end


def test_what_a_judge_is_trained_for_may_stand_where_the_plan_asks_none(
    context: StudyContext, tmp_path: Path
) -> None:
    there = written(context, tmp_path / "run", budget_training=3.0, judge_epochs=4)
    assert (there.judge, there.judge_epochs) == (SCRATCH, 4)
    again = LONG.model_copy(update={"budget_training": 3.0, "judge_epochs": 4})
    assert _as_before(again, tmp_path / "run") == there


def test_time_that_was_taken_counts_once_however_many_workers_there_were(
    context: StudyContext, tmp_path: Path
) -> None:
    assert time_taken(tmp_path, 100.0) == 0
    (tmp_path / "hours").mkdir()
    for name, span in {"one": "[10, 30]", "two": "[20, 50]", "three": "[80, 120]", "cut": "[1,"}.items():
        (tmp_path / "hours" / f"{name}.json").write_text(span, encoding="utf-8")
    assert time_taken(tmp_path, 100.0) == 40 + 20
    asked = replace(asking(context, budget_training=5.0, hours=1.0), run=tmp_path)
    asked = replace(asked, config=with_plan(asked, planned(asked)))
    started = monotonic()
    assert clock_of(asked, 1, started).race_end == pytest.approx(started + 3600 - (20 + 20 + 40))


def test_hours_leave_the_race_its_time(context: StudyContext) -> None:
    asked = asking(context, budget_training=5.0, hours=1.0)
    asked = replace(asked, config=with_plan(asked, planned(asked)))
    plan = asked.config.plan
    assert plan is not None
    started = monotonic()
    clock = clock_of(asked, 1, started)
    assert clock.trials_end is not None
    assert clock.race_end == pytest.approx(started + 3600)
    share = (plan.finalists + plan.one_training) / plan.total
    assert clock.trials_end == pytest.approx(started + 3600 * (1 - share))
    for_two = replace(asked, config=asked.config.model_copy(update={"plan": replace(plan, workers=2)}))
    second = 2 * 3600 / plan.total  # of one process: the two had twice as many in an hour
    for workers in (1, 2, 4):
        own_race = second * (plan.finalists / workers + plan.one_training)
        assert clock_of(for_two, workers, started).trials_end == pytest.approx(started + 3600 - own_race)
    own = {record.TRAINING_MACS: 500, record.JUDGE: SCRATCH, record.SECONDS: 2.0}
    now = replace(clock, race_end=monotonic() + 10, workers=2)
    assert now.pays_for([create_trial(value=0.5, user_attrs=own)] * 3) == pytest.approx(
        10 * 2 * 250, rel=0.05
    )
    assert now.pays_for([]) is None


def test_settings_follow_from_a_plan(context: StudyContext) -> None:
    plan = planned(asking(context, budget_training=10))
    config = with_plan(context, plan)
    assert (config.judge, config.judged, config.trials) == (
        "inherited",
        plan.judged + 1,  # uniform widths are trained, too
        plan.judged + plan.trained,
    )


@pytest.mark.slow
def test_a_planned_study_ends_with_its_race_within_what_was_planned(tmp_path: Path) -> None:
    said: list[str] = []
    run = tmp_path / "small"
    result = run_study(ONE, run, progress=Progress(say=said.append))
    plan = result.config.plan
    assert plan is not None
    assert said.index("\n".join(plan.words)) < next(
        place for place, text in enumerate(said) if "small, trial 0" in text
    )
    (ranking,) = result.rankings
    assert (run / "rank" / "small" / "widths.json").exists()
    context = load_study(run)
    found = spent(context, result.trials)
    assert 0.98 * plan.training < found.training <= plan.training
    assert 0 < found.finalists == ranking.spent.short + ranking.spent.full
    assert found.total <= plan.total
    assert said[-1] == "\n".join(said_of(context, found))
    assert {one.name for one in result.known["small"].expected} >= {"uniform"}
    before = len(read_trials(StudyLocation(run)).trials["small"])
    again = run_study(ONE, run)  # the same file
    assert len(again.trials["small"]) == before == plan.trained
    assert again.config.plan == plan
    assert resume_study(StudyLocation(run)).rankings[0].winner.name == ranking.winner.name
    # A verdict that somebody has asked for is not replaced by the plan's.
    rank_study(StudyLocation(run), top=1, seeds=1, full_seeds=1, schedule="scratch-b")
    verdict = (run / "rank" / "small" / "result.json").read_bytes()
    again = resume_study(StudyLocation(run))
    assert (run / "rank" / "small" / "result.json").read_bytes() == verdict
    typed = ONE.model_copy(update={"budget_training": None, "trials": plan.trained + 1})
    assert len(run_study(typed, run).trials["small"]) == plan.trained + 1
    more = spent(context, again.trials).finalists
    assert (
        more > again.rankings[0].spent.short + again.rankings[0].spent.full
    )  # those of before were paid for, too


def test_a_study_of_before_keeps_its_number_of_trials(tmp_path: Path) -> None:
    run = tmp_path / "small"
    old = ONE.model_copy(update={"budget_training": None, "trials": 2})
    run_study(old, run)
    settings = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    del settings["plan"], settings["judge"], settings["hours"]
    (run / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    result = run_study(old.model_copy(update={"budget_training": 10.0}), run)
    assert (result.config.budget_training, result.config.plan) == (None, None)
    assert len(result.trials["small"]) == 2


@pytest.mark.slow
def test_a_planned_study_with_a_judge_spends_what_was_planned(tmp_path: Path) -> None:
    config = LONG.model_copy(update={"budget_training": 6.0})
    result = run_study(config, tmp_path / "small", workers=2)
    plan, trials = result.config.plan, result.trials["small"]
    assert plan is not None
    assert plan.judge == "inherited"
    judges = [record.judge_of(one) for one in trials if one.user_attrs.get(record.TRAINING_MACS)]
    assert judges.count(SCRATCH) == plan.trained
    context = load_study(tmp_path / "small")
    assert 0.8 * plan.total < spent(context, result.trials).total <= plan.total
