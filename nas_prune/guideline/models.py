"""The forms a pattern can take, and what one source says in each of them.

A source's log ratios at several budgets are brought to one reference budget first. There a width is a power of what
uniform scaling gives (`keep = uniform ** (1 + pull)`), so a log ratio grows in proportion to log `uniform_keep`; the
trend is what is left of it beyond that.

Shape suffixes: S searched groups of a source, R rows (groups at every budget of a source), C coefficients.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import log
from statistics import fmean
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nas_prune.graph.channels import Role
from nas_prune.guideline.artefact import Match, Model
from nas_prune.guideline.sources import Setting, Source, aligned

Floats: TypeAlias = "NDArray[np.float64]"
StageRole: TypeAlias = "tuple[int, Role]"
Kind: TypeAlias = Literal["level", "slope", "bend", "trend"]

MODELS: dict[Model, str] = {
    "uniform": "the same share of every group",
    "stage-means": "the arithmetic mean of each stage's keep ratios, not shrunk (Liu et al., ICLR 2019, section 5)",
    "stage-role": "a log ratio for each stage and role, shrunk towards uniform",
    "stage-role-slope": "the same, with a slope from the first group of each stage and role to the last",
    "stage-role-shape": "the same, with what every position differs by from that line",
}
_CURVED = 3  # positions; with fewer, a line says everything
_APART = 1.5  # how many times further from the whole network the smallest budget must be than the largest


@dataclass(frozen=True, slots=True, order=True)
class Coefficient:
    """One number of a pattern: where it holds, and what it is; a bend has a position in its stage and role."""

    stage: int
    role: Role | None
    kind: Kind
    position: float = 0.5


@dataclass(frozen=True, slots=True)
class Reference:
    """The scale that all sources are brought to: a number of stages, counted from one end, at one budget."""

    num_stages: int
    match: Match
    log_uniform: float

    def stage_of(self, stage: int, setting: Setting) -> int:
        """The number a setting's stage has here."""
        return aligned(stage, setting.num_stages, self.num_stages, self.match)


def saying(model: Model, budgets: Sequence[Source], at: Reference) -> dict[Coefficient, float]:
    """What one search says about each coefficient of a model, from its widths at one budget or at several."""
    if model == "uniform":
        return {}
    return _stage_means(budgets, at) if model == "stage-means" else _least_squares(model, budgets, at)


def profile(
    budgets: Sequence[Source], at: Reference
) -> tuple[dict[StageRole, float], dict[StageRole, float]]:
    """What one search says about each stage and role: the mean log ratio, and the second half minus the first.

    Budgets weigh as in the least squares. A bend whose halves are alike does not show here.
    """
    firsts: dict[StageRole, list[tuple[float, float]]] = defaultdict(list)
    seconds: dict[StageRole, list[tuple[float, float]]] = defaultdict(list)
    for source in budgets:
        scale = at.log_uniform / source.log_uniform
        for group, ratio in zip(source.setting.groups_S, source.log_ratio_S, strict=True):
            half = seconds if group.position > 0.5 else firsts
            place = at.stage_of(group.stage, source.setting), group.role
            half[place].append((float(ratio) * scale, scale**-2))
    levels = {place: _mean([*firsts[place], *seconds[place]]) for place in {*firsts, *seconds}}
    rises = {place: _mean(seconds[place]) - _mean(own) for place, own in firsts.items() if seconds.get(place)}
    return levels, rises


def _mean(weighted: Sequence[tuple[float, float]]) -> float:
    """The mean of some numbers, each with its weight."""
    numbers, weights = zip(*weighted, strict=True)
    return fmean(numbers, weights)


def _stage_means(budgets: Sequence[Source], at: Reference) -> dict[Coefficient, float]:
    """Log of the kept share of each stage's channels, over uniform's; budgets weigh as in the least squares."""
    said: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for source in budgets:
        setting, weight = source.setting, (source.log_uniform / at.log_uniform) ** 2
        stages = np.array([at.stage_of(group.stage, setting) for group in setting.groups_S])
        for stage in sorted(set(stages.tolist())):
            own = stages == stage
            share = float(source.widths_S[own].sum() / setting.base_S[own].sum())
            ratio = (log(share) - source.log_uniform) * at.log_uniform / source.log_uniform
            said[stage].append((ratio, weight))  # a stage may be gone at one budget and not at another
    return {Coefficient(stage, None, "level"): _mean(own) for stage, own in said.items()}


def arithmetic(
    values: Mapping[Coefficient, "tuple[Floats, Floats]"], at: Reference
) -> dict[Coefficient, float]:
    """The log ratio of the arithmetic mean of keep ratios: {coefficient: (what each source says, its weight)}."""
    return {
        one: log(float((np.exp(at.log_uniform + said) * weights).sum() / weights.sum())) - at.log_uniform
        for one, (said, weights) in values.items()
    }


