"""The pattern's file: written whole, read back equal, and refused when it is not what it claims."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from nas_prune.errors import BadInputError
from nas_prune.patterns.pattern import MaskFile, Pattern, read_pattern
from nas_prune.patterns.statistics import pattern_of
from nas_prune.space.widths import DataRecord
from tests.patterns.conftest import costs_for, drawn, small_space

COSTS = costs_for(small_space())
Place = tuple[str | int, ...]


def pattern() -> Pattern:
    return pattern_of(
        small_space(),
        COSTS,
        drawn(COSTS.layers, 0.3),
        budget="nonzero<=30%",
        mask=MaskFile(file="nonzero30.safetensors", blake2b="0" * 32),
        data=DataRecord(name="digits", num_train=10, num_val=5),
        recipe={"epochs": 3, "milestones": [0.5]},
        seed=4,
        epochs=3,
    )


def written(path: Path, *place: str | int, value: Any = None) -> Path:
    """A pattern's file, of which one value is another."""
    pattern().write(path / "pattern.json")
    content = json.loads((path / "pattern.json").read_text())
    inner = content
    for part in place[:-1]:
        inner = inner[part]
    if place:
        inner[place[-1]] = value
    (path / "pattern.json").write_text(json.dumps(content))
    return path / "pattern.json"


def test_a_file_reads_back_as_it_was_written(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert read_pattern(path) == pattern()
    assert read_pattern(path).density == pattern().cost.nonzero / 402
    again = tmp_path / "again.json"
    read_pattern(path).write(again)
    pattern().write(path)
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    "place", [(), ("layers", 0), ("kernels", 0), ("groups", 0), ("layers", 1, "filters"), ("mask",)]
)
@pytest.mark.parametrize("name", ["weights", "values"])
def test_no_part_of_it_can_hold_a_weight(tmp_path: Path, place: Place, name: str) -> None:
    where = ".".join(map(str, (*place, name)))
    with pytest.raises(BadInputError, match=f"cannot be used: {where}: there is no such setting"):
        read_pattern(written(tmp_path, *place, name, value=[0.5]))


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("cost", "nonzero"), 7, r"cost.nonzero must be the sum over layers, \d+, got 7"),
        (("layers", 1, "nonzero"), 5, r"cost.nonzero must be the sum over layers, \d+, got \d+"),
        (("layers", 1, "nonzero"), 325, "nonzero of 2.weight must be at most its 324 weights, got 325"),
        (("layers", 1, "nonzero"), 0, "layers.1.nonzero: it must be at least 1, got 0"),
        (("layers", 1, "nonzero"), 5.0, "layers.1.nonzero: it must be a whole number"),
        (("layers", 1, "nonzero"), True, "layers.1.nonzero: it must be a whole number"),
        (("layers", 1, "name"), "0.weight", "layers must each be named once"),
        (("layers", 1, "shape"), [6], "layers.1.shape: it must have at least 2 entries"),
        (("layers", 1, "shape", 0), 0, "layers.1.shape.0: it must be at least 1, got 0"),
        (("layers", 1, "kind"), "norm", "layers.1.kind: it must be one of conv, linear"),
        (("layers", 0, "filters", "deciles", 4), 1.5, "it must be at most 1, got 1.5"),
        (("layers", 0, "filters", "deciles", 4), "x", "it must be a number"),
        (("layers", 0, "filters", "deciles", 10), 0.0, "layers.0.filters: deciles must rise"),
        (("layers", 0, "filters", "deciles"), [0.5] * 10, "deciles: it must have at least 11 entries"),
        (("layers", 1, "n_of_m"), {"2:x": 0.5}, "n_of_m"),
        (("base_cost", "nonzero"), 0, "base_cost.nonzero must be the weights of all layers, 402, got 0"),
        (("base_cost", "nonzero"), 10**6, "base_cost.nonzero must be the weights of all layers, 402"),
        (("cost", "macs"), 10**9, r"cost.macs must be at most that of the whole network, \d+, got 1000000000"),
        (("cost", "size_bytes"), 10**9, "cost.size_bytes must be at most that of the whole network"),
        (("kernels", 0, "kept"), [0.5] * 8, r"kept must have 9 shares for kernels of \(3, 3\), got 8"),
        (("groups", 0, "unread"), 7, "width of 0 must be its base without the channels that go"),
        (("groups", 0, "width"), 5, "width of 0 must be its base without the channels that go, 6, got 5"),
        (("mask", "file"), "a/b.safetensors", "file must be a name without directories, got 'a/b.safetensors'"),
        (("mask", "file"), "..", "file must be a name without directories"),
        (("mask", "file"), "..\\masks", "file must be a name without directories"),
        (("mask", "blake2b"), "no digest", "mask.blake2b"),
        (("seed",), -1, "seed: it must be at least 0, got -1"),
        (("recipe",), {"weights": [0.5] * 50_000}, "must have at most 20,000 characters, got 250,"),
        (("method",), {"name": "own", "settings": {str(n): 0.5 for n in range(50_000)}}, "must have at most 20,000"),
        (("versions",), {"torch": "0" * 20_000}, "must have at most 20,000 characters, got 20,"),
        (("layers", 0, "n_of_m"), {f"{n}:99": 0.5 for n in range(99)}, "n_of_m: it must have at most 32 entries"),
        (("layers",), [], "layers: it must have at least 1 entries"),
    ],
)  # fmt: skip
def test_what_no_pattern_may_hold_is_refused_by_its_place(
    tmp_path: Path, place: Place, value: Any, said: str
) -> None:
    with pytest.raises(BadInputError, match=said) as caught:
        read_pattern(written(tmp_path, *place, value=value))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("place", [("layers", 0, "inputs", "deciles", 5), ("kernels", 0, "kept", 0)])
