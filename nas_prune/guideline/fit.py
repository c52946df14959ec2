"""Fitting a guideline: from any number of widths files to what they have in common.

Shape suffixes: U searches (one network, data set, method and seed; widths at one budget or at several), N nodes of
searches, C coefficients, S searched groups.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import exp, log, sqrt
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from nas_prune.errors import GuidelineError
from nas_prune.guideline.artefact import HAND_SPREAD, Cell, Evidence, Guideline, Match, Model
from nas_prune.guideline.models import MODELS, Coefficient, Reference, arithmetic, saying
from nas_prune.guideline.pooling import LEVELS, Nodes, Pooled, at_nodes, independent, pattern_test, pool, shrunk, weights_of
from nas_prune.guideline.shape import shape_on
from nas_prune.guideline.sources import Setting, Source, measure, read_sources, sources_of
from nas_prune.widths import Widths

Floats: TypeAlias = "NDArray[np.float64]"
Choice: TypeAlias = Literal["auto", "uniform", "stage-means", "stage-role", "stage-role-slope"]

SIGNIFICANCE = 0.05
ALL_COSTS = "all"
_MOST_FOLDS = 10
_CONTRARY = -0.3


def fit_guideline(
    sources: Sequence[Path | Widths],
    *,
    model: Choice = "auto",
    match: Match = "output",
    cost: str | None = None,
    confidence: float = 0.9,
    spaces: Sequence[str] = (),
) -> Guideline:
    """What found widths have in common, as log ratios to the uniform network of the same cost.

    Args:
        sources: widths files, runs of `search`, or widths.
        model: the form of the pattern; by default the one that foretells sources left out best, and uniform where the
            sources do not agree on any.
        match: from which end stages are counted where networks have different numbers of them.
        cost: use only sources driven by this cost; `all` pools them.
        confidence: of all intervals together.
        spaces: names of networks of your own, whose code may be imported.

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
    paths = [one for one in sources if not isinstance(one, Widths)]
    given = [one for one in sources if isinstance(one, Widths)]
    read, notes = read_sources(paths, spaces=spaces) if paths else ([], [])
    own, more = sources_of(given, spaces=spaces) if given or not paths else ([], [])
    chosen, said = _of_one_cost([*read, *own], cost)
    searches = _searches(chosen)
    fit = _Fit(searches, _reference(searches, match), confidence)
    return fit.guideline(model, [*notes, *more, *said])


def _of_one_cost(sources: Sequence[Source], cost: str | None) -> tuple[list[Source], list[str]]:
    """The sources that were driven by the cost asked for; refused where there are several and none is."""
    drivers: dict[str, list[Source]] = defaultdict(list)
    for source in sources:
        drivers[source.record.cost].append(source)
    counts = ", ".join(f"{driver} ({len(members)})" for driver, members in sorted(drivers.items()))
    if cost == ALL_COSTS:
        note = [f"Sources driven by different costs are pooled, as asked: {counts}."] if len(drivers) > 1 else []
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


