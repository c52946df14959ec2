"""Whether a judge can rank: its rank correlation with the real trainings of a study, all of one budget."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import atanh, isnan, nan, sqrt, tanh
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import norm, spearmanr

from nas_prune.study import trial_record as record
from nas_prune.study.config import SCRATCH, JudgeName
from nas_prune.study.parameters import Parametrised
from nas_prune.study.rule_search import Seen, Vector, logs_of, rule_of, seen_in

_LEAST = 5  # trainings, below which a rank correlation says nothing
_CONFIDENCE = 0.9
_FOLDS = 8


@dataclass(frozen=True, slots=True)
class Agreement:
    """Spearman's rank correlation of what a judge says with single trainings, and its 90 % interval.

    Trainings are noisy, so that a judge that knew the truth would not reach 1 either.

    Attributes:
        judge: its name; `rule` for what the rule expects of widths that it has not seen.
        rho, low, high: NaN where there are too few trainings, or all are alike.
        n: networks.
    """

    judge: str
    rho: float
    low: float
    high: float
    n: int

    def plain(self) -> dict[str, Any]:
        """For JSON; None for what is unknown."""
        known = {
            key: None if isnan(getattr(self, key)) else getattr(self, key) for key in ("rho", "low", "high")
        }
        return {"judge": self.judge, **known, "n": self.n}

    @property
    def words(self) -> str:
        """For people."""
        if isnan(self.rho):
            return f"{self.judge}: nothing can be said of it from {self.n} trainings"
        found = (
            f"{self.judge}: {self.rho:+.2f} (90 % interval {self.low:+.2f} to {self.high:+.2f}, n = {self.n})"
        )
        return found if self.low > 0 else f"{found}; it cannot be told to rank networks here"


def agreements(
    trials: Sequence[FrozenTrial], judge: JudgeName, points: Parametrised | None
) -> list[Agreement]:
    """Of a study's judge, and of its rule, each with the trainings of the study.

    Args:
        trials: of the study.
        judge: the study's.
        points: how parameters become widths; None for no rule.
    """
    found = []
    if judge != SCRATCH:
        said = record.SAID.format(judge)
        pairs = [
            (float(trial.user_attrs[said]), float(trial.values[0]))
            for trial in trials
            if trial.state == TrialState.COMPLETE and said in trial.user_attrs
        ]
        found.append(agreement(judge, [one for one, _ in pairs], [other for _, other in pairs]))
    seen = seen_in(trials)
    if points is not None and record.main_judge(trials) == SCRATCH and len(set(seen.widths)) >= _LEAST:
        expected = _expected_unseen(points, seen.ended)
        found.append(agreement("rule", expected, seen.values))
    return found


def agreement(judge: str, said: Sequence[float], trained: Sequence[float]) -> Agreement:
    """Of some values with accuracies of trainings, by Fisher's transformation (Bonett and Wright 2000).

    Example:
        >>> agreement("one", [1, 2, 3, 4, 5], [1, 2, 3, 5, 4]).words
        'one: +0.90 (90 % interval +0.09 to +0.99, n = 5)'
    """
    n = len(said)
    if n < _LEAST or len(set(said)) < 2 or len(set(trained)) < 2:
        return Agreement(judge, nan, nan, nan, n)
    rho = float(spearmanr(said, trained).statistic)
    middle = atanh(max(-0.999, min(0.999, rho)))
    half = float(norm.ppf((1 + _CONFIDENCE) / 2)) * sqrt((1 + rho**2 / 2) / (n - 3))
    return Agreement(judge, rho, tanh(middle - half), tanh(middle + half), n)


def _expected_unseen(points: Parametrised, seen: Seen) -> list[float]:
    """What the rule expects of each network from the trainings of others: fitted to all but some, in turn."""
    different = sorted(set(seen.widths))
    fold_of: dict[Vector, int] = {vector: number % _FOLDS for number, vector in enumerate(different)}
    folds = np.array([fold_of[vector] for vector in seen.widths])
    expected = np.zeros(len(folds))
    for fold in set(folds.tolist()):
        known, asked = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        widths = tuple(seen.widths[place] for place in known)
        values = tuple(seen.values[place] for place in known)
        rule = rule_of(points, Seen(widths, values, (), seen.cheaper))
        expected[asked] = rule.mean_N(logs_of(points, [seen.widths[place] for place in asked]))
    return [float(value) for value in expected]
