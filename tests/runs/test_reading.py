"""Files that others may have written: what cannot be read costs neither time nor memory, and says so in one line."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import pytest
import yaml

from nas_prune.errors import BadInputError, DamagedError
from nas_prune.runs.directory import directory_name, read_metrics
from nas_prune.runs.files import open_own, refuse_links
from nas_prune.runs.reading import load_json, load_yaml, read_bytes, read_json, read_text
from nas_prune.runs.text import one_line, printable
from nas_prune.space.widths import read_widths

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{two}: &{two} [{', '.join([f'*{one}'] * 10)}]\n"
    for one, two in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        "\n".join(f"k{number}: 1" for number in range(40_000)),
        "{a: " * 5_000,
        "[" * 100_000,
        "a: !!int x",
        "a: !!timestamp x",
        "!!map abc",
        "a: !!python/object/apply:os.system [echo]",
        "a: 1\na: 2",
        "{[1, 2]: 3}",
        "a: &a [*a]",
        "? *a\n: &a b",
        "a: " + "9" * 5_000,
        "a: 'x" + "y" * 2**20,
        "--- a\n--- b",
        "a: \x00",
        "<<: [1, 2]",
        "a: !!int " + ":".join(["1"] * 100_000),
        "a: !!float 1:30.5",
        "%YAML 9",
    ],
    ids=lambda text: text[:12],
)
def test_yaml_that_is_not_plain_is_refused_at_once(text: str) -> None:
    started = perf_counter()
    with pytest.raises(yaml.YAMLError) as said:
        load_yaml(text)
    assert perf_counter() - started < 5
    assert len(str(said.value)) < 1_000


def test_plain_yaml_is_read_and_dates_are_words() -> None:
    text = "a: &here {b: 1.5, c: [yes, null, 0x10]}\nd: *here\nwhen: 2001-99-99\nday: 2001-12-14\nat: 1:30\n"
    assert load_yaml(text) == {
        "a": {"b": 1.5, "c": [True, None, 16]},
        "d": {"b": 1.5, "c": [True, None, 16]},
        "when": "2001-99-99",
        "day": "2001-12-14",
        "at": "1:30",  # 90 in older YAML, which takes long with many colons
    }
    assert load_yaml("") is None


@pytest.mark.parametrize(
    "text",
    [
        "9" * 5_000,
        "[" * 100_000,
        '{"a": 1, "a": 2}',
        "NaN",
        "[1e999]",
        "[" * 50 + "]" * 50,
        "[" + ",".join(["{}"] * 1_000_002) + "]",
        "{",
        "\ufeff{}",
        "",
    ],
    ids=lambda text: text[:12],
)
def test_json_that_no_file_of_ours_holds_is_refused(text: str) -> None:
    with pytest.raises(json.JSONDecodeError) as said:
        load_json(text)
    assert len(str(said.value)) < 200


def test_json_keeps_what_it_says() -> None:
    content = {"a": [1, 2.5, -3e-8, None, True], "state": 2**127, "b": {"c": "\ud83d"}}
    assert load_json(json.dumps(content)) == content
    assert load_json("[NaN]", allows_nan=True)[0] != 0


@pytest.fixture
def not_files(tmp_path: Path) -> dict[str, Path]:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(tmp_path / "socket"))
    (tmp_path / "folder").mkdir()
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    names = {name: tmp_path / name for name in ("pipe", "socket", "folder", "lost", "round")}
    return names | {"device": Path("/dev/zero"), "terminal": Path("/dev/tty")}


READERS: dict[str, Callable[[Path], object]] = {"bytes": read_bytes, "text": read_text, "json": read_json}


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder", "lost", "round", "device", "terminal"])
def test_what_is_no_file_is_not_waited_for(not_files: dict[str, Path], kind: str) -> None:
    for read in READERS.values():
        with pytest.raises(OSError, match=r"."):
            read(not_files[kind])
    with pytest.raises(ValueError, match="widths file must"):
        read_widths(not_files[kind])


def test_a_file_that_is_too_large_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as stream:
        stream.truncate(2**40)
    with pytest.raises(OSError, match="more than"):
        read_text(path)


@pytest.mark.parametrize("line", ["[" * 100_000, "1", '{"epoch": 1', "null", '{"epoch": 1, "epoch": 2}'])
def test_metrics_that_are_damaged_are_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "metrics.jsonl").write_text(f'{{"epoch": 1}}\n{line}\n')
    with pytest.raises(DamagedError, match=r"metrics\.jsonl must hold"):
        read_metrics(tmp_path)


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    outside, run = tmp_path / "outside", tmp_path / "run"
    run.mkdir()
    outside.write_text("mine")
    (run / "metrics.jsonl").symlink_to(outside)
    with pytest.raises(OSError, match=r"."):
        open_own(run / "metrics.jsonl")
    with pytest.raises(BadInputError, match="must hold no links"):
        refuse_links(run)
    assert outside.read_text() == "mine"
    (run / "metrics.jsonl").unlink()
    (run / "other").write_text("")
    (run / "metrics.jsonl").symlink_to(run / "other")  # stays inside
    refuse_links(run)
    (run / "deep").mkdir()
    (run / "deep" / "folder").symlink_to(tmp_path)
    with pytest.raises(BadInputError, match="must hold no links"):
        refuse_links(run)


@pytest.mark.parametrize(
    "name", ["../x", "/x", "a/b", "..", ".", "", ".x", "a\\b", "a\nb", "a\x1bb", "\u202ea", "x" * 300]
)
def test_names_that_lead_elsewhere_are_none_of_directories(name: str) -> None:
    with pytest.raises(ValueError, match="one of a directory"):
        directory_name(name)
    assert directory_name("vögel, klein (2)") == "vögel, klein (2)"


def test_text_from_outside_does_not_act_on_a_terminal() -> None:
    assert printable("\x1b[31mred\u202e\udcff\r") == "\\x1b[31mred\\u202e\\udcff\\r"
    assert printable("größer 👩‍🚀 ok\n", keeps="\n") == "größer 👩‍🚀 ok\n"
    assert one_line("a\n  b\x07") == "a b\\x07"
    assert len(one_line("x" * 10**6)) < 3_000
