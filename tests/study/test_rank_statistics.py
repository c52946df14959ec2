"""Order, intervals and gains, against hand arithmetic."""

from math import isnan

import numpy as np
import pytest
from scipy.stats import ttest_ind

from nas_prune.study.rank_statistics import (
    Gain,
    Prior,
    correlation,
    gain,
    gain_among,
    interval,
    seed_noise,
    shrunk,
)


def test_an_interval_is_students() -> None:
    found = interval([0.50, 0.52, 0.54])
    assert found.mean == pytest.approx(0.52)
    assert found.high - found.mean == pytest.approx(
        2.919986 * 0.02 / 3**0.5, rel=1e-5
    )  # t(0.95; 2) in tables
    assert isnan(interval([0.5]).low)


def test_seed_noise_is_pooled_over_networks() -> None:
    found = seed_noise([[0.1, 0.3], [0.5, 0.5], [0.9]])
    assert found.deviation == pytest.approx((0.02 / 2) ** 0.5)
    assert found.freedom == 2
    assert isnan(seed_noise([[0.1], [0.2]]).deviation)


def test_a_gain_is_told_by_a_t_interval() -> None:
    found = gain([0.52, 0.54], [0.50, 0.52], [[0.52, 0.54], [0.50, 0.52], [0.9]])
    noise = 0.02 / 2**0.5  # of each of two pairs; the network trained once tells nothing
    half = 2.919986 * noise  # t(0.95; 2) in tables, and 1/2 + 1/2 under the root
    assert found.noise == pytest.approx(noise)
    assert (found.low, found.high) == pytest.approx((0.02 - half, 0.02 + half), rel=1e-5)
    theirs = ttest_ind([0.52, 0.54], [0.50, 0.52], alternative="greater")  # pooled, by other people
    assert found.p_value == pytest.approx(float(theirs.pvalue))
    assert not found.is_gain
    assert "n = 2 and 2" in found.words
    large = gain([0.56, 0.58], [0.50, 0.52], [[0.56, 0.58], [0.50, 0.52]])
    assert large.is_gain
    assert large.words.startswith("a gain: +6.00 points (90 % interval +1.87 to +10.13")
    assert gain([0.50, 0.52], [0.56, 0.58], [[0.56, 0.58], [0.50, 0.52]]).words.startswith("a loss: -6.00")


def test_all_candidates_trained_more_than_once_sharpen_the_noise() -> None:
    ours, theirs = [0.52, 0.54], [0.50, 0.52]
    pair = gain(ours, theirs, [ours, theirs])
    more = gain(ours, theirs, [ours, theirs, [0.40, 0.42], [0.30, 0.32, 0.31]])
    assert more.high - more.low < 0.8 * (pair.high - pair.low)


@pytest.mark.parametrize(
    "pair", [([0.53], [0.50]), ([0.99, 0.99], [0.98, 0.98]), ([0.98, 0.98], [0.99, 0.99])]
)
def test_nothing_is_said_where_the_noise_is_unknown(pair: tuple[list[float], list[float]]) -> None:
    winner, centre = pair
    found = gain(winner, centre, [winner, centre])
    assert not found.is_gain
    assert isnan(found.low)
    assert isnan(found.detectable)
    assert "seed noise is unknown" in found.words
    assert found.plain()["p_value"] is None


def test_there_is_no_gain_over_itself_nor_over_what_was_not_trained() -> None:
    ours, theirs = [0.52, 0.54], [0.50, 0.52]
    values: dict[str, list[float]] = {"trial 7": ours, "guideline": theirs, "uniform": []}
    assert gain_among(values, "trial 7", "guideline") == gain(ours, theirs, [ours, theirs])
    assert gain_among(values, "trial 7", "trial 7") is None
    assert gain_among(values, "trial 7", "uniform") is None
    assert gain_among(values, "trial 7", None) is None


