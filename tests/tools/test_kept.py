"""What a long study has found is kept in a file of lines, and goes on from there on another machine."""

import json
import sys
from pathlib import Path

import pytest

from nas_prune.errors import BadInputError
from tools import kept
from tools.kept import exchange

PATTERNS = ["*/*/result.json", "boards/*.csv"]


def write(out: Path, name: str, accuracy: float) -> Path:
    path = out / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"test": accuracy, "widths": [1, 2]}, indent=1) + "\n", encoding="utf-8")
    return path


def test_what_is_done_here_is_done_there(tmp_path: Path) -> None:
    out, other, lines = tmp_path / "out", tmp_path / "other", tmp_path / "kept" / "all.jsonl"
    assert exchange(out, lines, PATTERNS) == (0, 0)
    first = write(out, "study/0/result.json", 0.1234567890123456)
    write(out, "study/0/last/result.json", 0.5)  # of no pattern
    compact = out / "study" / "1" / "result.json"
    compact.parent.mkdir()
    compact.write_bytes(b'{"test":0.5}')
    (out / "boards").mkdir()
    (out / "boards" / "latency.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    assert exchange(out, lines, PATTERNS) == (3, 0)
    assert len(lines.read_text(encoding="utf-8").splitlines()) == 3
    write(other, "study/2/result.json", 0.25)
    assert exchange(other, lines, PATTERNS) == (1, 3)
    for path in (first, compact, out / "boards" / "latency.csv"):
        assert (other / path.relative_to(out)).read_bytes() == path.read_bytes()
    assert not (other / "study" / "0" / "last").exists()
    assert exchange(other, lines, PATTERNS) == (0, 0)
    assert exchange(out, lines, PATTERNS) == (0, 1)


def test_another_end_of_the_same_training_is_refused(tmp_path: Path) -> None:
    lines = tmp_path / "all.jsonl"
    write(tmp_path / "out", "study/0/result.json", 0.5)
    exchange(tmp_path / "out", lines, PATTERNS)
    before = lines.read_bytes()
    write(tmp_path / "other", "study/0/result.json", 0.6)
    write(tmp_path / "other", "study/1/result.json", 0.7)
    with pytest.raises(BadInputError, match=r"0/result\.json must be what .* differs\. Take another --out"):
        exchange(tmp_path / "other", lines, PATTERNS)
    assert lines.read_bytes() == before


def test_settings_that_ask_for_more_replace_those_that_are_kept(tmp_path: Path) -> None:
    lines = tmp_path / "all.jsonl"
    out, other = tmp_path / "out", tmp_path / "other"
    write(out, "study/0/result.json", 0.5)
    (out / "config.yaml").write_text("seeds: 1\n", encoding="utf-8")
    assert exchange(out, lines, PATTERNS, ["config.yaml"]) == (2, 0)
    (out / "config.yaml").write_text("seeds: 2\n", encoding="utf-8")
    with pytest.raises(BadInputError, match=r"config\.yaml must be what"):
        exchange(out, lines, [*PATTERNS, "config.yaml"])
    assert exchange(out, lines, PATTERNS, ["config.yaml"]) == (1, 0)
    assert exchange(out, lines, PATTERNS, ["config.yaml"]) == (0, 0)
    assert exchange(other, lines, PATTERNS) == (0, 2)
    assert (other / "config.yaml").read_text(encoding="utf-8") == "seeds: 2\n"


@pytest.mark.parametrize("row", [{"path": "../a", "text": ""}, {"path": "/a", "text": ""}, {"path": "a"}])
def test_lines_that_lead_elsewhere_are_refused(row: dict[str, str], tmp_path: Path) -> None:
    lines = tmp_path / "all.jsonl"
    lines.write_text(json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(BadInputError, match="got line 1"):
        exchange(tmp_path / "out", lines, PATTERNS)


def test_no_result_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "study/0/result.json", 0.4321)
    command = [
        "kept",
        "--out",
        str(tmp_path),
        "--kept",
        str(tmp_path / "all.jsonl"),
        "--of",
        "*/*/result.json",
    ]
    monkeypatch.setattr(sys, "argv", command)
    kept.main()
    assert capsys.readouterr().out == "1 kept now, 0 put back\n"
