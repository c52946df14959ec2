"""How a pattern changes with the depth of networks of one family: a line in the log of their number of layers.

Shape suffixes: N networks, C quantities.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as t_distribution

from nas_prune.errors import GuidelineError
from nas_prune.guideline.pooling import Pooled
from nas_prune.guideline.sources import Source

Floats: TypeAlias = "NDArray[np.float64]"

FEWEST = 3  # networks of different depths; two make a line whatever they are


@dataclass(frozen=True, slots=True)
class Rise:
    """How much quantities rise with log depth.

    Attributes:
        slope_C: by least squares; NaN where fewer than three depths say anything.
        squares_C: sums of squared differences of log depths that they rest on.
    """

    slope_C: Floats
    squares_C: Floats

    @property
    def used_C(self) -> NDArray[np.int64]:
        """Degrees of freedom that the slopes take."""
        return np.asarray(~np.isnan(self.slope_C), dtype=np.int64)

    def level(self, values_NC: Floats, log_depth_N: Floats, at: float) -> Floats:
        """Values as they would be at one log depth."""
        return np.asarray(values_NC - np.nan_to_num(self.slope_C) * (log_depth_N[:, None] - at))

    def pooled(self, levels: Pooled) -> Pooled:
        """The slopes with their errors, from what levels vary by around the lines."""
        error_C = levels.spread_C / np.sqrt(self.squares_C)
        return Pooled(self.slope_C, error_C, levels.degrees_C, levels.spread_C)

    def p_value(self, levels: Pooled) -> float | None:
        """Of the surest slope, times their number; None where there is none."""
        known = ~np.isnan(self.slope_C) & (levels.degrees_C >= 1)
        if not known.any():
            return None
        own = self.pooled(levels)
        ratio_C = np.abs(own.mean_C[known]) / np.maximum(own.error_C[known], 1e-12)
        p_C = 2 * np.asarray(t_distribution.sf(ratio_C, own.degrees_C[known]))
        return float(min(1.0, known.sum() * p_C.min()))


def rise_of(values_NC: Floats, log_depth_N: Floats) -> Rise:
    """The slopes of quantities over the networks that say something of them."""
    slope_C, squares_C = (np.full(values_NC.shape[1], np.nan) for _ in range(2))
    for column, values_N in enumerate(values_NC.T):
        there = ~np.isnan(values_N)
        if len(np.unique(np.round(log_depth_N[there], 9))) < FEWEST:
            continue
        x = log_depth_N[there] - log_depth_N[there].mean()
        squares_C[column] = (x**2).sum()
        slope_C[column] = (x * values_N[there]).sum() / squares_C[column]
    return Rise(slope_C, squares_C)


def check_family(sources: Sequence[Source]) -> None:
    """Refuse sources that no line in depth can be drawn through.

    Raises:
        GuidelineError: they are of several families (what stands before the first digit of their names), or of fewer
            than three depths.
    """
    names = sorted({source.setting.space.reference.name for source in sources})
    families = {re.split(r"\d", name, maxsplit=1)[0] for name in names}
    depths = {source.setting.depth for source in sources if not source.setting.removed}
    if len(families) > 1 or len(names) < FEWEST or len(depths) < FEWEST:
        raise GuidelineError(
            f"--by depth must have {FEWEST} networks of one family with different numbers of layers, got "
            f"{', '.join(names)}. Add searches of others, or leave it out."
        )
