"""Tables fit the terminal as far as they can, and never break a name, a number or a path."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from nas_prune.cli import main
from nas_prune.cli.tables import table_lines

HEADINGS = ["budget", "stage 0\n8×8", "MACs", "", "val. accuracy\nafter the cut", "guided is"]
ROW = ["macs<=50%", "0.92", "1.90M", "75.0 %", "84.7 %", "better by 0.4 points, which is more than chance"]

WORDS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=14)
CELLS = st.lists(WORDS, min_size=0, max_size=4).map(" ".join)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    columns = draw(st.integers(1, 6))
    cells = st.lists(CELLS, min_size=columns, max_size=columns)
    return draw(cells), draw(st.lists(cells, max_size=4))


@given(tables(), st.integers(10, 120))
def test_every_word_stands_in_one_line_and_lines_fit_if_words_do(
    table: tuple[list[str], list[list[str]]], width: int
) -> None:
    headings, rows = table
    lines, _ = table_lines(headings, rows, width=width)
    words = [word for cell in [*headings, *(cell for row in rows for cell in row)] for word in cell.split()]
    assert all(any(word in line for line in lines) for word in words)
    pairs = [[headings[0], headings[column]] for column in range(len(headings))]
    longest = max(cell_len(cell) for pair in zip(*rows, strict=True) for cell in pair) if rows else 0
    if max([longest, *(cell_len(cell) for pair in pairs for cell in pair)]) * 2 + 2 <= width // 3:
        assert max(map(cell_len, lines), default=0) <= width


@given(tables())
def test_without_a_width_every_row_is_one_line(table: tuple[list[str], list[list[str]]]) -> None:
    headings, rows = table
    assert len(table_lines(headings, rows)[0]) == len(rows) + 1


@pytest.mark.parametrize("width", [100, 80, 60, 40, 30, 10])
def test_a_number_keeps_its_unit_and_a_bound_its_share(width: int) -> None:
    lines, heads = table_lines(HEADINGS, [ROW, ROW], width=width)
    for text in ("macs<=50%", "75.0 %", "84.7 %", "0.4 points"):
        assert sum(text in line for line in lines) >= 2, (width, text)
    assert all("accuracy" not in line for number, line in enumerate(lines) if number not in heads)
    if width >= 40:
        assert max(map(len, lines)) <= width


def test_a_table_that_is_too_wide_goes_on_below_with_its_first_column() -> None:
    lines, heads = table_lines(["name", "first", "second"], [["one", "1" * 9, "2" * 9]], width=16)
    assert lines == ["name      first", "one   111111111", "", "name     second", "one   222222222"]
    assert heads == {0, 3}


def test_letters_that_take_two_places_are_counted_as_two() -> None:
    assert table_lines(["种类", "n"], [["猫", "1"], ["cat", "10"]])[0] == ["种类   n", "猫     1", "cat   10"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a search, a training and images in it."""
    home, before = tmp_path_factory.mktemp("tables"), Path.cwd()
    os.chdir(home)
    short = ["--epochs", "1", "--max-images", "60"]
    assert main(["search", *short, "--budget", "macs<=50%", "--budget", "params<=100K", "--out", "run"]) == 0
    widths = "run/widths/macs-50pct.json"
    assert main(["train", "--widths", widths, *short, "--seeds", "2", "--out", "trained"]) == 0
    os.chdir(before)
    return home


COMMANDS: list[tuple[list[str], list[str]]] = [
    (["spaces"], ["torchvision:lraspp_mobilenet_v3_large", "package.module:factory"]),
    (["inspect", "--space", "resnet20"], ["layer1.0.conv1", "layer3.2.conv1"]),
    (["search", "--resume", "run"], ["macs<=50%", "params<=100K"]),
    (["train", "--resume", "trained"], ["98.61 %"]),
    (
        ["apply", "--guideline", "uniform", "--space", "vgg11", "--budget", "macs<=50%"],
        ["features.11", "features.25"],
    ),
]


@pytest.mark.parametrize("columns", [80, 60])
@pytest.mark.parametrize(("typed", "names"), COMMANDS, ids=lambda value: value[0])
def test_commands_break_no_name_in_a_narrow_terminal(
    typed: Sequence[str],
    names: Sequence[str],
    columns: int,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    if typed[0] == "train":
        found = json.loads(Path("trained/result.json").read_text(encoding="utf-8"))["seeds"]
        names = [f"{100 * one['test_accuracy']:.2f} %" for one in found]
    assert main(list(typed)) == 0
    lines = click.unstyle(capsys.readouterr().out).splitlines()
    assert [name for name in names if not any(name in line for line in lines)] == []
    rows = [line for line in lines if any(line.startswith(name) for name in names)]
    assert max(map(len, rows), default=0) <= columns


def test_a_real_terminal_says_itself_how_wide_it_is() -> None:
    code = f"from nas_prune.cli.output import print_table; print_table({HEADINGS!r}, [{ROW!r}])"
    mother, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 60, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    subprocess.run(
        [sys.executable, "-c", code], stdout=child, env={**environment, "TERM": "xterm"}, check=True
    )
    printed = os.read(mother, 1 << 16).decode()
    assert "\x1b[1mbudget" in printed  # headings are bold
    plain = [line.replace("\x1b[1m", "").replace("\x1b[0m", "") for line in printed.splitlines()]
    assert any("macs<=50%" in line for line in plain)
    assert 30 < max(map(len, plain)) <= 60


def test_in_a_pipe_every_row_is_one_line(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("COLUMNS", "30")  # of a terminal that does not see it
    assert main(["search", "--resume", "run"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^params<=100K .* [\d.]+ %$", printed, re.MULTILINE)
    assert "\x1b" not in printed
