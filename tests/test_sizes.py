"""No file is over 400 lines, no function over 60, and no two files repeat ten lines."""

import ast
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILES = [
    path
    for room in ("nas_prune", "tests", "tools", "studies")
    for path in sorted((ROOT / room).rglob("*.py"))
]


def too_long(path: Path) -> Iterator[str]:
    """What of a file is longer than it may be."""
    text = path.read_text(encoding="utf-8")
    if text.count("\n") > 400:
        yield path.name
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= 60:
            yield f"{path.name}: {node.name}"


def repeated(files: Sequence[Path]) -> list[tuple[str, ...]]:
    """Files that share ten lines in a row, blank ones and indentation not counted."""
    where: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    for path in files:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        for first in range(len(lines) - 9):
            where[tuple(lines[first : first + 10])].add(str(path))
    return sorted({tuple(sorted(names)) for names in where.values() if len(names) > 1})


def test_files_and_functions_are_short() -> None:
    assert len(FILES) > 200
    assert [name for path in FILES for name in too_long(path)] == []


def test_no_two_files_repeat_ten_lines() -> None:
    assert repeated(FILES) == []


def test_what_is_long_or_repeated_is_found(tmp_path: Path) -> None:
    for name, lines in (("one", 60), ("two", 61), ("three", 401)):
        body = [f"    print({name!r}, {number})" for number in range(lines - 1)]
        (tmp_path / f"{name}.py").write_text("\n".join([f"def {name}():", *body]) + "\n", encoding="utf-8")
    assert list(too_long(tmp_path / "one.py")) == []
    assert list(too_long(tmp_path / "two.py")) == ["two.py: two"]
    assert list(too_long(tmp_path / "three.py")) == ["three.py", "three.py: three"]
    (tmp_path / "four.py").write_text(
        (tmp_path / "one.py").read_text(encoding="utf-8")[-300:], encoding="utf-8"
    )
    assert repeated([tmp_path / f"{name}.py" for name in ("one", "two", "four")]) == [
        (str(tmp_path / "four.py"), str(tmp_path / "one.py"))
    ]
