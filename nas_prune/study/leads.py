"""What a cheaper judge says of widths, as a function that a rule may follow as far as real trainings confirm it.

A rule of its own is fitted to the judge's values. Accuracies of networks that were cut without training go from nearly
as good to guessing, so that their ranks are fitted, as quantiles of a normal distribution.

Shape suffixes: N networks, S searched groups, T judged networks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from nas_prune.study.rule import Layout, Rule, Trials, fit_rule

Floats: TypeAlias = "NDArray[np.float64]"

LEAST = 8  # judgements that make a lead
_MOST = 300  # judgements that a lead is fitted to; of more, every second or third


@dataclass(frozen=True, slots=True)
class JudgesLead:
    """The mean of a rule, as a number of mean zero and deviation one over the networks that were judged."""

    rule: Rule
    centre: float
    scale: float

    def __call__(self, logs_NS: Floats) -> Floats:
        """What it expects of networks by their log widths."""
        return np.asarray((self.rule.mean_N(logs_NS) - self.centre) / self.scale)


def lead_of(layout: Layout, logs_TS: Floats, values: Sequence[float]) -> JudgesLead | None:
    """The lead of a judge's values; None where these are too few or all alike."""
    if len(values) < LEAST or len(set(values)) < 2:
        return None
    ranked_T = norm.ppf((rankdata(values) - 0.5) / len(values))
    chosen = np.linspace(0, len(values) - 1, min(len(values), _MOST)).round().astype(np.int64)
    own = Trials(logs_TS[chosen], np.asarray(ranked_T[chosen]), np.zeros(len(chosen), dtype=np.int64))
    rule = fit_rule(layout, own).likeliest
    expected_T = rule.mean_N(own.logs_TS)
    scale = float(np.std(expected_T))
    return JudgesLead(rule, float(np.mean(expected_T)), scale) if scale > 0 else None
