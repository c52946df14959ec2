"""Stopping at the end of a step when Ctrl-C is pressed, a cluster asks for it or the terminal is closed."""

import os
import signal
import sys
import threading
from _thread import interrupt_main
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

_HANG_UP = getattr(signal, "SIGHUP", None)  # a closed laptop, a lost connection; not on Windows
_HOW = ". Go on with: "
_IMPORTS = "<frozen importlib._bootstrap>"
_AGAIN = 0.05  # seconds until an interrupt that came in an import is tried again


class Stop:
    """Whether a stop was asked for."""

    def __init__(self) -> None:
        self.is_asked = False
        self._is_urgent = False

    def ask(self, number: int = signal.SIGTERM, _: object = None) -> None:
        """Ask for it, as a handler of signals; Ctrl-C a second time means at once."""
        if number == signal.SIGINT and self._is_urgent:
            raise KeyboardInterrupt
        self.is_asked = True
        self._is_urgent = self._is_urgent or number == signal.SIGINT


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Inside the block the first SIGINT, and any signal to end, only ask for a stop.

    In a thread nothing is caught. What the process ignores, as one that runs in the background does, stays ignored.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    with _handled(stop.ask, _not_ignored(signal.SIGINT, *_asks_to_end())):
        yield stop


@contextmanager
def interruptible(*, leaves: bool = False) -> Iterator[None]:
    """Let Ctrl-C, and what asks a process to end, raise `KeyboardInterrupt` within the block.

    Not in the middle of an import: libraries swallow the exception there and stay half loaded, so that another error
    follows, or none. Then it is raised as soon as nothing is being imported.

    In a thread nothing is caught. Ctrl-C stays with whoever handles it in a way of their own.

    Args:
        leaves: whether an import need not be waited for: the process ends there, since it has nothing to lose yet.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    raiser = _Raiser(_count_imports(sys._getframe()), leaves)  # noqa: SLF001  (imports that called this)
    now = signal.getsignal(signal.SIGINT)
    is_ours = now is signal.default_int_handler or isinstance(now, _Raiser)
    is_ours = is_ours or (
        leaves and now is not signal.SIG_IGN
    )  # which was so before: it runs in the background
    with _handled(raiser, (*((signal.SIGINT,) if is_ours else ()), *_asks_to_end())):
        yield


@dataclass(frozen=True, slots=True)
class _Raiser:
    """A handler of signals that raises `KeyboardInterrupt` where that is not lost.

    Attributes:
        imports: how many imports were going on when it was made.
        leaves: whether the process ends in the middle of another one.
    """

    imports: int
    leaves: bool

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if _count_imports(frame) <= self.imports:
            raise KeyboardInterrupt
        if self.leaves:
            os.write(2, b"stopped\n")
            os._exit(130)
        again = threading.Timer(_AGAIN, _interrupt, (number,))
        again.daemon = True
        again.start()


def _interrupt(number: int) -> None:
    """Send the main thread a signal; where that can be done, it is woken from what it waits for."""
    send = getattr(signal, "pthread_kill", None)
    if send is None:
        interrupt_main(signal.Signals(number))
    else:
        send(threading.main_thread().ident, number)


def _count_imports(frame: FrameType | None) -> int:
    """How many imports are going on where a frame is the innermost."""
    count = 0
    while frame is not None:
        count += frame.f_code.co_filename == _IMPORTS
        frame = frame.f_back
    return count


@contextmanager
def held_back() -> Iterator[None]:
    """Let what asks this process to end wait for the end of the block; processes started in it are not interrupted.

    A process that is being started would print a traceback, and is one that nobody would stop. `leave_to_parent`
    ends that.
    """
    asked: list[int] = []
    is_main = threading.current_thread() is threading.main_thread()
    numbers = _not_ignored(signal.SIGINT, *_asks_to_end())
    with _handled(lambda number, _: asked.append(number), numbers if is_main else ()):
        before = _masked("SIG_BLOCK", {signal.SIGINT})
        try:
            yield
        finally:
            _masked("SIG_SETMASK", before)
    for number in asked[:1]:
        signal.raise_signal(number)


def leave_to_parent() -> None:
    """Let Ctrl-C be the affair of the process that started this one, which stops it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _masked("SIG_UNBLOCK", {signal.SIGINT})


def _masked(how: str, numbers: Iterable[int]) -> set[int]:
    """Change which signals wait for this thread and the processes that it starts; nothing on Windows."""
    change = getattr(signal, "pthread_sigmask", None)
    return set() if change is None else set(change(getattr(signal, how), numbers))


def _asks_to_end() -> tuple[signal.Signals, ...]:
    """The signals that ask a process to end; not the terminal's, where it was started to outlive that (`nohup`)."""
    return _not_ignored(signal.SIGTERM, *(() if _HANG_UP is None else (_HANG_UP,)))


def _not_ignored(*numbers: signal.Signals) -> tuple[signal.Signals, ...]:
    return tuple(one for one in numbers if signal.getsignal(one) is not signal.SIG_IGN)


@contextmanager
def _handled(
    handler: Callable[[int, FrameType | None], object], numbers: Sequence[signal.Signals]
) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, handled in before.items():
            signal.signal(number, handled)


@contextmanager
def resume_hint(command: str) -> Iterator[None]:
    """Add the command that resumes to the message of a stop; of several nested ones the outermost is used."""
    try:
        yield
    except KeyboardInterrupt as error:
        said = str(error).partition(_HOW)[0] or "stopped"
        raise KeyboardInterrupt(f"{said}{_HOW}{command}") from None
