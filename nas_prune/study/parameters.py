"""A trial's parameters: a few floats around a guideline, and the widths they stand for.

For each stage and role of the network one offset and, where it has groups at several positions, one slope, both in
units of the guideline's uncertainty there. Where the guideline has a shape along stages, one more says how much of
that is kept. All zero (and the whole shape) is the guideline itself; uniform widths lie inside the ranges too. What is
drawn is cut to the budget, so that every trial is feasible and costs the same.

Shape suffix: S searched groups of the network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nas_prune.guideline.apply import Pattern, placed, scores_of, setting_of
from nas_prune.guideline.artefact import Guideline
from nas_prune.guideline.shape import shape_on
from nas_prune.guideline.sources import Setting
from nas_prune.space.bounds import bounds_of
from nas_prune.space.budget import Budget
from nas_prune.space.cut import cut
from nas_prune.space.search_space import Groups, SearchSpace
from nas_prune.study.rule import Layout

Floats: TypeAlias = "NDArray[np.float64]"
Parameters: TypeAlias = "dict[str, float]"

REACH = 6.0  # units either way; less is too little where a guideline is wrong, more costs little where it is right
_LEAST_UNIT = (
    0.1  # of a log ratio: how sure a guideline is of itself says little about how right it is elsewhere
)
_UNINFORMED_UNIT = (
    0.25  # without a guideline: offsets from a fifth of uniform's width to more than four times it
)
_UNIFORM_AT = 5.0  # units from the guideline at most, so that uniform widths lie inside the ranges
_MOST_SHAPE = 1.6
_LAYER_REACH = log(16.0)
SHAPE = "shape"
_DIGITS = 9  # of log ratios: equal ones must be equal, or what is left of the budget goes to one of them by rounding
_STEP = 1e-6  # of a width, for the slope of the cost


class Parametrised(Protocol):
    """How the parameters of a trial become widths."""

    @property
    def budget(self) -> Budget:
        """What every trial costs at most."""

    @property
    def columns(self) -> tuple[int, ...]:
        """The groups that are narrowed, by place."""

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """The least and the largest value of every parameter; they never change within a study."""

    @property
    def guideline(self) -> Parameters:
        """The parameters of the guideline itself (of uniform widths without one)."""

    @property
    def uniform(self) -> Parameters:
        """The parameters of uniform widths."""

    @property
    def layout(self) -> Layout:
        """Where the groups are, for a rule."""

    def logs_NS(self, values_NP: Floats) -> Floats:
        """Log widths of the searched groups, for many parameters at once, in the order of the ranges.

        They may lie between whole widths: fast, and near to those of `widths_G`.
        """

    def widths_G(self, parameters: Mapping[str, float]) -> tuple[int, ...]:
        """The widths that parameters stand for, within the budget."""


class ParametrisedNetwork(Parametrised, Protocol):
    """The same of a network."""

    @property
    def setting(self) -> Setting:
        """The network, and which of its groups are narrowed."""


def is_uniform(points: Parametrised) -> bool:
    """Whether a guideline's own widths are uniform ones."""
    return points.widths_G(points.guideline) == points.widths_G(points.uniform)


def layout_of(setting: Setting, budget: Budget, centre_G: Sequence[int]) -> Layout:
    """Where the searched groups of a network are, and what the budget's cost does around some widths.

    Of several bounds, the cost is the one that is used up most there.
    """
    cells: dict[tuple[int, str], int] = {}
    cell_S = [cells.setdefault((one.stage, one.role), len(cells)) for one in setting.groups_S]
    bounds = bounds_of(setting.space, budget, setting.columns)
    count = setting.cost(bounds.tightest(centre_G).kind).real
    wider_SG = np.tile(np.asarray(centre_G, dtype=np.float64), (len(setting.columns), 1))
    wider_SG[np.arange(len(cell_S)), setting.columns] *= 1 + _STEP
    cost = float(count(np.asarray(centre_G, dtype=np.float64)))
    return Layout(
        np.array(cell_S),
        np.array([one.position - 0.5 for one in setting.groups_S]),
        np.log(np.asarray(centre_G, dtype=np.float64)[list(setting.columns)]),
        np.asarray((count(wider_SG) / cost - 1) / _STEP),
    )


