"""The smallest true difference that a comparison finds, by the test that it was made with."""

from functools import cache
from math import inf, isnan, nan

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from nas_prune.comparison.statistics import LEVEL, POWER, Contrast, TestName, least_found

_DRAWS = 1000  # simulated comparisons; the power found is right to about one hundredth
_SEED = 20190710
_MOST_FLIPPED = (
    11  # pairs up to which all flips are counted for each draw; t finds as much where there are more
)
_HALVINGS = 20


def detectable_by(test: TestName, contrast: Contrast, comparisons: int) -> float:
    """The smallest true difference that would be found in four of five repeats, by the test that was used.

    Args:
        test: which.
        contrast: what it found.
        comparisons: how many share the 5 %, as in `least_found`.

    Returns:
        As a share; NaN where nothing was tested.
    """
    if isnan(contrast.p_value):
        return nan
    if test in ("moderated", "t") or (test == "sign-flip" and contrast.n > _MOST_FLIPPED):
        return least_found(contrast.error, contrast.freedom, comparisons)
    return contrast.deviation * least_shift(test, contrast.n, comparisons)


@cache
def least_shift(test: TestName, n: int, comparisons: int) -> float:
    """What a test of ranks or signs of n pairs finds in four of five repeats, in deviations of the differences.

    Simulated with differences that are normal, as no formula is exact for few pairs.

    Args:
        test: `wilcoxon` or `sign-flip`.
        n: pairs; enough for the test to reject at all (`statistics.check_test`), otherwise the result is infinite.
        comparisons: how many share the 5 %.
    """
    level = LEVEL / comparisons
    if 2 / 2**n > level:
        return inf
    noise = np.random.default_rng(_SEED).standard_normal((_DRAWS, n))
    rejects = _by_ranks if test == "wilcoxon" else _by_flips
    low, high = 0.0, 10.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        is_found = float(rejects(noise + middle, level).mean()) >= POWER
        low, high = (low, middle) if is_found else (middle, high)
    return high


def _by_ranks(values: NDArray[np.float64], level: float) -> NDArray[np.bool_]:
    """Whether the signed ranks of each row are called positive; two-sided level, exact."""
    n = values.shape[1]
    counts = np.zeros(n * (n + 1) // 2 + 1)
    counts[0] = 1
    for rank in range(1, n + 1):
        counts[rank:] += counts[:-rank].copy()
    tails = np.cumsum(counts[::-1])[::-1] / 2**n
    critical = int(np.argmax(2 * tails <= level))
    sums = np.where(values > 0, rankdata(np.abs(values), axis=1), 0).sum(axis=1)
    return np.asarray(sums >= critical)


def _by_flips(values: NDArray[np.float64], level: float) -> NDArray[np.bool_]:
    """Whether the mean of each row is called positive among those of all flips of its signs; two-sided level."""
    n = values.shape[1]
    signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    allowed = int(level / 2 * 2**n)  # flips with a sum as large, itself counted
    means = np.abs(values) @ signs.T
    least = np.partition(means, 2**n - allowed, axis=1)[:, 2**n - allowed]
    return np.asarray(values.sum(axis=1) >= least - 1e-12)
