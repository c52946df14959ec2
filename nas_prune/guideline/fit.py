"""Fitting a guideline: from any number of widths files to what they have in common.

Shape suffixes: U searches (one network, data set, method and seed; widths at one budget or at several), N nodes of
searches, C coefficients, S searched groups.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import exp, sqrt
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from nas_prune.errors import GuidelineError
from nas_prune.graph.channels import Role
from nas_prune.guideline.artefact import HAND_SPREAD, LARGEST, Cell, Evidence, Guideline, Match, Model
from nas_prune.guideline.models import MODELS, Coefficient, Reference, StageRole, arithmetic, profile, saying
from nas_prune.guideline.pooling import (
    LEVELS,
    Nodes,
    Pooled,
    at_nodes,
    gathered,
    independent,
    pattern_test,
    pool,
    shrunk,
    weights_of,
)
from nas_prune.guideline.shape import shape_on
from nas_prune.guideline.sources import Source, read_sources, sources_of
from nas_prune.space.widths import Widths

Floats: TypeAlias = "NDArray[np.float64]"
Choice: TypeAlias = Literal[
    "auto", "uniform", "stage-means", "stage-role", "stage-role-slope", "stage-role-shape"
]

SIGNIFICANCE = 0.05
ALL_COSTS = "all"
_MOST_FOLDS = 10
_HARDLY_CUT = (
    0.95  # uniform keep ratio; what is seen beyond would be blown up to say something of other budgets
)
_CONTRARY = -0.3
_FAINT = 0.1  # standard deviation of log ratios below which a pattern is too faint to contradict another
_MOST_COMPARED = 20  # networks, data sets or methods; pairs of more are no note that anybody reads


def fit_guideline(
    sources: Sequence[Path | Widths | Source],
    *,
    model: Choice = "auto",
    match: Match = "output",
    cost: str | None = None,
    confidence: float = 0.9,
    spaces: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Guideline:
    """What found widths have in common, as log ratios to the uniform network of the same cost.

    Args:
        sources: widths files, runs of `search`, widths, or what `sources_in` makes of those.
        model: the form of the pattern; by default the one that foretells sources left out best, and uniform where the
            sources do not agree on any.
        match: from which end stages are counted where networks have different numbers of them.
        cost: use only sources driven by this cost; `all` pools them.
        confidence: of all intervals together.
        spaces: names of networks of your own, whose code may be imported.
        notes: what is to be said of the sources besides.

    Returns:
        The guideline, with what the sources cannot tell in its notes.

    Raises:
        GuidelineError: there is no source, or they were driven by different costs.
        WidthsError: a file cannot be read.
    """
    if not 0.5 <= confidence < 1:
        raise GuidelineError(f"a confidence must be from 0.5 to below 1, got {confidence}.")
    if model not in get_args(Choice):
        raise GuidelineError(f"a model must be one of {', '.join(get_args(Choice))}, got {model!r}.")
    paths = [one for one in sources if isinstance(one, Path)]
    widths = [one for one in sources if isinstance(one, Widths)]
    ready = [one for one in sources if isinstance(one, Source)]
    read, said = read_sources(paths, spaces=spaces) if paths else ([], [])
    own, more = sources_of(widths, spaces=spaces) if widths or not sources else ([], [])
    chosen, left = _of_one_cost([*read, *own, *ready], cost)
    cut = [source for source in chosen if source.record.uniform_keep < _HARDLY_CUT]
    if 0 < len(cut) < len(chosen):
        left.append(f"{len(chosen) - len(cut)} widths left out: next to nothing was cut.")
        chosen = cut
    searches = _searches(chosen)
    fit = _Fit(searches, _reference(searches, match), confidence)
    return fit.guideline(model, [*notes, *said, *more, *left])


def _of_one_cost(sources: Sequence[Source], cost: str | None) -> tuple[list[Source], list[str]]:
    """The sources that were driven by the cost asked for; refused where there are several and none is."""
    drivers: dict[str, list[Source]] = defaultdict(list)
    for source in sources:
        drivers[source.record.cost].append(source)
    counts = ", ".join(f"{driver} ({len(members)})" for driver, members in sorted(drivers.items()))
    if cost == ALL_COSTS:
        note = (
            [f"Sources driven by different costs are pooled, as asked: {counts}."] if len(drivers) > 1 else []
        )
        return list(sources), note
    if cost is not None:
        if cost not in drivers:
            raise GuidelineError(f"--cost must be one that drove sources, got {cost}. There are: {counts}.")
        left = len(sources) - len(drivers[cost])
        return drivers[cost], [f"{left} widths driven by other costs left out."] if left else []
    if len(drivers) > 1:
        raise GuidelineError(
            f"sources must have been driven by one cost, got {counts}, and the pattern depends on it. Choose with "
            f"--cost '{max(drivers, key=lambda name: len(drivers[name]))}', or pool them with --cost all."
        )
    return list(sources), []


def _searches(sources: Sequence[Source]) -> list[list[Source]]:
    """Sources by search, each from its smallest budget to its largest."""
    found: dict[tuple[str, ...], list[Source]] = defaultdict(list)
    for source in sources:
        found[source.keys].append(source)
    return [sorted(members, key=lambda one: one.log_uniform) for members in found.values()]


def _reference(searches: Sequence[Sequence[Source]], match: Match) -> Reference:
    """As many stages as the source that has most, and the mean of the searches' budgets."""
    stages = max(source.setting.num_stages for budgets in searches for source in budgets)
    middle = float(np.mean([np.mean([source.log_uniform for source in budgets]) for budgets in searches]))
    return Reference(stages, match, middle)


