"""A rise along stages that all of them share, which a test that compares stages cannot see."""

import numpy as np
import pytest
from scipy.stats import chi2, t
from torch import nn

from nas_prune.guideline import fit_guideline
from nas_prune.guideline.pooling import common_test, gathered, pattern_test
from nas_prune.guideline.sources import Setting, Source, sources_in
from nas_prune.space.load import load_space
from tests.guideline.synthetic import cut_to, found, setting, space

ROWS = [("A", "D", "M", str(seed)) for seed in range(4)]


def rising(place: Setting, size: float, seeds: int, budget: str = "channels<=35%") -> list[Source]:
    """Searches in which every stage rises by so much from its first group to its last."""
    rng = np.random.default_rng(seeds)
    widths = []
    for seed in range(seeds):
        pattern = np.array([size * (group.position - 0.5) for group in place.groups_S])
        pattern += rng.normal(0, 0.05, len(pattern))
        widths.append(found(place.space, cut_to(place.space, pattern, budget), seed=seed, budget=budget))
    return sources_in(place, widths)


def plain(channels: int = 64) -> nn.Module:
    """Six convolutions of one resolution: one stage."""
    layers: list[nn.Module] = []
    for number in range(6):
        layers += [
            nn.Conv2d(channels if number else 3, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def test_a_rise_that_all_stages_share_is_found() -> None:
    guideline = fit_guideline(rising(setting(space("resnet56")), 0.8, 3))
    assert guideline.pattern is not None
    assert guideline.pattern.is_found
    assert guideline.pattern.test == "t test of how stages rise or fall on the whole"
    assert guideline.model in ("stage-role-slope", "stage-role-shape")
    assert all(
        cell.log_ratio_at(1.0) - cell.log_ratio_at(0.0) > 0.4
        for cell in guideline.cells
        if cell.role == "inner"
    )


def test_a_network_of_one_stage_has_a_pattern_along_it() -> None:
    place = setting(load_space(plain, (3, 8, 8)))
    for size, is_found in ((0.8, True), (0.0, False)):
        guideline = fit_guideline(rising(place, size, 4))
        assert guideline.pattern is not None
        assert guideline.pattern.p_value is not None
        assert guideline.pattern.is_found is is_found
        assert (guideline.model != "uniform") is is_found


def test_the_test_is_that_of_student_on_the_means() -> None:
    values = np.array([[1.0, 3.0], [2.0, np.nan], [4.0, 4.0], [1.0, 2.0]])
    p_value, how = common_test(values, gathered(ROWS, 4))
    means = np.array([2.0, 2.0, 4.0, 1.5])
    ratio = means.mean() / (means.std(ddof=1) / 2)
    assert p_value == pytest.approx(2 * (1 - _t_below(ratio, 3)))
    assert how.startswith("t test")
    assert common_test(values[:1], gathered(ROWS[:1], 4))[0] is None
    assert common_test(np.empty((4, 0)), gathered(ROWS, 4))[0] is None


def _t_below(ratio: float, degrees: int) -> float:
    return float(t.cdf(ratio, degrees))


def _chi2_above(value: float, degrees: int) -> float:
    return float(chi2.sf(value, degrees))


def test_sources_that_differ_by_rounding_alone_are_no_pattern() -> None:
    values = np.full((4, 2), 0.01)
    assert common_test(values, gathered(ROWS, 4))[0] == pytest.approx(0, abs=1e-9)
    assert common_test(values, gathered(ROWS, 4), rounding=0.01**2)[0] == pytest.approx(
        0.3173, abs=1e-4
    )  # at 1 σ
    alike = np.tile([0.01, -0.01, 0.02], (4, 1))
    assert pattern_test(alike, gathered(ROWS, 4))[0] == pytest.approx(0, abs=1e-3)
    p_value, _ = pattern_test(alike, gathered(ROWS, 4), rounding_C=np.full(3, 0.01**2))
    assert p_value == pytest.approx(_chi2_above(14 / 3, 2))  # squares of 1/3, 5/3, 4/3


@pytest.mark.parametrize("sources", [2, 3, 5])
def test_the_test_is_wrong_as_often_as_it_says(sources: int) -> None:
    """400 tries, so that 3 standard errors are 3.3 %."""
    rng = np.random.default_rng(1)
    nodes = gathered([("A", "D", "M", str(seed)) for seed in range(sources)], 4)
    p_values = [common_test(one, nodes)[0] for one in rng.normal(0, 1, (400, sources, 3))]
    assert 0.02 <= np.mean([p is not None and p < 0.05 for p in p_values]) <= 0.083
