"""What a storage holds for each trial, and what became of it: pure functions of Optuna's own records.

A trial whose worker died fails and is waiting again under a new number; both are one *line* of attempts. What a study
counts are lines.
"""

from collections.abc import Container, Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, cast

from optuna.trial import FrozenTrial, TrialState

from nas_prune.data.metric import ACCURACY, Metric
from nas_prune.errors import StorageError
from nas_prune.runs.reading import load_json
from nas_prune.study.config import OWN, SCRATCH, JudgeName
from nas_prune.training.accuracies import pareto_front

# Names of user attributes. Numbers are scalars, so that the dashboard takes them for axes.
WIDTHS, MACS, PARAMS, ACTIVATIONS, LATENCY = "widths", "macs", "params", "activations", "latency_ms"
PREDICTED, MEMORY, SIZE = "predicted latency_ms", "memory_bytes", "size_bytes"  # of a target
SOURCE, WORKER, FAILED, INTERRUPTED = "source", "worker", "failed", "interrupted"
REPEAT_OF, SECONDS, EPOCHS, TRAINING_MACS = "told from trial", "seconds", "epochs", "training MACs"
GUESS, VAL_IMAGES = "guessing gives", "validation images"  # of the images that the value is of
SEED = "training seed"  # the first of the trial's
JUDGE = "judge"  # of the trial's value
SAID = "said by {}"  # what a cheaper judge says of widths that were trained
MOST_DEATHS = 4  # workers that may die at one trial before it is given up: it may be what kills them
SOURCES = ("guideline", "uniform")  # what needs no search; the first that exists is the centre
# Of studies.
SETTINGS, PATTERN_HASH, IMAGES, TARGET, READY = (
    "nas-prune settings",
    "nas-prune guideline",
    "nas-prune images",
    "nas-prune target",
    "nas-prune ready",
)
# Optuna's own names for constraints, and for the history of a trial that is tried again.
CONSTRAINTS = "constraints"
_FIRST, _HISTORY = "failed_trial", "retry_history"
_OF_THE_DASHBOARD = ("artifacts:", "dashboard:")


class Fate(StrEnum):
    """What became of a trial."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETE = "complete"
    STOPPED = "stopped"  # fell behind
    FAILED = "failed"
    RETRIED = "retried"  # its worker died; a later number continues it
    LOST = "lost"  # its worker died, and no number continues it yet
    SURPLUS = "surplus"  # not needed: another worker had the same at the same moment


SURPLUS = "not needed"


_PLAIN = {
    TrialState.WAITING: Fate.WAITING,
    TrialState.RUNNING: Fate.RUNNING,
    TrialState.COMPLETE: Fate.COMPLETE,
    TrialState.PRUNED: Fate.STOPPED,
}


def followed(trial: FrozenTrial) -> list[object]:
    """What a trial says of the attempts that it follows, unchecked; should be numbers of trials."""
    numbers = trial.system_attrs.get(_HISTORY, [])
    return [trial.system_attrs.get(_FIRST, 0), *numbers] if isinstance(numbers, list) else [numbers]


def line_of(trial: FrozenTrial) -> int:
    """The number of the first attempt at a trial."""
    return int(trial.system_attrs.get(_FIRST, trial.number))


def attempts(trial: FrozenTrial) -> list[int]:
    """The numbers of the attempts before this one, the oldest first."""
    return list(trial.system_attrs.get(_HISTORY, []))


def fates(trials: Sequence[FrozenTrial]) -> list[Fate]:
    """What became of each trial of a study."""
    retried = {number for trial in trials for number in attempts(trial)[-1:]}
    return [_PLAIN.get(trial.state) or _fate_of_failed(trial, trials, retried) for trial in trials]


def deaths(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> int:
    """How many workers have died at a trial, this attempt counted if it is at its end; Ctrl-C does not count."""
    numbers = [*attempts(trial), trial.number]
    return sum(
        trials[number].state in (TrialState.FAIL, TrialState.RUNNING)
        and INTERRUPTED not in trials[number].user_attrs
        for number in numbers
    )


def reason_of(trial: FrozenTrial) -> str:
    """Why a trial has failed."""
    return str(trial.user_attrs.get(FAILED, f"its worker died, {MOST_DEATHS} times"))


def _fate_of_failed(trial: FrozenTrial, trials: Sequence[FrozenTrial], retried: Container[int]) -> Fate:
    reason = trial.user_attrs.get(FAILED)
    if trial.number in retried:
        return Fate.RETRIED
    if reason is None:
        return Fate.FAILED if deaths(trial, trials) >= MOST_DEATHS else Fate.LOST
    return Fate.SURPLUS if str(reason).startswith(SURPLUS) else Fate.FAILED


_COUNTED = frozenset({Fate.WAITING, Fate.RUNNING, Fate.COMPLETE, Fate.STOPPED, Fate.FAILED, Fate.LOST})
_FINISHED = frozenset({Fate.COMPLETE, Fate.STOPPED, Fate.FAILED})


def count_finished(trials: Sequence[FrozenTrial]) -> int:
    """How many trials have come to their end."""
    return sum(fate in _FINISHED for fate in fates(trials))


def count_begun(trials: Sequence[FrozenTrial]) -> int:
    """How many trials have been begun, however often each was tried."""
    return len(_begun(trials))


def _begun(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The newest attempt at each trial that has been begun."""
    pairs = zip(trials, fates(trials), strict=True)
    return [trial for trial, fate in pairs if fate in _COUNTED and (fate != Fate.WAITING or attempts(trial))]


