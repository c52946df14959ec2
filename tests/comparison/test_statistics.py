"""The statistics of comparisons on planted effects."""

from math import isnan

import numpy as np
import pytest
from scipy.stats import t as student
from scipy.stats import ttest_ind, ttest_rel

from nas_prune.comparison.detectable import detectable_by, least_shift
from nas_prune.comparison.statistics import (
    TestName,
    by_search,
    by_training,
    check_test,
    detectable,
    difference,
    holm,
    moderated,
    on_its_own,
    paired,
    search_by_search,
)
from nas_prune.errors import BadInputError

SEEDS, REPEATS = 5, 500


def trainings(rng: np.random.Generator, effects: list[float], noise: float = 0.01) -> list[list[float]]:
    """Accuracies of a reference, and of arms that differ from it by planted effects and by chance."""
    shared = rng.normal(0.9, 0.02, SEEDS)
    return [list(shared + effect + rng.normal(0, noise, SEEDS)) for effect in [0.0, *effects]]


def test_a_paired_difference_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    reference, arm = trainings(rng, [0.01])
    found, expected = paired(arm, reference), ttest_rel(arm, reference)
    interval = expected.confidence_interval(0.95)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-9)
    assert found.difference == pytest.approx(np.mean(arm) - np.mean(reference))


def test_without_an_effect_one_comparison_errs_in_five_of_a_hundred() -> None:
    rng = np.random.default_rng(1)
    errors = 0
    for _ in range(REPEATS):
        reference, arm = trainings(rng, [0.0])
        errors += paired(arm, reference).p_value < 0.05
    assert 0.03 <= errors / REPEATS <= 0.07


@pytest.mark.slow
def test_without_an_effect_ten_comparisons_err_in_six_of_a_hundred_at_most() -> None:
    rng = np.random.default_rng(2)
    errors = plain = 0
    for _ in range(REPEATS):
        reference, *arms = trainings(rng, [0.0] * 10)
        p_values = [paired(arm, reference).p_value for arm in arms]
        plain += min(p_values) < 0.05
        errors += min(holm(p_values)) < 0.05
    assert errors / REPEATS <= 0.06
    assert plain / REPEATS > 0.15  # the correction is needed


@pytest.mark.parametrize("comparisons", [1, 10])
@pytest.mark.slow
def test_a_difference_as_large_as_the_detectable_one_is_found_in_four_of_five(comparisons: int) -> None:
    rng = np.random.default_rng(3)
    noise = 0.01
    effect = detectable(noise * 2**0.5, SEEDS, comparisons)
    found, printed = [], []
    for _ in range(REPEATS if comparisons > 1 else 4 * REPEATS):
        reference, *arms = trainings(rng, [effect] + [0.0] * (comparisons - 1), noise)
        results = [paired(arm, reference) for arm in arms]
        found.append(holm([one.p_value for one in results])[0] < 0.05)
        printed.append(detectable(results[0].deviation, SEEDS, comparisons))
    # Later steps of Holm's are easier, and those that err help; hence a little more than four fifths with ten.
    assert 0.77 <= np.mean(found) <= (0.83 if comparisons == 1 else 0.87)
    assert np.sqrt(np.mean(np.square(printed))) == pytest.approx(effect, rel=0.05)
    # Half of it is mostly missed.
    misses = [
        paired(arm, other).p_value >= 0.05 / comparisons
        for other, arm in (trainings(rng, [effect / 2]) for _ in range(200))
    ]
    assert np.mean(misses) > 0.5


def test_holm_never_lets_a_later_one_pass_before_an_earlier() -> None:
    assert holm([0.04, 0.001, 0.9]) == pytest.approx([0.08, 0.003, 0.9])
    assert holm([0.02, 0.021]) == pytest.approx([0.04, 0.04])
    with_nan = holm([float("nan"), 0.04])
    assert isnan(with_nan[0])
    assert with_nan[1] == 0.04


def test_differences_without_spread_are_not_tested() -> None:
    same = paired([0.5, 0.6, 0.7], [0.4, 0.5, 0.6])
    assert same.difference == pytest.approx(0.1)
    assert isnan(same.p_value)
    assert isnan(paired([0.5], [0.4]).p_value)
    same = paired([0.8, 0.5, 0.3], [0.75, 0.45, 0.25])
    assert (same.difference, isnan(same.p_value), isnan(same.low)) == (0.05, True, True)


def test_tests_that_cannot_reject_are_refused() -> None:
    with pytest.raises(BadInputError, match="at least 6 seeds"):
        check_test("wilcoxon", 5, 1)
    with pytest.raises(BadInputError, match="at least 9 seeds"):
        check_test("sign-flip", 6, 10)
    check_test("sign-flip", 6, 1)
    check_test("t", 2, 10)
    check_test("moderated", 2, 10, searches=4)
    with pytest.raises(BadInputError, match="must come with --test moderated, got t"):
        check_test("t", 5, 10, searches=4)
    # And they could not have: all differences of one sign give their smallest p value.
    arm, zeros = [0.01, 0.02, 0.03, 0.04, 0.05], [0.0] * 5
    assert paired(arm, zeros, "wilcoxon").p_value == paired(arm, zeros, "sign-flip").p_value == 2 / 2**5
    more = [*arm, 0.06]
    assert paired(more, [0.0] * 6, "sign-flip").p_value == 2 / 2**6