@dataclass(frozen=True, slots=True)
class _Said:
    """What searches say of a model's coefficients: names of C, values U×C, and which nodes they form."""

    names: tuple[Coefficient, ...]
    values_UC: Floats

    @property
    def known(self) -> "_Said":
        """Without those of which no search says anything."""
        there_C = np.asarray((~np.isnan(self.values_UC)).any(0))
        names = tuple(name for name, there in zip(self.names, there_C, strict=True) if there)
        return _Said(names, self.values_UC[:, there_C])


@dataclass(frozen=True)
class _Fit:
    """A fit to some searches."""

    searches: Sequence[Sequence[Source]]
    at: Reference
    confidence: float

    @cached_property
    def keys_U(self) -> list[tuple[str, ...]]:
        return [budgets[0].keys for budgets in self.searches]

    @cached_property
    def nodes(self) -> Nodes:
        return independent(self.keys_U)

    def said(self, model: Model) -> _Said:
        found = [saying(model, budgets, self.at) for budgets in self.searches]
        names = tuple(sorted({name for one in found for name in one}, key=_order))
        values = [[one.get(name, np.nan) for name in names] for one in found]
        return _Said(names, np.array(values, dtype=np.float64).reshape(len(found), len(names)))

    def guideline(self, choice: Choice, notes: Sequence[str]) -> Guideline:
        nodes = self.nodes
        said = {name: self.said(name) for name in MODELS}
        evidence = self._evidence(nodes)
        errors = self._errors(said)
        model = choice if choice != "auto" else _best(evidence, errors)
        fitted = self.fitted(model, said[model], nodes)
        return fitted.model_copy(
            update={
                "pattern": evidence,
                "errors": errors,
                "layer_spread": _short(self._layer_spread(fitted)),
                "notes": (
                    *notes,
                    *self._unknown(nodes, evidence),
                    *_contradictions(said["stage-role"], self.keys_U),
                ),
                "sources": tuple(source.record for budgets in self.searches for source in budgets),
            }
        )

    def fitted(self, model: Model, said: _Said, nodes: Nodes) -> Guideline:
        """The guideline of one model, without what is said about it."""
        everything = [source for budgets in self.searches for source in budgets]
        drivers = sorted({source.record.cost for source in everything})
        keeps = [source.record.uniform_keep for source in everything]
        shares = [source.record.kept_share for source in everything]
        return Guideline(
            model=model,
            cost=" and ".join(drivers),
            match=self.at.match,
            num_stages=self.at.num_stages,
            uniform_keep=_short(exp(self.at.log_uniform)),
            covers=(_short(min(keeps)), _short(max(keeps))),
            covers_share=(_short(min(shares)), _short(max(shares))),
            confidence=self.confidence,
            cells=self._cells(model, said, nodes),
        )

    def _cells(self, model: Model, said: _Said, nodes: Nodes) -> tuple[Cell, ...]:
        said = said.known
        if not said.names:
            return ()
        pooled = pool(at_nodes(said.values_UC, nodes), nodes, self._rounding(said))
        values = dict(zip(said.names, self._drawn_in(model, said, pooled), strict=True))
        half_C = pooled.half_width_C(self.confidence, np.array([name.kind == "level" for name in said.names]))
        return tuple(
            self._cell(number, said, pooled, float(half_C[number]), values)
            for number, name in enumerate(said.names)
            if name.kind == "level"
        )

    def _cell(
        self, number: int, said: _Said, pooled: Pooled, half: float, values: dict[Coefficient, float]
    ) -> Cell:
        name = said.names[number]
        there = said.values_UC[~np.isnan(said.values_UC[:, number]), number]
        mean, spread, error = (float(x[number]) for x in (pooled.mean_C, pooled.spread_C, pooled.error_C))
        known = not np.isnan(half)
        return Cell(
            stage=name.stage,
            role=name.role,
            log_ratio=_short(values[name]),
            low=_short(mean - half) if known else None,
            high=_short(mean + half) if known else None,
            spread=_short(sqrt(spread**2 + error**2)) if known else HAND_SPREAD,
            slope=_short(values.get(Coefficient(name.stage, name.role, "slope"), 0.0)),
            shape=tuple(
                (one.position, _short(value))
                for one, value in sorted(values.items(), key=lambda item: _order(item[0]))
                if (one.stage, one.role, one.kind) == (name.stage, name.role, "bend")
            ),
            trend=_short(values.get(Coefficient(name.stage, name.role, "trend"), 0.0)),
            up=int((there > 0).sum()),
            of=len(there),
        )

    def _drawn_in(self, model: Model, said: _Said, pooled: Pooled) -> list[float]:
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
        drawn_C = pooled.mean_C.copy()
        for kind in {name.kind for name in said.names}:
            own = np.array([name.kind == kind for name in said.names])
            part = Pooled(
                *(getattr(pooled, field)[own] for field in ("mean_C", "error_C", "degrees_C", "spread_C"))
            )
            drawn_C[own] = shrunk(part, doubt)
        return [float(value) for value in drawn_C]

    def _within(self, said: _Said) -> float:
        """Variance of a level if layers were all there is to tell it by: what stands in for that between sources."""
        if self._between_layers is not None:
            return self._between_layers
        levels = [c for c, name in enumerate(said.names) if name.kind == "level"]
        return float(np.nanmean(said.values_UC[:, levels] ** 2)) / 2

    @cached_property
    def _between_layers(self) -> float | None:
        squares, cells, layers = 0.0, 0, 0
        for budgets in self.searches:
            for source in budgets:
                scale = self.at.log_uniform / source.log_uniform
                part, own = _within_places(source, source.log_ratio_S * scale)
                squares, cells, layers = squares + part, cells + own, layers + len(source.log_ratio_S)
        return squares / (layers - cells) / (layers / cells) if layers > cells else None

    def _rounding(self, said: _Said) -> Floats:
        """Variance that whole widths alone give a level: that of a number rounded, over the mean of its layers."""
        return np.array(
            [self._roundings[name.stage, name.role] if name.kind == "level" else 0.0 for name in said.names]
        )

    @cached_property
    def _roundings(self) -> dict[tuple[int, Role | None], float]:
        found: dict[tuple[int, Role | None], list[float]] = defaultdict(list)
        for budgets in self.searches:
            for (stage, role), variance in budgets[0].rounding.items():
                found[self.at.stage_of(stage, budgets[0].setting), role].append(variance)
        return {place: float(np.mean(own)) for place, own in found.items()}

    def _evidence(self, nodes: Nodes) -> Evidence:
        """The test at every level at which there are several, down to the one that repeats; the weakest counts.

        Seeds that agree with each other are no pattern where their networks do not.
        """
        said = [profile(budgets, self.at) for budgets in self.searches]
        levels_UC, rises_UC = (_table([one[part] for one in said]) for part in (0, 1))
        depths = range(1, 1 + LEVELS.index(nodes.level))
        levels = [
            *(other for depth in depths if len((other := gathered(self.keys_U, depth)).members) > 1),
            nodes,
        ]
        tests = [(*_agreement(levels_UC, rises_UC, level), level.level) for level in levels]
        p_value, test, level = max(tests, key=lambda one: -1.0 if one[0] is None else one[0])
        found = p_value is not None and p_value < SIGNIFICANCE
        return Evidence(is_found=found, p_value=p_value, test=test, level=level)

    def _errors(self, said: dict[Model, _Said]) -> dict[str, float]:
        """How well each model foretells the log keep ratios of sources left out; nothing with one source.

        What is left out is a whole network where there are several, or else a data set, and so on.
        """
        if len(self.searches) < 2:
            return {}
        levels = [gathered(self.keys_U, depth) for depth in range(1, 1 + len(LEVELS))]
        nodes = next(level for level in levels if len(level.members) > 1)
        folds = [nodes.members[start :: min(_MOST_FOLDS, len(nodes.members))] for start in range(_MOST_FOLDS)]
        squares: dict[str, list[float]] = defaultdict(list)
        for fold in folds:
            out = {number for members in fold for number in members}
            rest = [number for number in range(len(self.searches)) if number not in out]
            if not out or not rest:
                continue
            other = _Fit([self.searches[number] for number in rest], self.at, self.confidence)
            for model, mine in said.items():
                part = other.fitted(model, _Said(mine.names, mine.values_UC[rest]), other.nodes)
                left_out = [source for number in sorted(out) for source in self.searches[number]]
                squares[model] += [float(np.mean(miss**2)) for miss in _missed(part, left_out)]
        return {model: _short(sqrt(float(np.mean(found)))) for model, found in squares.items()}

    def _layer_spread(self, guideline: Guideline) -> float:
        """Standard deviation of single groups around the pattern, the search's own mean in each cell taken off."""
        squares, count = 0.0, 0
        everything = [source for budgets in self.searches for source in budgets]
        for source, missed_S in zip(everything, _missed(guideline, everything), strict=True):
            part, own = _within_places(source, missed_S)
            squares, count = squares + part, count + len(missed_S) - own
        return sqrt(squares / count) if count > 0 else HAND_SPREAD

    def _unknown(self, nodes: Nodes, evidence: Evidence) -> list[str]:
        """What the sources cannot tell, in words."""
        told = {
            "network": "how other networks differ",
            "data": "how other data sets differ",
            "method": "how other methods differ",
        }
        notes = []
        for depth, level in enumerate(LEVELS[:3]):
            names = sorted({keys[depth] for keys in self.keys_U})
            if len(names) == 1:
                only = names[0].split(" (", maxsplit=1)[0]
                notes.append(
                    f"All sources are of one {_LEVEL_WORDS[level]} ({only}): {told[level]} is not known."
                )
            elif LEVELS.index(nodes.level) > depth:
                notes.append(
                    f"Intervals are over the {_LEVEL_WORDS[nodes.level]}s of these {len(names)} "
                    f"{_LEVEL_WORDS[level]}s: {told[level]} is not in them."
                )
        if evidence.p_value is None:
            notes.append("One search alone: whether another seed would find the same is not known.")
        return notes


