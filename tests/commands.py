"""Commands as text: parsed as they would be when typed, without being run."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import click

from nas_prune.cli import app
from nas_prune.space.budget import Budget

ROOT = Path(__file__).parent.parent


def descend(words: Sequence[str]) -> tuple[click.Command, list[str]]:
    """The command or sub-command that words begin with, and the rest of them."""
    command: click.Command = app
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(click.Context(command), rest[0])
        if found is None:
            raise click.UsageError(f"there is no command {rest[0]}")
        command, rest = found, rest[1:]
    return command, rest


def flags(command: click.Command) -> set[str]:
    """Of a command, and of all below a group."""
    found = {"--help", *chain.from_iterable((*one.opts, *one.secondary_opts) for one in command.params)}
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            below = command.get_command(click.Context(command), name)
            found |= set() if below is None else flags(below)
    return found


def check_command(words: list[str]) -> None:
    """Parse a command of ours as it would be, without running it; others are passed over.

    Raises:
        click.UsageError, NasPruneError: it would be refused, or its script is not there.
    """
    ours = next((number for number, word in enumerate(words) if word in ("nas-prune", "nas_prune")), None)
    tool = next((word for word in words if word.startswith("tools/")), None)
    if ours is not None:
        command, rest = descend(words[ours + 1 :])
        try:
            context = command.make_context("nas-prune", rest, parent=click.Context(app))
        except click.exceptions.Exit:  # after --help
            return
        for budget in (context.params.get("budget"), *context.params.get("budgets", ())):
            if isinstance(budget, str):
                Budget.parse(budget)
    elif tool is not None:
        if not (ROOT / tool).is_file():
            raise click.UsageError(f"there is no {tool}")
        code = (ROOT / tool).read_text(encoding="utf-8")
        for word in words:
            if word.startswith("--") and f'"{word}"' not in code:
                raise click.UsageError(f"{tool} has no {word}")