def count_put_back(trials: Sequence[FrozenTrial]) -> int:
    """How many trials are waiting to be begun again."""
    pairs = zip(trials, fates(trials), strict=True)
    return sum(fate == Fate.LOST or (fate == Fate.WAITING and bool(attempts(trial))) for trial, fate in pairs)


def count_missing(trials: Sequence[FrozenTrial], wanted: int) -> int:
    """How many trials are still to be begun, or to be begun again."""
    return max(0, wanted - count_begun(trials)) + count_put_back(trials)


def why_surplus(trial: FrozenTrial, trials: Sequence[FrozenTrial], wanted: int) -> str | None:
    """Why a trial that was just begun is not needed; None where it is.

    Workers begin trials without asking each other. If two take the last one, or two put back the same trial, the later
    number is not needed.
    """
    before = attempts(trial)[-1:]
    for other in trials:
        if before and attempts(other)[-1:] == before and other.number < trial.number:
            return f"{SURPLUS}: trial {other.number} goes on with trial {before[0]} already"
    if before or SOURCE in trial.user_attrs:
        return None
    if _place(trial, trials) >= wanted:
        return f"{SURPLUS}: {wanted} trials were asked for, and another worker has begun the last"
    return None


def kept_system_attrs(trial: FrozenTrial) -> dict[str, Any]:
    """What Optuna must know of a trial that is tried again: its history and what samplers noted, no pictures."""
    own = {key: one for key, one in trial.system_attrs.items() if not key.startswith(_OF_THE_DASHBOARD)}
    return {**own, _FIRST: line_of(trial), _HISTORY: [*attempts(trial), trial.number]}


def home_of(trials: Iterable[FrozenTrial]) -> str | None:
    """The identity of the directory whose worker began a study's first trial; None before.

    The first that names its worker: one that was killed before it named itself has left no name.
    """
    named = sorted((trial for trial in trials if WORKER in trial.user_attrs), key=lambda one: one.number)
    return _directory_of(named[0]) if named else None


def directories(trials: Iterable[FrozenTrial]) -> set[str]:
    """The identities of all directories whose workers have begun trials of a study."""
    return {found for trial in trials if (found := _directory_of(trial)) is not None}


def _directory_of(trial: FrozenTrial) -> str | None:
    return None if WORKER not in trial.user_attrs else str(trial.user_attrs[WORKER]).rpartition("-")[2]


def widths_of(trial: FrozenTrial) -> tuple[int, ...] | None:
    """The widths of a trial; None where it died before it had any."""
    text = trial.user_attrs.get(WIDTHS)
    if text is None:
        return None
    try:
        found = load_json(text)
    except (ValueError, TypeError):
        found = None
    if not isinstance(found, list) or not all(type(width) is int and 0 < width < 2**31 for width in found):
        raise StorageError(f"the widths of trial {trial.number} must be a list of numbers, got {text!s:.60}.")
    return tuple(found)


def judge_of(trial: FrozenTrial) -> JudgeName:
    """What judged the widths of a trial."""
    return cast("JudgeName", trial.user_attrs.get(JUDGE, SCRATCH))


def judge_for(
    trial: FrozenTrial, trials: Sequence[FrozenTrial], judge: JudgeName, judged: int | None
) -> JudgeName:
    """What is to judge a trial that was just begun: a pure function of its place among all that were begun.

    Args:
        trial: the trial.
        trials: of the study.
        judge: the study's.
        judged: how many trials, the first ones, it is asked about; all if None.
    """
    if JUDGE in trial.user_attrs:
        return judge_of(trial)
    if judged is None:
        return judge
    return judge if _place(trial, trials) < judged else SCRATCH


def next_judge(trials: Sequence[FrozenTrial], judge: JudgeName, judged: int | None) -> JudgeName:
    """What is to judge the next trial that is asked for."""
    return judge if judged is None or next_place(trials) < judged else SCRATCH


