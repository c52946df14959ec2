"""Pooling what several sources say about the same quantities, with intervals that hold for few sources.

Sources are nested: seeds of a method, methods on a data set, data sets of a network. Means are taken level by level, so
that ten seeds of one network do not outvote another network; intervals are over the highest level that repeats, and
hold for all quantities at once.

Shape suffixes: U sources, N nodes (sources gathered at the level the intervals are over), C quantities. A number that a
source does not give is NaN.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import factorial, prod, sqrt
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import chi2, norm, rankdata
from scipy.stats import f as f_distribution
from scipy.stats import t as t_distribution

Floats: TypeAlias = "NDArray[np.float64]"
Keys: TypeAlias = "tuple[str, ...]"

LEVELS = ("network", "data", "method", "seed")
_PRIOR_DEGREES = 1  # that the variance of other quantities counts for where a quantity has one of its own
_FEWEST_ALIKE = 3  # quantities of one kind whose variances say something of each other's
_SHUFFLES = 2000
_FEWEST_ARRANGEMENTS = 400
_SEED = 20190306
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Nodes:
    """Sources gathered at one level.

    Attributes:
        level: which.
        members: for each node the places of its sources.
        shares_U: each source's weight within its node.
        weights_N: each node's weight in the mean over all.
        parents_N: number of the node above; only nodes with the same one are compared.
    """

    level: str
    members: tuple[tuple[int, ...], ...]
    shares_U: Floats
    weights_N: Floats
    parents_N: NDArray[np.int64]

    @property
    def degrees(self) -> int:
        """Degrees of freedom of a variance between nodes of one parent."""
        return len(self.members) - len(set(self.parents_N.tolist()))


def weights_of(keys_U: Sequence[Keys]) -> Floats:
    """The weight of each source if every level gives equal weight to all directly below it; they add up to 1.

    No two sources may have the same keys.
    """
    weights_U = np.ones(len(keys_U))
    for depth in range(1, len(keys_U[0]) + 1):
        below: dict[Keys, set[Keys]] = defaultdict(set)
        for keys in keys_U:
            below[keys[: depth - 1]].add(keys[:depth])
        weights_U /= [len(below[keys[: depth - 1]]) for keys in keys_U]
    return weights_U


def gathered(keys_U: Sequence[Keys], depth: int, weights_U: "Floats | None" = None) -> Nodes:
    """Sources gathered by the first `depth` of their keys; their weights are worked out where they are not given."""
    weights_U = weights_of(keys_U) if weights_U is None else weights_U
    members: dict[Keys, list[int]] = defaultdict(list)
    for number, keys in enumerate(keys_U):
        members[keys[:depth]].append(number)
    weights_N = np.array([weights_U[places].sum() for places in members.values()])
    shares_U = weights_U.copy()
    for weight, places in zip(weights_N, members.values(), strict=True):
        shares_U[places] /= weight
    parents = {name: number for number, name in enumerate(dict.fromkeys(keys[:-1] for keys in members))}
    return Nodes(
        LEVELS[depth - 1],
        tuple(map(tuple, members.values())),
        shares_U,
        weights_N,
        np.array([parents[keys[:-1]] for keys in members]),
    )


def independent(keys_U: Sequence[Keys], there_UC: "NDArray[np.bool_] | None" = None) -> Nodes:
    """Sources gathered at the highest level that repeats, or else each by itself.

    Two members are enough: what lies below them repeats more often, but says nothing of how a third would differ.

    Args:
        keys_U: of each source.
        there_UC: of which quantities it says anything: members without one in common do not repeat. None for all.
    """
    weights_U = weights_of(keys_U)
    candidates = [gathered(keys_U, depth, weights_U) for depth in range(1, len(LEVELS) + 1)]
    repeats = (nodes for nodes in candidates if nodes.degrees >= 1 and _compares(nodes, there_UC))
    return next(repeats, candidates[-1])


def _compares(nodes: Nodes, there_UC: "NDArray[np.bool_] | None") -> bool:
    """Whether two nodes of one parent say anything of the same quantity."""
    if there_UC is None:
        return True
    there_NC = np.stack([there_UC[list(own)].any(0) for own in nodes.members])
    return any((there_NC[nodes.parents_N == parent].sum(0) > 1).any() for parent in set(nodes.parents_N))


def at_nodes(values_UC: Floats, nodes: Nodes) -> Floats:
    """The means of each node's sources, N×C; NaN where none of them says anything."""
    if len(nodes.members) == len(values_UC):
        return values_UC[[number for (number,) in nodes.members]]
    return np.stack([_weighted(values_UC[list(m)], nodes.shares_U[list(m)]) for m in nodes.members])


