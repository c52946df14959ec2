"""The sampler `cma`: it goes by the numbers of a storage alone, and no pickle in there is ever loaded."""

import base64
import os
import pickle
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import optuna
import pytest
from optuna.samplers import BaseSampler, CmaEsSampler
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.storages.journal._base import BaseJournalSnapshot
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas_prune.study import storage as storages
from nas_prune.study import trial_record as record
from nas_prune.study.cma_sampler import GENERATION, CmaSampler, optimizer_after
from nas_prune.study.parameters import Parametrised
from nas_prune.study.recovery import put_back
from nas_prune.study.samplers import quiet, sampler_named
from nas_prune.study.storage import WithoutSnapshots, open_storage, opened

quiet()
RANGES = {"wide": (-6.0, 6.0), "narrow": (0.0, 1.5)}
POPULATION = 6  # of two parameters
POINTS = cast("Parametrised", SimpleNamespace(ranges=RANGES))
URLS = [None, "sqlite:///trials.db"]


class Canary:
    """What makes a directory when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.makedirs, (str(self.path), 0o777, True)


def value_of(trial: optuna.Trial) -> float:
    """How near a trial is to (2, 0.3), in shares of the ranges; the best is zero."""
    wide, narrow = (trial.suggest_float(name, *ends) for name, ends in RANGES.items())
    return -(((wide - 2) / 12) ** 2) - ((narrow - 0.3) / 1.5) ** 2


def study_in(storage: BaseStorage | None = None, sampler: BaseSampler | None = None) -> optuna.Study:
    return optuna.create_study(
        storage=storage, sampler=sampler, study_name="s", direction="maximize", load_if_exists=True
    )


def run(study: optuna.Study, count: int, seed: int = 0) -> None:
    """So many trials, each by a sampler that is made for it, as a worker does."""
    for _ in range(count):
        study.sampler = CmaSampler(RANGES, seed)
        study.optimize(value_of, n_trials=1)


def ended(place: int, generation: object, **changes: Any) -> FrozenTrial:
    """A trial of a generation; its numbers are of its place."""
    params = {"wide": place % 7 - 3.0, "narrow": 0.1 * (place % 13)}
    given: dict[str, Any] = {
        "state": TrialState.COMPLETE,
        "value": 0.01 * (place * 5 % 11),
        "params": params,
        "distributions": {
            name: optuna.distributions.FloatDistribution(*ends) for name, ends in RANGES.items()
        },
        "system_attrs": {GENERATION: generation},
    }
    return create_trial(**{**given, **changes})


def next_after(
    trials: Iterable[FrozenTrial], storage: BaseStorage | None = None, place: int = 30
) -> tuple[dict[str, Any], int]:
    """What is drawn next in a study of such trials, and in which generation.

    Args:
        trials: which.
        storage: where; in memory if None.
        place: which the next trial takes: what is drawn depends on it.
    """
    study = study_in(storage, CmaSampler(RANGES, 0))
    for trial in trials:
        study.add_trial(trial)
    begun = len({record.line_of(trial) for trial in study.trials})
    for _ in range(place - begun):
        study.add_trial(create_trial(state=TrialState.FAIL))
    study.optimize(value_of, n_trials=1)
    return study.trials[-1].params, study.trials[-1].system_attrs[GENERATION]


def whole(*generations: int) -> list[FrozenTrial]:
    return [ended(POPULATION * one + at, one) for one in generations for at in range(POPULATION)]


@pytest.mark.parametrize("url", URLS)
def test_pickles_in_a_storage_are_never_loaded(url: str | None, in_empty_directory: Path) -> None:
    canary = in_empty_directory / "canary"
    poison = pickle.dumps(Canary(canary))
    texts = {"hex": poison.hex(), "base64": base64.b64encode(poison).decode()}
    names = (
        "cma:",
        "cma:optimizer",
        "cma:generation",
        "cma:n_restarts",
        "sepcma:optimizer:0",
        "cmawm:optimizer:0",
    )
    with opened(url, in_empty_directory) as storage:
        study = study_in(storage)
        for text in texts.values():
            study.add_trial(ended(1, 0, system_attrs=dict.fromkeys(names, text)))
        for name in names:
            storage.set_study_system_attr(study._study_id, name, texts["hex"])
        for trial in whole(0)[1:]:
            study.add_trial(trial)
        study.add_trial(ended(1, 0, system_attrs={"cma:optimizer:0": texts["hex"], GENERATION: 0}))
    with opened(url, in_empty_directory) as storage:
        study = study_in(storage)
        for place in range(2):
            study.sampler = sampler_named("cma", POINTS, "chance", place)
            study.optimize(value_of, n_trials=1)
        assert [trial.system_attrs[GENERATION] for trial in study.trials[-2:]] == [1, 1]
        assert not canary.exists()
        study.sampler = CmaEsSampler(warn_independent_sampling=False)  # Optuna's own would have loaded it
        study.optimize(value_of, n_trials=1)
        assert canary.exists()


def test_equal_numbers_give_the_same_on_every_storage(in_empty_directory: Path) -> None:
    drawn = []
    for url in URLS:
        with opened(url, in_empty_directory) as storage:
            drawn.append(next_after(whole(0, 1), storage, place=0))
    assert drawn[0] == drawn[1] == next_after(whole(0, 1), place=0)
    assert drawn[0][1] == 2
    others = [*whole(0), *[ended(at, 1) for at in range(20, 20 + POPULATION)]]
    assert next_after(others, place=0)[0] != drawn[0][0]


def test_a_sampler_made_anew_for_each_trial_draws_what_one_that_was_kept_does(tmp_path: Path) -> None:
    kept = study_in(sampler=CmaSampler(RANGES, 0))
    kept.optimize(value_of, n_trials=2 * POPULATION + 1)
    for _ in range(2 * POPULATION + 1):
        run(study_in(open_storage(None, tmp_path)), 1)
    anew = study_in(open_storage(None, tmp_path))
    assert [trial.params for trial in anew.trials] == [trial.params for trial in kept.trials]
    assert anew.trials[-1].system_attrs[GENERATION] == 2
    other = study_in(sampler=CmaSampler(RANGES, 1))
    other.optimize(value_of, n_trials=1)
    assert other.trials[0].params != kept.trials[0].params


def died(study: optuna.Study) -> None:
    """A worker begins a trial and dies."""
    study.sampler = CmaSampler(RANGES, 0)
    value_of(study.ask())


@pytest.mark.parametrize("at", [2, POPULATION - 1, POPULATION])
def test_a_trial_whose_worker_died_changes_nothing_once_it_was_put_back(at: int) -> None:
    undisturbed, study = study_in(), study_in()
    run(undisturbed, 3 * POPULATION)
    run(study, at)
    died(study)
    put_back(study, study.trials[-1])
    study.tell(at, state=TrialState.FAIL)
    run(study, 3 * POPULATION - at)
    assert [trial.params for trial in study.trials[:at] + study.trials[at + 1 :]] == [
        trial.params for trial in undisturbed.trials
    ]
    assert study.trials[-1].system_attrs[GENERATION] == 2


def test_a_retry_that_ends_late_takes_the_place_of_the_trial_that_died() -> None:
    first, beyond = whole(0), ended(20, 0)
    dead = ended(2, 0, state=TrialState.FAIL, value=None)
    retry = ended(2, 0, system_attrs={GENERATION: 0, "failed_trial": 2, "retry_history": [2]})
    before = next_after([*first[:2], dead, *first[3:], beyond, *whole(1)])
    after = next_after([*first[:2], dead, *first[3:], beyond, *whole(1), retry])
    assert after == next_after([*first, beyond, *whole(1)])
    assert after[0] != before[0]


@pytest.mark.parametrize("state", [TrialState.RUNNING, TrialState.FAIL])
def test_a_trial_that_never_ends_is_replaced_in_its_generation(state: TrialState) -> None:
    study = study_in()
    run(study, 2)
    died(study)
    if state == TrialState.FAIL:
        study.tell(2, state=state)
    run(study, 2 * POPULATION - 1)
    drawn_in = [trial.system_attrs[GENERATION] for trial in study.trials]
    assert drawn_in == [0] * (POPULATION + 1) + [1] * POPULATION + [2]


def test_what_falls_behind_or_was_drawn_beyond_the_population_is_not_told() -> None:
    expected = next_after(whole(0, 1))
    pruned = ended(40, 1, state=TrialState.PRUNED, value=None, intermediate_values={1: 0.9})
    beyond = [ended(at, 0, value=5.0) for at in range(50, 57)]
    assert next_after([*whole(0), pruned, *whole(1), *beyond]) == expected
    assert next_after([*whole(0)[:-1], pruned, *whole(1)])[1] == 0  # it makes no generation whole
    # A lower number that ends late takes the place of a higher one.
    assert next_after([beyond[0], *whole(0, 1)])[0] != expected[0]


def test_a_strangers_numbers_are_left_out_where_they_are_none() -> None:
    expected = next_after(whole(0, 1))
    generations = ["0", -1, 10**30, 0.0, None, [0]]
    strange = [ended(at, one, value=7.0) for at, one in enumerate(generations)]
    anywhere = {name: optuna.distributions.FloatDistribution(-1e300, 1e300) for name in RANGES}
    far = [{"wide": -6.1, "narrow": 0.5}, {"wide": 1.0, "narrow": 1e300}]
    strange += [ended(1, 0, value=7.0, params=params, distributions=anywhere) for params in far]
    words = optuna.distributions.CategoricalDistribution(["a"])
    strange.append(ended(1, 0, params=dict.fromkeys(RANGES, "a"), distributions=dict.fromkeys(RANGES, words)))
    assert next_after([*strange, *whole(0, 1)]) == expected
    assert next_after([ended(1, 0, value=7.0), *whole(0, 1)]) != expected


def test_what_is_asked_for_by_hand_belongs_to_no_generation() -> None:
    study = study_in()
    study.enqueue_trial({"wide": 1.0, "narrow": 0.0})
    run(study, 2)
    assert [GENERATION in trial.system_attrs for trial in study.trials] == [False, True]


@pytest.mark.parametrize("direction", [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE])
def test_it_finds_the_best(direction: StudyDirection) -> None:
    sign = 1.0 if direction == StudyDirection.MAXIMIZE else -1.0
    study = optuna.create_study(direction=direction, sampler=CmaSampler(RANGES, 0))
    study.optimize(lambda trial: sign * value_of(trial), n_trials=12 * POPULATION)
    assert abs(study.best_value) < 1e-3
    assert abs(study.trials[0].value or 0) > 1e-2


def test_equal_numbers_again_and_again_do_not_break_it() -> None:
    point = {"narrow": 0.75}
    space = {"narrow": optuna.distributions.FloatDistribution(*RANGES["narrow"])}
    same = [ended(0, at // 4, params=point, distributions=space) for at in range(4 * 2500)]
    optimizer = optimizer_after(same, {"narrow": RANGES["narrow"]}, is_maximised=True, seed=0)
    assert optimizer.ask() == pytest.approx([0.5])
    assert 20 < optimizer.generation < 2500


def test_other_parameters_are_drawn_by_chance_and_those_of_one_value_are_not_drawn() -> None:
    def drawn(seed: int) -> list[dict[str, Any]]:
        study = study_in()
        for _ in range(3):
            study.sampler = CmaSampler({**RANGES, "one": (2.0, 2.0)}, seed)
            trial = study.ask()
            value_of(trial)
            trial.suggest_float("one", 2.0, 2.0)
            trial.suggest_categorical("kind", list("abcdefgh"))
            trial.suggest_categorical("sort", list("abcdefgh"))
            study.tell(trial, 0.0)
        return [trial.params for trial in study.trials]

    assert drawn(0) == drawn(0) != drawn(1)
    assert all(params["one"] == 2.0 for params in drawn(0))
    kinds = [params[name] for params in drawn(0) for name in ("kind", "sort")]
    assert len(set(kinds)) > 2


class Snapshots(BaseJournalBackend, BaseJournalSnapshot):
    """A journal with a snapshot beside it, as Redis has; like `JournalRedisBackend`, made of a URL."""

    snapshot = b""

    def __init__(self, url: str = "") -> None:
        self.logs: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> Sequence[dict[str, Any]]:
        return self.logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.logs += logs

    def load_snapshot(self) -> bytes:
        return self.snapshot

    def save_snapshot(self, snapshot: bytes) -> None:
        raise AssertionError("snapshots are not kept either")


def test_a_snapshot_beside_a_journal_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    canary = tmp_path / "canary"
    monkeypatch.setattr(Snapshots, "snapshot", pickle.dumps(Canary(canary)))
    monkeypatch.setattr(storages, "JournalRedisBackend", Snapshots)
    journal = Snapshots()
    openings: list[Callable[[], BaseStorage]] = [
        lambda: JournalStorage(WithoutSnapshots(journal)),
        lambda: JournalStorage(WithoutSnapshots(journal)),  # what was written is there
        lambda: open_storage("redis://nowhere", tmp_path),
    ]
    counts = []
    for opening in openings:
        study = study_in(opening())
        for at in range(101):  # trials after which Optuna keeps a snapshot
            study.add_trial(ended(at, 0))
        counts.append(len(study.trials))
    assert counts == [101, 202, 101]
    assert not canary.exists()
    JournalStorage(journal)  # Optuna's own way
    assert canary.exists()
