"""The command line: one file for each command, nothing but argument handling and printing."""

import os
import sys
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click

from nas_prune.cli.option_types import RUNS_NOW
from nas_prune.errors import NasPruneError
from nas_prune.runs.memory import keep_freed_memory
from nas_prune.runs.safe_path import leave_out_current_directory
from nas_prune.runs.stopping import interruptible
from nas_prune.runs.text import one_line

COMMANDS: dict[str, str] = {
    "spaces": "What can be searched.",
    "inspect": "Channel groups, roles, frozen parts and why, costs, feasible budgets.",
    "methods": "Methods for widths and for single weights: what each does and needs.",
    "search": "Sparse-train a network and write the layer widths found at each budget.",
    "sparsify": "Find which single weights stay, and write them as patterns without weights.",
    "guide": "Say what found widths have in common: in words, numbers and a picture.",
    "evaluate": "Does a guideline help? Compare networks drawn from it with uniform and random ones.",
    "apply": "Give a network the widths that a guideline has for it, at a budget.",
    "study": "Let Optuna sample widths around a guideline; rank them, train the winner.",
    "dashboard": "Watch a study in a browser.",
    "train": "Train found widths, from random weights or from those of their search.",
    "predict": "Say which classes images are of, by a trained network.",
    "export": "Write a trained network as ONNX, int8, pt2 or safetensors, checked on its images.",
    "compress": "Write a trained network as few bytes: shared values and Huffman codes, with an account.",
    "compare": "Structure or weights? Train found widths and the networks to compare them with.",
    "transfer": "Apply a guideline to other images, and say what that saves and costs.",
    "measure": "Measure what widths take on this machine: a latency table, or the time of one network.",
    "report": "Write the results of runs as one page that needs no other file.",
}

SHELL_COMMANDS: dict[str, str] = {
    "completion": "Print the script by which bash, zsh or fish completes what is typed."
}
_COMPLETES = "_NAS_PRUNE_COMPLETE"  # set by the shell while a word is completed
_ALL = {**COMMANDS, **SHELL_COMMANDS}


class _Stopped(Exception):  # noqa: N818  (no error)
    """A command was interrupted; click itself would write to a terminal that may be closed."""


class _NobodyReads(Exception):  # noqa: N818
    """Whoever read the output has gone; click itself would exit with 1."""


class _Lazy(click.Group):
    """Loads a command's file when it is called, so that `--help` does not wait for torch."""

    def invoke(self, ctx: click.Context) -> Any:
        ctx.meta[RUNS_NOW] = True
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            raise _Stopped(str(interrupt)) from None
        except BrokenPipeError:
            raise _NobodyReads from None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _ALL and not args[0].startswith("-"):
            near = get_close_matches(args[0], _ALL, 1)
            hint = f" Did you mean {near[0]}?" if near else " nas-prune --help lists them."
            raise click.UsageError(f"the command must be one of nas-prune's, got {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_ALL)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        if name not in _ALL:
            return None
        command: click.Command = import_module(f"nas_prune.cli.{name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for title, commands in (("Commands", COMMANDS), ("Shell", SHELL_COMMANDS)):
            with formatter.section(title):
                formatter.write_dl(list(commands.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="nas-prune", message="nas-prune %(version)s")
def app() -> None:
    """Find the shape of a convolutional network.

    Structured pruning as a search for layer widths; the networks found are trained from random weights.
    """


def main(arguments: list[str] | None = None) -> int:
    """Run one command; a user's mistake is one line on stderr and exit code 2."""
    leave_out_current_directory()
    keep_freed_memory()
    _open_closed_streams()
    if _COMPLETES in os.environ:
        from nas_prune.cli.completion import register

        register()
    try:
        with interruptible(leaves=True):
            code = app.main(arguments, prog_name="nas-prune", standalone_mode=False)
        sys.stdout.flush()  # or a full disk would be seen after the end
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "", err=True)
        return 2
    except click.ClickException as error:
        return _refuse(error.format_message())
    except (_Stopped, click.Abort, KeyboardInterrupt) as stop:
        _last_words(one_line(str(stop) or "stopped"))
        return 130
    except (_NobodyReads, BrokenPipeError):
        _leave_unsaid()
        return 141
    except (NasPruneError, OSError) as error:
        return _refuse(_words_of(error))
    return code if isinstance(code, int) else 0


def _open_closed_streams() -> None:
    """Have somewhere to read from and to write to where a stream was closed; files must not get its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def _words_of(error: NasPruneError | OSError) -> str:
    """What to say of an error: ours say it themselves, and the system's where nobody has looked for them."""
    if isinstance(error, NasPruneError):
        return str(error)
    what = "the output must be written" if error.filename is None else f"{error.filename} must be usable"
    return f"{what}, got: {error.strerror or error}."


def _last_words(said: str) -> None:
    """Say why it ends, where the terminal is still there; what is left unsaid must not change the exit code."""
    with suppress(OSError):
        click.echo(said, err=True)
    _leave_unsaid()


def _leave_unsaid() -> None:
    """Write what is waiting to be written, or give it up: Python's own try at its end would be an error."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _refuse(message: str) -> int:
    _last_words(f"nas-prune: {one_line(message)}")
    return 2


def run() -> None:
    """The console script of installations from before `nas_prune.__main__` was it."""
    sys.exit(main())
