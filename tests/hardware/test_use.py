"""The target of a run: kept in it, found there again."""

import os
import sys
from pathlib import Path

import pytest

from nas_prune.errors import BadInputError
from nas_prune.hardware.target import target_named
from nas_prune.hardware.use import (
    aimed,
    identity_of_target,
    keep_target,
    target_beside,
    target_in,
    target_or_kept,
    timer_for,
)
from nas_prune.runs.progress import Progress
from nas_prune.runs.settings import library_versions, machine_name
from nas_prune.space.load import load_space

SPACE = load_space("resnet20", (3, 8, 8), num_classes=4)
MEASURED = """base: cpu-torch
name: my-board
latency: latency.csv
measured: {space: resnet20, input_shape: [3, 8, 8], machine: elsewhere, runtime: cpu-torch, threads: 1}
"""


def board(folder: Path, table: str = "a table") -> str:
    folder.mkdir()
    (folder / "target.yaml").write_text(MEASURED)
    (folder / "latency.csv").write_text(table)
    return str(folder)


def test_a_shipped_target_is_kept_as_it_is_now(tmp_path: Path) -> None:
    keep_target("ethos-u", tmp_path)
    kept = target_in(tmp_path)
    assert kept == str(tmp_path / "target")
    assert identity_of_target(kept) == identity_of_target("ethos-u")
    assert aimed(SPACE, kept).allowed_G == aimed(SPACE, "ethos-u").allowed_G
    assert aimed(SPACE, kept).target == "ethos-u"


def test_a_measured_target_is_kept_with_its_table_and_its_name(tmp_path: Path) -> None:
    own = board(tmp_path / "board")
    keep_target(own, tmp_path)
    kept = target_in(tmp_path)
    assert (tmp_path / "target" / "latency.csv").read_text() == "a table"
    assert target_named(str(kept)).name == "my-board"
    assert identity_of_target(kept) == identity_of_target(own)


def test_another_table_is_another_target(tmp_path: Path) -> None:
    first, second = board(tmp_path / "a"), board(tmp_path / "b", "another table")
    assert identity_of_target(first) != identity_of_target(second)


def test_without_a_target_memory_and_size_are_of_four_bytes_and_nothing_is_kept(tmp_path: Path) -> None:
    plain = aimed(SPACE, None)
    keep_target(None, tmp_path)
    assert plain.count("size", SPACE.base_G) == 4 * SPACE.cost_at(SPACE.base_G).params
    assert plain.allowed_G == SPACE.allowed_G
    assert (target_in(tmp_path), identity_of_target(None)) == (None, None)


def test_a_lost_table_is_named(tmp_path: Path) -> None:
    own = board(tmp_path / "board")
    (tmp_path / "board" / "latency.csv").unlink()
    with pytest.raises(
        BadInputError, match=r"a target's table must be a file .* Copy it beside its target.yaml"
    ):
        keep_target(own, tmp_path / "run")


def test_a_target_beside_a_file_of_settings_is_meant_before_one_from_where_the_command_is_run(
    tmp_path: Path,
) -> None:
    own = board(tmp_path / "board")
    assert target_beside("board", tmp_path) == own
    assert target_beside("ethos-u", tmp_path) == "ethos-u"
    assert target_beside(None, tmp_path) is None


def test_nothing_is_timed_for_another_machine(tmp_path: Path) -> None:
    assert timer_for(SPACE, None) is None
    assert timer_for(SPACE, "cpu-torch") is None
    assert timer_for(SPACE, board(tmp_path / "board")) is None


def test_a_table_of_other_versions_is_said_to_be_one(tmp_path: Path) -> None:
    ours, said = library_versions(("torch",))["torch"], list[str]()
    for version in (ours, "1.13.0"):
        home = Path(board(tmp_path / version))
        where = f"machine: '{machine_name()}', versions: {{torch: '{version}'}}"
        (home / "target.yaml").write_text(MEASURED.replace("machine: elsewhere", where))
        assert timer_for(SPACE, str(home), Progress(say=said.append)) is not None
        assert len(said) == (version != ours)
    assert "was made with torch 1.13.0; here is torch " + ours in said[0]


def test_nothing_is_timed_where_what_made_the_table_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, home = list[str](), Path(board(tmp_path / "board"))
    where = f"machine: '{machine_name()}'"
    text = MEASURED.replace("machine: elsewhere", where).replace(
        "runtime: cpu-torch", "runtime: cpu-onnxruntime"
    )
    (home / "target.yaml").write_text(text.replace("base: cpu-torch", "base: cpu-onnxruntime"))
    assert timer_for(SPACE, str(home), Progress(say=said.append)) is not None
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as where it is not installed any more
    assert timer_for(SPACE, str(home), Progress(say=said.append)) is None
    assert len(said) == 1
    assert "Nothing is measured" in said[0]
    assert "onnxruntime" in said[0]


def test_a_target_is_the_same_wherever_its_files_lie(tmp_path: Path) -> None:
    first = tmp_path / "first"
    first.mkdir()
    (first / "target.yaml").write_text(MEASURED.replace("name: my-board\n", ""))
    (first / "latency.csv").write_text("a table")
    before = identity_of_target(str(first))
    first.rename(tmp_path / "second")
    assert identity_of_target(str(tmp_path / "second")) == before


def test_what_is_gone_is_taken_from_the_run(tmp_path: Path) -> None:
    own = board(tmp_path / "board")
    run = tmp_path / "run"
    run.mkdir()
    keep_target(own, run)
    assert target_or_kept(own, run) == own
    (tmp_path / "board").rename(tmp_path / "elsewhere")
    assert target_or_kept(own, run) == str(run / "target")
    assert target_or_kept("ethos-u", run) == "ethos-u"
    assert target_or_kept(None, run) is None
    assert target_or_kept(own, tmp_path) == own


@pytest.mark.parametrize("threads", [-1, 0, 100_000])
def test_numbers_of_threads_have_ends(tmp_path: Path, threads: int) -> None:
    folder = tmp_path / "board"
    board(folder)
    (folder / "target.yaml").write_text(MEASURED.replace("threads: 1", f"threads: {threads}"))
    with pytest.raises(BadInputError, match="threads"):
        target_named(str(folder))


def test_a_pipe_is_no_table(tmp_path: Path) -> None:
    own = board(tmp_path / "board")
    (tmp_path / "board" / "latency.csv").unlink()
    os.mkfifo(tmp_path / "board" / "latency.csv")
    with pytest.raises(BadInputError, match="a target's table must be a file that can be read"):
        keep_target(own, tmp_path / "run")
