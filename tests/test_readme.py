"""The README's commands work as typed, in an empty directory, and print what it says."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from nas_prune.cli import main

README = Path(__file__).parent.parent / "README.md"
BLOCK = re.compile(r"```console\n\$ (?P<command>.+)\n(?P<printed>(?:.*\n)*?)```")


def blocks() -> list[tuple[str, list[str]]]:
    found = BLOCK.finditer(README.read_text(encoding="utf-8"))
    return [(block["command"], block["printed"].splitlines()) for block in found]


def skeleton(line: str) -> str:
    """A line without its numbers, which vary with machine and number of threads."""
    return re.sub(r"[\d.,]+[KMG]?|\s+", " ", line).strip()


def test_the_readme_shows_commands() -> None:
    assert [shlex.split(command)[1] for command, _ in blocks()] == ["search", "train", "inspect"]


def test_the_guideline_it_shows_is_the_one_that_comes_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = re.search(
        r"```text\n\$ nas-prune (guide .+)\n((?:.*\n)*?)```", README.read_text(encoding="utf-8")
    )
    assert shown is not None
    monkeypatch.chdir(README.parent)
    assert main(shlex.split(shown[1])) == 0
    assert capsys.readouterr().out.rstrip() == shown[2].rstrip()


@pytest.mark.slow
def test_every_command_prints_what_the_readme_says(tmp_path: Path) -> None:
    nas_prune = Path(sys.executable).parent / "nas-prune"
    for command, printed in blocks():
        words = shlex.split(command)
        assert words[0] == "nas-prune"
        result = subprocess.run(
            [nas_prune, *words[1:]], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        expected = [skeleton(line) for line in printed if line != "…"]
        assert [skeleton(line) for line in result.stdout.splitlines()][: len(expected)] == expected
    for path in re.findall(r"\]\((studies/[^)]+)\)", README.read_text(encoding="utf-8")):
        assert (README.parent / path).exists()


@pytest.mark.slow
def test_the_python_lines_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    nas_prune = Path(sys.executable).parent / "nas-prune"
    subprocess.run(
        [nas_prune, "search", "--epochs", "1", "--max-images", "100"], check=True, capture_output=True
    )
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)  # noqa: S102
    assert {"network", "result"} <= set(names)
