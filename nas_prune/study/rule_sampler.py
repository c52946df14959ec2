"""The sampler `rule`: it asks where one more training would change the answer most.

After a few trials around the guideline a rule is fitted to all that have ended. Among widths drawn near the rule's best
ones and everywhere, tried or not, those are trained next whose value is expected to raise the best mean most (knowledge
gradient). Widths that were trained before are among them: they are trained with another seed then.
"""

from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from nas_prune.study import trial_record as record
from nas_prune.study.parameters import Parametrised
from nas_prune.study.rule_search import AWAY, Pool, asked_next, in_order, seen_in

_LEAST, _FIRST = 3, 8  # trials before the first rule; twice as many as there are parameters, if that is less


class RuleSampler(BaseSampler):
    """Optuna's way to ask a rule.

    Args:
        points: how parameters become widths.
        seed: of what is drawn.
        repeats: whether widths may be asked for again, to be trained with another seed.
    """

    def __init__(self, points: Parametrised, seed: int, *, repeats: bool = True) -> None:
        self._points, self._rng, self._repeats = points, np.random.default_rng(seed), repeats

    def infer_relative_search_space(
        self,
        study: optuna.Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """All parameters together."""
        return {name: FloatDistribution(*ends) for name, ends in self._points.ranges.items()}

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],  # noqa: ARG002
    ) -> dict[str, Any]:
        """The parameters of the widths to be trained next."""
        points = self._points
        trials = study.get_trials(deepcopy=False)
        seen = seen_in(trials, trial.number)
        pool = Pool(points, self._rng)
        if len(seen.values) < max(_LEAST, min(_FIRST, 2 * len(points.ranges))):
            pool.add_around(in_order(points, points.guideline), AWAY, 1)
            return dict(pool.parameters(0))
        known = {
            vector: {name: float(one.params[name]) for name in points.ranges}
            for one in trials
            if (vector := record.widths_of(one)) in seen.widths and points.ranges.keys() <= one.params.keys()
        }
        return dict(asked_next(seen, known, pool, repeats=self._repeats))

    def sample_independent(
        self,
        study: optuna.Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
        param_name: str,  # noqa: ARG002
        param_distribution: BaseDistribution,
    ) -> Any:
        """A parameter that is not of the widths."""
        assert isinstance(param_distribution, FloatDistribution)
        return float(self._rng.uniform(param_distribution.low, param_distribution.high))
