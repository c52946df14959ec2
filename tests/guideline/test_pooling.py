"""Means, intervals and the test over nested sources."""

import numpy as np
import pytest
from scipy import stats

from nas_prune.guideline.pooling import (
    Pooled,
    at_nodes,
    gathered,
    independent,
    pattern_test,
    pool,
    shrunk,
    weights_of,
)


def keys(*names: str) -> list[tuple[str, ...]]:
    """Keys of four levels, each letter one level."""
    return [tuple(name) for name in names]


def test_every_level_counts_what_lies_below_it_alike() -> None:
    """Ten seeds of one network do not outvote another network."""
    weights = weights_of(keys(*(f"ADM{seed}" for seed in "012345678"), "BDM0"))
    assert weights.tolist() == pytest.approx([0.5 / 9] * 9 + [0.5])
    nested = weights_of(keys("ADM0", "ADM1", "ADN0", "AEM0"))
    assert nested.tolist() == pytest.approx([0.125, 0.125, 0.25, 0.5])


def test_intervals_are_over_the_highest_level_that_repeats() -> None:
    assert independent(keys("ADM0", "ADM1", "ADM2")).level == "seed"
    assert independent(keys("ADM0", "BDM0", "CDM0")).level == "network"
    assert independent(keys("ADM0", "AEM0", "AFM0", "AFM1")).level == "data"
    two = independent(keys("ADM0", "ADM1", "ADM2", "BDM0", "BDM1", "BDM2"))
    assert (two.level, two.degrees) == ("network", 1)
    assert independent(keys("ADM0")).degrees == 0


def test_members_that_say_nothing_of_the_same_do_not_repeat() -> None:
    own = keys("ADM0", "ADM1", "BDM0")
    there = np.array([[True, True, False], [True, False, False], [False, False, True]])
    assert independent(own).level == "network"
    assert independent(own, there).level == "seed"
    assert independent(own, there | [False, True, False]).level == "network"
    assert (
        pattern_test(np.array([[1.0, 2.0, np.nan], [np.nan, np.nan, 3.0]]), independent(own[1:]))[0] is None
    )


def test_three_values_have_the_mean_error_and_interval_of_student() -> None:
    nodes = gathered(keys("ADM0", "ADM1", "ADM2"), 4)
    values = np.array([[1.0], [2.0], [4.0]])
    pooled = pool(values, nodes)
    assert pooled.mean_C[0] == pytest.approx(7 / 3)
    assert pooled.error_C[0] == pytest.approx(np.std([1, 2, 4], ddof=1) / np.sqrt(3))
    low, high = stats.t.interval(0.9, 2, pooled.mean_C[0], pooled.error_C[0])
    assert 2 * pooled.half_width_C(0.9)[0] == pytest.approx(high - low)


def test_intervals_of_several_quantities_are_wider_and_hold_together() -> None:
    nodes = gathered(keys("ADM0", "ADM1", "ADM2"), 4)
    one = pool(np.array([[1.0], [2.0], [4.0]]), nodes).half_width_C(0.9)[0]
    several = pool(np.array([[1.0] * 5, [2.0] * 5, [4.0] * 5]), nodes).half_width_C(0.9)[0]
    assert several == pytest.approx(one * stats.t.ppf((1 + 0.9**0.2) / 2, 2) / stats.t.ppf(0.95, 2))


def test_what_only_one_source_says_has_no_interval() -> None:
    nodes = gathered(keys("ADM0", "ADM1", "ADM2"), 4)
    pooled = pool(np.array([[1.0, np.nan], [2.0, 5.0], [4.0, np.nan]]), nodes)
    assert pooled.mean_C[1] == 5
    assert np.isnan(pooled.half_width_C(0.9)[1])
    assert not np.isnan(pooled.half_width_C(0.9)[0])


