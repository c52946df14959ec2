"""Whether a judge can rank: its rank correlation with the real trainings of a study, all of one budget."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import atanh, isnan, nan, sqrt, tanh
from statistics import fmean
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial
from scipy.stats import norm, spearmanr

from nas_prune.study import trial_record as record
from nas_prune.study.config import SCRATCH, JudgeName
from nas_prune.study.parameters import Parametrised
from nas_prune.study.rule_search import Seen, Vector, logs_of, rule_of, seen_in

_LEAST = 5  # trainings, below which a rank correlation says nothing
_CONFIDENCE = 0.9
_BLOCKS = 8


@dataclass(frozen=True, slots=True)
class Agreement:
    """Spearman's rank correlation of what a judge says with trainings, network by network, and its 90 % interval.

    Trainings are noisy, so that a judge that knew the truth would not reach 1 either.

    Attributes:
        judge: its name; `rule` for what the rule expected of widths before they were trained.
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
            return f"{self.judge}: nothing can be said of it from {self.n} network{'s' * (self.n != 1)}"
        found = (
            f"{self.judge}: {self.rho:+.2f} (90 % interval {self.low:+.2f} to {self.high:+.2f}, n = {self.n})"
        )
        if self.high < 0:
            return f"{found}; it ranks networks the wrong way round here"
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
        said, values, words = record.SAID.format(judge), _ByNetwork(), _ByNetwork()
        for trial in record.of_main_judge(trials):
            if said in trial.user_attrs and (vector := record.widths_of(trial)) is not None:
                values.add(vector, float(trial.values[0]))
                words.add(vector, float(trial.user_attrs[said]))
        found.append(agreement(judge, list(words.means.values()), list(values.means.values())))
    seen = seen_in(trials)
    if points is not None and record.main_judge(trials) == SCRATCH and len(set(seen.widths)) > _LEAST:
        found.append(agreement_of_rule(points, seen.ended))
    return found


class _ByNetwork:
    """Values by the widths they are of: trainings of one network are one unit."""

    def __init__(self) -> None:
        self._values: dict[Vector, list[float]] = {}

    def add(self, vector: Vector, value: float) -> None:
        self._values.setdefault(vector, []).append(value)

    @property
    def means(self) -> dict[Vector, float]:
        return {vector: fmean(own) for vector, own in self._values.items()}


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


def agreement_of_rule(points: Parametrised, seen: Seen) -> Agreement:
    """What the rule expected of networks before any of them was trained, beside their trainings.

    The first few make the first rule, and the others are asked for in blocks. A network that is left out afterwards
    would be expected to be worse the better it was, from luck alone: the rule of the others has lost its luck. For the
    same reason each is taken beside what the same rule expects of the centre: a lucky block raises what is expected of
    all that come after it.

    Args:
        points: how parameters become widths.
        seen: trainings, in the order in which they were begun.
    """
    values = _ByNetwork()
    for vector, value in zip(seen.widths, seen.values, strict=True):
        values.add(vector, value)
    order, centre_1S = list(values.means), points.layout.centre_S[None]
    expected: list[float] = []
    for block in np.array_split(np.arange(_LEAST, len(order)), _BLOCKS):
        if len(block):
            before = set(order[: int(block[0])])
            known = [place for place, vector in enumerate(seen.widths) if vector in before]
            widths, own = tuple(seen.widths[at] for at in known), tuple(seen.values[at] for at in known)
            rule = rule_of(points, Seen(widths, own, (), seen.cheaper))
            found_N = rule.mean_N(np.vstack([centre_1S, logs_of(points, [order[at] for at in block])]))
            expected += (found_N[1:] - found_N[0]).tolist()
    return agreement("rule", expected, [values.means[vector] for vector in order[_LEAST:]])
