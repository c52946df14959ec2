"""A semaphore whose places are bytes: what several threads may hold at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class WeightedSemaphore:
    """Lets threads in while what they hold together stays within a bound.

    A thread that asks for more than the bound waits until it is alone.

    Args:
        most: the bound, in any unit.
    """

    def __init__(self, most: int) -> None:
        self._most, self._held = most, 0
        self._changed = Condition()

    @contextmanager
    def held(self, amount: int) -> Iterator[None]:
        """Wait for room, and keep it."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held or self._held + amount <= self._most)
            self._held += amount
        try:
            yield
        finally:
            with self._changed:
                self._held -= amount
                self._changed.notify_all()
