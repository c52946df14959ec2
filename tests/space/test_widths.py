"""The widths file: written whole, read back equal, and refused when it is not what it claims."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_prune.errors import WidthsError
from nas_prune.space.load import load_space
from nas_prune.space.widths import read_widths, stage_means

SPACE = load_space("vgg11", (1, 8, 8))
vectors = st.tuples(*(st.integers(1, base) for base in SPACE.base_G))


@settings(max_examples=25, deadline=None)
@given(vectors)
def test_a_file_reads_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, vector: tuple[int, ...]
) -> None:
    path = tmp_path_factory.mktemp("widths") / "widths.json"
    widths = SPACE.widths(vector, budget="macs<=50%", seed=3)
    widths.write(path)
    assert read_widths(path) == widths
    assert SPACE.vector(read_widths(path)) == vector


def written(path: Path) -> Path:
    SPACE.widths([3] * 8).write(path / "widths.json")
    return path / "widths.json"


def change(path: Path, **changes: object) -> Path:
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **changes}))
    return path


def test_a_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(WidthsError, match=r"must exist, got .*nothing.json. A search writes"):
        read_widths(tmp_path / "nothing.json")


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = written(tmp_path)
    text = path.read_text()
    path.write_text(text[: int(len(text) * share)])
    with pytest.raises(WidthsError, match="must be whole JSON"):
        read_widths(path)


def test_a_newer_schema_asks_for_an_update(tmp_path: Path) -> None:
    path = change(written(tmp_path), schema="nas-prune/widths/2")
    with pytest.raises(WidthsError, match="got the newer nas-prune/widths/2 .* Update nas-prune"):
        read_widths(path)


@pytest.mark.parametrize(
    "schema",
    ["other/1", None, 7, "nas-prune/widths/x", "nas-prune/widths/²", "nas-prune/widths/" + "9" * 5000],
)
def test_a_foreign_schema_is_refused(tmp_path: Path, schema: object) -> None:
    path = change(written(tmp_path), schema=schema)
    with pytest.raises(WidthsError, match="must be of schema nas-prune/widths/1, got"):
        read_widths(path)


@pytest.mark.parametrize("width", [0, -1, 65, 10**9])
def test_a_width_outside_its_range_is_refused(tmp_path: Path, width: int) -> None:
    path = written(tmp_path)
    groups = json.loads(path.read_text())["groups"]
    groups[0]["width"] = width
    with pytest.raises(WidthsError, match=f"group features.0 must be between 1 and its base 64, got {width}"):
        read_widths(change(path, groups=groups))


@pytest.mark.parametrize("width", [2.5, "many", None, True])
def test_a_width_that_is_no_integer_is_refused(tmp_path: Path, width: object) -> None:
    path = written(tmp_path)
    groups = json.loads(path.read_text())["groups"]
    groups[0]["width"] = width
    with pytest.raises(WidthsError, match=r"groups\.0\.width: it must be a whole number"):
        read_widths(change(path, groups=groups))


def test_inputs_that_no_memory_holds_are_refused_where_they_are_read(tmp_path: Path) -> None:
    path = written(tmp_path)
    space = json.loads(path.read_text())["space"]
    with pytest.raises(WidthsError, match=r"space: .*shapes must hold at most 2,147,483,648 numbers"):
        read_widths(change(path, space=space | {"input_shape": [1 << 20, 1 << 20]}))


def test_a_name_that_no_page_could_show_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    groups = json.loads(path.read_text())["groups"]
    groups[0]["name"] = "x" * 1001
    with pytest.raises(WidthsError, match=r"groups\.0\.name: it must have at most 1,000 characters"):
        read_widths(change(path, groups=groups))


def test_unknown_fields_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WidthsError, match="weights: there is no such setting"):
        read_widths(change(written(tmp_path), weights=[1.0]))


@pytest.mark.parametrize("text", ["[]", "3", '"widths"'])
def test_json_that_is_no_object_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "widths.json").write_text(text)
    with pytest.raises(WidthsError, match="must hold a JSON object"):
        read_widths(tmp_path / "widths.json")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "widths.json").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(WidthsError, match="must be readable text"):
        read_widths(tmp_path / "widths.json")


def test_widths_of_another_space_name_the_first_difference() -> None:
    other = load_space("vgg13", (1, 8, 8))
    with pytest.raises(WidthsError, match="must be of space vgg13, but space.name is vgg11, not vgg13"):
        other.build(SPACE.widths(SPACE.base_G), seed=0)


def test_widths_of_another_image_size_name_it() -> None:
    other = load_space("vgg11", (1, 16, 16))
    with pytest.raises(WidthsError, match=r"space.input_shape is \(1, 8, 8\), not \(1, 16, 16\)"):
        other.vector(SPACE.widths(SPACE.base_G))


def test_stage_means_weigh_groups_by_their_base_width() -> None:
    widths = SPACE.widths([64, 128, 128, 64, 256, 256, 512, 0 + 1])
    assert stage_means(widths) == {0: 1.0, 1: 1.0, 2: (128 + 64 + 256 + 256 + 512 + 1) / (256 * 2 + 512 * 4)}
    assert stage_means(widths, [2]) == {2: 0.5}


def test_costs_in_the_file_are_those_of_the_rebuilt_network() -> None:
    widths = SPACE.widths([5, 6, 7, 8, 9, 10, 11, 12])
    model = SPACE.build(widths, seed=0)
    assert widths.cost.params == sum(parameter.numel() for parameter in model.parameters())


def test_vectors_that_are_none_of_the_space_are_refused() -> None:
    base_G = SPACE.base_G
    with pytest.raises(WidthsError, match=f"must have {len(base_G)} numbers, got 3"):
        SPACE.widths([1, 2, 3])
    with pytest.raises(WidthsError, match=rf"at most its base {base_G[0]}, got .* \(group features.0\)"):
        SPACE.widths([base_G[0] + 1, *base_G[1:]])
    half_G: Any = np.array(base_G) // 2
    assert SPACE.widths(half_G).vector == tuple(half_G.tolist())
