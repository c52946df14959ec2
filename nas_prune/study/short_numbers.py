"""Numbers of trials that people can read: four digits behind the point, drawn so and stored so.

A parameter counts in units of a guideline's uncertainty, so that half of its fourth digit changes a width by less than
a thousandth. The ranges stay as they are (no steps), so that samplers take the trials of before together with new ones.
"""

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from nas_prune.study.parameters import Parameters, Parametrised

_DIGITS = 4
_OF_ACCURACIES = 6  # one of a million images


def short(value: float) -> float:
    """An accuracy as trials report it."""
    return round(value, _OF_ACCURACIES)


def shortest(points: Parametrised, parameters: Mapping[str, float]) -> Parameters:
    """Parameters that stand for the same widths, with as few digits as that takes."""
    widths_G = points.widths_G(parameters)
    for digits in range(_DIGITS, 16, 2):
        found = {
            name: min(high, max(low, round(parameters[name], digits)))
            for name, (low, high) in points.ranges.items()
        }
        if points.widths_G(found) == widths_G:
            return found
    return dict(parameters)


class ShortNumbers(BaseSampler):
    """A sampler whose numbers have four digits behind the point.

    Args:
        sampler: which draws them.
    """

    def __init__(self, sampler: BaseSampler) -> None:
        self._sampler = sampler

    def reseed_rng(self) -> None:
        """As the sampler does."""
        self._sampler.reseed_rng()

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """As the sampler does."""
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """What the sampler draws, with fewer digits."""
        drawn = self._sampler.sample_relative(study, trial, search_space)
        return {name: _rounded(value, search_space.get(name)) for name, value in drawn.items()}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """What the sampler draws, with fewer digits."""
        drawn = self._sampler.sample_independent(study, trial, param_name, param_distribution)
        return _rounded(drawn, param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """As the sampler does."""
        self._sampler.before_trial(study, trial)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: "list[float] | None",  # type: ignore[override]
    ) -> None:
        """As the sampler does."""
        self._sampler.after_trial(study, trial, state, values)


def _rounded(value: Any, distribution: BaseDistribution | None) -> Any:
    if not isinstance(distribution, FloatDistribution) or distribution.step is not None or distribution.log:
        return value
    return min(distribution.high, max(distribution.low, round(float(value), _DIGITS)))
