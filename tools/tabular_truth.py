"""How good the networks of a table are without the luck of single trainings, and how far studies stay behind.

What is known of a table is a few trainings of each network. The mean of two of them is right on average, but the best
of many such means is a lucky one (0.7 points too good, simulated at the noise of both tables), and all studies on one
training seed see the same luck, so that they are one observation and not many. Hence:

- the truth is smoothed: the logit of accuracy is a quadratic function of the log widths, plus a part of each network's
  own, plus seed noise; ridge by leave-one-out error, the own part by the method of moments, both as posterior means
  (empirical Bayes, as in Efron and Morris 1973);
- a network is judged by training seeds that took no part in its choice;
- the unit is the training seed: the mean over sampler seeds counts once, and the interval is Student's t with one
  degree of freedom less than there are training seeds, and never narrower than what is not known of the truth itself.

Simulated with planted truths (`tests/tools/test_tabular_truth.py`; n = 400 tables for each of four settings, 3 and 6
training seeds), these 90 % intervals hold the true regret in 85 to 95 % and the true gain over a fixed network in 88
to 94 %; the intervals of single networks hold theirs in 84 to 91 %. Over 20 studies as if they were independent, and
beside the largest mean, they held it in 43 to 69 %.

Shape suffixes: F networks within the budget, G groups, R training seeds, K sampler seeds, B columns of the basis.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import norm, ttest_ind
from scipy.stats import t as student

from nas_prune.errors import BadInputError
from tools.tabular_space import Floats

CONFIDENCE = 0.9
_LEAST_ACCURACY = 1e-3  # of 0 and of 1, where a logit has no end
NORMAL = float(norm.ppf((1 + CONFIDENCE) / 2))
_PENALTIES = np.logspace(-2, 3, 11)


@dataclass(frozen=True, slots=True)
class Truth:
    """Expected accuracy of each network, over training seeds, as shares.

    Attributes:
        mean_F: the posterior means; covariance_FF: what is not known of them.
        noise: standard deviation of single trainings, in logits; own: of the networks' own parts.
    """

    mean_F: Floats
    covariance_FF: Floats
    noise: float
    own: float

    @property
    def best(self) -> int:
        """The place of the best network, as far as it can be told."""
        return int(self.mean_F.argmax())

    def deviation(self, contrast_F: Floats) -> float:
        """Standard deviation of what is not known of a weighted sum of expected accuracies."""
        return float(np.sqrt(max(0.0, contrast_F @ self.covariance_FF @ contrast_F)))


def smoothed(widths_FG: NDArray[np.int64], test_FR: Floats) -> Truth:
    """The truth behind noisy trainings.

    Args:
        widths_FG: the networks.
        test_FR: test accuracies, as shares; at least two seeds, the same for all.

    Raises:
        BadInputError: there is one seed alone, so that noise and network cannot be told apart.
    """
    networks, seeds = test_FR.shape
    if seeds < 2:
        raise BadInputError(f"a truth must be smoothed from at least 2 training seeds, got {seeds}.")
    logits_FR = logit(np.clip(test_FR, _LEAST_ACCURACY, 1 - _LEAST_ACCURACY))
    logits_FR = logits_FR - (
        logits_FR.mean(axis=0) - logits_FR.mean()
    )  # a seed's own level, none of a network's
    mean_F = logits_FR.mean(axis=1)
    noise = float(((logits_FR - mean_F[:, None]) ** 2).sum() / ((networks - 1) * (seeds - 1)))
    basis_FB = _basis(widths_FG)
    solved_BB, hat_FF = _ridge(basis_FB, mean_F)
    line_F = hat_FF @ mean_F
    around = float(((mean_F - line_F) ** 2).sum() / (networks - np.trace(hat_FF)))
    own = max(0.0, around - noise / seeds)
    kept = own / (own + noise / seeds)  # of what a network's mean is away from the surface
    unknown_FF = (own + noise / seeds) * basis_FB @ solved_BB @ basis_FB.T
    covariance_FF = (1 - kept) ** 2 * unknown_FF + own * (1 - kept) * np.eye(networks)
    share_F = expit(line_F + kept * (mean_F - line_F))
    slope_F = share_F * (1 - share_F)
    # The mean accuracy is not the accuracy of the mean logit: the second term of Taylor's series.
    accuracy_F = share_F + noise / 2 * slope_F * (1 - 2 * share_F)
    return Truth(accuracy_F, slope_F[:, None] * covariance_FF * slope_F, noise**0.5, own**0.5)


def _basis(widths_FG: NDArray[np.int64]) -> Floats:
    """One, the standardised log widths, and their squares and products."""
    logs_FG = np.log(widths_FG)
    logs_FG = (logs_FG - logs_FG.mean(axis=0)) / logs_FG.std(axis=0)
    pairs = combinations_with_replacement(range(logs_FG.shape[1]), 2)
    products = [logs_FG[:, one] * logs_FG[:, other] for one, other in pairs]
    return np.column_stack([np.ones(len(logs_FG)), logs_FG, *products])


def _ridge(basis_FB: Floats, values_F: Floats) -> tuple[Floats, Floats]:
    """The inverse BB and the hat matrix FF of the penalty with the least leave-one-out error; the mean is free."""
    free_B = np.ones(basis_FB.shape[1])
    free_B[0] = 0.0
    found: list[tuple[float, Floats, Floats]] = []
    for penalty in _PENALTIES:
        solved_BB = np.linalg.inv(basis_FB.T @ basis_FB + np.diag(penalty * free_B))
        hat_FF = basis_FB @ solved_BB @ basis_FB.T
        left_F = (values_F - hat_FF @ values_F) / (1 - np.diag(hat_FF))
        found.append((float((left_F**2).mean()), solved_BB, hat_FF))
    return min(found, key=lambda one: one[0])[1:]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean and its 90 % interval, as shares.

    Attributes:
        mean, low, high: these.
        training_seeds: the independent observations; 0 where a network was fixed without any.
        sampler_seeds: how many were averaged within each, which are none.
    """

    mean: float
    low: float
    high: float
    training_seeds: int
    sampler_seeds: int

    @property
    def half(self) -> float:
        """Half the interval's width."""
        return (self.high - self.low) / 2


