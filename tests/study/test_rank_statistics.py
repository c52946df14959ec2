"""Order, intervals and gains, against hand arithmetic."""

from math import isnan

import numpy as np
import pytest

from nas_prune.study.rank_statistics import correlation, gain, interval, seed_noise


def test_an_interval_is_students() -> None:
    found = interval([0.50, 0.52, 0.54])
    assert found.mean == pytest.approx(0.52)
    assert found.high - found.mean == pytest.approx(
        2.919986 * 0.02 / 3**0.5, rel=1e-5
    )  # t(0.95; 2) in tables
    assert isnan(interval([0.5]).low)


def test_seed_noise_is_pooled_over_networks() -> None:
    assert seed_noise([[0.1, 0.3], [0.5, 0.5], [0.9]]) == pytest.approx((0.02 / 2) ** 0.5)
    assert isnan(seed_noise([[0.1], [0.2]]))


def test_a_gain_under_twice_the_seed_noise_is_none() -> None:
    groups = [[0.50, 0.52], [0.52, 0.54]]
    noise = 0.02 / 2**0.5
    small, large = gain([0.53], [0.53 - 1.9 * noise], groups), gain([0.53], [0.53 - 2.1 * noise], groups)
    assert not small.is_detectable
    assert small.words.startswith("no detectable gain (+2.69 points")
    assert large.is_detectable
    assert large.words == "+2.97 points (seed noise 1.41)"
    assert not gain([0.99, 0.99], [0.99, 0.99], [[0.99, 0.99]] * 2).is_detectable
    assert "seeds 2 or more" in gain([0.53], [0.50], [[0.53], [0.50]]).words


def test_no_gain_is_claimed_where_there_is_none() -> None:
    rng = np.random.default_rng(0)
    claims = 0
    for _ in range(1000):  # equal networks, 3 seeds each: the best of five, trained in full beside a sixth
        short, full = rng.normal(0.5, 0.01, (5, 3)), rng.normal(0.6, 0.01, (6, 3))
        best = int(short.mean(axis=1).argmax())
        claims += gain(list(full[best]), list(full[5]), [list(full[best]), list(full[5])]).is_detectable
    assert claims / 1000 < 0.05


def test_the_correlation_is_spearmans_or_nothing() -> None:
    short = {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4}
    assert correlation(short, {"a": 0.5, "b": 0.6, "c": 0.8, "d": 0.7}).rho == pytest.approx(0.8)
    assert "not to be told from 2 networks" in correlation(short, {"a": 0.5, "b": 0.6}).words
