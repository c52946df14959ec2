"""What a shoot-out found is kept beside its plan, and goes on from there on another machine."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from nas_prune.errors import BadInputError
from tests.tools.test_shootout import CONTENT
from tools import shootout_kept
from tools.shootout_kept import exchange_files, merge
from tools.shootout_plan import Unit, read_plan, units


@pytest.fixture
def own(tmp_path: Path) -> list[Unit]:
    file = tmp_path / "plan.yaml"
    file.write_text(yaml.safe_dump({**CONTENT, "repetitions": 2}), encoding="utf-8")
    return units(read_plan(file), tmp_path / "out", ("small",), ("uniform", "study"))


def write(unit: Unit, accuracy: float) -> None:
    unit.folder.mkdir(parents=True)
    row = {"arm": unit.arm, "number": unit.number, "test": accuracy}
    unit.result.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")


def elsewhere(own: list[Unit], out: Path) -> list[Unit]:
    return [Unit(one.plan, one.task, one.arm, one.number, out) for one in own]


def test_what_is_done_here_is_done_there(own: list[Unit], tmp_path: Path) -> None:
    kept = tmp_path / "kept" / "small.jsonl"
    write(own[3], 0.25)
    assert merge(own, kept) == (1, 0)
    write(own[0], 0.1234567890123456)
    assert merge(own, kept) == (1, 0)
    assert [json.loads(line)["arm"] for line in kept.read_text(encoding="utf-8").splitlines()] == [
        "uniform",
        "study",
    ]
    there = elsewhere(own, tmp_path / "other")
    write(there[1], 0.5)
    assert merge(there, kept) == (1, 2)
    assert there[0].result.read_bytes() == own[0].result.read_bytes()
    assert there[3].result.read_bytes() == own[3].result.read_bytes()
    assert merge(there, kept) == (0, 0)
    assert merge(own, kept) == (0, 1)
    assert not own[2].result.exists()


def test_another_end_of_the_same_repetition_is_refused(own: list[Unit], tmp_path: Path) -> None:
    kept = tmp_path / "small.jsonl"
    write(own[0], 0.5)
    merge(own, kept)
    before = kept.read_bytes()
    there = elsewhere(own, tmp_path / "other")
    write(there[0], 0.6)
    write(there[1], 0.7)
    with pytest.raises(BadInputError, match=r"uniform, 0, and differs\. Take another --out"):
        merge(there, kept)
    assert kept.read_bytes() == before


def test_latencies_go_along_and_half_a_table_does_not(tmp_path: Path) -> None:
    out, kept = tmp_path / "out", tmp_path / "kept"
    board = out / "boards" / "small"
    board.mkdir(parents=True)
    (board / "latency.csv").write_text("half", encoding="utf-8")
    exchange_files(out, kept, "small")
    assert not kept.exists()
    for name in ("latency.csv", "networks.csv", "target.yaml"):
        (board / name).write_text(name, encoding="utf-8")
    (out / "latency-small.json").write_text("{}", encoding="utf-8")
    exchange_files(out, kept, "small")
    exchange_files(tmp_path / "other", kept, "small")
    assert (tmp_path / "other" / "boards" / "small" / "latency.csv").read_text(
        encoding="utf-8"
    ) == "latency.csv"
    assert (tmp_path / "other" / "latency-small.json").exists()


def test_no_accuracy_is_printed(
    own: list[Unit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(own[0], 0.4321)
    options = ["--file", tmp_path / "plan.yaml", "--kept", tmp_path / "kept", "--out", tmp_path / "out"]
    monkeypatch.setattr(sys, "argv", ["shootout_kept", *map(str, options)])
    shootout_kept.main()
    printed = capsys.readouterr().out
    assert "small: 1 of 24 done; 1 kept now, 0 put back" in printed
    assert "4321" not in printed
    assert "43.21" not in printed
