"""How a command is told which run is meant: RUN is an argument, and a run of the command's own kind is gone on with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from nas_prune.cli.option_types import RESUMES_NAMED, Place, RunOptions
from nas_prune.cli.options import Decorator


def run_argument(metavar: str, kind: Place) -> Decorator[Any]:
    """The argument RUN of a command that can begin without one."""
    return click.argument("named", required=False, metavar=metavar, type=kind)


def to_resume(run: RunOptions, named: Sequence[Path | None], kind: str) -> Path | None:
    """The run that a command goes on with; None if it begins a new one.

    Args:
        run: where --resume is, with a run or without.
        named: the runs that stand as arguments.
        kind: of the command's own runs; one that is named alone is gone on with, with --resume or without.

    Raises:
        click.UsageError: --resume is given without a run, or with more than one.
    """
    from nas_prune.runs.settings import command_of

    runs = [one for one in named if one is not None]
    if run.resume is None:
        is_own = len(runs) == 1 and runs[0].is_dir() and command_of(runs[0]) == kind
        return runs[0] if is_own else None
    given = [*runs, *([] if run.resume == RESUMES_NAMED else [run.resume])]
    if len(given) != 1:
        got = ", ".join(map(str, given)) or "none"
        raise click.UsageError(f"--resume must come with one RUN, the run to go on with, got {got}.")
    return given[0]


def refuse_run(named: Path | None, kind: str, instead: str) -> None:
    """Refuse a run that is not of the command's own kind, where no other can be meant.

    Args:
        named: what stands as RUN and is of no known kind: others are refused where it is read; None for nothing.
        kind: of the command's own runs.
        instead: what to do.
    """
    if named is not None:
        raise click.UsageError(f"RUN must be a {kind} to go on with, got {named}, which is no run. {instead}")
