"""Weights that caches do not hold: found in whole networks, and in every number of a prediction."""

import json
from pathlib import Path

import numpy as np
import pytest

from nas_prune.errors import BadInputError
from nas_prune.hardware.latency import fitted_latency
from nas_prune.hardware.latency_caches import beyond_caches, nanoseconds
from nas_prune.hardware.latency_table import Header, Table, groups_of, read_table, table_text
from nas_prune.hardware.measured_table import judged
from nas_prune.space.search_space import SearchSpace
from tests.hardware.tables import in_steps, made_up, small, total
from tests.networks import known

RNG = np.random.default_rng(2)


def test_a_cache_of_some_size_is_found() -> None:
    weights = RNG.uniform(1e5, 9e6, 160)
    summed = 5e5 + 0.05 * weights + RNG.uniform(0, 2e5, 160)
    measured = (summed + 0.1 * np.maximum(0, weights - 3e6)) * np.exp(0.01 * RNG.standard_normal(160))
    beyond = beyond_caches(weights, summed, measured)
    fresh = RNG.uniform(1e5, 9e6, 200)
    extra = nanoseconds(beyond, fresh, np.full(200, 1e9))
    assert np.abs(extra - 0.1 * np.maximum(0, fresh - 3e6)).max() < 3e4


def test_nothing_is_added_where_the_sum_is_right() -> None:
    weights = RNG.uniform(1e5, 9e6, 160)
    summed = 5e5 + 0.05 * weights
    measured = summed * np.exp(0.01 * RNG.standard_normal(160))
    extra = nanoseconds(beyond_caches(weights, summed, measured), weights, summed)
    assert (np.abs(extra) / summed).max() < 0.01


@pytest.mark.parametrize("count", [0, 19])
def test_few_networks_say_nothing(count: int) -> None:
    weights = np.linspace(1, 2, count)
    assert beyond_caches(weights, weights, 2 * weights) == ()
    assert beyond_caches(np.ones(30), np.ones(30), np.full(30, 2.0)) == ()


def beyond_of(space: SearchSpace, table: Table, each: float) -> Header:
    """The header that measuring writes where every weight above half of all takes some time more."""
    rng = np.random.default_rng(4)
    widths_NG = rng.integers(1, np.array(space.base_G) + 1, (120, len(space.groups)))
    raw = fitted_latency(space, table)
    weights = raw.weights(widths_NG)
    measured = total(space, in_steps, widths_NG) + each * np.maximum(0, weights - np.median(weights))
    uses = ["held-out" if number % 6 == 5 else "calibrate" for number in range(120)]
    planned = [(use, tuple(map(int, widths))) for use, widths in zip(uses, widths_NG, strict=True)]
    return judged(table.header, raw, planned, measured)  # type: ignore[arg-type]


def test_measuring_whole_networks_shows_it() -> None:
    space = small()
    table = made_up(space, in_steps, 160)
    found = beyond_of(space, table, 0.3)
    assert found.errors is not None
    assert found.errors.p90 < 0.03
    assert found.beyond
    without = Table(found.model_copy(update={"beyond": ()}), table.rows)
    widths_G = space.base_G
    assert fitted_latency(space, Table(found, table.rows))(widths_G) > 1.02 * fitted_latency(space, without)(
        widths_G
    )


def with_beyond(space: SearchSpace) -> Table:
    table = made_up(space, in_steps)
    beyond = ((0.0, -0.5), (1000.0, 0.9))
    return Table(table.header.model_copy(update={"beyond": beyond}), table.rows)


def test_every_number_of_a_prediction_has_it() -> None:
    space = known("resnet20")
    plain = fitted_latency(space, made_up(space, in_steps))
    latency = fitted_latency(space, with_beyond(space))
    widths_NG = np.array([space.base_G, [max(1, width // 3) for width in space.base_G]])
    weights = np.array([space.cost_at(tuple(map(int, widths))).params for widths in widths_NG])
    extra = -0.5 * weights + 0.9 * np.maximum(0, weights - 1000)
    assert latency(widths_NG) - plain(widths_NG) == pytest.approx(extra, abs=1)
    assert latency.real(widths_NG) == pytest.approx(latency(widths_NG), abs=1)
    parts = latency.by_layer(space.base_G)
    assert float(sum(parts.values())) == pytest.approx(float(latency(space.base_G)), abs=1)


def test_blocks_that_are_left_out_have_no_weights() -> None:
    space = known("resnet20")
    plain, latency = (fitted_latency(space, one) for one in (made_up(space, in_steps), with_beyond(space)))
    flags = [0] * len(space.blocks)
    vector = [*space.base_G, *flags]
    left = space.switched("params")(vector)
    assert latency(vector) - plain(vector) == pytest.approx(-0.5 * left + 0.9 * (left - 1000), abs=1)
    assert latency([*space.base_G, *(1 for _ in flags)]) == latency(space.base_G)


def test_a_file_keeps_it_and_is_read_with_bounds(tmp_path: Path) -> None:
    table = with_beyond(small())
    file = tmp_path / "latency.csv"
    file.write_text(table_text(table), encoding="utf-8")
    assert read_table(file).header.beyond == table.header.beyond
    first, rest = file.read_text(encoding="utf-8").split("\n", 1)
    for wrong in ([[1]], [["a", 2]], [[0, 1]] * 30, 5, [[-1, 1]], [[0, 1e300]], [[0, -1e18]]):
        header = {**json.loads(first.removeprefix("# ")), "beyond": wrong}
        file.write_text(f"# {json.dumps(header)}\n{rest}", encoding="utf-8")
        with pytest.raises(BadInputError, match="beyond"):
            read_table(file)


def test_tables_of_before_are_read(tmp_path: Path) -> None:
    table = made_up(small(), in_steps)
    text = table_text(table)
    header = json.loads(text.split("\n", 1)[0].removeprefix("# "))
    del header["beyond"]
    file = tmp_path / "latency.csv"
    file.write_text(f"# {json.dumps(header)}\n{text.split(chr(10), 1)[1]}", encoding="utf-8")
    assert read_table(file) == table
    assert groups_of(small()) == table.header.groups


def test_far_from_measured_networks_little_is_added() -> None:
    summed = np.array([1000.0, 1000.0])
    assert nanoseconds(((0.0, -1.0),), [10**6, 10], summed).tolist() == [-300, -10]
    assert nanoseconds(((0.0, 1.0),), [10**6, 10], summed).tolist() == [1000, 10]
