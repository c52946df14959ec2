"""Run by test_workers.py: two workers that sleep until they are stopped, and say so."""

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from nas_prune.runs.progress import Progress
from nas_prune.runs.stopping import stoppable
from nas_prune.runs.workers import in_workers


def prepare(folder: Path) -> Callable[[int, Progress], int]:
    def sleep(task: int, _: Progress) -> int:
        with stoppable() as stop:
            (folder / f"started-{os.getpid()}").touch()
            while not stop.is_asked or "stubborn" in sys.argv:
                time.sleep(0.01)
        (folder / f"stopped-{os.getpid()}").touch()
        return task

    return sleep


if __name__ == "__main__":
    try:
        in_workers(partial(prepare, Path(sys.argv[1])), [1, 2], 2)
    except KeyboardInterrupt:
        sys.exit(130)
