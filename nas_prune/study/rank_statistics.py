"""How trained candidates are put in order, and what the differences say: pure arithmetic."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan, sqrt
from statistics import fmean, stdev

from scipy.stats import spearmanr
from scipy.stats import t as student

_CONFIDENCE = 0.9
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


def seed_noise(groups: Sequence[Sequence[float]]) -> float:
    """The standard deviation of trainings that differ by their seed alone, pooled over networks; NaN if unknown."""
    freedom = sum(len(group) - 1 for group in groups)
    if freedom == 0:
        return nan
    squares = sum((value - fmean(group)) ** 2 for group in groups for value in group)
    return sqrt(squares / freedom)


@dataclass(frozen=True, slots=True)
class Gain:
    """How much better the winner is than the guideline's centre, which costs no search.

    Attributes:
        difference: of mean accuracies, as a share.
        noise: the standard deviation of single trainings.
    """

    difference: float
    noise: float

    @property
    def is_detectable(self) -> bool:
        """Whether there is one, and it is at least twice the seed noise."""
        return self.difference > 0 and self.difference >= 2 * self.noise

    @property
    def words(self) -> str:
        """For people."""
        points = f"{100 * self.difference:+.2f} points"
        if self.noise != self.noise:
            return f"{points}; seed noise is unknown from one seed, so nothing can be said of it (--seeds 2 or more)"
        noise = f"seed noise {100 * self.noise:.2f}"
        return f"{points} ({noise})" if self.is_detectable else f"no detectable gain ({points}, {noise})"


def gain(winner: Sequence[float], centre: Sequence[float], groups: Sequence[Sequence[float]]) -> Gain:
    """The gain of the winner over the centre; `groups` are all trainings of that kind, for the noise."""
    return Gain(fmean(winner) - fmean(centre), seed_noise(groups))


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
