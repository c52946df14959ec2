"""How long work tells of its progress, without knowing who listens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


def _nobody(*_: object) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Watch:
    """Called while something long is going on.

    Attributes:
        progress: (what, done, total), often.
        say: a sentence for the person who waits.
    """

    progress: Callable[[str, int, int], None] = _nobody
    say: Callable[[str], None] = _nobody

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Tell of something whose length is not known beforehand."""
        self.progress(what, 0, 1)
        yield
        self.progress(what, 1, 1)


QUIET = Watch()
