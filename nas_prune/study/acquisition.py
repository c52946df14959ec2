"""Which network to train next: where one more value would change the answer most. Pure arithmetic.

Shape suffix: N networks.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

Floats: TypeAlias = "NDArray[np.float64]"


def knowledge_gain(mean_N: Floats, covariance_NN: Floats, tried: Sequence[int], noise: float) -> Floats:
    """How much better the best mean is expected to be after one more value of each of some networks.

    The knowledge gradient (Frazier, Powell and Dayanik 2009): E max_i (mean_i + s_i Z) - max_i mean_i, where
    s = covariance with the network tried / standard deviation of its value, and Z is standard normal. Exact.

    Args:
        mean_N: of the networks among which the answer is.
        covariance_NN: of what is not known of these.
        tried: places of those whose value might be had next.
        noise: standard deviation of one value.
    """
    found = []
    for place in tried:
        deviation = float(np.sqrt(covariance_NN[place, place] + noise**2))
        found.append(_expected_gain(mean_N, covariance_NN[:, place] / deviation))
    return np.array(found)


def _expected_gain(mean_N: Floats, slope_N: Floats) -> float:
    """E max (mean + slope Z) - max mean, over the upper envelope of the lines."""
    order = np.lexsort((mean_N, slope_N))
    means, slopes = mean_N[order], slope_N[order]
    last = np.append(np.diff(slopes) > 0, True)  # of lines of one slope the highest
    means, slopes = means[last], slopes[last]
    kept: list[int] = [0]
    turns: list[float] = [-np.inf]
    for number in range(1, len(means)):
        while (turn := _crossing(means, slopes, kept[-1], number)) <= turns[
            -1
        ]:  # never at the first, from -inf on
            kept.pop()
            turns.pop()
        kept.append(number)
        turns.append(turn)
    if len(kept) == 1:
        return 0.0
    at = np.array(turns[1:])
    rises = np.diff(slopes[kept])
    return float((rises * _loss(np.abs(at))).sum())


def _crossing(means: Floats, slopes: Floats, one: int, steeper: int) -> float:
    """Where the steeper of two lines gets above the other."""
    return float((means[one] - means[steeper]) / (slopes[steeper] - slopes[one]))


def _loss(value: Floats) -> Floats:
    """φ(z) - z (1 - Φ(z)): what a standard normal is expected to be above z."""
    return np.asarray(norm.pdf(value) - value * norm.sf(value))
