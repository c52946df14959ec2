"""What few trainings say about two arms: differences, intervals, tests, and what so few could show. Pure arithmetic.

`moderated`, the default, takes no notice of which trainings have the same seed. Arms trained with the same seeds are
no more alike than others (in `studies/structure-or-weights-vgg16` the mean correlation over five seeds is -0.04, over
all 66 pairs of its twelve arms), so that pairing buys nothing and costs half of the degrees of freedom: with five seeds
and eleven comparisons a paired t test finds 4.6 deviations of a training, this one 2.9.

Which variance? Simulated with arms of equal deviations, of 1 : 3, and of those in that study (0.33 to 1.71 points),
with 2, 3 and 5 trainings of ten arms (`tests/comparison/test_error_rates.py`):

- one variance pooled over all arms finds 2.5 deviations, but errs in 8 % of families with the study's deviations, and
  in 17 to 20 % where the arm that others are compared with is three times as noisy as they are;
- each pair's own two variances (Welch) err in 5 % at most, but find 3.4 deviations with five trainings, 91 with two;
- variances moderated as in `variances.moderated`, which is what is used, err in 6 % of families at most in all of
  these, and find 2.9 deviations with five trainings, 4.7 with three, 11 with two. Single comparisons err in 2 to 5 % on
  average and in 6 % at most, but for one case: where the arm that others are compared with is three times as noisy as
  all of them, in 6 to 8 % (intervals hold the truth in 93 %).

Arms whose widths change from training to training (`random`) have their own variance, and none of the others'.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import ceil, inf, isnan, log2, nan, sqrt
from statistics import fmean, stdev, variance
from typing import Literal, TypeAlias

import numpy as np
from scipy.stats import permutation_test, wilcoxon
from scipy.stats import t as student

from nas_prune.comparison.variances import Spread, pooled
from nas_prune.comparison.variances import moderated as moderated_spreads
from nas_prune.errors import BadInputError
from nas_prune.training.power import least_shift

TestName: TypeAlias = Literal["moderated", "t", "wilcoxon", "sign-flip"]
LEVEL, POWER = 0.05, 0.8
_MOST_ENUMERATED = 20  # pairs up to which all sign flips are counted; more are drawn
_FLIPS = 100_000


@dataclass(frozen=True, slots=True)
class Contrast:
    """One arm compared with another.

    Attributes:
        n: trainings of the arm (searches, where its widths are of several); pairs, for a paired test.
        n_beside: the same of the other arm.
        difference: mean of the arm minus that of the other, as a share.
        deviation: standard deviation of one of the arm minus one of the other; NaN if unknown.
        low, high: ends of the 95 % interval of the difference by Student's t, not corrected; NaN likewise.
        p_value: two-sided; NaN where nothing can be tested: too few trainings, or accuracies without any spread.
        error: standard error of the difference; NaN likewise.
        freedom: degrees of freedom of that; 0 if unknown.
    """

    n: int
    n_beside: int
    difference: float
    deviation: float
    low: float
    high: float
    p_value: float
    error: float
    freedom: float


def paired(values: Sequence[float], others: Sequence[float], test: TestName = "t") -> Contrast:
    """One arm's accuracies compared with another's, seed by seed.

    Args:
        values: of the arm, for at least one seed.
        others: of the other, for the same seeds in the same order.
        test: `t`, Student's paired t; `wilcoxon`, signed ranks, exact; `sign-flip`, all flips of the signs.

    Example:
        >>> paired([0.9, 0.8], [0.8, 0.7]).difference
        0.1
    """
    differences = [round(one - other, 12) for one, other in zip(values, others, strict=True)]
    n, mean = len(differences), round(fmean(differences), 12)
    deviation = stdev(differences) if n > 1 else 0.0
    if not deviation:  # as where few test images make all differences the same
        return Contrast(n, n, mean, nan, nan, nan, nan, nan, 0)
    found = _by_student(mean, deviation / sqrt(n), n - 1, deviation, (n, n))
    return replace(found, p_value=_p_value(differences, test))


def _p_value(differences: Sequence[float], test: TestName) -> float:
    spread, mean, n = stdev(differences), fmean(differences), len(differences)
    if test == "wilcoxon":
        return float(wilcoxon(differences).pvalue)
    if test == "sign-flip":
        flips = _FLIPS if n > _MOST_ENUMERATED else 2**n
        found = permutation_test(
            (np.asarray(differences),), np.mean, permutation_type="samples", n_resamples=flips, rng=0
        )
        return float(found.pvalue)
    return 2 * float(student.sf(abs(mean) / (spread / sqrt(n)), n - 1))


def _by_student(
    difference: float, error: float, freedom: float, deviation: float, ns: tuple[int, int]
) -> Contrast:
    half = float(student.ppf(1 - LEVEL / 2, freedom)) * error
    p_value = 2 * float(student.sf(abs(difference) / error, freedom)) if error > 0 else nan
    low, high = difference - half, difference + half
    return Contrast(*ns, difference, deviation, low, high, p_value, error, freedom)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over independent units: trainings of fixed widths, or searches.

    Attributes:
        mean: over the units, as a share.
        units: how many.
        spread: variance of one unit, and its degrees of freedom.
        most: degrees of freedom that a difference with it has at most.
    """

    mean: float
    units: int
    spread: Spread
    most: float = inf

    @property
    def error(self) -> float:
        """Standard error of the mean; NaN if unknown."""
        return sqrt(self.spread.variance / self.units)


