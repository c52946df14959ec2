"""Whether networks, data sets or methods differ by more than what lies below them: what an average over them hides.

Shape suffixes: U searches, M nodes of the level below, C cells.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.stats import f as f_distribution

from nas_prune.guideline.pooling import LEVELS, Keys, Nodes, at_nodes, gathered

Floats: TypeAlias = "NDArray[np.float64]"

_SIGNIFICANCE = 0.05
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Difference:
    """The test of one level.

    Attributes:
        level: whose members are compared: `network`, `data` or `method`.
        below: what their variance is held against: the next level that repeats.
        p_values: for each column compared, how often members that do not differ would seem to differ as much in any
            column of any level.
        means: for each member, by its keys, the mean of each column.
    """

    level: str
    below: str
    p_values: Mapping[int, float]
    means: Mapping[Keys, Floats]

    @property
    def p_value(self) -> float:
        """Of the column that differs most surely."""
        return min(self.p_values.values())

    @property
    def cells(self) -> list[int]:
        """The columns that differ, at 5 %, the surest first."""
        ordered = sorted(self.p_values.items(), key=lambda item: item[1])
        return [column for column, p_value in ordered if p_value < _SIGNIFICANCE]


def differences(values_UC: Floats, keys_U: Sequence[Keys]) -> list[Difference]:
    """The tests of all levels at which there are several members, and several of something in some of them.

    Variance between members of one parent is held against that within, an analysis of variance for each cell with
    Bonferroni's correction over cells and levels: a test of all cells together would need them to vary alike. Each
    source's mean over cells is subtracted first, since the networks' costs alone may shift that. Cells that some say
    nothing of are left out.

    Args:
        values_UC: log ratios; NaN where a source says nothing.
        keys_U: the sources' keys.
    """
    tested = [
        (depth, below) for depth in (1, 2, 3) if (below := _below(values_UC, keys_U, depth)) is not None
    ]
    return [_at(values_UC, keys_U, depth, below, len(tested)) for depth, below in tested]


def _below(values_UC: Floats, keys_U: Sequence[Keys], depth: int) -> Nodes | None:
    """The next level below one that repeats; None where there is none, or nothing to compare."""
    if gathered(keys_U, depth).degrees < 1:
        return None
    deeper = [gathered(keys_U, below) for below in range(depth + 1, len(LEVELS) + 1)]
    nodes = next((one for one in deeper if one.degrees >= 1), None)
    if nodes is None or len(_told_by_all(at_nodes(values_UC, nodes))) < 2:
        return None
    return nodes


def _told_by_all(values_MC: Floats) -> NDArray[np.int64]:
    return np.flatnonzero(~np.isnan(values_MC).any(0))


def _at(values_UC: Floats, keys_U: Sequence[Keys], depth: int, below: Nodes, tests: int) -> Difference:
    values_MC = at_nodes(values_UC, below)
    columns = _told_by_all(values_MC)
    keys_M = [keys_U[members[0]][:depth] for members in below.members]
    centred_MC = values_MC[:, columns] - values_MC[:, columns].mean(1, keepdims=True)
    own_MC, parent_MC = (_means(centred_MC, [keys[:up] for keys in keys_M]) for up in (depth, depth - 1))
    between_C, within_C = ((own_MC - parent_MC) ** 2).sum(0), ((centred_MC - own_MC) ** 2).sum(0)
    members, parents = len(set(keys_M)), len({keys[:-1] for keys in keys_M})
    p_C = _p_values(between_C, within_C, (members - parents, len(keys_M) - members))
    corrected_C = np.minimum(1.0, tests * len(columns) * p_C)
    return Difference(
        LEVELS[depth - 1],
        below.level,
        dict(zip(columns.tolist(), corrected_C.tolist(), strict=True)),
        {keys: values_MC[[one == keys for one in keys_M]].mean(0) for keys in dict.fromkeys(keys_M)},
    )


def _means(values_MC: Floats, keys_M: Sequence[Keys]) -> Floats:
    """For each node, the mean over all that have the same keys."""
    return np.stack([values_MC[[other == keys for other in keys_M]].mean(0) for keys in keys_M])


def _p_values(between_C: Floats, within_C: Floats, degrees: tuple[int, int]) -> Floats:
    """The analysis of variance of each cell; sums of squares, and their degrees of freedom."""
    rest_C = within_C / degrees[1]
    ratio_C = np.where(between_C > _TINY, np.inf, 0.0)
    np.divide(between_C / degrees[0], rest_C, out=ratio_C, where=rest_C > _TINY)
    return np.asarray(f_distribution.sf(ratio_C, *degrees))
