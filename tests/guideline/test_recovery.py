"""Planted patterns come back within their own intervals; where none was planted, none is found."""

import numpy as np
import pytest

from nas_prune.guideline import fit_guideline
from nas_prune.guideline.artefact import Guideline
from nas_prune.guideline.sources import Source, sources_in
from tests.guideline.synthetic import cut_to, found, setting, space

NETWORKS = (
    ("vgg11", 1.0),
    ("vgg16", 1.0),
    ("vgg19", 1.0),
    ("resnet20", 2.0),
    ("resnet32", 2.0),
    ("resnet56", 1.0),
)
BUDGETS = ("channels<=35%", "macs<=15%", "params<=15%")


def planted(rng: np.random.Generator, size: float) -> tuple[list[Source], dict[tuple[int, str], float]]:
    """Three to five sources on a random network at a random budget, and what was planted in each stage and role.

    Every source strays from the pattern as a whole in each cell, and so does every layer.
    """
    name, factor = NETWORKS[rng.integers(len(NETWORKS))]
    network, budget = space(name, factor=factor), BUDGETS[rng.integers(len(BUDGETS))]
    place = setting(network)
    cells = sorted({(group.stage, group.role) for group in place.groups_S})
    level = {cell: rng.normal(0, size) for cell in cells}
    spread = {cell: rng.uniform(0.03, 0.15) for cell in cells}
    pattern = np.array([level[group.stage, group.role] for group in place.groups_S])
    widths = []
    for seed in range(rng.integers(3, 6)):
        moved = {cell: rng.normal(0, spread[cell]) for cell in cells}
        noise = np.array([moved[group.stage, group.role] for group in place.groups_S])
        vector = cut_to(network, pattern + noise + rng.normal(0, 0.05, len(pattern)), budget)
        widths.append(found(network, vector, seed=seed, budget=budget))
    sources = sources_in(place, widths)
    factor_N = place.scaled(budget.split("<=")[0], pattern[None], np.array([sources[0].limit]))
    truth = factor_N[0] + pattern - sources[0].log_uniform
    return sources, {
        cell: float(
            np.mean([t for t, g in zip(truth, place.groups_S, strict=True) if (g.stage, g.role) == cell])
        )
        for cell in cells
    }


def covers(guideline: Guideline, truth: dict[tuple[int, str], float]) -> bool:
    """Whether every interval holds what was planted."""
    return all(
        cell.low is not None
        and cell.high is not None
        and cell.low <= truth[cell.stage, cell.role or ""] <= cell.high
        for cell in guideline.cells
    )


def rates(trials: int, seed: int) -> tuple[float, float]:
    """How often all intervals together hold the truth, and how often no pattern is called uniform."""
    rng = np.random.default_rng(seed)
    held, uniform = [], []
    for _ in range(trials):
        sources, truth = planted(rng, 0.25)
        held.append(covers(fit_guideline(sources, model="stage-role"), truth))
        sources, _ = planted(rng, 0.0)
        uniform.append(fit_guideline(sources).model == "uniform")
    return float(np.mean(held)), float(np.mean(uniform))


@pytest.mark.slow
def test_intervals_mostly_hold_what_was_planted() -> None:
    """The quick one: 10 trials, of which a rate of 0.9 gives 7 or more but once in a hundred times."""
    held, uniform = rates(10, seed=3)
    assert held >= 0.7
    assert uniform >= 0.7


@pytest.mark.slow
def test_intervals_hold_what_was_planted_as_often_as_they_say() -> None:
    held, uniform = rates(200, seed=0)
    assert 0.85 <= held <= 0.95
    assert uniform >= 0.9


def test_a_strong_pattern_is_found_and_weak_evidence_shrunk() -> None:
    rng = np.random.default_rng(5)
    sources, truth = planted(rng, 0.6)
    guideline = fit_guideline(sources)
    assert guideline.pattern is not None
    assert guideline.pattern.is_found
    assert guideline.model != "uniform"
    fitted = fit_guideline(sources, model="stage-role")
    values = np.array([cell.log_ratio for cell in fitted.cells])
    planted_values = np.array([truth[cell.stage, cell.role or ""] for cell in fitted.cells])
    assert np.corrcoef(values, planted_values)[0, 1] > 0.9
    raw = np.array([((cell.low or 0) + (cell.high or 0)) / 2 for cell in fitted.cells])
    assert (np.abs(values) <= np.abs(raw) + 1e-6).all()


def test_a_slope_along_the_stage_is_found_where_there_is_one() -> None:
    network = space("vgg19")
    place = setting(network)
    slope = np.array([1.0 * (group.position - 0.5) if group.stage == 3 else 0.0 for group in place.groups_S])
    rng = np.random.default_rng(1)
    widths = [
        found(network, cut_to(network, slope + rng.normal(0, 0.03, len(slope)), "channels<=40%"), seed=seed)
        for seed in range(4)
    ]
    guideline = fit_guideline(sources_in(place, widths))
    assert guideline.model == "stage-role-slope"
    slopes = {(cell.stage, cell.role): cell.slope for cell in guideline.cells}
    assert slopes[3, "inner"] == pytest.approx(1.0, abs=0.15)
    assert abs(slopes[4, "inner"]) < 0.15


def test_what_changes_with_the_budget_is_told_from_what_does_not() -> None:
    """Twice the penalty at the smaller budget than a power of uniform gives: the trend, and it is used when applied."""
    network = space("vgg16")
    place = setting(network)
    shape = np.array([-0.3 if group.stage == 4 else 0.1 for group in place.groups_S])
    budgets = {"channels<=60%": 0.5, "channels<=30%": 2.5}
    rng = np.random.default_rng(2)
    widths = [
        found(
            network,
            cut_to(network, factor * shape + rng.normal(0, 0.02, len(shape)), budget),
            seed=seed,
            budget=budget,
        )
        for seed in range(3)
        for budget, factor in budgets.items()
    ]
    guideline = fit_guideline(sources_in(place, widths), model="stage-role")
    last = next(cell for cell in guideline.cells if cell.stage == 4)
    assert last.trend > 0.1
    assert guideline.covers == pytest.approx((0.3, 0.6), abs=0.01)
