"""Ridge regression that believes no more than what is left out confirms."""

import numpy as np
import pytest

from nas_prune.hardware import ridge as module

RNG = np.random.default_rng(3)


def ridge(features: np.ndarray, values: np.ndarray, networks: np.ndarray | None = None) -> np.ndarray:
    return module.ridge(features, values, np.arange(len(values)) if networks is None else networks)


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


def test_what_all_rows_of_a_network_share_is_not_taken_for_a_pattern() -> None:
    """Nine layers that read the same width, and a disturbance that all layers of a network have."""
    widths = np.repeat(RNG.integers(0, 32, 160), 9)
    networks = np.repeat(np.arange(160), 9)
    features = (widths[:, None] == np.arange(32)).astype(float)
    found, fooled = [], []
    for _ in range(4):
        values = np.repeat(0.02 * RNG.standard_normal(160), 9)
        found.append(np.sqrt(np.mean(ridge(features, values, networks) ** 2)))
        fooled.append(np.sqrt(np.mean(ridge(features, values) ** 2)))
    assert np.mean(found) < 0.5 * np.mean(fooled)


def test_left_out_errors_are_those_of_fits_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one penalty the choice is between it and nothing: by explicit fits without each network."""
    monkeypatch.setattr(module, "_PENALTIES", np.array([0.5]))
    for strength in (0.0, 0.004, 0.008, 0.012, 0.02):
        features = RNG.standard_normal((60, 6))
        networks = np.repeat(np.arange(20), 3)
        values = features @ np.full(6, strength) + 0.02 * RNG.standard_normal(60)
        usual = max(0.01, 1.4826 * float(np.median(np.abs(values))))
        trust = np.minimum(1, 2 * usual / np.abs(values))
        errors = values.copy()
        for network in range(20):
            rest = networks != network
            weighted = features[rest] * trust[rest, None]
            weights = np.linalg.solve(
                weighted.T @ features[rest] + 0.5 * np.eye(6), weighted.T @ values[rest]
            )
            errors[~rest] -= features[~rest] @ weights
        loss, zero = (np.minimum(trust * one**2, (3 * usual) ** 2).mean() for one in (errors, values))
        assert ridge(features, values, networks).any() == (loss < 0.98 * zero)
