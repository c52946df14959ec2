"""The rule: what all trials of a study say together of how accuracy depends on widths. Pure arithmetic.

Single trainings differ by luck as much as good networks differ from each other, so that the best trial is mostly the
luckiest. A rule is fitted to all of them, and its best widths are looked for among all that a budget allows, tried or
not. It is a Gaussian process over log widths x, measured from the centre (a guideline's widths, or uniform ones):

    accuracy = offset of the judge + κ e·x + ρ leads + linear part + smooth part + noise of the judge

- e are the elasticities of the cost at the centre: the share of the cost that a group's width is behind. Where nothing
  else is known, κ e·x has its largest value within the budget at the centre itself: accuracy is then the product of
  powers of widths whose best share of the cost is each group's exponent. So a guideline is a rule's prior mean, and
  where the trials say nothing it stays the answer.
- leads are what cheaper judges say of widths: functions of x that were fitted to many of their judgements. Each may
  count nothing, or be most of what there is (the recursive form of Kennedy and O'Hagan's model, 2000, by Le Gratiet
  and Garnier 2014).
- the linear part has one coefficient for each stage and role, one for the slope along it, and a smaller one for each
  group;
- the smooth part (squared exponential) is over the means and slopes of stages and roles: accuracy levels off.

Their sizes are not chosen but averaged over a grid, weighted by how likely the trials are under each: with few trials
the most likely one alone is often wrong. Offsets have a flat prior.

Shape suffixes: T trials, N networks, S searched groups, F features, J judges, L leads (the pull e·x first), K slopes
of all leads that are tried.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import log, prod
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

Floats: TypeAlias = "NDArray[np.float64]"
Lead: TypeAlias = "Callable[[Floats], Floats]"  # of log widths NS: N numbers of mean zero and deviation one

# Multiples of the standard deviation of what was seen.
_NOISE = (0.15, 0.3, 0.5, 0.7, 0.9)
_PULL = (0.0, 0.3, 1.0, 2.0)  # κ, for e of length one
_LEAD = {0.0: 0.4, 0.3: 0.15, 0.6: 0.15, 1.0: 0.15, 1.5: 0.15}  # ρ, with prior probabilities: judges may err
_LINEAR = {
    0.01: 0.4,
    0.1: 0.2,
    0.3: 0.2,
    0.6: 0.1,
    1.0: 0.1,
}  # with prior probabilities: few trials make no pattern
_SMOOTH = {
    (0.0, 1.0): 0.5,
    **dict.fromkeys(product((0.3, 0.7), (1.0, 2.0)), 0.1),
    (0.7, 4.0): 0.1,
}  # with its reach
_OWN = 0.5  # of single groups, as a multiple of that of stages and roles
_LEAST_WEIGHT, _MOST_PARTS = 0.01, 24  # settings less likely than the likeliest by more are left out
_FEW = 6
_MOST_AT_ONCE = 160  # trials by which the likeliest settings are found; all are used then
_LEAST_SPREAD = 1e-4  # of shares: below it lies what few images cannot tell
_ROUNDING = 1e-9  # of other scores, beside the largest


@dataclass(frozen=True, slots=True)
class Features:
    """Networks as a rule sees them, in log widths.

    Attributes:
        whole_NF: by stage and role the mean, and the slope where there are several positions.
        rest_NS: what single groups differ from these by.
    """

    whole_NF: Floats
    rest_NS: Floats


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the searched groups of a network are, as far as a rule must know.

    Attributes:
        cell_S: which stage and role each group is of, by number from 0.
        position_S: from -0.5 at the beginning of its stage and role to 0.5 at the end.
        centre_S: log widths of the guideline, or of uniform widths.
        elasticity_S: the relative change of the cost with a relative change of each width, there.
    """

    cell_S: NDArray[np.int64]
    position_S: Floats
    centre_S: Floats
    elasticity_S: Floats

    def features(self, logs_NS: Floats) -> Features:
        """What networks differ from the centre by, as means and slopes by stage and role, and single groups."""
        away_NS = logs_NS - self.centre_S
        whole, rest_NS = [], away_NS.copy()
        for cell in range(int(self.cell_S.max()) + 1):
            places = np.flatnonzero(self.cell_S == cell)
            mean_N = away_NS[:, places].mean(axis=1)
            whole.append(mean_N)
            line_NP = np.repeat(mean_N[:, None], len(places), axis=1)
            position_P = self.position_S[places] - self.position_S[places].mean()
            squares = float((position_P**2).sum())
            if squares > 0:
                slope_N = away_NS[:, places] @ position_P / squares
                whole.append(slope_N / 2)  # of the two ends, as far from the mean as they are
                line_NP += slope_N[:, None] * position_P
            rest_NS[:, places] = (away_NS[:, places] - line_NP) / len(places) ** 0.5
        return Features(np.column_stack(whole), rest_NS)

    def pull_N(self, logs_NS: Floats) -> Floats:
        """e·x of each network, with e of length one."""
        length = float(np.linalg.norm(self.elasticity_S)) or 1.0
        return np.asarray((logs_NS - self.centre_S) @ self.elasticity_S / length)


