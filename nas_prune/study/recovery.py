"""Trials whose workers have died: found, failed, and put back to be gone on with."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas_prune.study import trial_record as record
from nas_prune.study.trial_record import Fate
from nas_prune.study.worker_lock import is_gone, live_workers

_OF_THE_ATTEMPT = (record.WORKER, record.FAILED, record.INTERRUPTED)

_NAMING_TAKES = 15.0  # seconds, at the very most

IsDead = Callable[[FrozenTrial], bool]


@dataclass(frozen=True, slots=True)
class Recovered:
    """A trial that was put back, or given up where it had killed too many workers."""

    study: str
    number: int
    is_given_up: bool


def worker_is_gone(run: Path) -> IsDead:
    """Whether the worker of a trial is known to have ended, from its lock in the study's directory.

    A trial that bears no name has just been begun, or its worker died at that very moment.
    """
    unnamed = silent_for(_NAMING_TAKES)

    def is_dead(trial: FrozenTrial) -> bool:
        name = trial.user_attrs.get(record.WORKER)
        if name is None:
            # Whoever may have begun it and is about to name it is alive, beside the one who asks.
            return unnamed(trial) and len(live_workers(run)) <= 1
        return is_gone(run, str(name)) is True

    return is_dead


def may_be_gone(run: Path) -> IsDead:
    """Whether the worker of a trial is not known to be alive."""
    return lambda trial: is_gone(run, str(trial.user_attrs.get(record.WORKER, "?"))) is not False


def silent_for(seconds: float) -> IsDead:
    """Whether a trial was begun so long ago; for workers on machines that cannot be looked at from here."""

    def is_dead(trial: FrozenTrial) -> bool:
        began = trial.datetime_start
        return began is not None and datetime.now() - began > timedelta(seconds=seconds)  # noqa: DTZ005  (Optuna's)

    return is_dead


def recover(study: optuna.Study, is_dead: IsDead) -> list[Recovered]:
    """Put back every trial whose worker is dead, under a new number; its training goes on from its last checkpoint.

    It is put back first and failed then, so that whoever is killed in between leaves nothing behind that is lost; two
    that do this at once put it back twice, and the second of the two sees that it is not needed.
    """
    trials = study.get_trials(deepcopy=False)
    retried = {number for trial in trials for number in record.attempts(trial)[-1:]}
    found = []
    for trial, fate in zip(trials, record.fates(trials), strict=True):
        is_stale = fate == Fate.RUNNING and is_dead(trial)
        if not is_stale and fate != Fate.LOST:
            continue
        is_given_up = record.deaths(trial, trials) >= record.MOST_DEATHS
        if not is_given_up and trial.number not in retried:
            put_back(study, trial)
        if is_stale:
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        found.append(Recovered(study.study_name, trial.number, is_given_up))
    return found


def put_back(study: optuna.Study, trial: FrozenTrial) -> None:
    """Let a trial wait to be gone on with, as another number of the same line."""
    study.add_trial(
        create_trial(
            state=TrialState.WAITING,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs={key: one for key, one in trial.user_attrs.items() if key not in _OF_THE_ATTEMPT},
            system_attrs=record.kept_system_attrs(trial),
        )
    )