def rankings(true_gain: float, n: int, *, candidates: int = 5, repeats: int = 3000) -> list[Gain]:
    """Simulated: the best of some equal networks, in full beside a centre.

    The noise of a training is one; every candidate is better than the centre by the true gain.
    """
    rng = np.random.default_rng([n, candidates, round(100 * true_gain)])
    found = []
    for _ in range(repeats):
        short, centre = rng.normal(0, 1, (candidates, n)), list(rng.normal(0, 1, n))
        full = rng.normal(true_gain, 1, (candidates, n))
        best = int(short.mean(axis=1).argmax())
        others = [[one[0]] for number, one in enumerate(full) if number != best]  # trained in full once
        found.append(gain(list(full[best]), centre, [list(full[best]), centre, *others]))
    return found


def share(found: list[Gain]) -> float:
    return sum(one.is_gain for one in found) / len(found)


@pytest.mark.slow
def test_a_gain_is_found_more_often_with_more_seeds_and_seldom_where_there_is_none() -> None:
    seeds = (2, 3, 5, 10)
    nothing = {n: rankings(0.0, n) for n in seeds}
    for found in nothing.values():
        assert share(found) <= 0.06  # one-sided
        assert sum(one.high < 0 for one in found) / len(found) <= 0.06
        assert 0.88 <= sum(one.low <= 0 <= one.high for one in found) / len(found) <= 0.92
    powers = [share(rankings(1.0, n)) for n in seeds]
    assert powers == sorted(powers)
    assert powers[-1] > 0.6
    for n, found in nothing.items():
        printed = float(
            np.sqrt(np.mean([one.detectable**2 for one in found]))
        )  # over the noise it is reckoned from
        assert 0.75 <= share(rankings(printed, n)) <= 0.85


def test_the_correlation_is_spearmans_or_nothing() -> None:
    short = {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4}
    assert correlation(short, {"a": 0.5, "b": 0.6, "c": 0.8, "d": 0.7}).rho == pytest.approx(0.8)
    assert "not to be told from 2 networks" in correlation(short, {"a": 0.5, "b": 0.6}).words


def test_a_shrunk_gain_is_the_mean_weighted_by_precision() -> None:
    groups = [[0.56, 0.58, 0.57], [0.50, 0.52, 0.51]]
    measured = gain(groups[0], groups[1], groups)
    error = (measured.high - measured.low) / 2 / 1.644854  # z(0.95) in tables
    found = shrunk(Prior(0.02, 0.01**2, is_by_rule=True), measured)
    assert found is not None
    precisions = (1 / 0.01**2, 1 / error**2)
    assert found.difference == pytest.approx((0.02 * precisions[0] + 0.06 * precisions[1]) / sum(precisions))
    assert found.high - found.low == pytest.approx(2 * 1.644854 / sum(precisions) ** 0.5, rel=1e-5)
    assert found.weight == pytest.approx(precisions[1] / sum(precisions))
    assert found.words.startswith("a gain: +")
    assert "the rest the rule of all trials" in found.words


def test_a_lead_whose_interval_includes_zero_is_none() -> None:
    measured = gain([0.52, 0.54], [0.50, 0.52], [[0.52, 0.54], [0.50, 0.52]])
    found = shrunk(Prior(0.0, 0.01**2, is_by_rule=False), measured)
    assert found is not None
    assert 0 < found.difference < measured.difference
    assert found.words.startswith("no gain can be told: +")
    assert "the rest zero" in found.words


def test_without_seed_noise_a_rules_word_is_left_or_nothing() -> None:
    unknown = gain([0.53], [0.50], [[0.53], [0.50]])
    found = shrunk(Prior(0.02, 0.01**2, is_by_rule=True), unknown)
    assert found is not None
    assert (found.difference, found.weight) == (0.02, 0.0)
    assert shrunk(Prior(0.02, 0.01**2, is_by_rule=True), None) == found
    assert shrunk(Prior(0.0, 0.01**2, is_by_rule=False), unknown) is None