def _least_squares(model: Model, budgets: Sequence[Source], at: Reference) -> dict[Coefficient, float]:
    """The coefficients that fit a search's log ratios best.

    Large budgets weigh little: a log ratio near the whole network, scaled to a smaller budget, is mostly rounding.
    """
    slopes = model in ("stage-role-slope", "stage-role-shape")
    if len(budgets) == 1:
        return _of_one_budget(budgets[0], at, slopes=slopes, bends=model == "stage-role-shape")
    distances = [source.log_uniform for source in budgets]
    has_trend = min(distances) / max(distances) >= _APART
    rows: list[dict[Coefficient, float]] = []
    targets: list[float] = []
    weights: list[float] = []
    for source in budgets:
        scale = at.log_uniform / source.log_uniform
        terms = terms_of(source.setting, at, slopes=slopes)
        for own, ratio in zip(terms, source.log_ratio_S, strict=True):
            level = next(one for one in own if one.kind == "level")
            trend = {Coefficient(level.stage, level.role, "trend"): source.log_uniform - at.log_uniform}
            rows.append({**own, **(trend if has_trend else {})})
            targets.append(ratio * scale)
            weights.append(1 / abs(scale))
    names = sorted({name for row in rows for name in row})
    matrix_RC = np.array([[row.get(name, 0.0) for name in names] for row in rows])
    weight_R = np.array(weights)
    target_R = np.array(targets)
    solution_C = np.linalg.lstsq(matrix_RC * weight_R[:, None], target_R * weight_R, rcond=None)[0]
    found = dict(zip(names, solution_C.tolist(), strict=True))
    if model == "stage-role-shape":
        found |= _bends(budgets, at, target_R - matrix_RC @ solution_C, weight_R)
    return found


def _of_one_budget(source: Source, at: Reference, *, slopes: bool, bends: bool) -> dict[Coefficient, float]:
    """The same for one budget, where all searches of a network have the same equations."""
    names, inverse_CS, matrix_SC = _equations(source.setting, at, slopes=slopes)
    target_S = source.log_ratio_S * (at.log_uniform / source.log_uniform)
    solution_C = inverse_CS @ target_S
    found = dict(zip(names, solution_C.tolist(), strict=True))
    if bends:
        found |= _bends([source], at, target_S - matrix_SC @ solution_C, np.ones(len(target_S)))
    return found


@cache
def _equations(
    setting: Setting, at: Reference, *, slopes: bool
) -> tuple[tuple[Coefficient, ...], Floats, Floats]:
    terms = terms_of(setting, at, slopes=slopes)
    names = tuple(sorted({name for row in terms for name in row}))
    matrix_SC = np.array([[row.get(name, 0.0) for name in names] for row in terms])
    return names, np.linalg.pinv(matrix_SC), matrix_SC


def _bends(
    budgets: Sequence[Source], at: Reference, missed_R: Floats, weight_R: Floats
) -> dict[Coefficient, float]:
    """What lines along stages and roles miss at each position; nothing where two positions make a line."""
    groups = [(source.setting, group) for source in budgets for group in source.setting.groups_S]
    sums: dict[Coefficient, tuple[float, float]] = {}
    for (setting, group), miss, weight in zip(groups, missed_R, weight_R, strict=True):
        stage = at.stage_of(group.stage, setting)
        place = Coefficient(stage, group.role, "bend", round(group.position, 6))
        total, weights = sums.get(place, (0.0, 0.0))
        sums[place] = (total + float(miss * weight**2), weights + float(weight**2))
    counts = Counter((place.stage, place.role) for place in sums)
    return {
        place: total / weights
        for place, (total, weights) in sums.items()
        if counts[place.stage, place.role] >= _CURVED
    }


@cache
def terms_of(setting: Setting, at: Reference, *, slopes: bool) -> list[dict[Coefficient, float]]:
    """For each searched group, its log ratio as a sum of coefficients: {coefficient: factor}."""
    terms = []
    several = _several(setting)
    for group in setting.groups_S:
        stage = at.stage_of(group.stage, setting)
        own: dict[Coefficient, float] = {Coefficient(stage, group.role, "level"): 1.0}
        if slopes and (group.stage, group.role) in several:
            own[Coefficient(stage, group.role, "slope")] = group.position - 0.5
        terms.append(own)
    return terms


def _several(setting: Setting) -> set[tuple[int, Role]]:
    """Stages and roles whose groups sit at different positions."""
    positions: dict[tuple[int, Role], set[float]] = {}
    for group in setting.groups_S:
        positions.setdefault((group.stage, group.role), set()).add(group.position)
    return {place for place, found in positions.items() if len(found) > 1}
