"""How trained candidates are put in order, and what the differences say: pure arithmetic."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isnan, nan, sqrt
from statistics import fmean, stdev
from typing import Any

from scipy.stats import norm, spearmanr
from scipy.stats import t as student

from nas_prune.data.metric import ACCURACY, Metric
from nas_prune.training.power import least_shift

_CONFIDENCE, _POWER = 0.9, 0.8
_LEAST_NOISE = 1e-12  # of a share; below it, all trainings of a network are alike but for rounding
_LEAST_PAIRS = 4  # of candidates, below which a rank correlation says nothing


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over trainings with other seeds, and its 90 % interval by Student's t; no interval for a single one."""

    mean: float
    low: float
    high: float
    n: int


def interval(values: Sequence[float]) -> Interval:
    """The mean of some trainings.

    Example:
        >>> interval([0.5, 0.5])
        Interval(mean=0.5, low=0.5, high=0.5, n=2)
    """
    mean, n = fmean(values), len(values)
    if n < 2:
        return Interval(mean, nan, nan, n)
    half = float(student.ppf((1 + _CONFIDENCE) / 2, n - 1)) * stdev(values) / sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


@dataclass(frozen=True, slots=True)
class Noise:
    """How much trainings differ that differ by their seed alone.

    Attributes:
        deviation: their standard deviation, pooled over networks, as a share; NaN if unknown.
        freedom: its degrees of freedom.
    """

    deviation: float
    freedom: int


def seed_noise(groups: Sequence[Sequence[float]]) -> Noise:
    """The seed noise, from all trainings of each network; a network that was trained once tells nothing of it."""
    freedom = sum(len(group) - 1 for group in groups)
    if freedom == 0:
        return Noise(nan, 0)
    squares = sum((value - fmean(group)) ** 2 for group in groups for value in group)
    return Noise(sqrt(squares / freedom), freedom)


@dataclass(frozen=True, slots=True)
class Gain:
    """How much better the winner is than a baseline: the guideline's centre or uniform widths, which need no search.

    Student's t for two means with a pooled deviation, which takes the noise of all networks for equal. Everything but
    the difference is NaN where the noise is unknown: from one seed, or where the trainings of each network are all
    alike, as few images can make them.

    Attributes:
        difference: of mean accuracies, as a share.
        low, high: ends of its 90 % interval.
        p_value: one-sided, of a difference at least as large where there is no gain.
        detectable: the smallest true gain that four of five rankings with so many trainings find, if the noise is as
            measured. From two trainings of each, that may well be half or twice as large.
        noise: the standard deviation of single trainings.
        n: trainings of the winner, and of the baseline.
    """

    difference: float
    low: float
    high: float
    p_value: float
    detectable: float
    noise: float
    n: tuple[int, int]

    @property
    def is_gain(self) -> bool:
        """Whether the interval lies above zero.

        Where there is no gain that happens in 5 % of rankings; in 6 to 8 % if one network's noise is three times the
        other's (simulated, 2 to 5 seeds).
        """
        return self.low > 0

    def plain(self) -> dict[str, Any]:
        """For JSON; None for what is unknown."""
        numbers = {
            "difference": self.difference,
            "low": self.low,
            "high": self.high,
            "p_value": self.p_value,
            "detectable": self.detectable,
            "seed_noise": self.noise,
        }
        known = {name: None if isnan(value) else value for name, value in numbers.items()}
        return {**known, "n": list(self.n), "is_gain": self.is_gain}

    @property
    def words(self) -> str:
        """For people, of accuracies."""
        return self.words_in(ACCURACY)

    def words_in(self, metric: Metric, more: str = "--full-seeds 2") -> str:
        """For people, of scores by some metric; with how to ask for more trainings."""
        points = f"{metric.difference(self.difference)}{metric.unit}"
        if isnan(self.low):
            return (
                f"{points}; the seed noise is unknown (one seed, or all seeds alike), so nothing can be said of it "
                f"({more} or more)"
            )
        interval = (
            f"90 % interval {metric.difference(self.low)} to {metric.difference(self.high)}, n = {self.n[0]} and "
            f"{self.n[1]}"
        )
        limit = f"four of five such rankings would find a gain of {metric.difference(self.detectable)[1:]}"
        return f"{_verdict(self.low, self.high)}: {points} ({interval}; {limit})"


def _verdict(low: float, high: float) -> str:
    return "a gain" if low > 0 else "a loss" if high < 0 else "no gain can be told"


def gain_among(values: Mapping[str, Sequence[float]], winner: str, baseline: str | None) -> Gain | None:
    """The gain of a ranking's winner; None where there is no baseline, it is the winner, or one was not trained.

    Args:
        values: accuracies of the trainings of every candidate, by name; none that it was chosen by.
        winner: its name.
        baseline: the name of what needs no search.
    """
    if baseline in (None, winner) or not values[winner] or not values.get(baseline or ""):
        return None
    return gain(values[winner], values[baseline or ""], [one for one in values.values() if one])


