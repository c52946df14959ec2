"""Studies on real images with real storages: run, stopped, gone on with, changed, failing."""

from contextlib import closing
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy.exc import OperationalError

from nas_prune.data.config import DataConfig
from nas_prune.errors import BadInputError, BudgetError, NasPruneError, StorageError
from nas_prune.guideline.hand import RULES
from nas_prune.runs.progress import Progress
from nas_prune.runs.settings import write_config
from nas_prune.space.load import load_space
from nas_prune.space.widths import read_widths
from nas_prune.study import trial_record as record
from nas_prune.study.config import SamplerName, StudyConfig
from nas_prune.study.context import load_study
from nas_prune.study.creation import OneStudy, fingerprint
from nas_prune.study.dashboard import note
from nas_prune.study.location import StudyLocation, read_trials, studies_in
from nas_prune.study.objective import trial_folder
from nas_prune.study.run import resolved, resume_study, run_study
from nas_prune.study.storage import opened
from nas_prune.study.trial_record import Fate
from nas_prune.study.worker_lock import WorkerLock, is_gone, live_workers
from nas_prune.training.recipe import recipe_named
from nas_prune.training.run import train_one
from tests.conftest import WriteDigits

TRAIN_ONE = "nas_prune.study.engine.train_one"
SMALL = StudyConfig(
    name="small",
    space="resnet20",
    data=DataConfig(name="digits", max_images=150, val_fraction=0.4),
    recipe=recipe_named("digits"),
    epochs=1,
    budgets=("macs<=30%",),
    trials=4,
    threads=1,
)


def changed(**changes: object) -> StudyConfig:
    return SMALL.model_copy(update=changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> StudyLocation:
    run = tmp_path_factory.mktemp("finished") / "small"
    run_study(SMALL, run)
    return StudyLocation(run)


def test_every_trial_stands_in_the_storage_with_what_it_cost(finished: StudyLocation) -> None:
    trials = read_trials(finished).trials["small"]
    space = load_space("resnet20", (1, 8, 8), num_classes=10)
    limit = int(0.3 * space.cost_at(space.base_G).macs)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 4
    assert trials[0].user_attrs[record.SOURCE] == "uniform"
    for trial in trials:
        widths = record.widths_of(trial)
        assert widths is not None
        assert 0.98 * limit < space.cost_at(widths).macs == trial.user_attrs["macs"] <= limit
        assert list(trial.intermediate_values.values()) == [trial.value]
        folder = trial_folder(finished.run, "small", trial.number)
        assert read_widths(folder / "widths.json").vector == widths
        assert not list(folder.rglob("*.safetensors"))
        assert trial.user_attrs[record.TRAINING_MACS] == 3 * trial.user_attrs["macs"] * 90
        assert {"kept inner 0", "kept inner 1", "kept inner 2"} < set(trial.user_attrs)
    assert len({record.widths_of(trial) for trial in trials}) == 4


def test_more_trials_go_on_where_the_study_ended(finished: StudyLocation) -> None:
    before = [trial.params for trial in read_trials(finished).trials["small"]]
    result = resume_study(finished, trials=6)
    assert [trial.params for trial in result.trials["small"]][:4] == before
    assert len(result.trials["small"]) == 6
    assert len(run_study(changed(trials=6), finished.run).trials["small"]) == 6


@pytest.mark.slow
@pytest.mark.parametrize(
    "sampler",
    [
        "cma",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("rule", "tpe", "gp", "nsga2", "random")),
    ],
)
def test_a_study_that_was_stopped_draws_what_it_would_have_drawn(sampler: str, tmp_path: Path) -> None:
    trials = 12 if sampler == "rule" else 4  # the first of which are drawn without a rule
    drawn = run_study(changed(sampler=sampler, trials=trials), tmp_path / "whole").trials["small"]
    run_study(changed(sampler=sampler, trials=trials - 2), tmp_path / "parts")
    again = run_study(changed(sampler=sampler, trials=trials), tmp_path / "parts").trials["small"]
    assert [trial.params for trial in again] == [trial.params for trial in drawn]
    assert [trial.value for trial in again] == [trial.value for trial in drawn]


