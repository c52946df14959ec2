"""One model fitted to searches: what each says of the model's coefficients, pooled into the cells of a guideline.

Shape suffixes: U searches (one network, data set, method and seed; widths at one budget or at several), C
coefficients, S searched groups, P pairs of a stage and a role.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import exp, log, sqrt
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nas_prune.graph.channels import Role
from nas_prune.guideline.artefact import HAND_SPREAD, LARGEST, Cell, Guideline, Model
from nas_prune.guideline.depth import Rise, rise_of
from nas_prune.guideline.models import Coefficient, Reference, arithmetic, saying
from nas_prune.guideline.pooling import Nodes, Pooled, at_nodes, independent, pool, shrunk, weights_of
from nas_prune.guideline.sources import Source

Floats: TypeAlias = "NDArray[np.float64]"

_NEARLY_ALL = 0.9  # of the keep ratios from 0 to 1; an interval this wide says nothing


@dataclass(frozen=True, slots=True)
class Estimates:
    """What each search says of each of a model's coefficients; NaN where nothing.

    Attributes:
        names: the coefficients, C.
        values_UC: the numbers.
    """

    names: tuple[Coefficient, ...]
    values_UC: Floats

    @property
    def known(self) -> "Estimates":
        """Without those of which no search says anything."""
        there_C = np.asarray((~np.isnan(self.values_UC)).any(0))
        names = tuple(name for name, there in zip(self.names, there_C, strict=True) if there)
        return Estimates(names, self.values_UC[:, there_C])

    @property
    def levels(self) -> "Estimates":
        """Only the log ratios: not slopes, bends or trends, which are in other units."""
        own = [c for c, name in enumerate(self.names) if name.kind == "level"]
        return Estimates(tuple(self.names[c] for c in own), self.values_UC[:, own])


@dataclass(frozen=True)
class Fit:
    """Searches, and how models are fitted to them.

    Attributes:
        searches: the sources of each, from its smallest budget to its largest.
        at: the stages and the budget that all are brought to.
        confidence: of all intervals together.
        by_depth: whether levels may change with the log of the networks' number of layers.
    """

    searches: Sequence[Sequence[Source]]
    at: Reference
    confidence: float
    by_depth: bool = False

    @property
    def sources(self) -> list[Source]:
        """All sources, search by search."""
        return [source for budgets in self.searches for source in budgets]

    @cached_property
    def keys_U(self) -> list[tuple[str, ...]]:
        """Network, data set, method and seed of each search."""
        return [budgets[0].keys for budgets in self.searches]

    @cached_property
    def nodes(self) -> Nodes:
        """What the intervals are over."""
        return independent(self.keys_U)

    @cached_property
    def log_depth_N(self) -> Floats:
        """Log number of layers of each node; with removed blocks of what is left."""
        depths_U = np.array(
            [[log(np.mean([source.setting.depth for source in own]))] for own in self.searches]
        )
        return np.asarray(at_nodes(depths_U, self.nodes)[:, 0])

    def estimates(self, model: Model) -> Estimates:
        """What each search says of a model's coefficients."""
        found = [saying(model, budgets, self.at) for budgets in self.searches]
        names = tuple(sorted({name for one in found for name in one}, key=_order))
        values = [[one.get(name, np.nan) for name in names] for one in found]
        return Estimates(names, np.array(values, dtype=np.float64).reshape(len(found), len(names)))

    def guideline(self, model: Model, said: Estimates) -> Guideline:
        """The guideline of one model, without evidence, errors and notes."""
        drivers = sorted({source.record.cost for source in self.sources})
        keeps = [source.record.uniform_keep for source in self.sources]
        shares = [source.record.kept_share for source in self.sources]
        return Guideline(
            model=model,
            cost=" and ".join(drivers),
            match=self.at.match,
            num_stages=self.at.num_stages,
            uniform_keep=short(exp(self.at.log_uniform)),
            covers=(short(min(keeps)), short(max(keeps))),
            covers_share=(short(min(shares)), short(max(shares))),
            confidence=self.confidence,
            cells=self._cells(model, said),
            **self._depths,
        )

    @property
    def _depths(self) -> dict[str, Any]:
        if not self.by_depth:
            return {}
        found = [source.setting.depth for source in self.sources]
        return {"depth": round(exp(float(self.log_depth_N.mean())), 6), "depths": (min(found), max(found))}

    def rise(self, said: Estimates) -> tuple[Rise, Pooled]:
        """How what searches say changes with depth, if that is asked for, and what they say at the mean log depth."""
        values_NC = at_nodes(said.values_UC, self.nodes)
        kinds = [name.kind for name in said.names]
        if not self.by_depth:
            none_C = np.full(len(kinds), np.nan)
            return Rise(none_C, none_C), pool(values_NC, self.nodes, self._rounding(said), kinds)
        is_level_C = np.array([kind == "level" for kind in kinds])
        rise = rise_of(np.where(is_level_C, values_NC, np.nan), self.log_depth_N)
        level_NC = rise.level(values_NC, self.log_depth_N, float(self.log_depth_N.mean()))
        return rise, pool(level_NC, self.nodes, self._rounding(said), kinds, rise.used_C)

    def _cells(self, model: Model, said: Estimates) -> tuple[Cell, ...]:
        said = said.known
        if not said.names:
            return ()
        rise, pooled = self.rise(said)
        values = dict(zip(said.names, self._shrunk(model, said, pooled), strict=True))
        half_C = pooled.half_width_C(self.confidence, np.array([name.kind == "level" for name in said.names]))
        rise_C = np.nan_to_num(shrunk(rise.pooled(pooled), 0.0))
        cells = [
            self._cell(number, said, pooled, float(half_C[number]), values)
            for number, name in enumerate(said.names)
            if name.kind == "level"
        ]
        rises = [short(float(rise_C[n])) for n, name in enumerate(said.names) if name.kind == "level"]
        return tuple(
            cell.model_copy(update={"depth_slope": rise}) for cell, rise in zip(cells, rises, strict=True)
        )

    def _cell(
        self, number: int, said: Estimates, pooled: Pooled, half: float, values: dict[Coefficient, float]
    ) -> Cell:
        name = said.names[number]
        there = said.values_UC[~np.isnan(said.values_UC[:, number]), number]
        mean, spread, error = (float(x[number]) for x in (pooled.mean_C, pooled.spread_C, pooled.error_C))
        known = not np.isnan(error)
        ends = self._ends(mean, half)
        return Cell(
            stage=name.stage,
            role=name.role,
            log_ratio=short(values[name]),
            low=ends and short(ends[0]),
            high=ends and short(ends[1]),
            spread=short(sqrt(spread**2 + error**2)) if known else HAND_SPREAD,
            slope=short(values.get(Coefficient(name.stage, name.role, "slope"), 0.0)),
            shape=tuple(
                (one.position, short(value))
                for one, value in sorted(values.items(), key=lambda item: _order(item[0]))
                if (one.stage, one.role, one.kind) == (name.stage, name.role, "bend")
            ),
            trend=short(values.get(Coefficient(name.stage, name.role, "trend"), 0.0)),
            up=int((there > 0).sum()),
            of=len(there),
        )

    def _ends(self, mean: float, half: float) -> tuple[float, float] | None:
        """The ends of an interval; None where there is none, or it spans nearly all keep ratios there are."""
        if np.isnan(half):
            return None
        low, high = mean - half, mean + half
        least, most = (exp(min(0.0, self.at.log_uniform + end)) for end in (low, high))
        return (low, high) if most - least < _NEARLY_ALL else None

    def _shrunk(self, model: Model, said: Estimates, pooled: Pooled) -> list[float]:
        """The means, shrunk; for the paper's model those of keep ratios, as they are."""
        if model == "stage-means":
            weights_U = weights_of(self.keys_U)
            there_UC = ~np.isnan(said.values_UC)
            columns = {
                name: (said.values_UC[there_UC[:, c], c], weights_U[there_UC[:, c]])
                for c, name in enumerate(said.names)
            }
            found = arithmetic(columns, self.at)
            return [found[name] for name in said.names]
        doubt = self._within(said)
        shrunk_C = pooled.mean_C.copy()
        for kind in {name.kind for name in said.names}:
            own = np.array([name.kind == kind for name in said.names])
            part = Pooled(
                *(getattr(pooled, field)[own] for field in ("mean_C", "error_C", "degrees_C", "spread_C"))
            )
            shrunk_C[own] = shrunk(part, doubt)
        return [float(value) for value in shrunk_C]

    def _within(self, said: Estimates) -> float:
        """Variance of a level as its layers alone tell it.

        It is used where one node alone says anything, so that there is no variance between nodes.
        """
        if self._between_layers is not None:
            return self._between_layers
        return float(np.nanmean(said.levels.values_UC**2)) / 2

    @cached_property
    def _between_layers(self) -> float | None:
        squares, cells, layers = 0.0, 0, 0
        for budgets in self.searches:
            for source in budgets:
                scale = self.at.log_uniform / source.log_uniform
                part, own = within_places(source, source.log_ratio_S * scale)
                squares, cells, layers = squares + part, cells + own, layers + len(source.log_ratio_S)
        return squares / (layers - cells) / (layers / cells) if layers > cells else None

    def _rounding(self, said: Estimates) -> Floats:
        """Variance of each coefficient that comes from rounding to whole widths; 0 for all but levels."""
        return np.array(
            [self.roundings[name.stage, name.role] if name.kind == "level" else 0.0 for name in said.names]
        )

    @cached_property
    def roundings(self) -> dict[tuple[int, Role | None], float]:
        """Variance that rounding to whole widths makes in what a search says of each stage and role, and stage."""
        found: dict[tuple[int, Role | None], list[float]] = defaultdict(list)
        for budgets in self.searches:
            own: dict[tuple[int, Role | None], float] = {}
            for source in budgets:  # a block may be gone at one budget and not at another
                for (stage, role), variance in source.rounding.items():
                    own.setdefault((self.at.stage_of(stage, source.setting), role), variance)
            for place, variance in own.items():
                found[place].append(variance)
        return {place: float(np.mean(told)) for place, told in found.items()}


def short(number: float) -> float:
    """A number for a file that people read: of six digits, and within what a guideline may hold."""
    return round(min(LARGEST, max(-LARGEST, number)), 6)


def _order(name: Coefficient) -> tuple[int, str, str, float]:
    return name.stage, name.role or "", name.kind, name.position


def within_places(source: Source, values_S: Floats) -> tuple[float, int]:
    """Sum of squares of a source's numbers within stages and roles, and how many of those there are."""
    numbers: dict[tuple[int, str], int] = {}
    index_S = np.array([numbers.setdefault((g.stage, g.role), len(numbers)) for g in source.setting.groups_S])
    count_P = np.bincount(index_S)
    mean_P = np.bincount(index_S, values_S) / count_P
    return float(((values_S - mean_P[index_S]) ** 2).sum()), len(count_P)