@dataclass(frozen=True, slots=True)
class _Fit:
    """A fit to some searches."""

    searches: Sequence[Sequence[Source]]
    at: Reference
    confidence: float

    @property
    def keys_U(self) -> list[tuple[str, ...]]:
        return [budgets[0].keys for budgets in self.searches]

    def said(self, model: Model) -> _Said:
        found = [saying(model, budgets, self.at) for budgets in self.searches]
        names = tuple(sorted({name for one in found for name in one}, key=_order))
        values = [[one.get(name, np.nan) for name in names] for one in found]
        return _Said(names, np.array(values, dtype=np.float64).reshape(len(found), len(names)))

    def guideline(self, choice: Choice, notes: Sequence[str]) -> Guideline:
        nodes = independent(self.keys_U)
        said = {name: self.said(name) for name in MODELS}
        evidence = self._evidence(said["stage-role"], nodes)
        errors = self._errors(said, nodes)
        model = choice if choice != "auto" else _best(evidence, errors)
        fitted = self.fitted(model, said[model], nodes)
        return fitted.model_copy(
            update={
                "pattern": evidence,
                "errors": errors,
                "layer_spread": _short(self._layer_spread(fitted)),
                "notes": (*notes, *self._unknown(nodes, evidence), *_contradictions(said["stage-role"], self.keys_U, nodes)),
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
        if not said.names:
            return ()
        pooled = pool(at_nodes(said.values_UC, nodes), nodes, self._rounding(said))
        values = dict(zip(said.names, self._drawn_in(model, said, pooled), strict=True))
        half_C = pooled.half_width_C(self.confidence)
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
            trend=_short(values.get(Coefficient(name.stage, name.role, "trend"), 0.0)),
            up=int((there > 0).sum()),
            of=len(there),
        )

    def _drawn_in(self, model: Model, said: _Said, pooled: Pooled) -> list[float]:
        """The means, shrunk; for the paper's model those of keep ratios, as they are."""
        weights_U = weights_of(self.keys_U)
        if model == "stage-means":
            there_UC = ~np.isnan(said.values_UC)
            columns = {
                name: (said.values_UC[there_UC[:, c], c], weights_U[there_UC[:, c]]) for c, name in enumerate(said.names)
            }
            found = arithmetic(columns, self.at)
            return [found[name] for name in said.names]
        doubt = self._within(said)
        drawn_C = pooled.mean_C.copy()
        for kind in {name.kind for name in said.names}:
            own = np.array([name.kind == kind for name in said.names])
            part = Pooled(*(getattr(pooled, field)[own] for field in ("mean_C", "error_C", "degrees_C", "spread_C")))
            drawn_C[own] = shrunk(part, doubt)
        return [float(value) for value in drawn_C]

    def _within(self, said: _Said) -> float:
        """Variance of a level if layers were all there is to tell it by: what stands in for that between sources."""
        squares, count, layers = 0.0, 0, []
        for budgets in self.searches:
            for source in budgets:
                places: dict[tuple[int, str], list[float]] = defaultdict(list)
                for column, ratio in zip(source.setting.columns, source.log_ratio_S, strict=True):
                    group = source.setting.space.groups[column]
                    places[group.stage, group.role].append(ratio * self.at.log_uniform / source.log_uniform)
                for values in places.values():
                    squares += float(np.sum((np.array(values) - np.mean(values)) ** 2))
                    count += len(values) - 1
                    layers.append(len(values))
        if count:
            return squares / count / float(np.mean(layers))
        levels = [c for c, name in enumerate(said.names) if name.kind == "level"]
        return float(np.nanmean(said.values_UC[:, levels] ** 2)) / 2

    def _rounding(self, said: _Said) -> Floats:
        """Variance that whole widths alone give a level: that of a number rounded, over the mean of its layers."""
        sums: dict[tuple[int, str | None], list[float]] = defaultdict(list)
        for budgets in self.searches:
            source = budgets[0]
            here: dict[tuple[int, str | None], list[float]] = defaultdict(list)
            for column, width in zip(source.setting.columns, source.widths_S, strict=True):
                group = source.setting.space.groups[column]
                variance = 1 / 12 / width**2
                here[self.at.stage_of(group.stage, source.setting), group.role].append(variance)
                here[self.at.stage_of(group.stage, source.setting), None].append(variance)
            for place, values in here.items():
                sums[place].append(float(np.mean(values)) / len(values))
        return np.array(
            [float(np.mean(sums[name.stage, name.role])) if name.kind == "level" else 0.0 for name in said.names]
        )

    def _evidence(self, said: _Said, nodes: Nodes) -> Evidence:
        levels = [c for c, name in enumerate(said.names) if name.kind == "level"]
        p_value, test = pattern_test(at_nodes(said.values_UC[:, levels], nodes), nodes)
        found = p_value is not None and p_value < SIGNIFICANCE
        return Evidence(is_found=found, p_value=p_value, test=test, level=nodes.level)

    def _errors(self, said: dict[Model, _Said], nodes: Nodes) -> dict[str, float]:
        """How well each model foretells the log keep ratios of nodes left out; nothing with one node."""
        if len(nodes.members) < 2:
            return {}
        folds = [nodes.members[start :: min(_MOST_FOLDS, len(nodes.members))] for start in range(_MOST_FOLDS)]
        squares: dict[str, list[float]] = defaultdict(list)
        for fold in folds:
            out = {number for members in fold for number in members}
            rest = [number for number in range(len(self.searches)) if number not in out]
            if not out or not rest:
                continue
            other = _Fit([self.searches[number] for number in rest], self.at, self.confidence)
            for model, mine in said.items():
                part = other.fitted(model, _Said(mine.names, mine.values_UC[rest]), independent(other.keys_U))
                squares[model] += [self._square(part, self.searches[number]) for number in sorted(out)]
        return {model: _short(sqrt(float(np.mean(found)))) for model, found in squares.items()}

    def _square(self, guideline: Guideline, budgets: Sequence[Source]) -> float:
        return float(np.mean([np.mean(_missed(guideline, source) ** 2) for source in budgets]))

    def _layer_spread(self, guideline: Guideline) -> float:
        """Standard deviation of single groups around the pattern, the search's own mean in each cell taken off."""
        squares, count = 0.0, 0
        for budgets in self.searches:
            for source in budgets:
                missed_S = _missed(guideline, source)
                places: dict[tuple[int, str], list[float]] = defaultdict(list)
                for column, miss in zip(source.setting.columns, missed_S, strict=True):
                    group = source.setting.space.groups[column]
                    places[group.stage, group.role].append(miss)
                squares += sum(float(np.sum((np.array(x) - np.mean(x)) ** 2)) for x in places.values())
                count += len(missed_S) - len(places)
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
                notes.append(f"All sources are of one {_LEVEL_WORDS[level]} ({names[0].split(' (')[0]}): {told[level]} is not known.")
            elif LEVELS.index(nodes.level) > depth:
                notes.append(
                    f"Intervals are over the {nodes.level}s of these {len(names)} {_LEVEL_WORDS[level]}s: {told[level]} "
                    "is not in them."
                )
        if evidence.p_value is None:
            notes.append("One search alone: whether another seed would find the same is not known.")
        return notes


def _short(number: float) -> float:
    """A number for a file that people read."""
    return round(number, 6)


_LEVEL_WORDS = {"network": "network", "data": "data set", "method": "method", "seed": "run"}


def _order(name: Coefficient) -> tuple[int, str, str]:
    return name.stage, name.role or "", name.kind


def _best(evidence: Evidence, errors: dict[str, float]) -> Model:
    """Uniform where there is no pattern; else what foretells best; by stage and role where that cannot be told."""
    if evidence.p_value is None:
        return "stage-role"
    if not evidence.is_found:
        return "uniform"
    return min(MODELS, key=lambda name: errors.get(name, float("inf")))


def _missed(guideline: Guideline, source: Source) -> Floats:
    """Log keep ratios of a source less those that the guideline gives its network at the same cost."""
    shape = shape_on(guideline, source.setting)
    log_ratio_S = shape.log_ratio_NS(np.array(source.log_uniform))
    factor = source.setting.scaled(source.cost, log_ratio_S[None], np.array([source.limit * (1 + 1e-12)]))[0]
    return np.asarray(source.log_keep_S - np.minimum(0.0, factor + log_ratio_S))


def _contradictions(said: _Said, keys_U: Sequence[tuple[str, ...]], nodes: Nodes) -> list[str]:
    """Pairs of networks, data sets or methods whose patterns point in opposite directions."""
    notes = []
    levels = [c for c, name in enumerate(said.names) if name.kind == "level"]
    for depth, level in enumerate(LEVELS[:3]):
        groups: dict[str, list[int]] = defaultdict(list)
        for number, keys in enumerate(keys_U):
            groups[keys[depth]].append(number)
        means = {name: np.nanmean(said.values_UC[members][:, levels], axis=0) for name, members in groups.items()}
        for (one, mine), (other, theirs) in combinations(means.items(), 2):
            both = ~np.isnan(mine) & ~np.isnan(theirs)
            if both.sum() < 3 or np.std(mine[both]) == 0 or np.std(theirs[both]) == 0:
                continue
            agreement = float(np.corrcoef(mine[both], theirs[both])[0, 1])
            if agreement < _CONTRARY:
                notes.append(
                    f"The {_LEVEL_WORDS[level]}s {one.split(' ')[0]} and {other.split(' ')[0]} contradict each other "
                    f"(correlation of their patterns {agreement:.2f})."
                )
    return notes