def next_place(trials: Sequence[FrozenTrial]) -> int:
    """The place of the trial that is begun next among all that were: of one that was put back, its own of before.

    Optuna takes the waiting trial of the lowest number first.
    """
    waiting = next((trial for trial in trials if trial.state == TrialState.WAITING), None)
    is_put_back = waiting is not None and bool(attempts(waiting))
    return _place(waiting, trials) if waiting is not None and is_put_back else count_begun(trials)


def _place(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> int:
    """Among all that were begun, in order."""
    return sum(line_of(other) < line_of(trial) for other in _begun(trials))


def main_judge(trials: Iterable[FrozenTrial]) -> JudgeName:
    """Trainings, where there are any that have ended; else the cheaper judge that all trials are of."""
    judges = {judge_of(trial) for trial in trials if trial.state == TrialState.COMPLETE}
    return min(judges) if judges and SCRATCH not in judges else SCRATCH


def of_main_judge(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The complete trials that may be compared: values of different judges must not be."""
    judge = main_judge(trials)
    return [trial for trial in trials if trial.state == TrialState.COMPLETE and judge_of(trial) == judge]


def best_first(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The complete trials of the main judge with a value of their own, by accuracy, the best one first."""
    done = [trial for trial in of_main_judge(trials) if REPEAT_OF not in trial.user_attrs]
    return sorted(done, key=lambda trial: (-trial.values[0], trial.number))


def front(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Of a study against a cost, the trials that no other is both better and cheaper than, the cheapest one first."""
    best = best_first(trials)
    costs, _ = pareto_front([one.values[1] for one in best], [one.values[0] for one in best])
    by_cost = {one.values[1]: one for one in reversed(best)}
    return [by_cost[cost] for cost in costs]


AGAINST = {"macs": "MACs", "params": "parameters", "latency": "latency"}
SHARES = (SCRATCH, "inherited", "slimmable")
_OF_A_FUNCTION, _OF_A_PROXY = Metric("judge"), Metric("score")


def shown(trial: FrozenTrial, metric: Metric = ACCURACY) -> str:
    """A trial's value for people: an accuracy in % or another metric, or what a judge says that looks at no image."""
    own = metric_of(judge_of(trial), metric)
    return own.shown(own.score(float(trial.values[0])))


def metric_of(judge: JudgeName, metric: Metric) -> Metric:
    """What the values of a judge are: a study's metric, if they are of trained networks."""
    if judge in SHARES:
        return metric
    return _OF_A_FUNCTION if judge == OWN else _OF_A_PROXY


def tally(trials: Sequence[FrozenTrial]) -> dict[str, int]:
    """How many trials came to which end."""
    found = fates(trials)
    return {str(fate): found.count(fate) for fate in Fate if fate in found}


def training_macs(trials: Iterable[FrozenTrial]) -> int:
    """Multiply-accumulates that trials have taken; of several attempts at one, the latest counts alone."""
    by_line = {
        line_of(trial): int(trial.user_attrs[TRAINING_MACS])
        for trial in trials
        if TRAINING_MACS in trial.user_attrs
    }
    return sum(by_line.values())


def failures_in_a_row(trials: Sequence[FrozenTrial], since: datetime) -> list[str]:
    """The reasons of the latest failures in a row, the last one first; of trials that ended since a time."""
    ended = [
        (trial.datetime_complete, trial, fate)
        for trial, fate in zip(trials, fates(trials), strict=True)
        if fate in _FINISHED and trial.datetime_complete is not None and trial.datetime_complete >= since
    ]
    reasons = []
    for _, trial, fate in sorted(ended, key=lambda one: one[0], reverse=True):
        if fate != Fate.FAILED:
            break
        reasons.append(reason_of(trial))
    return reasons


def count_earlier(trial: FrozenTrial, widths_G: tuple[int, ...], trials: Iterable[FrozenTrial]) -> int:
    """How many trials of the same widths were begun before a trial, however often each was tried."""
    own = line_of(trial)
    return len({line_of(one) for one in trials if line_of(one) < own and widths_of(one) == widths_G})


def find_duplicate(
    widths_G: tuple[int, ...], trials: Iterable[FrozenTrial], judge: JudgeName = SCRATCH
) -> FrozenTrial | None:
    """A finished trial of the same widths by the same judge, whose record holds what judging them again would give."""
    ended = (TrialState.COMPLETE, TrialState.PRUNED)
    return next(
        (
            trial
            for trial in trials
            if trial.state in ended and widths_of(trial) == widths_G and judge_of(trial) == judge
        ),
        None,
    )