def test_variances_of_one_degree_are_drawn_halfway_to_the_mean_of_their_kind() -> None:
    """Smyth (2004) with one prior degree; of squares 2, 8, 32 the mean is 14, and the bend's stays its own."""
    nodes = gathered(keys("ADM0", "BDM0"), 1)
    values = np.array([[0.0, 0.0, 0.0, 0.0, 1.0], [2.0, 4.0, 8.0, 6.0, np.nan]])
    pooled = pool(values, nodes, kinds_C=["level", "level", "level", "bend", "level"])
    assert pooled.spread_C[:4] ** 2 == pytest.approx([(14 + 2) / 2, (14 + 8) / 2, (14 + 32) / 2, 18])
    assert pooled.degrees_C.tolist() == [2, 2, 2, 1, 0]
    assert np.isnan(pooled.half_width_C(0.9)[4])
    few = pool(values[:, :2], nodes)
    assert few.degrees_C.tolist() == [1, 1]


def test_variances_of_two_degrees_are_their_own() -> None:
    nodes = gathered(keys("ADM0", "ADM1", "ADM2"), 4)
    pooled = pool(np.array([[1.0] * 4, [2.0] * 4, [4.0, 5.0, 6.0, 7.0]]), nodes)
    assert pooled.spread_C == pytest.approx(
        np.std([[1, 2, 4], [1, 2, 5], [1, 2, 6], [1, 2, 7]], axis=1, ddof=1)
    )
    assert pooled.degrees_C.tolist() == [2] * 4


def test_nodes_are_the_means_of_what_lies_below() -> None:
    nodes = gathered(keys("ADM0", "ADM1", "BDM0"), 1)
    assert at_nodes(np.array([[1.0], [3.0], [10.0]]), nodes).tolist() == [[2.0], [10.0]]


def pooled_of(means: "list[float]", errors: "list[float]") -> Pooled:
    count = len(means)
    return Pooled(np.array(means), np.array(errors), np.full(count, 2), np.array(errors))


def test_means_shrink_towards_uniform_by_how_uncertain_they_are() -> None:
    sure = shrunk(pooled_of([1.0, -1.0, 0.5], [0.01, 0.01, 0.01]), 1.0)
    assert sure == pytest.approx([1.0, -1.0, 0.5], rel=1e-3)
    mixed = shrunk(pooled_of([1.0, -1.0, 1.0], [0.01, 0.01, 1.0]), 1.0)
    assert mixed[0] == pytest.approx(1.0, rel=1e-2)
    assert abs(mixed[2]) < 0.5
    assert shrunk(pooled_of([0.1, -0.1], [1.0, 1.0]), 1.0).tolist() == [0, 0]


def test_the_test_finds_what_sources_agree_on_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    nodes = gathered(keys("ADM0", "ADM1", "ADM2", "ADM3"), 4)
    pattern = np.array([0.5, 0.2, 0.0, -0.2, -0.5])
    agreeing = pattern + rng.normal(0, 0.1, (4, 5))
    p_value, how = pattern_test(agreeing, nodes)
    assert p_value is not None
    assert p_value < 0.01
    assert "shuffles" in how
    p_value, _ = pattern_test(rng.permuted(agreeing, axis=1), nodes)
    assert p_value is not None
    assert p_value > 0.05


@pytest.mark.parametrize(("sources", "cells"), [(3, 2), (2, 3), (3, 5), (5, 4)])
def test_the_test_is_wrong_as_often_as_it_says(sources: int, cells: int) -> None:
    """Without any pattern, 5 % of tests find one at the 5 % level: 400 tries, so that 3 standard errors are 3.3 %."""
    rng = np.random.default_rng(1)
    nodes = gathered(keys(*(f"ADM{seed}" for seed in range(sources))), 4)
    values = rng.normal(0, 1, (400, sources, cells))
    found = [pattern_test(one, nodes)[0] for one in values]
    assert 0.02 <= np.mean([p is not None and p < 0.05 for p in found]) <= 0.083


def test_one_source_alone_cannot_be_tested() -> None:
    assert pattern_test(np.array([[1.0, 2.0, 3.0]]), gathered(keys("ADM0"), 4))[0] is None
