"""Pairs of widths with a time of their own: found where they are met again and again, and not made of noise."""

import numpy as np
from numpy.typing import NDArray

from nas_prune.hardware.latency_pairs import pairs_of

RNG = np.random.default_rng(3)


def measured(
    most: int, count: int, noise: float, own: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Pairs at random, by which factor each is off, and the factor that each pair really has."""
    read, written = RNG.integers(1, most + 1, (2, count))
    factors = 1 + own * RNG.standard_normal((most + 1, most + 1))
    true = factors[read, written]
    return read, written, true * (1 + noise * RNG.standard_normal(count)), true


def test_pairs_that_are_met_often_are_known() -> None:
    read, written, ratio, true = measured(16, 1920, noise=0.05, own=0.05)
    found = pairs_of([(read, written, ratio, np.arange(1920) // 6)])
    assert np.std(found(read, written) / true - 1) < 0.5 * np.std(1 / true - 1)


def test_noise_is_not_believed() -> None:
    for most in (16, 64, 512):
        read, written, ratio, _ = measured(most, 1600, noise=0.08, own=0.0)
        found = pairs_of([(read, written, ratio, np.arange(1600) // 5)])
        assert np.abs(found(read, written) - 1).max() < 0.01


def test_one_disturbed_network_makes_no_pair_slow() -> None:
    """Two layers of one network at the same pair say it once: all of a network is left out together."""
    read, written = np.full(40, 8), np.full(40, 8)
    ratio, network = np.where(np.arange(40) < 2, 1.8, 1.0), np.repeat(np.arange(20), 2)
    found = pairs_of([(read, written, ratio, network)])
    assert float(found(8, 8)) < 1.02


def test_a_pair_that_was_never_met_has_no_factor() -> None:
    read, written = np.repeat(np.arange(1, 9), 40), np.tile(np.arange(1, 9), 40)
    ratio = np.where((read == 3) & (written == 5), 1.05, 1.0)
    found = pairs_of([(read, written, ratio, np.arange(320))])
    table = found(np.arange(1, 11)[:, None], np.arange(1, 11)[None, :])
    assert table.shape == (10, 10)
    assert table[2, 4] > 1.03
    assert (table[8:] == 1).all()
    assert (table[:, 8:] == 1).all()
    assert float(np.delete(table.ravel(), 2 * 10 + 4).max()) < 1.01


def test_a_pair_of_one_network_does_not_confirm_itself() -> None:
    read, written = np.repeat(np.arange(1, 9), 40), np.tile(np.arange(1, 9), 40)
    ratio = np.where((read + written) % 3 == 0, 1.05, 1.0)
    alone = (np.append(read, 20), np.append(written, 20), np.append(ratio, 1.05), np.arange(321))
    found = pairs_of([alone])
    assert float(found(1, 2)) > 1.03
    assert float(found(20, 20)) == 1


def test_few_pairs_that_are_met_again_say_nothing() -> None:
    for seed in range(60):
        rng = np.random.default_rng(seed)
        read, written = rng.integers(1, 65, (2, 200))
        ratio = 1 + 0.04 * rng.standard_normal(200)
        found = pairs_of([(read, written, ratio, np.arange(200) // 5)])
        assert (found(read, written) == 1).all()


def test_a_wild_measurement_is_bounded() -> None:
    read, written = np.repeat(np.arange(1, 5), 40), np.tile(np.arange(1, 5), 40)
    ratio = np.where((read == 2) & (written == 2), 50.0, 1.0)
    found = pairs_of([(read, written, ratio, np.arange(160))])
    assert found(read, written).max() <= 2