def parametrised(
    pattern: Pattern | None, space: SearchSpace, budget: Budget, *, groups: Groups = "inner", by_layer: bool
) -> ParametrisedNetwork:
    """Parameters around a guideline, by stage and role or one for each group.

    Raises:
        GuidelineError: there is nothing to narrow.
    """
    if not by_layer:
        return parametrisation(pattern, space, budget, groups=groups)
    setting = setting_of(space, groups)
    zeros_S = np.zeros(len(setting.columns))
    centre_S = zeros_S if pattern is None else placed(pattern, setting, budget).log_ratio_S
    return ByLayer(setting, budget, centre_S)


def logs_within(setting: Setting, budget: Budget, log_ratio_NS: Floats) -> Floats:
    """Log widths of the searched groups for many patterns, each multiplied until it meets the budget."""
    factor_N = setting.within(budget, log_ratio_NS)
    least_S = np.log(np.array(setting.space.floor_G)[list(setting.columns)])
    return np.clip(np.log(setting.base_S) + log_ratio_NS + factor_N[:, None], least_S, np.log(setting.base_S))


@dataclass(frozen=True, slots=True)
class ByLayer:
    """One parameter for each group: the logarithm of its keep ratio, before all are cut to the budget by one threshold.

    What Optuna is usually given; here for comparison, and for networks of few groups.

    Attributes:
        setting: the network and which of its groups are narrowed.
        budget: what every trial costs at most.
        centre_S: the guideline's log ratios.
    """

    setting: Setting
    budget: Budget
    centre_S: Floats

    @property
    def columns(self) -> tuple[int, ...]:
        """The groups that are narrowed, by place."""
        return self.setting.columns

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """From a sixteenth to all, for each group."""
        return {f"keep {group.name}": (-_LAYER_REACH, 0.0) for group in self.setting.groups_S}

    @property
    def guideline(self) -> Parameters:
        """The guideline itself, as far as it lies within the ranges."""
        kept_S = np.maximum(self.centre_S - self.centre_S.max(), -_LAYER_REACH)
        return dict(zip(self.ranges, map(float, kept_S), strict=True))

    @property
    def uniform(self) -> Parameters:
        """The parameters of uniform widths."""
        return dict.fromkeys(self.ranges, 0.0)

    @property
    def layout(self) -> Layout:
        """Where the groups are, for a rule."""
        return layout_of(self.setting, self.budget, self.widths_G(self.guideline))

    def logs_NS(self, values_NP: Floats) -> Floats:
        """As `Parametrised` says."""
        return logs_within(self.setting, self.budget, values_NP)

    def widths_G(self, parameters: Mapping[str, float]) -> tuple[int, ...]:
        """The widths that parameters stand for, within the budget."""
        ratio_S = np.array([parameters[name] for name in self.ranges])
        return cut(self.setting.space, scores_of(self.setting, ratio_S), self.budget).widths_G


@dataclass(frozen=True, slots=True)
class _Cell:
    """The groups of one stage and role.

    Attributes:
        name: as in the names of parameters.
        places: which of the searched groups they are.
        level: the mean that the guideline gives them; slope: from the first to the last.
        unit, slope_unit: what offsets and slopes are multiples of; no slope if that is zero.
    """

    name: str
    places: NDArray[np.int64]
    level: float
    slope: float
    unit: float
    slope_unit: float


