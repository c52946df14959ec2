"""What commands print for people to type: found in their output, checked, and typed."""

import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import pytest

from nas_prune.cli import app, main
from tests.commands import descend

STUDY = """
space: resnet20
data: {name: digits, max_images: 60, val_fraction: 0.4}
recipe: fast
epochs: 1
budget: macs<=40%
sampler: random
trials: 3
threads: 1
"""
PLACE = "it's a place"  # with a space and a quote
SHORT = ("--epochs", "1", "--max-images", "60", "--threads", "1")
# A command stands behind a colon, and to the end of its line: it can be copied from there.
_PRINTED = re.compile(r": +((?:nas-prune|torchrun --nproc-per-node \d+ -m nas_prune) .+)$", re.MULTILINE)
_MARKED = re.compile(r"`[^`]*`")


def printed_in(text: str) -> list[str]:
    """The commands in an output, each once; what stands between backticks is a name, not to be typed."""
    return list(dict.fromkeys(_PRINTED.findall(_MARKED.sub("", text))))


def words_of(command: str, placeholders: dict[str, str]) -> list[str]:
    """A command as the shell takes it apart, its placeholders filled, without the program."""
    words = [placeholders.get(word, word) for word in shlex.split(command)]
    return words[next(place for place, word in enumerate(words) if word in ("nas-prune", "nas_prune")) + 1 :]


def check(command: str, placeholders: dict[str, str]) -> None:
    """It parses, and every path in it exists.

    Raises:
        click.UsageError: it does not parse.
    """
    found, rest = descend(words_of(command, placeholders))
    context = found.make_context("nas-prune", rest, parent=click.Context(app))
    for parameter in found.params:
        value = context.params.get(parameter.name or "")
        if isinstance(parameter.type, click.Path) and parameter.name not in ("out", "resume") and value:
            for path in value if isinstance(value, tuple) else (value,):
                assert Path(path).exists(), f"{command}: no {path}"
    resumed = context.params.get("resume")
    assert resumed is None or Path(resumed).exists(), command


def run(capsys: pytest.CaptureFixture[str], code: int, *typed: str) -> list[str]:
    """The commands that a real run prints, on both streams."""
    assert main(list(typed)) == code, capsys.readouterr().err
    output = capsys.readouterr()
    return printed_in(output.out + "\n" + output.err)


def expect(commands: Sequence[str], *beginnings: str) -> None:
    """Exactly these commands were printed."""
    assert len(commands) == len(beginnings), commands
    for command, beginning in zip(commands, beginnings, strict=True):
        assert command.startswith(beginning), (command, beginning)


Runner = Callable[..., list[str]]
