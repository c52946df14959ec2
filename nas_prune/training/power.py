"""How large a difference of accuracies a t test finds."""

from scipy.optimize import brentq
from scipy.stats import nct


def least_shift(critical: float, freedom: float, power: float) -> float:
    """The true difference, in standard errors, that a t statistic passes its bound by in a share of repeats.

    A noncentral t distribution; that the statistic passes the bound of the wrong sign does not count.

    Args:
        critical: the bound.
        freedom: degrees of freedom of the standard error.
        power: the share of repeats.

    Example:
        >>> round(least_shift(1.96, 1e6, 0.8), 2)
        2.8
    """

    def missing(shift: float) -> float:
        return float(nct.sf(critical, freedom, shift)) - power

    high = critical
    while missing(high) < 0:
        high *= 2
    return float(brentq(missing, 0.0, high))