def _table(said: Sequence[Mapping[StageRole, float]]) -> Floats:
    """What searches say of places, U×C; NaN where nothing."""
    places = sorted({place for one in said for place in one})
    values = [[one.get(place, np.nan) for place in places] for one in said]
    return np.array(values, dtype=np.float64).reshape(len(said), len(places))


def _agreement(levels_UC: Floats, rises_UC: Floats, nodes: Nodes) -> tuple[float | None, str]:
    """The test of levels and that of how they rise along stages; the smaller p, times how many were made."""
    tests = [pattern_test(at_nodes(values, nodes), nodes) for values in (levels_UC, rises_UC)]
    made = [(p_value, how) for p_value, how in tests if p_value is not None]
    if not made:
        return tests[0]
    p_value, how = min(made)
    return min(1.0, len(made) * p_value), how


def _short(number: float) -> float:
    """A number for a file that people read; a log ratio beyond a factor of a thousand says no more than that."""
    return round(min(LARGEST, max(-LARGEST, number)), 6)


_LEVEL_WORDS = {"network": "network", "data": "data set", "method": "method", "seed": "run"}


def _order(name: Coefficient) -> tuple[int, str, str, float]:
    return name.stage, name.role or "", name.kind, name.position


def _best(evidence: Evidence, errors: dict[str, float]) -> Model:
    """Uniform where there is no pattern; else what foretells best; by stage and role where that cannot be told."""
    if evidence.p_value is None:
        return "stage-role"
    if not evidence.is_found:
        return "uniform"
    return min(MODELS, key=lambda name: errors.get(name, float("inf")))


