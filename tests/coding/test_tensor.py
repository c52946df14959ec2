"""Tensors come back to the bit, in the shortest of the ways, and take as many bytes as was said."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_prune.coding import decode
from nas_prune.coding.sharing import shared
from nas_prune.coding.tensor import CodedTensor, coded, cost_of, gaps_of, plain


def tensor(density: float, shape: tuple[int, ...] = (40, 25), values: int = 16) -> CodedTensor:
    rng = np.random.default_rng(0)
    own = rng.normal(size=shape).astype(np.float32) * (rng.random(shape) < density)
    own.flat[3] = 1
    return coded(shared(own, values))


def read(line: dict[str, Any], content: bytes) -> np.ndarray:
    return decode.decoded({"tensors": [{"name": "own", **line}]}, content)["own"]


@given(st.lists(st.booleans(), min_size=1, max_size=300).filter(any), st.integers(1, 6))
@settings(max_examples=100, deadline=None)
def test_gaps_say_where_the_non_zeros_are(mask: list[bool], bits: int) -> None:
    places = np.flatnonzero(mask)
    gaps, last = gaps_of(places, bits), (1 << bits) - 1
    assert gaps.max() <= last
    found, at = [], -1
    for gap in gaps.tolist():
        at += last if gap == last else gap + 1
        found += [] if gap == last else [at]
    assert found == places.tolist()


@pytest.mark.parametrize(
    ("density", "zeros"), [(0.02, "gaps"), (0.2, "gaps"), (0.9, "indices"), (1.0, "none")]
)
def test_tensors_come_back_to_the_bit_in_the_shortest_way(density: float, zeros: str) -> None:
    own = tensor(density)
    line, content = own.line, own.content
    assert own.zeros == zeros
    assert len(content) == line["bytes"] == own.total
    found = read(line, content)
    assert found.dtype == np.float32
    assert found.tobytes() == own.shared.dense().tobytes()
    assert own.index_bits + own.position_bits == own.indices.bits + (own.gaps.bits if own.gaps else 0)
    assert own.entropy <= own.index_bits + own.position_bits
    if zeros == "gaps":
        others = [
            cost_of(gaps_of(own.shared.places_N, bits), 1 << bits).total + (1 << bits) / 2
            for bits in range(1, 11)
        ]
        assert own.gaps is not None
        assert own.gap_bits is not None
        assert own.gaps.total + (1 << own.gap_bits) / 2 == min(others)


def test_values_that_need_32_bits_have_them() -> None:
    own = np.zeros(400, np.float32)
    own[::3] = 1e6 * np.random.default_rng(0).normal(size=134)
    found = coded(shared(own, 8))
    assert not found.is_half
    line, content = found.line, found.content
    assert line["dtype"] == "float32"
    assert read(line, content).tobytes() == found.shared.dense().tobytes()


def test_other_values_keep_the_code_and_are_rounded_as_they_are_written() -> None:
    own = tensor(0.2)
    moved = own.with_values(own.shared.values_K + np.float32(0.01234567))
    assert (moved.total, moved.gap_bits) == (own.total, own.gap_bits)
    line, content = moved.line, moved.content
    assert read(line, content).tobytes() == moved.shared.dense().tobytes()
    assert np.array_equal(moved.shared.values_K, moved.shared.values_K.astype(np.float16))
    far = own.with_values(own.shared.values_K + np.float32(1e6))
    assert not far.is_half
    assert far.total > own.total


def test_other_values_have_16_bits_only_where_these_say_the_same() -> None:
    small = np.linspace(1e-7, 1e-6, 16, dtype=np.float32)  # of which 16 bits keep a digit
    own = tensor(0.2)
    assert own.is_half
    assert np.array_equal(own.with_values(small).shared.values_K, small)
    bias = plain(np.ones(16, np.float32))
    assert bias.is_half
    assert np.array_equal(bias.with_values(small).dense(), small)
    third = np.full(16, 1 / 3, np.float32)
    assert bias.with_values(third).is_half
    assert not plain(np.ones(16, np.float32), is_exact=True).with_values(third).is_half


@pytest.mark.parametrize(
    "values",
    [
        np.array([1.5, -0.25, 3e-9], np.float32),
        np.array([1e6, 1.0], np.float32),
        np.array(7),
        np.array([[True], [False]]),
        np.array([1 / 3], np.float64),
        np.zeros((0, 3), np.float32),
    ],
)
def test_plain_tensors_come_back(values: np.ndarray) -> None:
    own = plain(values)
    line, content = own.line, own.content
    found = read(line, content)
    assert len(content) == own.total
    assert (found.dtype, found.shape) == (values.dtype, values.shape)
    assert found.tobytes() == own.dense().tobytes()
    assert own.dense() == pytest.approx(values, rel=1e-3, abs=1e-4)


def test_the_same_tensor_again_is_not_written_again() -> None:
    line, content = tensor(0.1).line, tensor(0.1).content
    header = {"tensors": [{"name": "one", **line}, {"name": "two", "same_as": "one"}]}
    found = decode.decoded(header, content)
    assert found["one"] is found["two"]