@dataclass(frozen=True, slots=True)
class Parametrisation:
    """How the parameters of a trial become widths.

    Attributes:
        setting: the network and which of its groups are narrowed.
        budget: what every trial costs at most.
        cells: stages and roles, in order.
        centre_S: the guideline's log ratios; bend_S: how much of that is its shape.
    """

    setting: Setting
    budget: Budget
    cells: tuple[_Cell, ...]
    centre_S: Floats
    bend_S: Floats

    @property
    def columns(self) -> tuple[int, ...]:
        """The groups that are narrowed, by place."""
        return self.setting.columns

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """The least and the largest value of every parameter; they never change within a study."""
        found = {}
        for cell in self.cells:
            found[f"offset {cell.name}"] = (-REACH, REACH)
            if cell.slope_unit:
                found[f"slope {cell.name}"] = (-REACH, REACH)
        if self.bend_S.any():
            found[SHAPE] = (0.0, _MOST_SHAPE)
        return found

    @property
    def guideline(self) -> Parameters:
        """The parameters of the guideline itself (of uniform widths without one)."""
        return {name: 1.0 if name == SHAPE else 0.0 for name in self.ranges}

    @property
    def uniform(self) -> Parameters:
        """The parameters of uniform widths."""
        found = {}
        for cell in self.cells:
            found[f"offset {cell.name}"] = -cell.level / cell.unit
            if cell.slope_unit:
                found[f"slope {cell.name}"] = -cell.slope / cell.slope_unit
        return {name: found.get(name, 0.0) for name in self.ranges}

    @property
    def layout(self) -> Layout:
        """Where the groups are, for a rule."""
        return layout_of(self.setting, self.budget, self.widths_G(self.guideline))

    def logs_NS(self, values_NP: Floats) -> Floats:
        """As `Parametrised` says."""
        zeros = dict.fromkeys(self.ranges, 0.0)
        start_S = self.log_ratio_S(zeros)
        moves_PS = np.array([self.log_ratio_S({**zeros, name: 1.0}) - start_S for name in zeros])
        return logs_within(self.setting, self.budget, start_S + values_NP @ moves_PS)

    def log_ratio_S(self, parameters: Mapping[str, float]) -> Floats:
        """The log ratios that parameters stand for, before they are cut to the budget."""
        ratio_S = self.centre_S + (parameters.get(SHAPE, 1.0) - 1) * self.bend_S
        for cell in self.cells:
            places = cell.places
            positions = np.array([self.setting.groups_S[number].position - 0.5 for number in places])
            moved = cell.unit * parameters[f"offset {cell.name}"]
            ratio_S[places] += moved + cell.slope_unit * parameters.get(f"slope {cell.name}", 0.0) * positions
        return ratio_S

    def widths_G(self, parameters: Mapping[str, float]) -> tuple[int, ...]:
        """The widths that parameters stand for, within the budget."""
        scores = scores_of(self.setting, self.log_ratio_S(parameters).round(_DIGITS))
        return cut(self.setting.space, scores, self.budget).widths_G


def parametrisation(
    pattern: Pattern | None, space: SearchSpace, budget: Budget, *, groups: Groups = "inner"
) -> Parametrisation:
    """Parameters around a guideline (around uniform widths where there is none).

    Raises:
        GuidelineError: there is nothing to narrow.
    """
    setting = setting_of(space, groups)
    centre_S, bend_S = np.zeros(len(setting.columns)), np.zeros(len(setting.columns))
    if pattern is not None:
        own = placed(pattern, setting, budget)
        centre_S, bend_S = np.array(own.log_ratio_S), np.array(own.bend_S)
    spread_S = _spreads(pattern, setting)
    places: dict[tuple[int, str], list[int]] = {}
    for number, group in enumerate(setting.groups_S):
        places.setdefault((group.stage, group.role), []).append(number)
    cells = [
        _cell(f"{role} {stage}", np.array(own), setting, centre_S - bend_S, spread_S)
        for (stage, role), own in sorted(places.items())
    ]
    return Parametrisation(setting, budget, tuple(cells), centre_S, bend_S)


def _spreads(pattern: Pattern | None, setting: Setting) -> Floats:
    """The uncertainty of a guideline in each group's cell."""
    if not isinstance(pattern, Guideline) or not pattern.cells:
        return np.full(len(setting.columns), _UNINFORMED_UNIT if pattern is None else _LEAST_UNIT)
    shape = shape_on(pattern, setting)
    return np.array(
        [np.mean([cell.spread for cell in cells]) if cells else _LEAST_UNIT for cells in shape.cells_S]
    )


def _cell(name: str, places: NDArray[np.int64], setting: Setting, line_S: Floats, spread_S: Floats) -> _Cell:
    positions = np.array([setting.groups_S[number].position - 0.5 for number in places])
    has_slope = bool(np.ptp(positions) > 0)
    level, slope = float(line_S[places].mean()), 0.0
    if has_slope:
        slope, level = (float(x) for x in np.polyfit(positions, line_S[places], 1))
    unit = max(float(spread_S[places].mean()), _LEAST_UNIT)
    return _Cell(
        name,
        places,
        level,
        slope,
        max(unit, abs(level) / _UNIFORM_AT),
        max(unit, abs(slope) / _UNIFORM_AT) if has_slope else 0.0,
    )