def gain(winner: Sequence[float], baseline: Sequence[float], groups: Sequence[Sequence[float]]) -> Gain:
    """The gain of the winner over a baseline.

    Args:
        winner: accuracies of its trainings, with seeds that had no part in its choice.
        baseline: the same of the baseline.
        groups: all trainings of that kind, network by network, for the noise.

    Example:
        >>> gain([0.52, 0.54], [0.50, 0.52], [[0.52, 0.54], [0.50, 0.52]]).words.partition(";")[0]
        'no gain can be told: +2.00 points (90 % interval -2.13 to +6.13, n = 2 and 2'
    """
    difference, noise, n = fmean(winner) - fmean(baseline), seed_noise(groups), (len(winner), len(baseline))
    size = max(1.0, *(abs(value) for group in groups for value in group))
    if not noise.deviation > _LEAST_NOISE * size:
        return Gain(difference, nan, nan, nan, nan, noise.deviation, n)
    scale = noise.deviation * sqrt(1 / n[0] + 1 / n[1])
    bound = float(student.ppf((1 + _CONFIDENCE) / 2, noise.freedom))
    half = bound * scale
    p_value = float(student.sf(difference / scale, noise.freedom))
    least = scale * least_shift(bound, noise.freedom, _POWER)
    return Gain(difference, difference - half, difference + half, p_value, least, noise.deviation, n)


@dataclass(frozen=True, slots=True)
class Prior:
    """What is known of a difference before it is measured in full.

    Attributes:
        difference: expected, as a share.
        variance: of what is not known of it.
        is_by_rule: whether a rule says so; otherwise it is that networks differ, and nothing of these two.
    """

    difference: float
    variance: float
    is_by_rule: bool


@dataclass(frozen=True, slots=True)
class Shrunk:
    """The difference of the winner to a baseline, measured in full and drawn towards what was known before.

    Attributes:
        difference: as a share.
        low, high: ends of its 90 % interval.
        weight: share of what was measured in it; the rest is what was known before.
        is_by_rule: whether that is a rule's.
    """

    difference: float
    low: float
    high: float
    weight: float
    is_by_rule: bool

    @property
    def is_gain(self) -> bool:
        """Whether the interval lies above zero."""
        return self.low > 0

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @property
    def words(self) -> str:
        """For people, of accuracies."""
        return self.words_in(ACCURACY)

    def words_in(self, metric: Metric) -> str:
        """For people, of scores by some metric."""
        found, low, high = map(metric.difference, (self.difference, self.low, self.high))
        said = f"{_verdict(self.low, self.high)}: {found}{metric.unit} (90 % interval {low} to {high}"
        known = "the rule of all trials and short trainings" if self.is_by_rule else "zero"
        if not self.weight:
            return f"{said}; by {known} alone)"
        return f"{said}; {100 * self.weight:.0f} % of it is what was measured in full, the rest {known})"


def shrunk(prior: Prior, measured: Gain | None) -> Shrunk | None:
    """A measured difference and what was known before, combined by their precisions.

    Differences in short and in full training are taken for exchangeable: a rule speaks of short ones. Both are taken
    for normal; the measured one's error is as wide as makes its normal interval that of Student's t. Where the seed
    noise of full trainings is unknown, what they say cannot be weighed, and a rule's word is left; None without one.

    Args:
        prior: what was known before.
        measured: the difference in full on validation images; None where it was not measured.

    Example:
        >>> found = shrunk(Prior(0.01, 1e-4, True), Gain(0.03, 0.03 - 0.01645, 0.03 + 0.01645, 0.1, 0.1, 0.1, (3, 3)))
        >>> (round(found.difference, 3), round(found.weight, 2))
        (0.02, 0.5)
    """
    quantile = float(norm.ppf((1 + _CONFIDENCE) / 2))
    if measured is None or isnan(measured.low):
        if not prior.is_by_rule:
            return None
        weight, difference = 0.0, prior.difference
    else:
        error = ((measured.high - measured.low) / 2 / quantile) ** 2
        weight = prior.variance / (prior.variance + error)
        difference = prior.difference + weight * (measured.difference - prior.difference)
    half = quantile * sqrt(prior.variance * (1 - weight))
    return Shrunk(difference, difference - half, difference + half, weight, prior.is_by_rule)


@dataclass(frozen=True, slots=True)
class Correlation:
    """Spearman's rank correlation between short and full training; NaN where there are too few candidates."""

    rho: float
    p_value: float
    n: int

    @property
    def words(self) -> str:
        """For people."""
        if self.rho != self.rho:
            return f"not to be told from {self.n} networks"
        return f"{self.rho:+.2f} (Spearman, n = {self.n}, p = {self.p_value:.2g})"


def correlation(short: Mapping[str, float], full: Mapping[str, float]) -> Correlation:
    """Between the accuracies of the same networks after short and after full training."""
    names = sorted(set(short) & set(full))
    ones, others = [short[name] for name in names], [full[name] for name in names]
    if len(names) < _LEAST_PAIRS or len(set(ones)) < 2 or len(set(others)) < 2:
        return Correlation(nan, nan, len(names))
    found = spearmanr(ones, others)
    return Correlation(float(found.statistic), float(found.pvalue), len(names))
