import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_prune.data.split import IntArray, allocate, split_off, subset

CLASS_SIZES = st.lists(st.integers(2, 60), min_size=2, max_size=8)


def labels_of(counts: list[int]) -> IntArray:
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(0).permutation(labels)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(CLASS_SIZES, st.floats(0.01, 0.5), st.integers(0, 5))
def test_a_split_is_disjoint_complete_exact_and_within_one_of_each_share(
    counts: list[int], fraction: float, seed: int
) -> None:
    labels = labels_of(counts)
    stay, held = split_off(labels, fraction, rng(seed))
    assert sorted([*stay, *held]) == list(range(len(labels)))
    assert len(held) == max(1, round(fraction * len(labels)))
    share = np.array(counts) * len(held) / len(labels)
    assert (np.abs(np.bincount(labels[held], minlength=len(counts)) - share) <= 1 + 1e-9).all()


@given(st.lists(st.integers(1, 30), min_size=2, max_size=8), st.floats(0.01, 0.5), st.booleans())
def test_every_class_stays_in_the_larger_part(counts: list[int], fraction: float, every: bool) -> None:
    labels = labels_of(counts)
    stay, held = split_off(labels, fraction, rng(), is_every_class_held=every)
    assert set(labels[stay]) == set(range(len(counts)))
    if every:
        assert set(labels[held]) == {label for label, count in enumerate(counts) if count > 1}


@given(st.lists(st.integers(1, 60), min_size=2, max_size=8), st.integers(0, 200))
def test_a_subset_has_the_size_asked_for_and_two_of_every_class(counts: list[int], extra: int) -> None:
    labels = labels_of(counts)
    size = 2 * len(counts) + extra
    chosen = subset(labels, size, rng())
    assert len(chosen) == len(set(chosen)) == min(size, len(labels))
    assert (np.bincount(labels[chosen], minlength=len(counts)) >= np.minimum(counts, 2)).all()


def test_a_class_of_one_image_stays_whole() -> None:
    stay, held = split_off(np.array([0, 1, 1, 1, 1]), 0.5, rng())
    assert 0 in stay
    assert len(held) == 2


def test_the_same_random_state_chooses_the_same_images() -> None:
    labels = labels_of([30, 30])
    assert np.array_equal(split_off(labels, 0.2, rng(1))[1], split_off(labels, 0.2, rng(1))[1])


def test_another_random_state_chooses_other_images() -> None:
    labels = labels_of([30, 30])
    assert not np.array_equal(split_off(labels, 0.2, rng(1))[1], split_off(labels, 0.2, rng(2))[1])
    assert not np.array_equal(subset(labels, 20, rng(1)), subset(labels, 20, rng(2)))


@pytest.mark.parametrize(
    ("counts", "total", "expected"),
    [([10, 30], 8, [2, 6]), ([5, 5, 5], 4, [2, 1, 1]), ([1, 99], 10, [1, 9]), ([3, 3], 100, [3, 3])],
)
def test_allocation_by_hand(counts: list[int], total: int, expected: list[int]) -> None:
    least, most = np.minimum(counts, 1), np.array(counts)
    assert allocate(np.array(counts), total, least_K=least, most_K=most).tolist() == expected
