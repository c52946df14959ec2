"""A study's time: when its trials end, so that its race ends in time, too."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, time

from optuna.trial import FrozenTrial

from nas_prune.runs.files import write_whole
from nas_prune.runs.reading import read_json
from nas_prune.study import trial_record as record
from nas_prune.study.config import SCRATCH
from nas_prune.study.context import StudyContext

_HOURS = "hours"


@dataclass(frozen=True, slots=True)
class Clock:
    """When what ends, by `time.monotonic`, which all processes of a machine share and nobody sets back.

    Attributes:
        timeout: no trial is begun after it, and the study goes on another time; None for no such time.
        trials_end: no trial is begun after it, and the race begins; None where the study has not been given hours.
        race_end: when that should have ended.
        workers: how many processes train at once.
    """

    timeout: float | None
    trials_end: float | None
    race_end: float | None
    workers: int

    @property
    def deadline(self) -> float | None:
        """No trial is begun after it."""
        return min((one for one in (self.timeout, self.trials_end) if one is not None), default=None)

    @property
    def is_up(self) -> bool:
        """Whether the hours of a study leave no time for another trial."""
        return self.trials_end is not None and monotonic() > self.trials_end

    def pays_for(self, trials: Sequence[FrozenTrial]) -> int | None:
        """Training MACs that there is time for, by what trained trials have taken; None for any number."""
        if self.race_end is None:
            return None
        own = [one for one in trials if record.judge_of(one) == SCRATCH and record.SECONDS in one.user_attrs]
        seconds = sum(float(one.user_attrs[record.SECONDS]) for one in own)
        macs = sum(int(one.user_attrs.get(record.TRAINING_MACS, 0)) for one in own)
        if not seconds or not macs:
            return None
        return max(0, int((self.race_end - monotonic()) * self.workers * macs / seconds))


def note_time(context: StudyContext, worker: str, started: float) -> None:
    """Note how long a worker has been at a study with hours: since when, by `time.monotonic`."""
    if context.config.hours is not None:
        now, taken = time(), monotonic() - started
        folder = context.run / _HOURS
        folder.mkdir(exist_ok=True)
        write_whole(folder / f"{worker}.json", json.dumps([now - taken, now]) + "\n")


def time_taken(run: Path, until: float) -> float:
    """Seconds before a moment, in seconds since 1970, at which some worker was at the study of a directory."""
    spans = []
    for path in (run / _HOURS).glob("*.json"):
        with suppress(OSError, ValueError, TypeError):
            begun, seen = read_json(path)
            spans.append((float(begun), min(float(seen), until)))
    taken, last = 0.0, 0.0
    for begun, seen in sorted(spans):
        taken += max(0.0, seen - max(begun, last))
        last = max(last, seen)
    return taken


def clock_of(context: StudyContext, workers: int, started: float) -> Clock:
    """The time of a study that is begun or resumed: of its hours, what no worker was at it before.

    Args:
        context: the study.
        workers: how many processes work on it here.
        started: when the command did, by `time.monotonic`.
    """
    config, plan = context.config, context.config.plan
    timeout = None if config.timeout is None else started + config.timeout
    if config.hours is None or plan is None:
        return Clock(timeout, None, None, workers)
    second = 3600 * config.hours * (plan.workers or workers) / plan.total  # for each MAC, in one process
    race_end = started + 3600 * config.hours - time_taken(context.run, time() - (monotonic() - started))
    # A trial that is begun just before takes its time; every worker may be at one.
    trials_end = race_end - second * (plan.finalists / workers + plan.one_training)
    return Clock(timeout, trials_end, race_end, workers)
