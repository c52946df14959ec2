"""The sampler `rule`: it asks where one more training would change the answer most.

After a few trials around the guideline a rule is fitted to all that have ended. Among widths drawn near the rule's best
ones and everywhere, tried or not, those are trained next whose value is expected to raise the best mean most (knowledge
gradient). Widths that were trained before are among them: they are trained with another seed then.

A cheaper judge has no seeds, and many trials: widths for it are drawn everywhere and, every other time, near one of the
best so far. What it says leads the rule of the trainings that follow, the first of which try its best and others in
turn, so that the trials can tell how far it is right.
"""

from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from nas_prune.study import trial_record as record
from nas_prune.study.config import SCRATCH, JudgeName
from nas_prune.study.parameters import Parameters, Parametrised
from nas_prune.study.rule_search import (
    AWAY,
    Pool,
    Seen,
    Vector,
    asked_next,
    best_by_lead,
    in_order,
    seen_in,
)

_FIRST = 4  # trials before the first rule
_FIRST_LED = 6  # trainings before the first rule where a cheaper judge was asked before
_NEAR, _BEST = 0.5, 16  # units, and how many of the best, near which a cheaper judge is asked


class RuleSampler(BaseSampler):
    """Optuna's way to ask a rule.

    Args:
        points: how parameters become widths.
        seed: of what is drawn.
        repeats: whether widths may be asked for again, to be trained with another seed.
        judge: what judges the trial that is asked for.
    """

    def __init__(
        self, points: Parametrised, seed: int, *, repeats: bool = True, judge: JudgeName = SCRATCH
    ) -> None:
        self._points, self._rng, self._repeats = points, np.random.default_rng(seed), repeats
        self._judge: JudgeName = judge

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
        seen = seen_in(trials, trial.number, self._judge)
        pool, tried = Pool(points, self._rng), set(seen.widths)
        known = {
            vector: {name: float(one.params[name]) for name in points.ranges}
            for one in trials
            if (vector := record.widths_of(one)) in tried and points.ranges.keys() <= one.params.keys()
        }
        count = len(seen.values) + len(seen.running)
        if self._judge != SCRATCH:
            return self._near_or_far(seen, known, pool, is_near=len(seen.values) >= _BEST and count % 2 == 0)
        if seen.cheaper and len(seen.values) < _FIRST_LED and count % 2 == 0:
            return dict(best_by_lead(points, seen, pool))
        least = _FIRST_LED if seen.cheaper else _FIRST
        if len(seen.values) < least:
            return self._near_or_far(seen, known, pool, is_near=False)
        return dict(asked_next(seen, known, pool, repeats=self._repeats))

    def _near_or_far(
        self, seen: Seen, known: dict[Vector, Parameters], pool: Pool, *, is_near: bool
    ) -> dict[str, Any]:
        """Parameters drawn near one of the best widths so far, or everywhere."""
        points = self._points
        centre, units = points.guideline, AWAY
        order = sorted(zip(seen.values, seen.widths, strict=True), reverse=True)
        best = [vector for _, vector in order if vector in known][:_BEST]
        if is_near and best:
            centre, units = known[best[int(self._rng.integers(len(best)))]], _NEAR
        pool.add_around(in_order(points, centre), units, 1)
        return dict(pool.parameters(0))

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
