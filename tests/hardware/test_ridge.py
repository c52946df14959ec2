"""Ridge regression that believes no more than what is left out confirms."""

import numpy as np

from nas_prune.hardware.ridge import ridge

RNG = np.random.default_rng(3)


def test_coefficients_without_noise_are_found() -> None:
    features = RNG.standard_normal((200, 5))
    law = np.array([0.1, 0.0, -0.2, 0.0, 0.05])
    assert np.abs(ridge(features, features @ law) - law).max() < 0.001


def test_noise_teaches_nothing() -> None:
    features = RNG.standard_normal((60, 40))
    found = [np.abs(ridge(features, 0.02 * RNG.standard_normal(60))).max() for _ in range(20)]
    free = [np.abs(np.linalg.lstsq(features, 0.02 * RNG.standard_normal(60))[0]).max() for _ in range(20)]
    assert np.mean(found) < 0.2 * np.mean(free)


def test_a_pattern_below_noise_is_used_in_part() -> None:
    features = RNG.standard_normal((300, 30))
    law = 0.01 * RNG.standard_normal(30)
    found = ridge(features, features @ law + 0.05 * RNG.standard_normal(300))
    fresh = RNG.standard_normal((1000, 30))
    assert np.std(fresh @ (law - found)) < 0.75 * np.std(fresh @ law)


def test_disturbed_measurements_count_less() -> None:
    features = RNG.standard_normal((200, 3))
    law = np.array([0.1, -0.1, 0.0])
    disturbed = features @ law + 0.01 * RNG.standard_normal(200)
    disturbed[::10] += 3
    plain = np.linalg.lstsq(features, disturbed)[0]
    assert np.abs(ridge(features, disturbed) - law).max() < 0.3 * np.abs(plain - law).max()


def test_nothing_to_be_explained_gives_zeros() -> None:
    assert ridge(np.ones((10, 2)), np.zeros(10)).tolist() == [0, 0]