def _weighted(values_NC: Floats, weights_N: Floats) -> Floats:
    """The mean over the known values, for each column."""
    there_NC = ~np.isnan(values_NC)
    total_C = (there_NC * weights_N[:, None]).sum(0)
    sums_C = (np.nan_to_num(values_NC) * weights_N[:, None]).sum(0)
    mean_C = np.full(len(total_C), np.nan)
    np.divide(sums_C, total_C, out=mean_C, where=total_C > 0)
    return mean_C


@dataclass(frozen=True, slots=True)
class Pooled:
    """What sources together say about C quantities.

    Attributes:
        mean_C: means, level by level.
        error_C: their standard errors; NaN where one node alone says anything.
        degrees_C: degrees of freedom of those.
        spread_C: standard deviation between nodes of one parent; NaN likewise.
    """

    mean_C: Floats
    error_C: Floats
    degrees_C: NDArray[np.int64]
    spread_C: Floats

    def half_width_C(self, confidence: float, is_wanted_C: "NDArray[np.bool_] | None" = None) -> Floats:
        """Half the widths of intervals that hold together with this probability; NaN where there is none.

        Args:
            confidence: that probability.
            is_wanted_C: of which quantities; of all if None.
        """
        known = self.degrees_C >= 1
        known = known if is_wanted_C is None else known & is_wanted_C
        if not known.any():
            return np.full(len(self.mean_C), np.nan)
        critical_C = _critical(self.degrees_C[known], confidence)
        half_C = np.full(len(self.mean_C), np.nan)
        half_C[known] = critical_C * self.error_C[known]
        return half_C


def pool(
    values_NC: Floats,
    nodes: Nodes,
    least_variance_C: "Floats | float" = 0.0,
    kinds_C: "Sequence[str] | None" = None,
    used_C: "NDArray[np.int64] | int" = 0,
) -> Pooled:
    """Means over nodes and how well they are known.

    Args:
        values_NC: what each node says.
        nodes: the nodes.
        least_variance_C: of one node, known beforehand (that of rounding, say).
        kinds_C: which quantities are alike, so that their variances may be; all if None.
        used_C: degrees of freedom that a line through the values has taken.
    """
    there_NC = ~np.isnan(values_NC)
    mean_C = _weighted(values_NC, nodes.weights_N)
    squares_C, parents_C = np.zeros(values_NC.shape[1]), np.zeros(values_NC.shape[1], dtype=np.int64)
    for parent in set(nodes.parents_N.tolist()):
        own = values_NC[nodes.parents_N == parent]
        centre_C = _weighted(own, np.ones(len(own)))
        squares_C += np.nan_to_num(own - centre_C).__pow__(2).sum(0)
        parents_C += (~np.isnan(own)).any(0)
    degrees_C = np.maximum(0, there_NC.sum(0) - parents_C - used_C)
    variance_C = np.divide(squares_C, degrees_C, out=np.full(len(mean_C), np.nan), where=degrees_C > 0)
    variance_C = np.maximum(variance_C, least_variance_C)
    kinds_C = kinds_C or [""] * len(mean_C)
    for kind in set(kinds_C):
        own = np.array([one == kind for one in kinds_C])
        variance_C[own], degrees_C[own] = _moderated(variance_C[own], degrees_C[own])
    weights_NC = there_NC * nodes.weights_N[:, None]
    total_C = weights_NC.sum(0)
    weights_NC = np.divide(weights_NC, total_C, out=np.zeros_like(weights_NC), where=total_C > 0)
    error_C = np.sqrt(variance_C * (weights_NC**2).sum(0))
    return Pooled(mean_C, error_C, degrees_C, np.sqrt(variance_C))


