"""Remainders of widths: found from layers of one shape together, whatever block a runtime computes in."""

import numpy as np
import pytest

from nas_prune.hardware.latency import fitted_latency
from nas_prune.hardware.latency_layers import timed_layers
from nas_prune.hardware.latency_remainders import BLOCK, remainders_of
from tests.hardware.tables import made_up, total
from tests.networks import known

RNG = np.random.default_rng(11)


def odd(path: str, read: np.ndarray, written: np.ndarray) -> np.ndarray:
    """A runtime whose kernels take two rows more for 14 or 15 left-over channels, and are quick for 10."""
    del path
    slow = np.where(np.isin(written % 16, (14, 15)), 1.2, 1.0) * np.where(read % 16 == 10, 0.9, 1.0)
    return np.asarray((2000 + 40 * read * written) * slow)


def test_a_runtime_with_odd_remainders_is_predicted() -> None:
    space = known("resnet20")
    latency = fitted_latency(space, made_up(space, odd, 160))
    widths_NG = RNG.integers(1, np.array(space.base_G) + 1, (200, len(space.groups)))
    off = np.abs(latency(widths_NG) / total(space, odd, widths_NG) - 1)
    assert np.median(off) < 0.01


def test_layers_of_one_shape_learn_from_each_other() -> None:
    def layer(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        read, written = RNG.integers(1, 65, count), RNG.integers(1, 65, count)
        ratio = np.where(written % 32 == 14, 1.15, 1.0) + 0.03 * RNG.standard_normal(count)
        return read, written, ratio, np.arange(count)

    def error(layers: int) -> float:
        found = [float(remainders_of([layer(80) for _ in range(layers)])(20, 14)) for _ in range(10)]
        return float(np.mean(np.abs(np.array(found) - 1.15)))

    assert error(8) < 0.5 * error(1)


def test_a_width_is_judged_by_its_remainder_alone() -> None:
    read, written = RNG.integers(1, 97, 600), RNG.integers(1, 97, 600)
    found = remainders_of([(read, written, np.where(read % BLOCK == 7, 1.3, 1.0), np.arange(600))])
    assert found(7, 5) == pytest.approx(found(7 + 2 * BLOCK, 5))
    assert found(7, 5) > 1.2
    assert found(8, 5) == pytest.approx(1, abs=0.02)


def test_shapes_tell_kernels_apart() -> None:
    layers = {layer.path: layer.shape for layer in timed_layers(known("resnet20"))}
    assert layers["layer2.0.shortcut.0"] != layers["layer2.0.conv1"]
    assert layers["layer1.0.conv1"] == layers["layer1.2.conv2"]
    assert layers["layer2.0.conv1"] != layers["layer2.1.conv1"]


def test_few_rows_say_nothing_of_remainders() -> None:
    for count in (4, 10, 20, 40, 100):
        read, written = RNG.integers(1, 97, count), RNG.integers(1, 97, count)
        found = remainders_of([(read, written, 1 + 0.03 * RNG.standard_normal(count), np.arange(count))])
        factors = found(RNG.integers(1, 97, 300), RNG.integers(1, 97, 300))
        assert np.abs(factors - 1).max() < (0.03 if count == 100 else 1e-9), count
