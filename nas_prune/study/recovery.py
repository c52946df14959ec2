"""Trials of dead workers: found, failed, and put back to be resumed."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas_prune.study import trial_record as record
from nas_prune.study.trial_record import Fate
from nas_prune.study.worker_lock import is_gone, live_workers

_OF_THE_ATTEMPT = (record.WORKER, record.FAILED, record.INTERRUPTED, record.TRAINING_MACS)

_NAMING_TAKES = 15.0  # seconds
_NAMING_TAKES_AT_MOST = 60.0  # where a lock of the journal has to be waited for, too

IsDead = Callable[[FrozenTrial], bool]


@dataclass(frozen=True, slots=True)
class Recovered:
    """A trial that was put back, or given up because too many workers died at it."""

    study: str
    number: int
    is_given_up: bool


def worker_is_gone(run: Path) -> IsDead:
    """Whether the worker of a trial is known to have ended, from its lock in the study's directory.

    A trial without a worker has just been started, or its worker died at that moment. One that is slower than that, on
    a busy storage, sees that its trial was put back, and goes on with the next.
    """
    soon, late = silent_for(_NAMING_TAKES), silent_for(_NAMING_TAKES_AT_MOST)

    def is_dead(trial: FrozenTrial) -> bool:
        name = trial.user_attrs.get(record.WORKER)
        if name is None:
            # A worker that has just started it, and has yet to name itself, is alive besides the one that asks.
            return late(trial) or (soon(trial) and len(live_workers(run)) <= 1)
        return is_gone(run, str(name)) is True

    return is_dead


def may_be_gone(run: Path) -> IsDead:
    """Whether the worker of a trial is not known to be alive."""
    return lambda trial: is_gone(run, str(trial.user_attrs.get(record.WORKER, "?"))) is not False


def silent_for(seconds: float) -> IsDead:
    """Whether a trial was started so long ago; for workers on machines that cannot be checked from here."""

    def is_dead(trial: FrozenTrial) -> bool:
        began = trial.datetime_start
        return began is not None and datetime.now() - began > timedelta(seconds=seconds)  # noqa: DTZ005  (Optuna's)

    return is_dead


def recover(study: optuna.Study, is_dead: IsDead) -> list[Recovered]:
    """Put back every trial whose worker is dead, under a new number; its training resumes from its last checkpoint.

    It is put back first and failed afterwards, so that nothing is lost if this process is killed in between. Two
    processes that do this at once put it back twice; the second copy is then found not to be needed.
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
    """Let a trial wait to be resumed, as another number of the same line."""
    study.add_trial(
        create_trial(
            state=TrialState.WAITING,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs={key: one for key, one in trial.user_attrs.items() if key not in _OF_THE_ATTEMPT},
            system_attrs=record.kept_system_attrs(trial),
        )
    )