def by_training(values: Sequence[float]) -> Estimate:
    """What trainings of the same widths say: every training is a unit.

    Example:
        >>> by_training([0.5, 0.75])
        Estimate(mean=0.625, units=2, spread=Spread(variance=0.03125, freedom=1), most=inf)
    """
    spread = Spread(variance(values), len(values) - 1) if len(values) > 1 else Spread(nan, 0)
    return Estimate(fmean(values), len(values), spread)


def by_search(groups: Sequence[Sequence[float]]) -> Estimate:
    """What trainings of the widths of several searches say: searches are a random effect, and each search a unit.

    The trainings of one search's widths have these widths in common, so that they are one unit: the estimate is the
    mean of the searches' means, its variance that of these means, with one degree of freedom fewer than searches. It is
    no smaller than what the trainings within searches make it.

    Args:
        groups: accuracies by search; each of at least one training, with seeds that no other search has.

    Returns:
        With one search its mean, and a variance that is not known.

    Example:
        >>> found = by_search([[0.70, 0.72], [0.74, 0.76]])
        >>> round(found.mean, 6), round(found.error, 6), found.spread.freedom
        (0.73, 0.02, 1)
    """
    found = by_training([fmean(group) for group in groups])
    if found.units < 2:
        return found
    within = pooled([by_training(group).spread for group in groups])
    least = within.variance * fmean(1 / len(group) for group in groups) if within.freedom else 0.0
    return _with_own_spread(found, least)


def on_its_own(values: Sequence[float], noise: Spread) -> Estimate:
    """What trainings say that each have widths of their own, whose variance no other arm's says anything about.

    It is no smaller than that of trainings of the same widths.

    Args:
        values: accuracies.
        noise: variance of trainings of the same widths.
    """
    return _with_own_spread(by_training(values), noise.variance if noise.freedom else 0.0)


def _with_own_spread(one: Estimate, least: float) -> Estimate:
    """An estimate whose few units are not trusted beyond twice their degrees of freedom.

    Satterthwaite's formula takes a small variance of two units for a well known one. With a variance 36 times that of
    the other arm it errs in 9.2 % with two units, and in 6.2 % with this bound (20,000 repeats; three: 6.3, 6.0 %).
    """
    spread = replace(one.spread, variance=max(one.spread.variance, least))  # NaN stays NaN
    return replace(one, spread=spread, most=2 * spread.freedom)