def test_numbers_without_end_are_refused(tmp_path: Path, place: Place, number: str) -> None:
    path = written(tmp_path, *place, value="HERE")
    path.write_text(path.read_text().replace('"HERE"', number))
    with pytest.raises(BadInputError, match="pattern"):
        read_pattern(path)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = written(tmp_path)
    text = path.read_text()
    path.write_text(text[: int(len(text) * share)])
    with pytest.raises(BadInputError, match="a pattern must be whole JSON, got .*pattern.json"):
        read_pattern(path)


@pytest.mark.parametrize("text", ["[]", "3", '"pattern"', "null"])
def test_json_that_is_no_object_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "pattern.json").write_text(text)
    with pytest.raises(BadInputError, match="a pattern must hold a JSON object"):
        read_pattern(tmp_path / "pattern.json")


def test_a_newer_schema_asks_for_an_update(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="got the newer nas-prune/pattern/2 .* Update nas-prune"):
        read_pattern(written(tmp_path, "schema", value="nas-prune/pattern/2"))


@pytest.mark.parametrize(
    "schema", ["nas-prune/pattern/0", None, 7, "nas-prune/pattern/²", "x" * 10**5, ["a"]]
)
def test_a_foreign_schema_is_refused(tmp_path: Path, schema: object) -> None:
    with pytest.raises(BadInputError, match="must be of schema nas-prune/pattern/1, got") as caught:
        read_pattern(written(tmp_path, "schema", value=schema))
    assert len(str(caught.value)) < 500


def test_a_widths_file_is_named_as_what_it_is(tmp_path: Path) -> None:
    space = small_space()
    space.widths(space.base_G).write(tmp_path / "widths.json")
    with pytest.raises(BadInputError, match="a pattern must be one, got .* a widths file"):
        read_pattern(tmp_path / "widths.json")


def test_what_is_no_file_is_refused_in_a_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x01")
    nothing = re.escape(str(tmp_path / "nothing"))
    for name, said in (
        ("", "must be whole JSON"),
        ("pipe", "must be whole JSON, got .*not a regular file"),
        ("binary", "must be whole JSON"),
        ("nothing", f"a pattern must exist, got {nothing}. nas-prune sparsify writes them"),
    ):
        with pytest.raises(BadInputError, match=said) as caught:
            read_pattern(tmp_path / name)
        assert "\n" not in str(caught.value)
