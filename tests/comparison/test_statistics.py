"""The statistics of comparisons on planted effects."""

from math import isnan

import numpy as np
import pytest
from scipy.stats import ttest_rel

from nas_prune.comparison.statistics import check_test, detectable, holm, paired
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


def test_tests_that_cannot_reject_are_refused() -> None:
    with pytest.raises(BadInputError, match="at least 6 seeds"):
        check_test("wilcoxon", 5, 1)
    with pytest.raises(BadInputError, match="at least 9 seeds"):
        check_test("sign-flip", 6, 10)
    check_test("sign-flip", 6, 1)
    check_test("t", 2, 10)
    # And they could not have: all differences of one sign give their smallest p value.
    arm, zeros = [0.01, 0.02, 0.03, 0.04, 0.05], [0.0] * 5
    assert paired(arm, zeros, "wilcoxon").p_value == paired(arm, zeros, "sign-flip").p_value == 2 / 2**5
    more = [*arm, 0.06]
    assert paired(more, [0.0] * 6, "sign-flip").p_value == 2 / 2**6
