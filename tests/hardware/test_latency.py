"""Latency as a cost: exact for a made-up runtime, refused for another network."""

import re
from dataclasses import replace
from pathlib import Path
from time import process_time

import numpy as np
import pytest

from nas_prune.errors import BadInputError
from nas_prune.hardware.latency import fitted_latency, latency_cost
from nas_prune.hardware.latency_table import Table, read_table, table_text
from nas_prune.hardware.measured_table import write_files
from nas_prune.space.load import load_space
from nas_prune.space.search_space import SearchSpace
from tests.hardware.tables import in_steps, made_up, mixed, small, total
from tests.networks import known


def vectors(space: SearchSpace, count: int) -> np.ndarray:
    return np.random.default_rng(5).integers(1, np.array(space.base_G) + 1, (count, len(space.groups)))


@pytest.mark.parametrize("space", [mixed(), small()], ids=["concat and depthwise", "plain"])
def test_what_a_made_up_runtime_takes_is_predicted(space: SearchSpace) -> None:
    latency = fitted_latency(space, made_up(space, in_steps))
    widths_NG = vectors(space, 300)
    off = np.abs(latency(widths_NG) / total(space, in_steps, widths_NG) - 1)
    assert np.median(off) < 0.01
    assert off.max() < 0.1


def test_one_vector_gives_one_number_and_parts_add_up() -> None:
    latency = fitted_latency(small(), made_up(small(), in_steps))
    whole = latency(small().base_G)
    assert whole.shape == ()
    assert whole.dtype == np.int64
    parts = latency.by_layer(small().base_G)
    assert sum(parts.values()) == pytest.approx(float(whole), abs=1)
    assert len(parts) == 9


def test_between_whole_widths_lie_straight_lines() -> None:
    space = small()
    latency = fitted_latency(space, made_up(space, in_steps))
    widths_NG = vectors(space, 20)
    assert latency.real(widths_NG) == pytest.approx(latency(widths_NG), abs=1)
    low, high = np.full(8, 9.0), np.full(8, 9.0)
    high[3] = 10
    middle = (low + high) / 2
    assert latency.real(middle) == pytest.approx((latency.real(low) + latency.real(high)) / 2)


def test_a_factor_scales_the_sum() -> None:
    table = made_up(small(), in_steps)
    double = Table(table.header.model_copy(update={"factor": 2.0}), table.rows)
    assert fitted_latency(small(), double)(small().base_G) == pytest.approx(
        2 * fitted_latency(small(), table)(small().base_G), abs=2
    )


def test_a_block_that_is_left_out_takes_nothing() -> None:
    space = known("resnet20")
    latency = fitted_latency(space, made_up(space, in_steps))
    flags = np.ones(len(space.blocks), dtype=np.int64)
    whole = latency([*space.base_G, *flags])
    assert whole == latency(space.base_G)
    flags[0] = 0
    inside = sum(
        ns for path, ns in latency.by_layer(space.base_G).items() if path.startswith(space.blocks[0].path)
    )
    assert whole - latency([*space.base_G, *flags]) == pytest.approx(float(inside), abs=1)
    with pytest.raises(BadInputError, match="a flag for each of"):
        latency([*space.base_G, 1])


def test_a_file_keeps_a_table(tmp_path: Path) -> None:
    table = made_up(small(), in_steps)
    (tmp_path / "latency.csv").write_text(table_text(table), encoding="utf-8")
    assert read_table(tmp_path / "latency.csv") == read_table(tmp_path) == table
    assert latency_cost(small(), tmp_path)(small().base_G) == fitted_latency(small(), table)(small().base_G)


def test_a_table_of_another_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latency.csv").write_text(table_text(made_up(small(), in_steps)), encoding="utf-8")
    larger = load_space("vgg11", (1, 16, 16), width_multiplier=0.25)
    with pytest.raises(BadInputError, match=r"input_shape is \[1, 8, 8\] where vgg11 has \[1, 16, 16\]"):
        latency_cost(larger, tmp_path)
    with pytest.raises(BadInputError, match="name is vgg11 where resnet20 has resnet20"):
        latency_cost(known("resnet20"), tmp_path)


