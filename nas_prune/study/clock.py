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
        trials_end: no trial is begun after it; None for no such time.
        race_end: the race should have ended; None where the study has not been given hours.
        workers: how many processes train at once.
    """

    trials_end: float | None
    race_end: float | None
    workers: int

    @property
    def is_up(self) -> bool:
        """Whether the hours of a study leave no time for another trial."""
        return self.race_end is not None and self.trials_end is not None and time() > self.trials_end

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
    context: StudyContext,
    trials: Mapping[str, Sequence[FrozenTrial]],
    workers: int,
    started: float,
    *,
    was_prepared: bool,
) -> Clock:
    """The time of a study that is begun or resumed: hours in proportion to what was left of its plan then.

    Args:
        context: the study.
        trials: of its Optuna studies, by name.
        workers: how many processes work on it here.
        started: when the command did, in seconds since 1970.
        was_prepared: whether the judge's network had been trained before.
    """
    config, plan = context.config, context.config.plan
    ends = [] if config.timeout is None else [started + config.timeout]
    race_end = None
    if config.hours is not None and plan is not None and config.trials <= plan.trials:
        found = spent(context, trials)
        before = found.total if was_prepared else found.total - found.preparing
        second = 3600 * config.hours / plan.total  # for each of its MACs
        race_end = started + second * max(0, plan.total - before)
        # A trial that is begun just before takes its time; every worker may be at one.
        ends.append(race_end - second * (plan.finalists + workers * plan.one_training))
    return Clock(min(ends, default=None), race_end, workers)
