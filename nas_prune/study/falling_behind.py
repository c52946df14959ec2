"""Early stopping: ends a trial that has fallen behind, and has stayed there."""

from collections.abc import Mapping
from math import ceil
from statistics import median

import optuna
from optuna.pruners import BasePruner
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

_SEEN_BEFORE_STOPPING = 8  # other trials
_STEPS_BEHIND = 2  # reported ones in a row; one may be chance
_ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


class BehindPruner(BasePruner):
    """Ends a trial whose best value so far is worse than the median of the others' values at the same step.

    Steps of the first half do not count, nor does a single one: it must have been so at the last two that were
    reported. Two of Optuna's own are something else: `PatientPruner` spares every trial whose values still rise, and
    `MedianPruner` compares with trials that came to their end alone, so that with every trial that it ends it asks
    more of the next.

    Args:
        epochs: of a trial; the steps are epochs.
    """

    def __init__(self, epochs: int) -> None:
        self._first = ceil(epochs / 2)

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether a trial is to end now."""
        sign = 1.0 if study.direction == StudyDirection.MAXIMIZE else -1.0
        own = trial.intermediate_values
        steps = sorted(own)[-_STEPS_BEHIND:]
        if len(steps) < _STEPS_BEHIND or steps[0] < self._first:
            return False
        others = [
            one.intermediate_values
            for one in study.get_trials(deepcopy=False, states=_ENDED)
            if one.number != trial.number
        ]
        return all(_is_behind(own, others, step, sign) for step in steps)


def _is_behind(own: Mapping[int, float], others: list[dict[int, float]], step: int, sign: float) -> bool:
    """Whether the best of a trial's values up to a step is worse than the median of the others' there."""
    there = [sign * one[step] for one in others if step in one]
    best = max(sign * value for at, value in own.items() if at <= step)
    return len(there) >= _SEEN_BEFORE_STOPPING and best < median(there)
