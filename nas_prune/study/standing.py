"""What a study knows so far: what its rule expects of the best networks, and how sure it is. Pure arithmetic."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from optuna.trial import FrozenTrial

from nas_prune.data.metric import ACCURACY, Metric
from nas_prune.space.budget import Budget
from nas_prune.study import trial_record as record
from nas_prune.study.config import SCRATCH, JudgeName
from nas_prune.study.context import StudyContext
from nas_prune.study.finalists import finalists, has_others
from nas_prune.study.judges.agreement import Agreement, agreements
from nas_prune.study.parameters import Parametrised
from nas_prune.study.race import Posterior
from nas_prune.study.rule_search import Vector, logs_of, rule_of, seen_in

_SHOWN = 4
_LEAST = 5  # trials, below which nothing is told: their spread is hardly known


@dataclass(frozen=True, slots=True)
class Expected:
    """What the rule expects of one network.

    Attributes:
        name: `guideline`, `uniform`, `rule` (its answer, tried or not) or `trial 7`.
        widths: its widths.
        mean, low, high: the score that its trials would have on average, and its 90 % interval; by the judge that
            trials are of.
        gain, gain_low, gain_high: how much better than uniform widths, and a 90 % interval; None of these themselves.
    """

    name: str
    widths: Vector
    mean: float
    low: float
    high: float
    gain: float | None
    gain_low: float | None
    gain_high: float | None

    def words(self, metric: Metric = ACCURACY) -> str:
        """The gain for people."""
        if self.gain is None or self.gain_low is None or self.gain_high is None:
            return "–"
        verdict = "" if self.gain_low > 0 or self.gain_high < 0 else ", may be none"
        gain, low, high = map(metric.difference, (self.gain, self.gain_low, self.gain_high))
        return f"{gain} ({low} to {high}{verdict})"


@dataclass(frozen=True, slots=True)
class Known:
    """What the trials of a study say together.

    Attributes:
        expected: what its rule expects of the best networks, the best first; empty without a rule or trials enough.
        agreements: how well judges rank networks.
        judge: whose values all of that is in: trainings where there are any.
    """

    expected: tuple[Expected, ...]
    agreements: tuple[Agreement, ...]
    judge: JudgeName = SCRATCH


def known_of(context: StudyContext, budget: Budget, trials: Sequence[FrozenTrial]) -> Known:
    """What the trials of a study say together.

    Args:
        context: the study.
        budget: of its trials.
        trials: these.
    """
    config = context.config
    points = context.parametrised(budget) if config.sampler == "rule" else None
    expected = () if points is None else tuple(expected_of(points, trials))
    return Known(expected, tuple(agreements(trials, config.judging, points)), record.main_judge(trials))


def expected_of(points: Parametrised, trials: Sequence[FrozenTrial]) -> list[Expected]:
    """What the rule of a study expects of its best networks, the best first; none before there are trials enough."""
    seen = seen_in(trials).ended
    if len(seen.values) < _LEAST or not has_others(trials):
        return []
    named = finalists(trials, _SHOWN, points)
    names, vectors = list(named), [vector for _, vector in named.values()]
    rule = rule_of(points, seen)
    known = Posterior(*rule.joint(logs_of(points, vectors)), rule.freedom)
    factor = known.reach
    base = names.index("uniform") if "uniform" in names else None
    found = []
    for place, (name, vector) in enumerate(zip(names, vectors, strict=True)):
        mean = float(known.mean_N[place])
        half = factor * sqrt(max(0.0, float(known.covariance_NN[place, place])))
        gain = low = high = None
        if base is not None and place != base:
            gain, low, high = known.gain(place, base)
        found.append(Expected(name, vector, mean, mean - half, mean + half, gain, low, high))
    return sorted(found, key=lambda one: -one.mean)
