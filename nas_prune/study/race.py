"""A race among networks: which may still be the best, and which are trained once more. Pure arithmetic.

In every round each network that is still in the race gets one short training with one new seed. A network leaves when
it is hardly the best any more, and is in again if those before it fall back. What a round does depends on the results
of the rounds before it alone, so that a race that is begun again with its results takes the same course.

Shape suffixes: N networks, D draws.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, sqrt
from statistics import fmean
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student

from nas_prune.study.rank_statistics import seed_noise
from nas_prune.study.rule import least_difference

Floats: TypeAlias = "NDArray[np.float64]"
Ended: TypeAlias = Literal["decided", "alone", "seeds", "budget"]

BOUND = 0.05
_CONFIDENCE = 0.9
_DOUBT = 2.0
_DRAWS, _SEED = 10_000, 0  # a probability of 0.05 is found to 0.002
_SPREADS = (0.1, 0.3, 1.0, 3.0, 10.0)  # of true accuracies, as multiples of the noise of one training


@dataclass(frozen=True, slots=True)
class Posterior:
    """What is known of the accuracies of networks.

    Attributes:
        mean_N: expected, as shares.
        covariance_NN: of what is not known of them.
        freedom: degrees of freedom by which the noise was measured, for Student's t.
    """

    mean_N: Floats
    covariance_NN: Floats
    freedom: float = inf

    @property
    def leader(self) -> int:
        """The place of the best mean."""
        return int(self.mean_N.argmax())

    def best_N(self) -> Floats:
        """The probability of each to be the best, from draws that are always the same."""
        rng = np.random.default_rng(_SEED)
        values_N, vectors_NN = np.linalg.eigh(self.covariance_NN)
        root_NN = vectors_NN * np.sqrt(np.maximum(0.0, values_N))
        away_DN = rng.standard_normal((_DRAWS, len(values_N))) @ root_NN.T
        if isfinite(self.freedom):
            away_DN *= np.sqrt(self.freedom / rng.chisquare(self.freedom, _DRAWS))[:, None]
        best_D = (self.mean_N + away_DN).argmax(axis=1)
        return np.asarray(np.bincount(best_D, minlength=len(values_N)) / _DRAWS)

    @property
    def reach(self) -> float:
        """Standard deviations from the mean to the ends of a 90 % interval."""
        t = norm if not isfinite(self.freedom) else student(self.freedom)
        return float(t.ppf((1 + _CONFIDENCE) / 2))

    def gain(self, one: int, other: int) -> tuple[float, float, float]:
        """By how much one is expected to be better than another, and the ends of a 90 % interval.

        A rule expects no pattern until trials show one, so that its own intervals hold a true gain too seldom: its
        word is taken for half as sure as it is.
        """
        difference, variance = self.difference(one, other)
        half = _DOUBT * self.reach * sqrt(variance)
        return difference, difference - half, difference + half

    def as_normal(self, one: int, other: int) -> tuple[float, float]:
        """The gain of one over another, and the variance of the normal distribution that has its interval."""
        difference, _, high = self.gain(one, other)
        return difference, ((high - difference) / float(norm.ppf((1 + _CONFIDENCE) / 2))) ** 2

    def difference(self, one: int, other: int) -> tuple[float, float]:
        """By how much one is expected to be better than another, and the variance of that."""
        own_22 = self.covariance_NN[np.ix_([one, other], [one, other])]
        variance = float(own_22[0, 0] + own_22[1, 1] - 2 * own_22[0, 1])
        return float(self.mean_N[one] - self.mean_N[other]), max(0.0, variance)


def from_trainings(groups: Sequence[Sequence[float]]) -> tuple[Posterior, float]:
    """What trainings alone tell, without a rule; and the variance of the networks' true accuracies.

    The noise is pooled over networks. These are taken for draws from one normal distribution whose mean is unknown and
    whose deviation is averaged over, weighted by how likely the trainings are under each: so their means are drawn
    towards each other, the more so the less they differ beyond the noise. Where no network was trained twice, all
    differences are taken for noise.

    Args:
        groups: accuracies of the trainings of each network, at least one.
    """
    mean_N = np.array([fmean(group) for group in groups])
    found = seed_noise(groups)
    is_known = found.freedom > 0
    noise = max(least_difference(mean_N), found.deviation if is_known else float(np.std(mean_N)))
    error_N = noise**2 / np.array([len(group) for group in groups])
    means, covariances, likely = [], [], []
    for multiple in _SPREADS:
        variance_N = (multiple * noise) ** 2 + error_N
        total = float((1 / variance_N).sum())
        centre = float((mean_N / variance_N).sum()) / total
        away_N = mean_N - centre
        kept_N = 1 - error_N / variance_N
        means.append(centre + kept_N * away_N)
        covariances.append(np.diag(kept_N * error_N) + np.outer(1 - kept_N, 1 - kept_N) / total)
        likely.append(-0.5 * float(np.log(variance_N).sum() + np.log(total) + (away_N**2 / variance_N).sum()))
    weights = np.exp(np.array(likely) - max(likely))
    weights /= weights.sum()
    expected_N = np.asarray(sum(weight * one for weight, one in zip(weights, means, strict=True)))
    covariance_NN = sum(
        weight * (own_NN + np.outer(own_N - expected_N, own_N - expected_N))
        for weight, own_N, own_NN in zip(weights, means, covariances, strict=True)
    )
    freedom = found.freedom if is_known else max(1, len(groups) - 1)
    spread = float(weights @ (np.array(_SPREADS) * noise) ** 2)
    return Posterior(expected_N, np.asarray(covariance_NN), freedom), spread


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of a race.

    Attributes:
        most: short trainings that a network gets at most.
        least: short trainings that each gets at least, by name.
        bound: a network that is the best with a lower probability leaves.
        most_macs: multiply-accumulates that all trainings may take; None for any number.
    """

    most: int
    least: Mapping[str, int]
    bound: float = BOUND
    most_macs: int | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """What is done next.

    Attributes:
        racing: which networks are trained once more.
        ended: why the race is over, where none is.
    """

    racing: tuple[str, ...]
    ended: Ended | None = None


