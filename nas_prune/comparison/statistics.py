"""What paired trainings say about two arms: differences, intervals, tests, and what so few seeds can show.

Every arm is trained with the same seeds, so that number i of one arm is paired with number i of another: same split,
same order of images. Pure arithmetic.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, isnan, log2, nan, sqrt
from statistics import fmean, stdev
from typing import Literal, TypeAlias

import numpy as np
from scipy.optimize import brentq
from scipy.stats import nct, permutation_test, wilcoxon
from scipy.stats import t as student

from nas_prune.errors import BadInputError

TestName: TypeAlias = Literal["t", "wilcoxon", "sign-flip"]
LEVEL, POWER = 0.05, 0.8
_MOST_ENUMERATED = 20  # pairs up to which all sign flips are counted; more are drawn
_FLIPS = 100_000


@dataclass(frozen=True, slots=True)
class Paired:
    """One arm compared with another over the same seeds.

    Attributes:
        n: pairs.
        difference: mean of (arm minus other), as a share.
        deviation: standard deviation of the pairs' differences; NaN for fewer than two.
        low, high: ends of the 95 % interval of the difference by Student's t, not corrected; NaN likewise.
        p_value: two-sided; NaN where nothing can be tested: fewer than two pairs, or differences without any spread.
    """

    n: int
    difference: float
    deviation: float
    low: float
    high: float
    p_value: float


def paired(values: Sequence[float], others: Sequence[float], test: TestName = "t") -> Paired:
    """One arm's accuracies compared with another's, seed by seed.

    Args:
        values: of the arm, for at least one seed.
        others: of the other, for the same seeds in the same order.
        test: `t`, Student's paired t; `wilcoxon`, signed ranks, exact; `sign-flip`, all flips of the signs.

    Example:
        >>> paired([0.9, 0.8], [0.8, 0.7]).difference
        0.1
    """
    differences = [one - other for one, other in zip(values, others, strict=True)]
    n, mean = len(differences), round(fmean(differences), 12)
    if n < 2:
        return Paired(n, mean, nan, nan, nan, nan)
    deviation = stdev(differences)
    half = float(student.ppf(1 - LEVEL / 2, n - 1)) * deviation / sqrt(n)
    return Paired(n, mean, deviation, mean - half, mean + half, _p_value(differences, test))


def _p_value(differences: Sequence[float], test: TestName) -> float:
    spread, mean, n = stdev(differences), fmean(differences), len(differences)
    if spread < 1e-12:  # as where few test images make all differences the same
        return nan
    if test == "wilcoxon":
        return float(wilcoxon(np.round(differences, 12)).pvalue)
    if test == "sign-flip":
        flips = _FLIPS if n > _MOST_ENUMERATED else 2**n
        found = permutation_test(
            (np.asarray(differences),), np.mean, permutation_type="samples", n_resamples=flips, rng=0
        )
        return float(found.pvalue)
    return 2 * float(student.sf(abs(mean) / (spread / sqrt(n)), n - 1))


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
        comparisons: how many share the 5 %. The smallest p value of so many must be below 5 % divided by their number
            (Holm's first step; later ones are easier, so the power is four fifths at least).

    Returns:
        In the unit of the deviation; NaN for fewer than two pairs.
    """
    if n < 2 or isnan(deviation):
        return nan
    freedom = n - 1
    critical = float(student.ppf(1 - LEVEL / comparisons / 2, freedom))

    def missing(shift: float) -> float:
        # A rejection with the wrong sign (of a probability below 1e-4) does not find the difference.
        return float(nct.sf(critical, freedom, shift)) - POWER

    high = critical
    while missing(high) < 0:
        high *= 2
    return float(brentq(missing, 0.0, high)) * deviation / sqrt(n)


def check_test(test: TestName, n: int, comparisons: int) -> None:
    """Refuse a test that could never reject, however large the differences.

    Ranks and signs of n pairs have 2ⁿ equally likely patterns, so that no p value is below 2/2ⁿ.

    Raises:
        BadInputError: with the number of seeds it would take.
    """
    least = ceil(log2(2 * max(1, comparisons) / LEVEL))
    if test != "t" and n < least:
        raise BadInputError(
            f"--test {test} must have at least {least} seeds to be able to reject anything among {comparisons} "
            f"comparisons, got {n}. Use --test t, or --seeds {least}."
        )
