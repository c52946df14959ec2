"""Shared by the tests of images: nobody waits for a pipe for ever."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Timer

import pytest


@pytest.fixture
def freeing_pipes(tmp_path: Path) -> Iterator[None]:
    """Whoever waits for a pipe below the test's directory is let go, so that the test fails rather than hangs."""

    def free() -> None:
        for path in filter(Path.is_fifo, tmp_path.rglob("*")):
            with suppress(OSError):
                os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))

    timer = Timer(3, free)
    timer.start()
    yield
    timer.cancel()