def _within_places(source: Source, values_S: Floats) -> tuple[float, int]:
    """Sum of squares of a source's numbers within stages and roles, and how many of those there are."""
    numbers: dict[tuple[int, str], int] = {}
    index_S = np.array([numbers.setdefault((g.stage, g.role), len(numbers)) for g in source.setting.groups_S])
    count_P = np.bincount(index_S)
    mean_P = np.bincount(index_S, values_S) / count_P
    return float(((values_S - mean_P[index_S]) ** 2).sum()), len(count_P)


def _missed(guideline: Guideline, sources: Sequence[Source]) -> list[Floats]:
    """Log keep ratios of sources less those that the guideline gives their networks at the same cost."""
    alike: dict[tuple[int, str], list[int]] = defaultdict(list)
    for number, source in enumerate(sources):
        alike[id(source.setting), source.cost].append(number)
    missed: list[Floats] = [np.empty(0)] * len(sources)
    for numbers in alike.values():
        members = [sources[number] for number in numbers]
        setting, cost = members[0].setting, members[0].cost
        limit_N = np.array([source.limit for source in members]) * (1 + 1e-12)
        log_uniform_N = np.array([source.log_uniform for source in members])
        log_ratio_NS = shape_on(guideline, setting).log_ratio_NS(log_uniform_N)
        factor_N = setting.scaled(cost, log_ratio_NS, limit_N)
        keep_NS = np.minimum(0.0, factor_N[:, None] + log_ratio_NS)
        for number, source, keep_S in zip(numbers, members, keep_NS, strict=True):
            missed[number] = source.log_keep_S - keep_S
    return missed


