"""Shared values are those of k-means from evenly spaced ones; what 16 bits can say is said in 16."""

import numpy as np
import pytest
from sklearn.cluster import KMeans

from nas_prune.coding.sharing import goes_in_half, in_half, shared


def weights(count: int = 3000, density: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(0)
    own = rng.normal(size=count).astype(np.float32)
    return own * (rng.random(count) < density)


@pytest.mark.parametrize("most", [2, 7, 12])
def test_values_are_those_of_scikit_learns_k_means(most: int) -> None:
    own = weights()
    first = np.linspace(own.min(), own.max(), most)[:, None]
    theirs = KMeans(most, init=first, n_init=1, max_iter=300, tol=0).fit(own[:, None].astype(np.float64))
    found = shared(own, most)
    assert np.sort(theirs.cluster_centers_[:, 0]) == pytest.approx(found.values_K, abs=1e-6)
    assert found.squared_error == pytest.approx(theirs.inertia_, rel=1e-6)


def test_each_weight_has_the_nearest_value_and_each_value_is_the_mean_of_its_weights() -> None:
    own = weights(density=0.3).reshape(30, 100)
    found = shared(own, 16)
    dense = found.dense()
    assert dense.shape == (30, 100)
    assert ((dense == 0) == (own == 0)).all()
    there = own[own != 0]
    nearest = np.abs(there[:, None] - found.values_K).argmin(1)
    assert np.array_equal(found.values_K[nearest], dense[own != 0])
    for number, value in enumerate(found.values_K):
        assert there[nearest == number].mean() == pytest.approx(value, abs=1e-5)


def test_few_different_weights_stay_as_they_are() -> None:
    own = np.array([0, 0.5, 0.5, -1, 0, 2], np.float32)
    found = shared(own, 4)
    assert found.values_K.tolist() == [-1, 0.5, 2]
    assert np.array_equal(found.dense(), own)
    assert found.squared_error == 0


def test_clusters_without_weights_are_left_out() -> None:
    own = np.concatenate([np.linspace(0.9, 1, 50), [-1.0]]).astype(np.float32)
    assert 2 <= len(shared(own, 32).values_K) < 32


def test_more_values_are_never_further_away() -> None:
    own = weights()
    errors = [shared(own, 1 << bits).squared_error for bits in range(1, 9)]
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize(
    ("values", "goes"),
    [([1.0, -0.1], True), ([0.0, 3e-9, 1.0], True), ([1e5], False), ([float("nan")], False), ([3e-8], False)],
)
def test_numbers_go_in_16_bits_where_they_say_the_same(values: list[float], goes: bool) -> None:
    own = np.array(values, np.float32)
    assert goes_in_half(own) == goes
    if goes:
        assert in_half(own) == pytest.approx(own, rel=1e-3, abs=1e-5)