@dataclass(frozen=True, slots=True)
class Trials:
    """What was seen.

    Attributes:
        logs_TS: log widths.
        values_T: accuracies, as shares.
        judge_T: which judge each is of, by number from 0.
    """

    logs_TS: Floats
    values_T: Floats
    judge_T: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.values_T)


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Sizes of the linear and the smooth part, as accuracies, the reach of the latter in log widths, and a prior."""

    linear: float
    smooth: float
    reach: float
    prior: float

    def covariance(self, one: Features, other: Features) -> Floats:
        """Between networks given by their features."""
        linear_NM = one.whole_NF @ other.whole_NF.T + _OWN**2 * one.rest_NS @ other.rest_NS.T
        found_NM = self.linear**2 * linear_NM
        if self.smooth:
            away_NM = _squares(one.whole_NF, other.whole_NF) / self.reach**2
            found_NM = found_NM + self.smooth**2 * np.exp(-0.5 * away_NM)
        return np.asarray(found_NM)


def _squares(one_NF: Floats, other_MF: Floats) -> Floats:
    """Squared distances between rows."""
    lengths_NM = (one_NF**2).sum(axis=1)[:, None] + (other_MF**2).sum(axis=1)
    return np.asarray(np.maximum(0.0, lengths_NM - 2 * one_NF @ other_MF.T))


@dataclass(frozen=True, slots=True)
class _Part:
    """The posterior under one setting of the sizes.

    Attributes:
        sizes: of the linear and smooth parts.
        slope_L: κ, and ρ of each lead; prior: the probability of these.
        noise_J: standard deviation of one value of each judge.
        likely: the logarithm of its prior probability times how likely the trials are, offsets integrated out.
        factor_TT: lower Cholesky factor of the trials' covariance with its noise.
        offset_J: of each judge.
        half_T: the factor's inverse times what offsets and leads leave of the values.
        half_TJ: the same of the judges' columns.
    """

    sizes: _Sizes
    slope_L: Floats
    prior: float
    noise_J: Floats
    likely: float
    factor_TT: Floats
    offset_J: Floats
    half_T: Floats
    half_TJ: Floats


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule fitted to trials; accuracies are those that judge 0 would give on average, as shares.

    Attributes:
        layout: the network's; trials: what it was fitted to; leads: what cheaper judges say.
        features: of the trials.
        parts: posteriors under the likeliest settings; weights: their probabilities.
    """

    layout: Layout
    trials: Trials
    leads: tuple[Lead, ...]
    features: Features
    parts: tuple[_Part, ...]
    weights: tuple[float, ...]

    @property
    def freedom(self) -> int:
        """Degrees of freedom by which the size of everything is known: it is in units of what the trials differ by."""
        return max(1, len(self.trials) - len(np.unique(self.trials.judge_T)))

    @property
    def noise_J(self) -> Floats:
        """Standard deviation of one value of each judge, as a share."""
        return self._average([part.noise_J for part in self.parts])

    @property
    def likeliest(self) -> "Rule":
        """The same with the few likeliest settings alone: nearly as good, and faster."""
        few = sorted(zip(self.weights, self.parts, strict=True), key=lambda one: -one[0])[:_FEW]
        total = sum(weight for weight, _ in few)
        parts, weights = tuple(part for _, part in few), tuple(weight / total for weight, _ in few)
        return replace(self, parts=parts, weights=weights)

    def mean_N(self, logs_NS: Floats) -> Floats:
        """The expected accuracies of networks."""
        features, leads_NL = self.layout.features(logs_NS), _leads_of(self.layout, self.leads, logs_NS)
        return self._average([self._of_part(part, features, leads_NL)[0] for part in self.parts])

    def joint(self, logs_NS: Floats) -> tuple[Floats, Floats]:
        """The expected accuracies N, and the covariance NN of what is not known of them."""
        features, leads_NL = self.layout.features(logs_NS), _leads_of(self.layout, self.leads, logs_NS)
        found = [self._of_part(part, features, leads_NL) for part in self.parts]
        mean_N = self._average([own_N for own_N, _ in found])
        covariances = []
        for part, (own_N, half_TN) in zip(self.parts, found, strict=True):
            known_NN = part.sizes.covariance(features, features) - half_TN.T @ half_TN
            # The offset of judge 0, as far as what a network shares with trials does not tell it.
            left_NJ = -half_TN.T @ part.half_TJ
            left_NJ[:, 0] += 1.0
            offsets_NN = left_NJ @ np.linalg.solve(part.half_TJ.T @ part.half_TJ, left_NJ.T)
            covariances.append(known_NN + offsets_NN + np.outer(own_N - mean_N, own_N - mean_N))
        return mean_N, self._average(covariances)

    def _of_part(self, part: _Part, features: Features, leads_NL: Floats) -> tuple[Floats, Floats]:
        """Means under one setting, and what the trials' factor makes of the covariances with them, TN."""
        there_TN = part.sizes.covariance(self.features, features)
        half_TN = solve_triangular(part.factor_TT, there_TN, lower=True)
        return np.asarray(part.offset_J[0] + leads_NL @ part.slope_L + half_TN.T @ part.half_T), half_TN

    def _average(self, values: Sequence[Floats]) -> Floats:
        return np.asarray(
            sum(weight * one for weight, one in zip(self.weights, values, strict=True)), dtype=np.float64
        )


