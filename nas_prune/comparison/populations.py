"""Comparing populations of trained networks by the distribution of their errors, as pycls does.

The empirical distribution function (EDF) at e is the share of networks with an error below e (Radosavovic et al., On
Network Design Spaces for Visual Recognition, ICCV 2019): the better population's lies further left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp

Floats: TypeAlias = "NDArray[np.float64]"
_RESAMPLES = 10_000
_SEED = 20190710
_MOST_CHANCE = 0.1  # largest p value; the bootstrap of a few medians alone finds too many differences


@dataclass(frozen=True, slots=True)
class PopulationDifference:
    """How the errors of one population compare with another's.

    Attributes:
        median: of the first; other_median: of the second.
        difference: between the medians; negative where the first is better.
        low, high: ends of the 90 % interval of the difference, by bootstrap of both.
        ks: largest distance between the two distribution functions (Kolmogorov and Smirnov).
        p_value: how often two samples of one population would lie as far apart.
    """

    median: float
    other_median: float
    difference: float
    low: float
    high: float
    ks: float
    p_value: float

    @property
    def verdict(self) -> str:
        """In words: better, worse, or no difference that so few networks could show."""
        if self.low <= 0 <= self.high or self.p_value > _MOST_CHANCE:
            return "no detectable difference"
        return "better" if self.high < 0 else "worse"


def compared(errors: "Sequence[float] | Floats", others: "Sequence[float] | Floats") -> PopulationDifference:
    """The errors of a population compared with those of another; both must have at least one network."""
    mine, theirs = np.asarray(errors, dtype=np.float64), np.asarray(others, dtype=np.float64)
    rng = np.random.default_rng(_SEED)
    drawn = _medians(mine, rng) - _medians(theirs, rng)
    low, high = np.quantile(drawn, [0.05, 0.95])
    test = ks_2samp(mine, theirs)
    return PopulationDifference(
        float(np.median(mine)),
        float(np.median(theirs)),
        float(np.median(mine) - np.median(theirs)),
        float(low),
        float(high),
        float(test.statistic),
        float(test.pvalue),
    )


def _medians(values: Floats, rng: np.random.Generator) -> Floats:
    return np.asarray(np.median(rng.choice(values, (_RESAMPLES, len(values))), axis=1))
