"""Stopping at the end of a step when Ctrl-C is pressed or a cluster asks for it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
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
    """Inside the block the first SIGINT and any SIGTERM only ask for a stop; in a thread nothing is caught."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.ask) for number in _SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def resume_hint(command: str) -> Iterator[None]:
    """Add the command that resumes to the message of a stop; of several nested ones the outermost is used."""
    try:
        yield
    except KeyboardInterrupt as error:
        said = str(error).partition(_HOW)[0] or "stopped"
        raise KeyboardInterrupt(f"{said}{_HOW}{command}") from None