def _leads_of(layout: Layout, leads: Sequence[Lead], logs_NS: Floats) -> Floats:
    """The pull and every lead, NL."""
    return np.column_stack([layout.pull_N(logs_NS), *(lead(logs_NS) for lead in leads)])


@dataclass(frozen=True, slots=True)
class _Data:
    """Trials as the parts see them.

    Attributes:
        features: of the trials; leads_TL: their e·x and leads; values_T: their accuracies.
        indicator_TJ: 1 where a trial is of a judge.
        spread_J: standard deviation of each judge's accuracies.
    """

    features: Features
    leads_TL: Floats
    values_T: Floats
    indicator_TJ: Floats
    spread_J: Floats

    @classmethod
    def of(cls, layout: Layout, trials: Trials, leads: Sequence[Lead]) -> "_Data":
        """All trials."""
        own_J = [trials.values_T[trials.judge_T == judge] for judge in range(int(trials.judge_T.max()) + 1)]
        return cls(
            layout.features(trials.logs_TS),
            _leads_of(layout, leads, trials.logs_TS),
            trials.values_T,
            np.asarray(trials.judge_T[:, None] == np.arange(len(own_J)), dtype=np.float64),
            np.array([max(least_difference(own_T), float(np.std(own_T))) for own_T in own_J]),
        )

    def some(self, count: int) -> "_Data":
        """At most so many of the trials, evenly among all; at least one of each judge."""
        total = len(self.values_T)
        if total <= count:
            return self
        places = {int(place) for place in np.linspace(0, total - 1, count).round()}
        chosen = sorted(places | {int(place) for place in self.indicator_TJ.argmax(axis=0)})
        features = Features(self.features.whole_NF[chosen], self.features.rest_NS[chosen])
        return _Data(
            features, self.leads_TL[chosen], self.values_T[chosen], self.indicator_TJ[chosen], self.spread_J
        )