def clustered(values_RK: Sequence[Sequence[float]], *, shared: float = 0.0, least: float = 0.0) -> Estimate:
    """A mean over training seeds, of means over sampler seeds.

    Args:
        values_RK: for each training seed, at least two, one value for each sampler seed.
        shared: standard deviation of an error that all values share, and which therefore does not spread them.
        least: standard deviation of what is not known of the networks that the values are of. The interval is never
            narrower: where all training seeds chose the same network, they do not differ, and are no better known.
    """
    means = [float(np.mean(one)) for one in values_RK]
    mean, seeds = float(np.mean(means)), len(means)
    spread = float(student.ppf((1 + CONFIDENCE) / 2, seeds - 1)) * float(np.std(means, ddof=1)) / seeds**0.5
    half = max(float(np.hypot(spread, NORMAL * shared)), NORMAL * least)
    return Estimate(mean, mean - half, mean + half, seeds, len(values_RK[0]))


def separate(values: Sequence[float], others: Sequence[float]) -> Estimate:
    """The difference of two networks' means, each of its own trainings: Welch's interval."""
    interval = ttest_ind(values, others, equal_var=False).confidence_interval(CONFIDENCE)
    mean = float(np.mean(values) - np.mean(others))
    return Estimate(mean, float(interval.low), float(interval.high), min(len(values), len(others)), 1)


@dataclass(frozen=True, slots=True)
class Appraisal:
    """What tells how good networks are that were chosen by one of the table's training seeds.

    Attributes:
        truth: by all training seeds.
        others: for each training seed, by all but this one.
    """

    truth: Truth
    others: tuple[Truth, ...]

    def regret(self, chosen_RK: NDArray[np.int64]) -> Estimate:
        """How far networks stay behind the best, chosen by each training seed, as places among the F."""
        values = [
            self.truth.mean_F[self.truth.best] - own.mean_F[one] for own, one in self._judged(chosen_RK)
        ]
        unknown = self.truth.deviation(self._contrast(chosen_RK))
        return clustered([one.tolist() for one in values], least=unknown)

    def regret_by_seed(self, chosen_RK: NDArray[np.int64]) -> list[float]:
        """The same for each training seed by itself."""
        best = self.truth.mean_F[self.truth.best]
        return [float((best - own.mean_F[one]).mean()) for own, one in self._judged(chosen_RK)]

    def gain(self, chosen_RK: NDArray[np.int64], beside: int) -> Estimate:
        """How much better they are than one fixed network."""
        values = [own.mean_F[one] - own.mean_F[beside] for own, one in self._judged(chosen_RK)]
        unknown = self.truth.deviation(self._contrast(chosen_RK, beside))
        return clustered([one.tolist() for one in values], shared=unknown)

    def difference(self, chosen_RK: NDArray[np.int64], others_RK: NDArray[np.int64]) -> Estimate:
        """How much better networks are than others, both chosen by each training seed; K may differ."""
        pairs = zip(self.others, chosen_RK, others_RK, strict=True)
        values = [[float(own.mean_F[one].mean() - own.mean_F[other].mean())] for own, one, other in pairs]
        contrast_F = self._contrast(chosen_RK) - self._contrast(others_RK)
        return clustered(values, least=self.truth.deviation(contrast_F))

    def regret_of(self, place: int) -> Estimate:
        """How far one network stays behind the best, where no training seed has chosen it; from the posterior."""
        return self._fixed(place, None)

    def gain_of(self, place: int, beside: int) -> Estimate:
        """How much better it is than another such one."""
        return self._fixed(place, beside)

    def _fixed(self, place: int, beside: int | None) -> Estimate:
        sign = -1.0 if beside is None else 1.0
        contrast_F = self._contrast(np.array([[place]]), beside)
        mean = sign * float(contrast_F @ self.truth.mean_F)
        half = NORMAL * self.truth.deviation(contrast_F)
        return Estimate(mean, mean - half, mean + half, 0, 0)

    def _judged(self, chosen_RK: NDArray[np.int64]) -> list[tuple[Truth, NDArray[np.int64]]]:
        return list(zip(self.others, chosen_RK, strict=True))

    def _contrast(self, chosen_RK: NDArray[np.int64], beside: int | None = None) -> Floats:
        contrast_F = np.bincount(chosen_RK.ravel(), minlength=len(self.truth.mean_F)) / chosen_RK.size
        contrast_F[self.truth.best if beside is None else beside] -= 1.0
        return np.asarray(contrast_F, dtype=np.float64)


def appraised(widths_FG: NDArray[np.int64], test_FR: Floats) -> Appraisal:
    """How good the networks of a table are, by all training seeds and by all but each one.

    Raises:
        BadInputError: there are fewer than three training seeds.
    """
    seeds = test_FR.shape[1]
    if seeds < 3:
        raise BadInputError(f"an appraisal must have at least 3 training seeds, got {seeds}.")
    others = tuple(smoothed(widths_FG, np.delete(test_FR, seed, axis=1)) for seed in range(seeds))
    return Appraisal(smoothed(widths_FG, test_FR), others)
