"""Populations beside each other."""

import numpy as np
import pytest

from nas_prune.comparison.populations import compared


def test_a_better_population_is_called_better_and_the_reverse_worse() -> None:
    rng = np.random.default_rng(0)
    good, bad = rng.normal(0.1, 0.01, 20), rng.normal(0.2, 0.01, 20)
    found = compared(good, bad)
    assert found.verdict == "better"
    assert found.difference == pytest.approx(np.median(good) - np.median(bad))
    assert found.low <= found.difference <= found.high < 0
    assert (found.ks, found.p_value < 1e-6) == (1.0, True)
    assert compared(bad, good).verdict == "worse"


def test_two_samples_of_one_population_mostly_show_nothing() -> None:
    """The 90 % interval of the medians' difference leaves zero out about one time in ten."""
    rng = np.random.default_rng(1)
    verdicts = [compared(*rng.normal(0, 1, (2, 12))).verdict for _ in range(60)]
    assert np.mean([verdict == "no detectable difference" for verdict in verdicts]) >= 0.75


def test_the_same_errors_give_the_same_interval_every_time() -> None:
    assert compared([0.1, 0.2, 0.4], [0.3, 0.2]) == compared([0.1, 0.2, 0.4], [0.3, 0.2])