def least_difference(scores: Floats) -> float:
    """Below which scores are alike: of shares what few images cannot tell, of any other what rounding makes.

    Example:
        >>> least_difference(np.array([0.5, 0.9])), least_difference(np.array([-1e9, -1e8]))
        (0.0001, 1.0)
    """
    is_share = bool(np.all((scores >= 0) & (scores <= 1)))
    return _LEAST_SPREAD if is_share else _ROUNDING * float(np.abs(scores).max())


def fit_rule(layout: Layout, trials: Trials, leads: Sequence[Lead] = ()) -> Rule:
    """Fit a rule to trials.

    Args:
        layout: the network's.
        trials: at least one of each judge.
        leads: what cheaper judges say of widths.
    """
    data = _Data.of(layout, trials, leads)
    parts = sorted(_all_parts(data.some(_MOST_AT_ONCE)), key=lambda one: -one.likely)
    parts = [one for one in parts[:_MOST_PARTS] if one.likely > parts[0].likely + log(_LEAST_WEIGHT)]
    if len(trials) > _MOST_AT_ONCE:
        parts = [
            part
            for one in parts
            for part in _parts(
                data,
                one.sizes,
                one.sizes.covariance(data.features, data.features),
                one.noise_J,
                one.slope_L[None],
                np.array([one.prior]),
            )
        ]
    best = max(one.likely for one in parts)
    weights = np.exp([one.likely - best for one in parts])
    shares = tuple((weights / weights.sum()).tolist())
    return Rule(layout, trials, tuple(leads), data.features, tuple(parts), shares)


def _all_parts(data: _Data) -> Iterator[_Part]:
    """The posteriors under every setting of the grid; all judges are taken to be as noisy, in their own spread."""
    spread = float(data.spread_J[0])
    leads = data.leads_TL.shape[1] - 1
    slopes_KL = spread * np.array(list(product(_PULL, *[_LEAD] * leads)))
    prior_K = np.array([prod(own) for own in product([1.0] * len(_PULL), *[_LEAD.values()] * leads)])
    for linear, (smooth, reach) in product(_LINEAR, _SMOOTH):
        sizes = _Sizes(linear * spread, smooth * spread, reach, _LINEAR[linear] * _SMOOTH[smooth, reach])
        covariance_TT = sizes.covariance(data.features, data.features)
        for noise in _NOISE:
            noise_J = np.asarray(noise * data.spread_J)
            yield from _parts(data, sizes, covariance_TT, noise_J, slopes_KL, prior_K)


def _parts(
    data: _Data,
    sizes: _Sizes,
    covariance_TT: Floats,
    noise_J: Floats,
    slopes_KL: Floats,
    prior_K: Floats,
) -> Iterator[_Part]:
    """The posterior for each row of slopes, which have prior probabilities."""
    judges = len(noise_J)
    factor_TT = np.linalg.cholesky(covariance_TT + np.diag((data.indicator_TJ @ noise_J) ** 2))
    right = np.column_stack([data.indicator_TJ, data.values_T, data.leads_TL])
    half = solve_triangular(factor_TT, right, lower=True)
    half_TJ = half[:, :judges]
    precision_JJ = half_TJ.T @ half_TJ
    volume = float(np.log(np.diag(factor_TT)).sum()) + 0.5 * float(np.linalg.slogdet(precision_JJ)[1])
    left_TK = half[:, judges, None] - half[:, judges + 1 :] @ slopes_KL.T
    offset_JK = np.linalg.solve(precision_JJ, half_TJ.T @ left_TK)
    half_TK = left_TK - half_TJ @ offset_JK
    likely_K = np.log(sizes.prior * prior_K) - 0.5 * (half_TK**2).sum(axis=0) - volume
    for place, slope_L in enumerate(slopes_KL):
        offset_J, half_T = offset_JK[:, place], half_TK[:, place]
        prior, likely = float(prior_K[place]), float(likely_K[place])
        yield _Part(sizes, slope_L, prior, noise_J, likely, np.asarray(factor_TT), offset_J, half_T, half_TJ)
