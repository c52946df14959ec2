"""How often the default test errs, covers and finds: planted arms whose deviations are equal, 1 : 3, and as seen.

Ten arms of fixed widths and two of random ones, in the eleven comparisons that a comparison without guideline and study
plans. Deviations are in units of one training's.
"""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from nas_prune.comparison.statistics import (
    Contrast,
    Estimate,
    by_training,
    difference,
    holm,
    least_found,
    moderated,
    on_its_own,
)
from nas_prune.comparison.variances import pooled

PAIRS = [(0, 4), (1, 4), (2, 4), (5, 4), (7, 4), (9, 4), (3, 5), (6, 5), (8, 5)]  # arm, and the one beside it
PLANNED = 11
REPEATS = 1500
EQUAL = (1.0,) * 10
# In the order of `studies/structure-or-weights-vgg16`: unpruned, fine-tuned, re-wound, lottery, Scratch-B, Scratch-E, …
SEEN = (0.33, 1.01, 0.91, 1.71, 0.53, 1.16, 0.94, 0.51, 1.66, 0.41)
NOISY = (1.0,) * 4 + (3.0, 3.0) + (1.0,) * 4  # the two that others are compared with
DEVIATIONS = {
    "equal": (EQUAL, 2.0),
    "1:3, Scratch-E noisy": ((1.0, 3.0) * 5, 3.0),
    "1:3, Scratch-B noisy": ((1.0, 1.0, 3.0, 3.0, 3.0, 1.0, 1.0, 3.0, 3.0, 1.0), 3.0),
    "as seen": (SEEN, 4.0),
}


@dataclass(frozen=True)
class Rates:
    """What many comparisons of equally good arms gave, as shares: `each` is the worst comparison's."""

    errors: float
    each: float
    family: float
    coverage: float


def compared(
    rng: np.random.Generator, deviations: tuple[float, ...], n: int, of_random: float, effect: float = 0.0
) -> list[Contrast]:
    """One comparison; its first arm is better by the effect."""
    values = [list(rng.normal(0, one, n)) for one in deviations]
    values[0] = [one + effect for one in values[0]]
    alone = {str(number): by_training(own) for number, own in enumerate(values)}
    noise, arms = pooled([one.spread for one in alone.values()]), moderated(alone)
    found = [difference(arms[str(one)], arms[str(other)]) for one, other in PAIRS]
    drawn = [on_its_own(list(rng.normal(0, of_random, n)), noise) for _ in "eb"]
    return [*found, *(difference(one, arms[str(other)]) for one, other in zip(drawn, (5, 4), strict=True))]


def rates(deviations: tuple[float, ...], n: int, of_random: float) -> Rates:
    rng = np.random.default_rng(3)
    many = [compared(rng, deviations, n, of_random) for _ in range(REPEATS)]
    p_values = np.array([[one.p_value for one in family] for family in many])
    covered = np.array([[one.low <= 0 <= one.high for one in family] for family in many])
    return Rates(
        errors=float((p_values < 0.05).mean()),
        each=float((p_values < 0.05).mean(axis=0).max()),
        family=float((p_values.min(axis=1) * PLANNED < 0.05).mean()),
        coverage=float(covered.mean()),
    )


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("name", DEVIATIONS)
def test_the_default_test_errs_in_six_of_a_hundred_at_most(name: str, n: int) -> None:
    deviations, of_random = DEVIATIONS[name]
    found = rates(deviations, n, of_random)
    assert found.errors <= 0.06
    assert found.each <= 0.07  # 1,500 repeats of a share of 0.06 differ by 0.006
    assert found.family <= 0.06
    assert found.coverage >= 0.94


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 3, 5])
def test_where_what_all_are_compared_with_is_the_noisy_one_families_still_hold(n: int) -> None:
    """The worst for borrowed variances. Single intervals then cover less, and this says how much less."""
    found = rates(NOISY, n, 3.0)
    assert found.family <= 0.06
    assert 0.92 <= found.coverage <= 0.95
    assert found.each <= 0.09


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 3, 5])
def test_what_is_printed_as_detectable_is_found_in_four_of_five(n: int) -> None:
    rng = np.random.default_rng(4)
    printed = [
        least_found(one.error, one.freedom, PLANNED)
        for one, *_ in (compared(rng, EQUAL, n, 2.0) for _ in range(500))
    ]
    effect = float(np.mean(printed))
    found = [
        holm([one.p_value for one in compared(rng, EQUAL, n, 2.0, effect)], PLANNED)[0] < 0.05
        for _ in range(800)
    ]
    assert 0.72 <= np.mean(found) <= 0.85  # 0.77, 0.74 and 0.78 with 1,500 repeats
    expected = {2: 10.0, 3: 4.5, 5: 2.85}[n]  # deviations of a training
    assert effect == pytest.approx(expected, rel=0.07)


def by_other_variances(values: list[list[float]]) -> dict[str, list[Estimate]]:
    """The arms as `variances.moderated` sees them, with one variance pooled over all, and each with its own (Welch)."""
    own = [by_training(one) for one in values]
    together = pooled([one.spread for one in own])
    known = moderated({str(number): one for number, one in enumerate(own)})
    return {
        "moderated": list(known.values()),
        "pooled": [replace(one, spread=together, most=together.freedom) for one in own],
        "own": own,
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "found"),
    [
        (2, {"moderated": 11, "pooled": 4.6, "own": 91}),
        (3, {"moderated": 4.7, "pooled": 3.3, "own": 8.5}),
        (5, {"moderated": 2.9, "pooled": 2.5, "own": 3.4}),
    ],
)
def test_what_each_variance_finds_is_as_the_readme_says(n: int, found: dict[str, float]) -> None:
    """Differences, in deviations of a training, that are found in four of five repeats of eleven comparisons."""
    rng = np.random.default_rng(8)
    counts = dict.fromkeys(found, 0)
    for _ in range(REPEATS):
        arms = by_other_variances([list(rng.normal(0, 1, n)) for _ in EQUAL])
        for name, effect in found.items():
            better = replace(arms[name][0], mean=arms[name][0].mean + effect)
            counts[name] += difference(better, arms[name][4]).p_value * PLANNED < 0.05
    assert all(0.76 <= count / REPEATS <= 0.84 for count in counts.values()), counts


@pytest.mark.slow
@pytest.mark.parametrize(("deviations", "least", "most"), [(SEEN, 0.07, 0.1), (NOISY, 0.15, 0.22)])
@pytest.mark.parametrize("n", [3, 5])
def test_one_variance_pooled_over_all_arms_errs_too_often(
    n: int, deviations: tuple[float, ...], least: float, most: float
) -> None:
    """Why it is not the default."""
    rng, errors = np.random.default_rng(5), 0
    for _ in range(REPEATS):
        arms = by_other_variances([list(rng.normal(0, one, n)) for one in deviations])["pooled"]
        family = [difference(arms[one], arms[other]).p_value for one, other in PAIRS]
        errors += min(family) * PLANNED < 0.05
    assert least <= errors / REPEATS <= most


def test_without_any_difference_a_few_comparisons_err_seldom() -> None:
    """The quick form of the simulations that are marked slow: a test that always errs is found here."""
    rng = np.random.default_rng(6)
    many = [compared(rng, SEEN, 3, 4.0) for _ in range(60)]
    assert np.mean([min(one.p_value for one in family) * PLANNED < 0.05 for family in many]) <= 0.1
    better = [compared(rng, EQUAL, 3, 2.0, 9.0)[0].p_value * PLANNED < 0.05 for _ in range(40)]
    assert np.mean(better) > 0.9
