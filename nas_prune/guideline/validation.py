"""How far a pattern holds: whether searches agree on one, and which model predicts searches left out best.

Shape suffixes: U searches (one network, data set, method and seed; widths at one budget or at several), N sources of
one network, C places, S searched groups.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import sqrt
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from nas_prune.guideline.artefact import HAND_SPREAD, Evidence, Guideline, Model
from nas_prune.guideline.cells import Estimates, Fit, short, within_places
from nas_prune.guideline.models import MODELS, StageRole, profile
from nas_prune.guideline.pooling import LEVELS, at_nodes, common_test, gathered, pattern_test
from nas_prune.guideline.power import smallest_found
from nas_prune.guideline.shape import shape_on
from nas_prune.guideline.sources import Source

Floats: TypeAlias = "NDArray[np.float64]"

SIGNIFICANCE = 0.05
_MOST_FOLDS = 10


def best_model(fit: Fit, evidence: Evidence, errors: dict[str, float]) -> Model:
    """Uniform where there is no pattern, else the model that predicts best; `stage-role` with one search.

    By depth, one that has cells: of three networks with one left out, two are too few for a line to predict by.
    """
    if evidence.p_value is None:
        return "stage-role"
    if not evidence.is_found:
        return "uniform"
    candidates = [name for name in MODELS if not (fit.by_depth and name == "uniform")]
    return min(candidates, key=lambda name: errors.get(name, float("inf")))


def evidence_of(fit: Fit) -> Evidence:
    """Whether searches agree on a pattern, tested at the level that intervals are over.

    That is the highest that repeats: seeds that agree with each other are no pattern where their networks do not. By
    depth, what changes with it is a pattern too. Levels, how they rise along stages, and that are tested each; the
    smallest p value counts, times how many tests were made. How levels rise has two tests, which share its part:
    whether stages rise unlike each other, and whether they rise on the whole.
    """
    nodes = fit.nodes
    said = [profile(budgets, fit.at) for budgets in fit.searches]
    tables = [_table([one[part] for one in said]) for part in (0, 1)]
    levels_UC, rises_UC = (values_UC for _, values_UC in tables)
    # A place's two halves have twice the variance of its mean each, their difference four times as much.
    level_C, rise_C = (
        np.array([factor * fit.roundings[place] for place in own])
        for factor, (own, _) in zip((1, 4), tables, strict=True)
    )
    rises = [
        pattern_test(at_nodes(rises_UC, nodes), nodes, rounding_C=rise_C),
        common_test(at_nodes(rises_UC, nodes), nodes, float(rise_C.sum() / max(1, len(rise_C)) ** 2)),
    ]
    tests = [pattern_test(at_nodes(levels_UC, nodes), nodes, rounding_C=level_C), _least(rises)]
    if fit.by_depth:
        rise, levels = fit.rise(fit.estimates("stage-role").known)
        tests.append((rise.p_value(levels), "t tests of what rises or falls with depth"))
    p_value, test = _least(tests)
    if p_value is None:
        return Evidence(is_found=False, p_value=None, test=test, level=nodes.level)
    is_found = p_value < SIGNIFICANCE
    smallest = None
    if not is_found and tests[0][0] is not None:
        is_shuffled = "shuffles" in tests[0][1]
        each = SIGNIFICANCE / sum(one is not None for one, _ in tests)
        smallest = smallest_found(at_nodes(levels_UC, nodes), each, is_shuffled=is_shuffled)
    return Evidence(
        is_found=is_found,
        p_value=p_value,
        test=test,
        level=nodes.level,
        smallest=None if smallest is None else short(smallest),
    )


def _least(tests: Sequence[tuple[float | None, str]]) -> tuple[float | None, str]:
    """The smallest p value times how many tests were made, and what it is of; None where none was."""
    made = [(p_value, how) for p_value, how in tests if p_value is not None]
    if not made:
        return None, tests[0][1]
    least, how = min(made)
    return min(1.0, len(made) * least), how


def prediction_errors(fit: Fit, said: Mapping[Model, Estimates]) -> dict[str, float]:
    """How far each model is from the log keep ratios of sources left out; empty with one search.

    What is left out is a whole network where there are several, or else a data set, and so on.
    """
    if len(fit.searches) < 2:
        return {}
    levels = [gathered(fit.keys_U, depth) for depth in range(1, 1 + len(LEVELS))]
    nodes = next(level for level in levels if len(level.members) > 1)
    folds = [nodes.members[start :: min(_MOST_FOLDS, len(nodes.members))] for start in range(_MOST_FOLDS)]
    squares: dict[str, list[float]] = defaultdict(list)
    for fold in folds:
        out = {number for members in fold for number in members}
        rest = [number for number in range(len(fit.searches)) if number not in out]
        if not out or not rest:
            continue
        other = replace(fit, searches=[fit.searches[number] for number in rest])
        for model, mine in said.items():
            part = other.guideline(model, Estimates(mine.names, mine.values_UC[rest]))
            left_out = [source for number in sorted(out) for source in fit.searches[number]]
            squares[model] += [float(np.mean(miss**2)) for miss in missed_by(part, left_out)]
    return {model: short(sqrt(float(np.mean(found)))) for model, found in squares.items()}


def layer_spread(fit: Fit, guideline: Guideline) -> float:
    """Standard deviation of single groups around the pattern, after taking off the source's mean in each cell."""
    squares, count = 0.0, 0
    for source, missed_S in zip(fit.sources, missed_by(guideline, fit.sources), strict=True):
        part, own = within_places(source, missed_S)
        squares, count = squares + part, count + len(missed_S) - own
    return sqrt(squares / count) if count > 0 else HAND_SPREAD


def _table(said: Sequence[Mapping[StageRole, float]]) -> tuple[list[StageRole], Floats]:
    """Places, and what searches say of them, U×C; NaN where nothing."""
    places = sorted({place for one in said for place in one})
    values = [[one.get(place, np.nan) for place in places] for one in said]
    return places, np.array(values, dtype=np.float64).reshape(len(said), len(places))


def missed_by(guideline: Guideline, sources: Sequence[Source]) -> list[Floats]:
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