def moderated(estimates: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """Estimates of one kind (trainings of fixed widths, or searches), their variances moderated by each other's.

    See `variances.moderated`. Variances of trainings and of searches are not of one kind: call it for each.

    Example:
        >>> arms = {"found": by_training([0.70, 0.72]), "uniform": by_training([0.68, 0.69])}
        >>> [round(one.spread.variance, 6) for one in moderated(arms).values()]
        [0.0002, 5.9e-05]
    """
    total = float(sum(one.spread.freedom for one in estimates.values()))
    spreads = moderated_spreads([one.spread for one in estimates.values()])
    return {
        name: replace(one, spread=spread, most=total)
        for (name, one), spread in zip(estimates.items(), spreads, strict=True)
    }


def difference(one: Estimate, other: Estimate) -> Contrast:
    """Two arms' means compared, whichever units each has: Student's t with Satterthwaite's degrees of freedom.

    (a + b)² / (a² / d_a + b² / d_b), where a and b are the squared standard errors (Satterthwaite 1946).

    Returns:
        Without interval and p value where one of the variances is not known, or both are zero.

    Example:
        >>> searches, uniform = by_search([[0.70, 0.72], [0.74, 0.76]]), by_training([0.70, 0.72, 0.71])
        >>> round(difference(searches, uniform).difference, 3)
        0.02
    """
    mean, ns = round(one.mean - other.mean, 12), (one.units, other.units)
    freedoms = one.spread.freedom, other.spread.freedom
    squares = one.spread.variance / one.units, other.spread.variance / other.units
    total = sum(squares)
    if min(freedoms) == 0 or not total > 0:
        return Contrast(*ns, mean, nan, nan, nan, nan, nan, 0)
    satterthwaite = total**2 / sum(square**2 / own for square, own in zip(squares, freedoms, strict=True))
    freedom = min(satterthwaite, one.most, other.most)
    if (
        freedom < 1
    ):  # as an arm with one training has, if the others' variances differ too much to be borrowed
        return Contrast(*ns, mean, nan, nan, nan, nan, nan, 0)
    deviation = sqrt(one.spread.variance + other.spread.variance)
    return _by_student(mean, sqrt(total), freedom, deviation, ns)


def search_by_search(groups: Sequence[Sequence[float]], others: Sequence[Sequence[float]]) -> Contrast:
    """Two arms that train the widths of the same searches: the differences of their means, one for each search.

    What the searches' widths have in common cancels, and what is left of them does not: whether weights matter more for
    the widths of one search than for those of another.

    Args:
        groups: accuracies of the arm by search.
        others: of the other arm, for the same searches in the same order.
    """
    differences = [fmean(group) - fmean(other) for group, other in zip(groups, others, strict=True)]
    found = by_training([round(one, 12) for one in differences])
    within = [pooled([by_training(one).spread for one in arm]) for arm in (groups, others)]
    least = sum(
        one.variance * fmean(1 / len(each) for each in arm)
        for one, arm in zip(within, (groups, others), strict=True)
        if one.freedom
    )
    own = _with_own_spread(found, least)
    if not own.spread.variance > 0:
        return Contrast(own.units, own.units, round(own.mean, 12), nan, nan, nan, nan, nan, 0)
    return _by_student(
        round(own.mean, 12), own.error, own.spread.freedom, sqrt(own.spread.variance), (own.units,) * 2
    )


def holm(p_values: Sequence[float], family: int | None = None) -> list[float]:
    """The p values after Holm's correction; NaN (not tested) stays NaN.

    Holm 1979: the k-th smallest of m is multiplied by m - k + 1, and none is smaller than one before it. If all that
    are at most α are rejected, the probability of any wrong rejection is at most α, even if they depend on each other.

    Args:
        p_values: two-sided.
        family: how many comparisons were planned; as many as were tested if None.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = sorted((number for number, p in enumerate(p_values) if not isnan(p)), key=lambda i: p_values[i])
    corrected, least, count = [nan] * len(p_values), 0.0, len(order) if family is None else family
    for rank, number in enumerate(order):
        least = max(least, min(1.0, (count - rank) * p_values[number]))
        corrected[number] = least
    return corrected


def detectable(deviation: float, n: int, comparisons: int = 1) -> float:
    """The smallest true difference that the paired t test finds in four of five repeats.

    Args:
        deviation: standard deviation of the pairs' differences.
        n: pairs.
        comparisons: as in `least_found`.

    Returns:
        In the unit of the deviation; NaN for fewer than two pairs.
    """
    return nan if n < 2 else least_found(deviation / sqrt(n), n - 1, comparisons)


def least_found(error: float, freedom: float, comparisons: int = 1) -> float:
    """The smallest true difference that a t test finds in four of five repeats.

    Args:
        error: standard error of the difference.
        freedom: its degrees of freedom.
        comparisons: how many share the 5 %. The smallest p value of so many must be below 5 % divided by their number
            (Holm's first step; later ones are easier, so the power is four fifths at least).

    Returns:
        In the unit of the error; NaN where that is not known.
    """
    return nan if isnan(error) or freedom <= 0 else _least_shift(freedom, comparisons) * error


@cache
def _least_shift(freedom: float, comparisons: int) -> float:
    """The same in standard errors."""
    return least_shift(float(student.ppf(1 - LEVEL / comparisons / 2, freedom)), freedom, POWER)


def check_test(test: TestName, n: int, comparisons: int, searches: int = 1) -> None:
    """Refuse a test that could never reject, however large the differences, or that does not fit.

    Ranks and signs of n pairs have 2ⁿ equally likely patterns, so that no p value is below 2/2ⁿ.

    Raises:
        BadInputError: with the number of seeds it would take.
    """
    if searches > 1 and test != "moderated":
        raise BadInputError(
            f"--searches {searches} must come with --test moderated, got {test}: the trainings of several searches "
            "have no pairs."
        )
    least = ceil(log2(2 * max(1, comparisons) / LEVEL))
    if test in ("wilcoxon", "sign-flip") and n < least:
        raise BadInputError(
            f"--test {test} must have at least {least} seeds to be able to reject anything among {comparisons} "
            f"comparisons, got {n}. Use --test moderated, or --seeds {least}."
        )