def _moderated(variance_C: Floats, degrees_C: NDArray[np.int64]) -> tuple[Floats, NDArray[np.int64]]:
    """Variances of one degree of freedom drawn towards the mean of all, with the degrees they have then.

    A moderated variance (Smyth 2004), (prior degrees × mean + own degrees × own) / their sum, has the sum of both
    degrees. The prior's are fixed at 1: found from few variances of one degree each they are mostly chance, and
    intervals of five quantities at 90 % then hold in as few as 75 % of cases where one of them varies ten times as
    much as the others; with 1, in 88 to 99 %. Where there are two degrees a quantity's own are used alone.

    Args:
        variance_C: variances of quantities of one kind; NaN where there is none.
        degrees_C: their degrees of freedom.
    """
    known_C = degrees_C >= 1
    if known_C.sum() < _FEWEST_ALIKE:
        return variance_C, degrees_C
    common = float((variance_C[known_C] * degrees_C[known_C]).sum() / degrees_C[known_C].sum())
    few_C = degrees_C == 1
    drawn_C = (_PRIOR_DEGREES * common + variance_C) / (_PRIOR_DEGREES + 1)
    return np.where(few_C, drawn_C, variance_C), np.where(few_C, _PRIOR_DEGREES + 1, degrees_C)


def _critical(degrees_C: NDArray[np.int64], confidence: float) -> Floats:
    """How many standard errors each of several t statistics stays within, all of them together with `confidence`.

    Each gets the same share of the error probability: one factor for all would be that of the quantity with the fewest
    degrees of freedom. They are assumed to be independent, which is on the safe side if they are not.
    """
    each = confidence ** (1 / len(degrees_C))
    return np.asarray(t_distribution.ppf((1 + each) / 2, degrees_C), dtype=np.float64)


def shrunk(pooled: Pooled, doubt: float) -> Floats:
    """Means shrunk towards zero, by how uncertain they are compared with how far all of them are from zero.

    Empirical Bayes: means are assumed to scatter about zero with a variance τ² found from all of them.

    Args:
        pooled: the means.
        doubt: variance of a mean of which only one node says anything.
    """
    known = ~np.isnan(pooled.mean_C)
    variance_C = np.where(np.isnan(pooled.error_C), doubt, pooled.error_C**2)
    scatter = _scatter(pooled.mean_C[known], variance_C[known])
    total_C = scatter + variance_C
    factor_C = np.divide(scatter, total_C, out=np.zeros_like(total_C), where=total_C > 0)
    return pooled.mean_C * factor_C


def _scatter(mean_C: Floats, variance_C: Floats) -> float:
    """The variance about zero that means have beyond their own: where Σ mean² / (it + own) is their number.

    The estimate of Paule and Mandel (1982): a mean that is badly known says little about how the others scatter.
    """

    def excess(scatter: float) -> float:
        return float((mean_C**2 / np.maximum(scatter + variance_C, _TINY)).sum()) - len(mean_C)

    if not len(mean_C) or excess(0.0) <= 0:
        return 0.0
    return float(brentq(excess, 0.0, float((mean_C**2).sum()) + 1.0))


def pattern_test(
    values_NC: Floats,
    nodes: Nodes,
    of: str = "stages",
    unit: str = "log ratios",
    rounding_C: "Floats | None" = None,
) -> tuple[float | None, str]:
    """Whether nodes agree in which quantities are large: the p value of "each node's values could be in any order".

    The statistic is the variance between the means of the quantities, each node's own mean subtracted first. It is
    compared with that of shuffled nodes, or with an F distribution where too few shuffles differ for a small p value.

    Args:
        values_NC: what each node says, NaN where nothing.
        nodes: the nodes.
        of: what the quantities are of, in words.
        unit: of the values, in words.
        rounding_C: variance of each quantity that rounding makes, in all nodes alike: what it may have made alone is no
            pattern.

    Returns:
        The p value, None with one node or one quantity, or where no two nodes say anything of the same one; and in
        words how it was found.
    """
    said_C = (~np.isnan(values_NC)).any(0)
    values_NC, rounding_C = values_NC[:, said_C], None if rounding_C is None else rounding_C[said_C]
    there_NC = ~np.isnan(values_NC)
    num_nodes, num_cells = values_NC.shape
    if num_nodes < 2:
        return None, "none: one source alone cannot agree with any other"
    if num_cells < 2 or (there_NC.sum(1) < 2).all() or (there_NC.sum(0) < 2).all():
        return None, f"none: the test compares {of}, and no two sources speak of the same two"
    centred_NC = values_NC - np.nanmean(values_NC, axis=1, keepdims=True)
    if not np.nan_to_num(centred_NC).any():
        return 1.0, "all sources are uniform"
    least = _by_rounding(_weighted(centred_NC, nodes.weights_N), rounding_C)
    orders = prod(factorial(int(count)) for count in sorted(there_NC.sum(1))[1:])
    if orders < _FEWEST_ARRANGEMENTS and there_NC.all():
        return max(least, _f_test(centred_NC)), f"F test of {of} against their interaction with sources"
    both = [_statistics(rows, there_NC, nodes.weights_N) for rows in (centred_NC, _ranks(values_NC))]
    # Each statistic by its rank among those of all shuffles, the smaller counts; calibrated on the same shuffles.
    smaller = np.minimum(*[rankdata(-statistics, method="max") for statistics in both])
    how = f"{_SHUFFLES} shuffles of {of} within each source, by {unit} and by ranks"
    return max(least, float((smaller <= smaller[0]).mean())), how