def _mean_there(values_UC: Floats) -> Floats:
    """Means over what is there; NaN where nothing is."""
    count_C = (~np.isnan(values_UC)).sum(0)
    mean_C = np.full(len(count_C), np.nan)
    np.divide(np.nansum(values_UC, axis=0), count_C, out=mean_C, where=count_C > 0)
    return mean_C


def _contradictions(said: _Said, keys_U: Sequence[tuple[str, ...]]) -> list[str]:
    """Pairs of networks, data sets or methods whose patterns point in opposite directions."""
    notes = []
    levels = [c for c, name in enumerate(said.names) if name.kind == "level"]
    for depth, level in enumerate(LEVELS[:3]):
        groups: dict[str, list[int]] = defaultdict(list)
        for number, keys in enumerate(keys_U):
            groups[keys[depth]].append(number)
        if len(groups) > _MOST_COMPARED:
            continue
        means = {name: _mean_there(said.values_UC[members][:, levels]) for name, members in groups.items()}
        for (one, mine), (other, theirs) in combinations(means.items(), 2):
            both = ~np.isnan(mine) & ~np.isnan(theirs)
            if both.sum() < 3 or min(np.std(mine[both]), np.std(theirs[both])) < _FAINT:
                continue
            agreement = float(np.corrcoef(mine[both], theirs[both])[0, 1])
            if agreement < _CONTRARY:
                notes.append(
                    f"The {_LEVEL_WORDS[level]}s {one.split(' ')[0]} and {other.split(' ')[0]} contradict each other "
                    f"(correlation of their patterns {agreement:.2f})."
                )
    return notes