def test_a_study_keeps_its_sampler_where_the_file_names_none(tmp_path: Path) -> None:
    run_study(changed(sampler="cma", trials=2), tmp_path / "run")
    assert run_study(changed(trials=3), tmp_path / "run").config.sampler == "cma"
    assert run_study(changed(trials=1), tmp_path / "run", is_new=True).config.sampler == "rule"


def test_a_study_whose_file_has_changed_is_refused_or_begun_anew(finished: StudyLocation) -> None:
    with pytest.raises(BadInputError, match="epochs was 1 and is 2 now.*--new"):
        run_study(changed(epochs=2), finished.run)
    with pytest.raises(BadInputError, match='sampler was "rule" and is "random" now'):
        run_study(changed(sampler="random"), finished.run)
    result = run_study(changed(epochs=2, trials=1), finished.run, is_new=True)
    assert result.location.run == finished.run.with_name("small-2")
    assert list(result.trials) == ["small-2"]


def test_the_storage_refuses_another_study_of_the_same_name(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/trials.db"
    run_study(changed(trials=1), tmp_path / "one", storage=url)
    with pytest.raises(
        BadInputError, match="study 'small' in the storage must be continued as it was created"
    ):
        run_study(changed(trials=1, seed=1), tmp_path / "other", storage=url)
    rule = changed(trials=1, guideline="erk")
    with pytest.raises(BadInputError, match="guideline was null"):
        run_study(rule, tmp_path / "third", storage=url)


def test_a_trial_that_fails_is_recorded_and_a_few_in_a_row_end_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    diverging = [2, 3, 5, 6, 7]
    calls: list[int] = []

    def train(*given: object, **more: object) -> object:
        calls.append(1)
        if len(calls) in diverging:
            raise NasPruneError("the loss must stay finite, got one that is not in step 1.")
        return train_one(*given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(TRAIN_ONE, train)
    said: list[str] = []
    with pytest.raises(BadInputError, match="must not fail 3 times in a row.*the loss must stay finite"):
        run_study(changed(trials=9), tmp_path / "run", progress=Progress(say=said.append))
    trials = read_trials(StudyLocation(tmp_path / "run")).trials["small"]
    assert [str(fate) for fate in record.fates(trials)] == [
        "complete", "failed", "failed", "complete", "failed", "failed", "failed",
    ]  # fmt: skip
    assert "trial 1 failed: the loss must stay finite" in "".join(said)
    monkeypatch.setattr(TRAIN_ONE, train_one)
    again = run_study(changed(trials=9), tmp_path / "run").trials["small"]
    assert [trial.state for trial in again[7:]] == [TrialState.COMPLETE] * 2


def test_ctrl_c_puts_the_trial_back_and_its_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt("training stopped: 1 of 2 epochs are done")

    monkeypatch.setattr(TRAIN_ONE, stop)
    with pytest.raises(KeyboardInterrupt, match="1 of 2 epochs.*Go on with: nas-prune study run"):
        run_study(changed(trials=2), tmp_path / "run")
    monkeypatch.setattr(TRAIN_ONE, train_one)
    trials = run_study(changed(trials=2), tmp_path / "run").trials["small"]
    assert record.fates(trials) == [Fate.RETRIED, Fate.COMPLETE, Fate.COMPLETE]
    assert trials[1].user_attrs[record.SOURCE] == "uniform"
    assert record.line_of(trials[1]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["cma", "rule", "tpe", "gp", "nsga2", "random"])
def test_a_trial_that_was_put_back_changes_nothing_of_what_is_drawn_next(
    sampler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def stop_once(*given: object, **more: object) -> object:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train_one(*given, **more)  # type: ignore[arg-type]

    config = changed(trials=5, sampler=sampler)
    whole = run_study(config, tmp_path / "whole").trials["small"]
    monkeypatch.setattr(TRAIN_ONE, stop_once)
    with pytest.raises(KeyboardInterrupt):
        run_study(config, tmp_path / "run")
    again = run_study(config, tmp_path / "run").trials["small"]
    assert record.fates(again)[2] == Fate.RETRIED
    drawn = {str(sorted(trial.params.items())) for trial in again}
    assert drawn == {str(sorted(trial.params.items())) for trial in whole}


def test_equal_widths_are_trained_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def train(*given: object, **more: object) -> object:
        calls.append(1)
        return train_one(*given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(TRAIN_ONE, train)
    place = StudyLocation(tmp_path / "run")
    run_study(changed(trials=1, sampler="cma"), place.run)
    with studies_in(place, SMALL) as studies:
        studies["small"].enqueue_trial(studies["small"].trials[0].params)
    trials = run_study(changed(trials=3, sampler="cma"), place.run).trials["small"]
    first, told = trials[0], trials[1]
    assert len(calls) == 2
    assert told.user_attrs[record.REPEAT_OF] == 0
    assert (told.value, told.intermediate_values) == (first.value, first.intermediate_values)
    assert told.user_attrs[record.TRAINING_MACS] == 0


@pytest.mark.slow
def test_several_budgets_are_studies_and_two_objectives_are_one(tmp_path: Path) -> None:
    two = changed(budgets=("macs<=30%", "params<=50%"), trials=2)
    result = run_study(two, tmp_path / "budgets")
    assert {name: len(trials) for name, trials in result.trials.items()} == {
        "small macs<=30%": 2,
        "small params<=50%": 2,
    }
    both = changed(budgets=("macs<=20%", "macs<=60%"), against="latency", trials=3)
    (trials,) = run_study(both, tmp_path / "both").trials.values()
    space = load_space("resnet20", (1, 8, 8), num_classes=10)
    whole = space.cost_at(space.base_G).macs
    assert all(0.17 * whole < trial.user_attrs["macs"] <= 0.6 * whole for trial in trials)
    assert all(trial.values[1] == trial.user_attrs["latency_ms"] > 0 for trial in trials)


@pytest.mark.slow
def test_two_workers_share_the_trials(tmp_path: Path) -> None:
    said: list[str] = []
    result = run_study(changed(trials=6), tmp_path / "run", workers=2, progress=Progress(say=said.append))
    trials = result.trials["small"]
    assert record.fates(trials) == [Fate.COMPLETE] * 6
    assert len({trial.user_attrs[record.WORKER] for trial in trials}) == 2
    assert sum(", trial " in line for line in said) == 6


def test_what_cannot_be_met_is_said_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="are feasible"):
        run_study(changed(budgets=("macs<=0.1%",)), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    with pytest.raises(BadInputError, match="--out must be a new or an empty directory"):
        run_study(SMALL, tmp_path / "full")


def test_the_note_says_what_the_study_is_in_words(finished: StudyLocation) -> None:
    context = load_study(finished.run)
    with studies_in(finished, context.config) as studies:
        one = OneStudy("small", studies["small"], context.config.studies["small"])
        text = note(context, one, one.study.get_trials())
    for part in ("**resnet20** on **digits**", "**macs<=30%**", "No guideline", "the best so far is trial"):
        assert part in text


def test_a_trial_that_the_storage_failed_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def train(*given: object, **more: object) -> object:
        calls.append(1)
        if len(calls) == 1:
            raise OperationalError("INSERT", {}, Exception("database is locked"))
        return train_one(*given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(TRAIN_ONE, train)
    trials = run_study(changed(trials=2), tmp_path / "run").trials["small"]
    assert record.fates(trials) == [Fate.RETRIED, Fate.COMPLETE, Fate.COMPLETE]
    assert record.line_of(trials[1]) == 0 or record.line_of(trials[2]) == 0


@pytest.mark.parametrize("name", ["erk", "uniform", "smart-ratio", "bottleneck-first"])
def test_a_rule_is_the_same_in_every_process(name: str) -> None:
    assert fingerprint(RULES[name]) == name


@pytest.mark.parametrize("sampler", ["rule", None])
def test_a_rule_and_early_stopping_are_refused_together_but_where_a_study_has_both(
    tmp_path: Path, sampler: SamplerName | None
) -> None:
    both = changed(sampler=sampler, stopping="median", trials=1)
    with pytest.raises(BadInputError, match="stopping must be none with the sampler rule, got median"):
        run_study(both, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert (
        resolved(changed(sampler="cma", stopping="median"), tmp_path / "run", is_new=False)[0].stopping
        == "median"
    )
    run_study(changed(sampler="rule", trials=1), tmp_path / "run")
    write_config(tmp_path / "run", both.model_copy(update={"sampler": "rule"}))  # as an earlier version did
    assert resolved(both, tmp_path / "run", is_new=False)[0].sampler == "rule"


def test_a_study_of_others_is_not_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas_prune.study.creation._CREATOR_TAKES", 0)
    url = f"sqlite:///{tmp_path}/trials.db"
    with opened(url, tmp_path) as storage:
        other = optuna.create_study(study_name="small", storage=storage, direction="minimize")
        other.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with pytest.raises(BadInputError, match="must be one of nas-prune"):
        run_study(SMALL, tmp_path / "run", storage=url)
    with opened(url, tmp_path) as storage:
        assert len(optuna.load_study(study_name="small", storage=storage).trials) == 1


def test_other_images_of_the_same_name_are_refused(write_digits: WriteDigits, tmp_path: Path) -> None:
    for part, first in (("a/train", "0"), ("a/test", "0"), ("b/train", "2"), ("b/test", "2")):
        write_digits(part, {first: 20, "1": 20})
    config = changed(data=DataConfig(name=f"folder:{tmp_path / 'a'}"), trials=1)
    run_study(config, tmp_path / "run")
    other = config.model_copy(update={"data": DataConfig(name=f"folder:{tmp_path / 'b'}")})
    with pytest.raises(BadInputError, match="its images are others now"):
        run_study(other, tmp_path / "run")


def test_the_first_trials_wait_for_their_turn_and_are_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guided = changed(guideline="erk", trials=1)

    def fail(*_: object, **__: object) -> None:
        raise NasPruneError("the device's memory is full.")

    monkeypatch.setattr(TRAIN_ONE, fail)
    failed = run_study(guided, tmp_path / "run").trials["small"]
    assert record.fates(failed) == [Fate.FAILED, Fate.WAITING]
    monkeypatch.setattr(TRAIN_ONE, train_one)
    run_study(guided, tmp_path / "run")
    trials = run_study(guided.model_copy(update={"trials": 3}), tmp_path / "run").trials["small"]
    assert [trial.user_attrs.get(record.SOURCE) for trial in trials] == [
        "guideline",
        "uniform",
        "guideline",
        None,
    ]
    assert record.tally(trials) == {"complete": 3, "retried": 1}


def test_an_error_of_a_network_is_a_failed_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("shapes\ndo not fit")

    monkeypatch.setattr(TRAIN_ONE, fail)
    said: list[str] = []
    with pytest.raises(BadInputError, match="not fail 3 times.*RuntimeError: shapes do not fit"):
        run_study(changed(trials=9), tmp_path / "run", progress=Progress(say=said.append))
    assert any("Traceback" in text for text in said)


@pytest.mark.slow
def test_workers_of_two_directories_on_one_storage_do_not_take_each_others_trials(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/trials.db"
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with closing(WorkerLock(tmp_path / "a")) as living:
        assert is_gone(tmp_path / "b", living.name) is None
        assert is_gone(tmp_path / "a", living.name) is False
        assert live_workers(tmp_path / "a") == [living.name]
    assert is_gone(tmp_path / "a", living.name) is True
    assert is_gone(tmp_path / "b", living.name) is None
    run_study(changed(trials=1), tmp_path / "one", storage=url)
    assert len(run_study(changed(trials=2), tmp_path / "two", storage=url).trials["small"]) == 2


def test_a_journal_that_breaks_off_during_a_run_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tear(*given: object, **more: object) -> object:
        with (tmp_path / "run" / "journal.log").open("ab") as journal:
            journal.write(b'{"op_code": 5, "wor')
        return train_one(*given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(TRAIN_ONE, tear)
    with pytest.raises(StorageError, match="breaks off.*nas-prune study recover"):
        run_study(changed(trials=2), tmp_path / "run")
    monkeypatch.setattr(TRAIN_ONE, train_one)
    trials = run_study(changed(trials=2), tmp_path / "run").trials["small"]
    assert record.tally(trials)["complete"] == 2
