"""The time of one layer: exact where it is one of the terms, steps found from the data, never falling."""

import numpy as np
import pytest

from nas_prune.hardware.latency_model import STEPS, fitted, functions_of

RNG = np.random.default_rng(0)
READ, WRITTEN = RNG.integers(1, 200, 120), RNG.integers(1, 100, 120)


@pytest.mark.parametrize("block", STEPS)
def test_a_runtime_that_computes_in_blocks_is_found_out(block: int) -> None:
    def law(read: np.ndarray, written: np.ndarray) -> np.ndarray:
        return np.asarray(5000 + 7 * read * (block * np.ceil(written / block)) + 900 * (read % block != 0))

    time = fitted(READ, WRITTEN, law(READ, WRITTEN))
    read, written = RNG.integers(1, 200, 500), RNG.integers(1, 100, 500)
    assert np.abs(time(read, written) / law(read, written) - 1).max() < 0.01


def test_a_bare_line_would_not_do() -> None:
    stairs = 100 * np.ceil(WRITTEN / 16)
    wrong = np.polyval(np.polyfit(WRITTEN, stairs, 1), WRITTEN)
    assert np.abs(wrong / stairs - 1).max() > 0.1
    assert np.abs(fitted(READ, WRITTEN, stairs)(READ, WRITTEN) / stairs - 1).max() < 0.001


def test_narrow_layers_may_have_a_way_of_their_own() -> None:
    def law(read: np.ndarray, written: np.ndarray) -> np.ndarray:
        return np.asarray(np.where(read < 16, 4000 + 50 * read * written, 9000 + 20 * read * written))

    time = fitted(READ, WRITTEN, law(READ, WRITTEN))
    rng = np.random.default_rng(8)
    read, written = rng.integers(1, 200, 500), rng.integers(1, 100, 500)
    errors = np.sort(np.abs(time(read, written) / law(read, written) - 1))
    # Exact measurements leave terms open that one pair of whole blocks alone shows; which, libraries of algebra decide.
    assert errors[-3] < 0.01
    assert errors[-1] < 0.1


def test_time_never_falls_among_widths_of_one_alignment() -> None:
    noisy = (1000 + READ * WRITTEN) * np.exp(0.2 * RNG.standard_normal(120))
    table = fitted(READ, WRITTEN, noisy).table(192, 96)
    largest = max(STEPS)
    for remainder in (1, 7, largest):
        own = slice(remainder + largest, None, largest)  # beyond what is narrow
        assert (np.diff(table[own], axis=0) >= -1).all()
        assert (np.diff(table[:, own], axis=1) >= -1).all()
    assert (table[1:, 1:] >= 0).all()


def test_wider_may_be_faster_where_it_is_aligned() -> None:
    law = np.where(READ % 8 == 0, 10 * READ, 30 * READ)
    time = fitted(READ, WRITTEN, law)
    assert time(64, 10) < time(63, 10)


def test_disturbed_measurements_hardly_move_the_fit() -> None:
    law = 1000.0 + 3 * READ * WRITTEN
    disturbed = law.copy()
    disturbed[::12] *= 4
    usual = np.abs(fitted(READ, WRITTEN, disturbed)(READ, WRITTEN) / law - 1)
    assert np.median(usual) < 0.03


def test_the_table_is_the_function_at_whole_widths() -> None:
    time = fitted(READ, WRITTEN, 1000 + 3 * READ * WRITTEN)
    table = time.table(20, 10)
    assert table.shape == (21, 11)
    assert table[20, 10] == round(float(time(20, 10)))
    assert functions_of(np.array([[1, 2]])).shape == (1, 2, *time.weights_KK.shape[:1])
