"""Stopping at the end of a step when Ctrl-C is pressed, a cluster asks for it or the terminal is closed."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

_HANG_UP = getattr(signal, "SIGHUP", None)  # a closed laptop, a lost connection; not on Windows
_HOW = ". Go on with: "


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
    """Inside the block the first SIGINT, and any signal to end, only ask for a stop; in a thread nothing is caught."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    with _handled(stop.ask, (signal.SIGINT, *_asks_to_end())):
        yield stop


@contextmanager
def interruptible() -> Iterator[None]:
    """Let what asks a process to end act as Ctrl-C does, for the time of the block; in a thread nothing is caught."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with _handled(stop, _asks_to_end()):
        yield


def _asks_to_end() -> tuple[signal.Signals, ...]:
    """The signals that ask a process to end; not the terminal's, where it was started to outlive that (`nohup`)."""
    if _HANG_UP is None or signal.getsignal(_HANG_UP) is signal.SIG_IGN:
        return (signal.SIGTERM,)
    return (signal.SIGTERM, _HANG_UP)


@contextmanager
def _handled(handler: Callable[[int, object], None], numbers: Sequence[signal.Signals]) -> Iterator[None]:
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