def test_widths_that_a_layer_cannot_have_are_refused(tmp_path: Path) -> None:
    table = made_up(small(), in_steps)
    rows = (*table.rows[:-1], table.rows[-1]._replace(in_width=5000))
    (tmp_path / "latency.csv").write_text(table_text(Table(table.header, rows)), encoding="utf-8")
    with pytest.raises(BadInputError, match="must be at most .*, got 5000 and"):
        latency_cost(small(), tmp_path)


def test_other_groups_and_other_layers_are_refused() -> None:
    table = made_up(small(), in_steps)
    groups = (("elsewhere", 3), *table.header.groups[1:])
    with pytest.raises(BadInputError, match="among them 'elsewhere' of 3 channels"):
        table.header.model_copy(update={"groups": groups}).check_space(small(), "x.csv")
    lacking = Table(table.header, tuple(row for row in table.rows if row.layer != "features.8"))
    with pytest.raises(
        BadInputError, match=r"rows for each layer of vgg11, and no others, got none of 'features.8'"
    ):
        fitted_latency(small(), lacking)
    header = table.header.model_copy(update={"not_run": ("features.8",)})
    assert fitted_latency(small(), replace(lacking, header=header))(small().base_G) > 0
    other = Table(table.header, (*table.rows, table.rows[0]._replace(layer="head\x1b")))
    with pytest.raises(BadInputError, match=r"got one of 'head\\\\x1b'"):
        fitted_latency(small(), other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "network,layer\n1,2\n", "must begin with what it is of"),
        (lambda text: text.replace('"target"', '"targets"'), "cannot be used: target"),
        (lambda text: text.replace("runs\n", "run\n"), "none called runs"),
        (lambda text: text.replace('"factor": 1.0', '"factor": 1e300'), "cannot be used: factor"),
        (lambda text: text.replace('"factor": 1.0', '"factor": 1e-300'), "cannot be used: factor"),
        (lambda text: text.replace('"threads": 1', '"threads": -1'), "cannot be used: threads"),
        (
            lambda text: text.replace("0,features.0,1,", "0,features.0,one,"),
            "in_width must be a whole number",
        ),
        (lambda text: text + "1,2,3\n", "must have 7 fields"),
        (
            lambda text: "\n".join(text.splitlines()[:100]) + "\n",
            "must have 549 rows, as it says itself, got 98",
        ),
        (lambda text: re.sub(r",\d+,\d+,1\n", ",0,0,1\n", text), "latency_ns must be a whole number from 1"),
        (lambda text: text + '"1\n', "must be CSV|must have 7 fields"),
    ],
)
def test_a_damaged_table_is_refused_in_one_line(tmp_path: Path, change, message: str) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "latency.csv"
    path.write_text(change(table_text(made_up(small(), in_steps))), encoding="utf-8")
    with pytest.raises(BadInputError, match=message):
        read_table(path)
    with pytest.raises(BadInputError, match="a file of text that can be read"):
        read_table(tmp_path / "none.csv")


def test_a_table_that_could_not_be_read_again_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas_prune.hardware.latency_table.MOST_ROWS", 1000)
    table = made_up(small(), in_steps)
    for wrong, message in (
        (Table(table.header.model_copy(update={"factor": 0.0005}), table.rows), "cannot be used: factor"),
        (
            Table(table.header, (*table.rows, table.rows[0]._replace(latency_ns=0))),
            "latency_ns must be a whole",
        ),
        (Table(table.header, table.rows[:1] * 1001), "must have at most 1,000 rows"),
    ):
        with pytest.raises(BadInputError, match=message):
            write_files(tmp_path, wrong, [])
        assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_hundred_thousand_vectors_of_resnet110_take_under_two_seconds() -> None:
    space = known("resnet110")
    latency = fitted_latency(space, made_up(space, in_steps, 40))
    widths_NG = vectors(space, 100_000)
    began = process_time()
    assert latency(widths_NG).shape == (100_000,)
    assert process_time() - began < 2
