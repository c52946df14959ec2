"""How commands print: data to stdout, messages and progress to stderr."""

import json
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from shutil import get_terminal_size
from time import monotonic
from typing import IO, Any, TextIO, cast

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from nas_prune.cli.tables import table_lines
from nas_prune.runs.progress import Progress, is_main_process
from nas_prune.runs.stopping import interruptible
from nas_prune.runs.text import printable

_EPOCH_LINES = 5.0  # seconds between them
_SILENCE = 15.0  # seconds after which it is said what is going on, where there are no bars


def echo(text: str = "", *, err: bool = False) -> None:
    """A line for a person; what came from outside and would act on the terminal is shown instead."""
    click.echo(printable(text, keeps="\n"), err=err)


def print_json(content: Any) -> None:
    """Data for a program."""
    click.echo(json.dumps(content, indent=1))


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> None:
    """Data for a person; all columns but the first `left` are right-aligned.

    It fits the terminal as far as that can be without breaking a name or a number; in a file or a pipe every row is one
    line.
    """
    width = get_terminal_size().columns if sys.stdout.isatty() else None
    cells = [[printable(text) for text in row] for row in rows]
    lines, heads = table_lines(headings, cells, left=left, width=width)
    for number, line in enumerate(lines):
        click.echo(click.style(line, bold=True) if number in heads else line)


class _Lasting:
    """A stream that may be a terminal which is closed: that must not cost the work."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def showing_progress() -> Iterator[Progress]:
    """Progress bars on stderr; where that is no terminal, a line for an epoch now and then, and after each silence."""
    screen = Console(file=cast("IO[str]", _Lasting(sys.stderr)))
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
    )
    has_bars, said_at = screen.is_terminal and is_main_process(), [0.0]
    with Bars(*columns, console=screen, disable=not has_bars) as bars:
        tasks: dict[str, TaskID] = {}

        def update(what: str, done: int, total: int) -> None:
            silence.work(what, done, total)
            if what not in tasks:
                tasks[what] = bars.add_task(escape(printable(what)), total=total)
            bars.update(tasks[what], completed=done, total=total)

        def say(text: str) -> None:
            silence.end()
            screen.print(printable(text, keeps="\n"), markup=False, highlight=False, soft_wrap=True)

        def note(what: str, text: str, is_last: bool) -> None:  # noqa: FBT001
            if has_bars:
                if what in tasks:
                    bars.update(tasks[what], description=escape(printable(f"{what}: {text}")))
            elif is_main_process() and (is_last or monotonic() - said_at[0] > _EPOCH_LINES):
                said_at[0] = monotonic()
                say(f"{what}: {text}")

        silence = _Silence(say)
        # From here on bars are shown, and work may be lost.
        with interruptible(), silence.broken() if not has_bars and is_main_process() else nullcontext():
            yield Progress(update=update, say=say, note=note)


class _Silence:
    """Says what is going on where nothing has been said for long."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._began, self._since = say, monotonic(), monotonic()
        self._work: tuple[str, int, int] | None = None

    def work(self, what: str, done: int, total: int) -> None:
        """Note what is going on, and how far it is."""
        self._work = (what, done, total) if done < total else None

    def end(self) -> None:
        """Note that something is said."""
        self._since = monotonic()

    @contextmanager
    def broken(self) -> Iterator[None]:
        """For the time of the block."""
        has_ended = threading.Event()

        def listen() -> None:
            while not has_ended.wait(_SILENCE / 10):
                if monotonic() - self._since > _SILENCE:
                    self._say(self._words())

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        try:
            yield
        finally:
            has_ended.set()
            listener.join()

    def _words(self) -> str:
        passed = f"{monotonic() - self._began:.0f} s"
        if self._work is None:
            return f"still at work, after {passed}"
        what, done, total = self._work
        return f"{what}{f': {done} of {total}' if total > 1 else ''}, after {passed}"


def count(number: int) -> str:
    """A count for people, three digits long: 40.8M, 1.90M, 272K; 976 as it is."""
    for suffix, size in (("G", 10**9), ("M", 10**6), ("K", 10**3)):
        if number >= size:
            return f"{number / size:#.3g}".rstrip(".") + suffix
    return str(number)


def counted(number: int, what: str) -> str:
    """A number of things.

    Example:
        >>> counted(1, "epoch"), counted(2, "epoch")
        ('1 epoch', '2 epochs')
    """
    return f"{number} {what}{'s' * (number != 1)}"


def percent(share: float, digits: int = 1) -> str:
    """A share for people."""
    return f"{100 * share:.{digits}f} %"
