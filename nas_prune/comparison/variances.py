"""Variances of arms with few trainings each, moderated by those of the other arms: pure arithmetic.

Five trainings tell a variance badly; ten arms of five tell together how large variances are here, and how much they
differ from arm to arm. Smyth 2004 (Linear models and empirical Bayes methods, sections 3 and 6.2) takes the variances
as drawn from a scaled inverse chi-square distribution, whose degrees of freedom are estimated from the arms: many where
the arms are alike, few where they differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, log, nan

import numpy as np
from scipy.optimize import brentq
from scipy.special import digamma, polygamma
from scipy.stats import chi2

_CAUTION = 0.95  # one-sided confidence in that the arms differ no more than is taken
_SMALLEST = (
    1e-4  # of the pooled variance; equal accuracies, as few test images make them, say no more than this
)
_LARGEST_LOG = 40.0


@dataclass(frozen=True, slots=True)
class Spread:
    """A variance and its degrees of freedom; NaN and 0 where nothing is known."""

    variance: float
    freedom: float


def pooled(spreads: Sequence[Spread]) -> Spread:
    """The mean of variances, weighted by their degrees of freedom.

    Example:
        >>> pooled([Spread(1.0, 1), Spread(4.0, 2)])
        Spread(variance=3.0, freedom=3)
    """
    known = [one for one in spreads if one.freedom > 0]
    freedom = sum(one.freedom for one in known)
    return Spread(sum(one.freedom * one.variance for one in known) / freedom if freedom else nan, freedom)


def moderated(spreads: Sequence[Spread]) -> list[Spread]:
    """Each arm's variance raised towards the pooled one, the more the less the arms differ.

    v = (d0 · pooled + d · s²) / (d0 + d), with d0 + d degrees of freedom, as in Smyth 2004, equation 3.1. Three things
    differ from there, all to be careful. d0 is not the estimate but the least that the arms allow: their log variances
    differ, at 95 % confidence, by no more than d0 says. What they are drawn towards is the mean, not the (smaller)
    estimate by logarithms. And no arm's own variance is made smaller: v is s² at least. With two arms or fewer next to
    nothing is borrowed.

    Args:
        spreads: of each arm: s² of its trainings, and d. An arm with one training has none (d = 0) and takes the pooled
            variance with d0 degrees of freedom.

    Returns:
        In the same order; degrees of freedom are never more than all arms have together.

    Example:
        >>> [round(one.variance, 2) for one in moderated([Spread(s, 4) for s in (1.0, 1.1, 0.9, 1.0, 9.0)])]
        [1.32, 1.4, 1.24, 1.32, 9.0]
    """
    mean = pooled(spreads)
    if not mean.freedom or mean.variance <= 0:
        return list(spreads)
    prior = _least_prior_freedom(spreads, mean.variance)
    found = []
    for one in spreads:
        freedom = prior + one.freedom
        if not freedom:
            found.append(one)
            continue
        own = one.variance if one.freedom else 0.0
        drawn = mean.variance if prior == inf else (prior * mean.variance + one.freedom * own) / freedom
        found.append(Spread(max(drawn, own), min(freedom, mean.freedom)))
    return found


def _least_prior_freedom(spreads: Sequence[Spread], mean: float) -> float:
    """The d0 at the upper end of what the arms' log variances may differ by.

    Var(log s²) = trigamma(d / 2) + trigamma(d0 / 2): the first is chance, the second the arms' own.
    """
    known = [one for one in spreads if one.freedom > 0]
    if len(known) < 2:
        return 0.0
    halves = np.array([one.freedom / 2 for one in known])
    logs = np.log([max(one.variance, _SMALLEST * mean) for one in known])
    between = float(np.var(logs - digamma(halves) + np.log(halves), ddof=1))
    most = between * (len(known) - 1) / float(chi2.ppf(1 - _CAUTION, len(known) - 1))
    excess = most - float(polygamma(1, halves).mean())
    return inf if excess <= 0 else 2 * _inverse_trigamma(excess)


def _inverse_trigamma(value: float) -> float:
    if not exp(-_LARGEST_LOG) < value < exp(_LARGEST_LOG):
        return 1 / value if value < 1 else 0.0
    root = brentq(
        lambda place: log(float(polygamma(1, exp(place)))) - log(value), -_LARGEST_LOG, _LARGEST_LOG
    )
    return exp(float(root))