def _by_rounding(mean_C: Floats, rounding_C: "Floats | None") -> float:
    """How often rounding alone would make means as different: of their squares about their common mean, chi squared."""
    if rounding_C is None:
        return 0.0
    common = float(np.average(mean_C, weights=1 / rounding_C))
    return float(chi2.sf(((mean_C - common) ** 2 / rounding_C).sum(), len(mean_C) - 1))


def common_test(
    values_NC: Floats, nodes: Nodes, rounding: float = 0.0, of: str = "how stages rise or fall"
) -> tuple[float | None, str]:
    """Whether nodes agree that quantities lie above zero, or below: a t test of each node's mean over all it speaks of.

    It sees what all quantities have in common, which `pattern_test` takes off before it compares them.

    Args:
        values_NC: what each node says, NaN where nothing.
        nodes: the nodes.
        rounding: variance of the mean that rounding makes, in all nodes alike.
        of: what the quantities are, in words.

    Returns:
        The two-sided p value, None where no two nodes of one parent say anything; and in words how it was found.
    """
    mean_N1 = _weighted(values_NC.T, np.ones(values_NC.shape[1]))[:, None]
    pooled = pool(mean_N1, nodes)
    if pooled.degrees_C[0] < 1:
        return None, f"none: of {of} one source alone cannot agree with any other"
    mean = abs(float(pooled.mean_C[0]))
    found = 2 * t_distribution.sf(mean / max(float(pooled.error_C[0]), _TINY), pooled.degrees_C[0])
    least = 2 * norm.sf(mean / sqrt(rounding)) if rounding else 0.0
    return float(max(least, found)), f"t test of {of} on the whole"


def _ranks(values_NC: Floats) -> Floats:
    """Each node's values by rank, the mean rank subtracted: outliers count no more than the last rank."""
    ranks_NC = np.asarray(rankdata(values_NC, axis=1, nan_policy="omit"))
    return np.asarray(ranks_NC - np.nanmean(ranks_NC, axis=1, keepdims=True))


def _statistics(values_NC: Floats, there_NC: NDArray[np.bool_], weights_N: Floats) -> Floats:
    """Sum of squared means of the cells, each weighted by its number of nodes: first as they are, then shuffled.

    Each node's values are put in a random order; the orders are the same whatever the values.
    """
    rng = np.random.default_rng(_SEED)
    sums = np.zeros((1 + _SHUFFLES, values_NC.shape[1]))
    for row_C, there_C, weight in zip(values_NC, there_NC, weights_N, strict=True):
        orders = rng.permuted(np.tile(np.arange(there_C.sum()), (1 + _SHUFFLES, 1)), axis=1)
        orders[0] = np.arange(there_C.sum())
        sums[:, there_C] += weight * row_C[there_C][orders]
    means = sums / (there_NC * weights_N[:, None]).sum(0)
    # Rounded, so that sums of the same numbers in another order are the same.
    return np.asarray(np.round((there_NC.sum(0) * means**2).sum(-1), 9))


def _f_test(centred_NC: Floats) -> float:
    num_nodes, num_cells = centred_NC.shape
    mean_C = centred_NC.mean(0)
    rest = float(((centred_NC - mean_C) ** 2).sum())
    between = num_nodes * float((mean_C**2).sum())
    if rest == 0:
        return 0.0
    degrees = (num_cells - 1, (num_nodes - 1) * (num_cells - 1))
    return float(f_distribution.sf(between / degrees[0] / (rest / degrees[1]), *degrees))