def next_round(
    probability: Mapping[str, float],
    leader: str | None,
    counts: Mapping[str, int],
    macs: Mapping[str, int],
    terms: Terms,
) -> Round:
    """Who is trained once more.

    Args:
        probability: of being the best, of each network with a result.
        leader: whose mean is the best; None before the first round.
        counts: how many trainings each has been given.
        macs: multiply-accumulates of one.
        terms: of the race.
    """
    may_be_best = [name for name, value in probability.items() if name == leader or value >= terms.bound]
    is_decided = leader is not None and len(probability) > 1 and 1 - probability[leader] < terms.bound
    is_alone = len(may_be_best) == 1
    racing = () if is_decided or is_alone else may_be_best
    due = tuple(
        name
        for name, count in counts.items()
        if count < terms.most and (name in racing or count < terms.least[name])
    )
    if not due:
        return Round((), "decided" if is_decided else "alone" if is_alone else "seeds")
    if terms.most_macs is None:
        return Round(due)
    left = terms.most_macs - sum(counts[name] * macs[name] for name in counts)
    paid = _paid(due, probability, leader, macs, left, lambda name: counts[name] < terms.least[name])
    return Round(paid) if paid else Round((), "budget")


def _paid(
    due: Sequence[str],
    probability: Mapping[str, float],
    leader: str | None,
    macs: Mapping[str, int],
    left: int,
    lacks: Callable[[str], bool],
) -> tuple[str, ...]:
    """Networks that are due as far as they can be paid: what lacks its least, then the likeliest.

    None where that is one of several that race: one more training of it would not tell them apart.
    """
    order = sorted(due, key=lambda name: (not lacks(name), name != leader, -probability.get(name, 0.0)))
    kept: list[str] = []
    for name in order:
        if macs[name] <= left:
            kept.append(name)
            left -= macs[name]
    is_worth = len(kept) > 1 or len(kept) == len(due) or any(map(lacks, kept))
    return tuple(name for name in due if name in kept) if is_worth else ()


@dataclass(frozen=True, slots=True)
class Race:
    """How a race went.

    Attributes:
        values: accuracies by name, of the networks with any.
        posterior: of these, in their order.
        rounds: how many there were.
        ended: why there were no more.
    """

    values: Mapping[str, tuple[float, ...]]
    posterior: Posterior
    rounds: int
    ended: Ended


def race(
    macs: Mapping[str, int],
    terms: Terms,
    trained: Callable[[int, Sequence[tuple[str, int]]], Sequence[float | None]],
    known: Callable[[Mapping[str, Sequence[float]]], Posterior],
) -> Race | None:
    """Race until one network is surely the best, or nothing more may be trained; None if the first round gives nothing.

    Args:
        macs: multiply-accumulates of one short training of each network.
        terms: of the race.
        trained: given a round's number, and names with the number of the training of each, from 0: the accuracies;
            None for a training that failed.
        known: what is known of networks with these accuracies.
    """
    counts = dict.fromkeys(macs, 0)
    values: dict[str, tuple[float, ...]] = {}
    posterior = None
    probability: dict[str, float] = {}
    leader = None
    rounds = 0
    while (now := next_round(probability, leader, counts, macs, terms)).racing:
        rounds += 1
        tasks = [(name, counts[name]) for name in now.racing]
        for (name, number), value in zip(tasks, trained(rounds, tasks), strict=True):
            counts[name] = number + 1
            if value is not None:
                values[name] = (*values.get(name, ()), value)
        if not values:
            return None
        values = {name: values[name] for name in macs if name in values}
        posterior = known(values)
        names = list(values)
        probability = dict(zip(names, posterior.best_N().tolist(), strict=True))
        leader = names[posterior.leader]
    assert posterior is not None
    assert now.ended is not None
    return Race(values, posterior, rounds, now.ended)


def why_ended(ended: Ended, bound: float, most: int) -> str:
    """For people.

    Example:
        >>> why_ended("seeds", 0.05, 5)
        'those left in it have had 5 short trainings each, the most'
    """
    share = f"{100 * bound:g} %"
    return {
        "decided": f"that any other is better than the first has a probability below {share}",
        "alone": f"no other is the best with a probability of {share} or more",
        "seeds": f"those left in it have had {most} short training{'s' * (most > 1)} each, the most",
        "budget": "the budget pays for no further round",
    }[ended]
