"""How long work reports its progress, without knowing who receives the reports."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


def _ignore(*_: object) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Progress:
    """Called while something long is going on.

    Attributes:
        update: (what, done, total), often.
        say: a sentence for the user.
        note: (what, how it goes, whether it is the last one), after every epoch.
    """

    update: Callable[[str, int, int], None] = _ignore
    say: Callable[[str], None] = _ignore
    note: Callable[[str, str, bool], None] = _ignore

    def under(self, title: str) -> "Progress":
        """The same, with all steps reported under one title."""
        return Progress(
            lambda _, done, total: self.update(title, done, total),
            self.say,
            lambda _, text, is_last: self.note(title, text, is_last),
        )

    def without_words(self) -> "Progress":
        """The same without the sentences."""
        return Progress(self.update)

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Report work whose length is not known beforehand."""
        self.update(what, 0, 1)
        yield
        self.update(what, 1, 1)


SILENT = Progress()


def is_main_process() -> bool:
    """Whether this process writes files and messages: of several of `torchrun` only the first does."""
    return os.environ.get("RANK", "0") == "0"