def test_the_widths_of_a_search_are_one_unit_however_often_they_are_trained() -> None:
    found = by_search([[0.70, 0.72], [0.74, 0.76], [0.78, 0.74]])
    means = [0.71, 0.75, 0.76]
    assert found.mean == pytest.approx(np.mean(means))
    assert found.error == pytest.approx(np.std(means, ddof=1) / 3**0.5)
    assert (found.units, found.spread.freedom) == (3, 2)
    assert isnan(by_search([[0.7, 0.8]]).error)
    # What searches differ by is never less than what their trainings do.
    assert by_search([[0.5, 0.9], [0.4, 1.0]]).error == pytest.approx((0.26 / 2 / 2) ** 0.5 / 2**0.5)


def test_arms_on_the_same_searches_widths_are_compared_search_by_search() -> None:
    groups, others = [[0.8, 0.82], [0.5, 0.52], [0.6, 0.66]], [[0.7, 0.72], [0.4, 0.41], [0.5, 0.55]]
    same = search_by_search(groups, others)
    assert same.difference == pytest.approx(np.mean([0.1, 0.105, 0.105]))
    assert (same.n, same.n_beside, same.freedom) == (3, 3, 2)
    apart = difference(by_search(groups), by_search(others))
    assert apart.difference == pytest.approx(same.difference)
    assert apart.error > 2 * same.error  # what widths have in common does not cancel there
    # Where all searches differ by the same, what their trainings differ by is still known.
    alike = search_by_search([[0.8, 0.82], [0.5, 0.52]], [[0.7, 0.72], [0.4, 0.42]])
    assert alike.error == pytest.approx((2 * 0.0002 / 2 / 2) ** 0.5)
    assert (alike.freedom, alike.p_value < 0.2) == (1, True)
    assert isnan(search_by_search([[0.8], [0.5]], [[0.75], [0.45]]).p_value)


def test_a_difference_is_that_of_welch_where_variances_are_not_moderated() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(0.9, 0.01, 5), rng.normal(0.88, 0.03, 7)
    found = difference(by_training(list(one)), by_training(list(other)))
    expected = ttest_ind(one, other, equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-9)
    assert found.freedom == pytest.approx(expected.df)


def test_one_training_says_something_only_beside_others() -> None:
    single = {"a": by_training([0.9]), "b": by_training([0.8])}
    assert isnan(difference(*moderated(single).values()).p_value)
    rng = np.random.default_rng(1)
    several = {str(number): by_training(list(rng.normal(0.8, 0.01, 5))) for number in range(10)}
    found = moderated(several | {"a": by_training([0.9])})
    known = difference(found["a"], found["0"])
    assert 0 < known.p_value < 0.05
    assert known.freedom > difference(found["1"], found["0"]).freedom / 4
    assert isnan(difference(on_its_own([0.9], found["0"].spread), found["0"]).p_value)


def test_accuracies_without_spread_are_not_tested() -> None:
    same = moderated({"a": by_training([0.5, 0.5]), "b": by_training([0.6, 0.6])})
    assert isnan(difference(same["a"], same["b"]).p_value)
    assert difference(same["a"], same["b"]).difference == pytest.approx(-0.1)


def by_planted_searches(rng: np.random.Generator, searches: int, trainings: int) -> list[list[float]]:
    """Searches that differ by 1, trainings of one search's widths by 0.5; the truth is 0."""
    return [list(rng.normal(rng.normal(0, 1), 0.5, trainings)) for _ in range(searches)]


@pytest.mark.slow
@pytest.mark.parametrize("searches", [2, 3, 5])
def test_intervals_over_searches_hold_what_searches_of_that_kind_find(searches: int) -> None:
    rng, repeats = np.random.default_rng(7), 3000
    alone = beside = naive = 0
    for _ in range(repeats):
        groups = by_planted_searches(rng, searches, 2)
        found, uniform = by_search(groups), by_training(list(rng.normal(0, 0.5, 5)))
        half = float(student.ppf(0.975, found.spread.freedom)) * found.error
        alone += abs(found.mean) <= half
        between = difference(found, uniform)
        beside += between.low <= 0 <= between.high
        flat = difference(by_training([one for own in groups for one in own]), uniform)
        naive += flat.low <= 0 <= flat.high
    assert alone / repeats >= 0.93
    assert beside / repeats >= 0.93
    assert naive / repeats < 0.9  # if trainings were the units


@pytest.mark.parametrize("test", ["wilcoxon", "sign-flip"])
def test_what_a_test_of_ranks_or_signs_can_detect_is_its_own(test: TestName) -> None:
    rng, n, comparisons = np.random.default_rng(8), 9, 11
    shift = least_shift(test, n, comparisons)
    assert shift > 1.1 * detectable(1, n, comparisons)  # more than t needs, where only equal signs reject
    found = [
        paired(list(rng.normal(shift, 1, n)), [0.0] * n, test).p_value < 0.05 / comparisons
        for _ in range(150)
    ]
    assert 0.72 <= np.mean(found) <= 0.88
    contrast = paired(list(rng.normal(0, 1, n)), [0.0] * n, test)
    assert detectable_by(test, contrast, comparisons) == contrast.deviation * shift
    assert least_shift(test, 5, comparisons) == float("inf")
