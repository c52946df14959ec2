"""Other libraries' exporters: what they say of their own workings, and of what goes wrong."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from logging import CRITICAL, disable, root

from nas_prune.runs.text import first_line


@contextmanager
def quietly() -> Iterator[None]:
    """Without what exporters say of their own workings: what goes wrong is raised, and what comes out is checked."""
    before = root.manager.disable
    disable(CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        disable(before)


def said_by(error: BaseException) -> str:
    """An error as part of a sentence."""
    return f"{type(error).__name__}: {first_line(error).rstrip('. ')}"
