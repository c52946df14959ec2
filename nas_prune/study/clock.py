"""A study's time: when its trials end, so that its race ends in time, too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import time

from optuna.trial import FrozenTrial

from nas_prune.study import trial_record as record
from nas_prune.study.config import SCRATCH
from nas_prune.study.context import StudyContext
from nas_prune.study.spending import spent


@dataclass(frozen=True, slots=True)
class Clock:
    """When what ends, in seconds since 1970.

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
        return self.trials_end is not None and time() > self.trials_end

    def pays_for(self, trials: Sequence[FrozenTrial]) -> int | None:
        """Training MACs that there is time for, by what trained trials have taken; None for any number."""
        if self.race_end is None:
            return None
        own = [one for one in trials if record.judge_of(one) == SCRATCH and record.SECONDS in one.user_attrs]
        seconds = sum(float(one.user_attrs[record.SECONDS]) for one in own)
        macs = sum(int(one.user_attrs.get(record.TRAINING_MACS, 0)) for one in own)
        if not seconds or not macs:
            return None
        return max(0, int((self.race_end - time()) * self.workers * macs / seconds))


def clock_of(
    context: StudyContext, trials: Mapping[str, Sequence[FrozenTrial]], workers: int, started: float
) -> Clock:
    """The time of a study that is begun or resumed: hours in proportion to what is left of its plan.

    Args:
        context: the study, whose judge has not been prepared by this command.
        trials: of its Optuna studies, by name.
        workers: how many processes work on it here.
        started: when the command did, in seconds since 1970.
    """
    config, plan = context.config, context.config.plan
    timeout = None if config.timeout is None else started + config.timeout
    if config.hours is None or plan is None:
        return Clock(timeout, None, None, workers)
    second = 3600 * config.hours / plan.total  # for each of its MACs
    race_end = started + second * max(0, plan.total - spent(context, trials).total)
    # A trial that is begun just before takes its time; every worker may be at one.
    trials_end = race_end - second * (plan.finalists + workers * plan.one_training)
    return Clock(timeout, trials_end, race_end, workers)
