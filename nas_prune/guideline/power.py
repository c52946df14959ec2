"""The smallest pattern that the test would have found: what "no pattern" leaves open.

Shape suffixes: N nodes, C cells.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import chi2, ncf
from scipy.stats import f as f_distribution

Floats: TypeAlias = "NDArray[np.float64]"

OFTEN = 0.8  # of repeats
_QUANTILES = (np.arange(41) + 0.5) / 41
_LARGEST = 100.0  # standard deviations of what nodes differ by


def smallest_found(values_NC: Floats, significance: float, *, is_shuffled: bool) -> float | None:
    """The standard deviation between cells of the smallest pattern that is found in four of five repeats.

    That of an F test of cells against their interaction with nodes: its statistic has a noncentral F distribution with
    the noncentrality (nodes × squares of the pattern) / variance of the interaction. This variance is known from the
    nodes alone, so the share of repeats is averaged over what it may be (a chi squared).

    Args:
        values_NC: what each node says, NaN where nothing.
        significance: at which p value a pattern is found.
        is_shuffled: whether the test is one of shuffles. The better of its two statistics counts, and few nodes have
            few shuffles that differ: it finds as much as an F test at a share of the significance, from one half with
            two nodes to nearly all with many. That share is fitted to simulations.

    Returns:
        Of log ratios; None with one node or one cell, or where no pattern would be found that often.
    """
    values_NC = values_NC[:, (~np.isnan(values_NC)).any(0)]
    there_NC = ~np.isnan(values_NC)
    num_nodes, num_cells = values_NC.shape
    if num_nodes < 2 or num_cells < 2 or not there_NC.any(1).all():
        return None
    rest_NC = values_NC - np.nanmean(values_NC, axis=1, keepdims=True)
    rest_NC = rest_NC - np.nanmean(rest_NC, axis=0)
    degrees = (num_cells - 1, int(there_NC.sum()) - num_nodes - num_cells + 1)
    if degrees[1] < 1:
        return None
    deviation = float(np.sqrt(np.nansum(rest_NC**2) / degrees[1]))
    each = significance / (1 + 2 / num_nodes) if is_shuffled else significance
    factor = _factor(float(there_NC.sum(0).mean()), degrees, each)
    return None if factor is None else factor * deviation


def _factor(nodes: float, degrees: tuple[int, int], significance: float) -> float | None:
    """The pattern's standard deviation as a multiple of the estimated one of the interaction."""
    critical = f_distribution.isf(significance, *degrees)
    variance_Q = degrees[1] / chi2.ppf(_QUANTILES, degrees[1])  # true over estimated

    def lacking(factor: float) -> float:
        found_Q = ncf.sf(critical, *degrees, nodes * degrees[0] * factor**2 / variance_Q)
        return float(np.mean(found_Q)) - OFTEN

    return float(brentq(lacking, 1e-3, _LARGEST, xtol=1e-3)) if lacking(_LARGEST) > 0 else None
