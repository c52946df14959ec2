"""The help of every command ends with two examples, and each is a command that would run."""

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from nas_prune.cli import COMMANDS, SHELL_COMMANDS, app, main
from tests.commands import check_command


def leaves() -> Iterator[list[str]]:
    """The words of every command that does something."""
    context = click.Context(app)
    for name in (*COMMANDS, *SHELL_COMMANDS):
        command = app.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from ([name, below] for below in command.list_commands(context))
        else:
            yield [name]


def examples_of(help_text: str) -> list[str]:
    """The lines below the heading at the end."""
    found = re.search(r"\n  Examples:\n((?:    nas-prune .*\n)+)\Z", help_text)
    return [] if found is None else [line.strip() for line in found[1].splitlines()]


@pytest.mark.parametrize("words", list(leaves()), ids=" ".join)
def test_help_ends_with_two_examples_that_parse(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*words, "--help"]) == 0
    printed = capsys.readouterr().out
    examples = examples_of(printed)
    assert len(set(examples)) == 2, printed[-400:]
    for example in examples:
        assert len(example) <= 76
        assert shlex.split(example)[: len(words) + 1] == ["nas-prune", *words]
        check_command(shlex.split(example))


def test_all_commands_are_looked_at() -> None:
    found = [" ".join(words) for words in leaves()]
    assert {"search", "study run", "study rank", "study recover", "completion"} <= set(found)
    assert len(found) == len(COMMANDS) + len(SHELL_COMMANDS) + 2
