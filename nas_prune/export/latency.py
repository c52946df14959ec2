"""How long single images take, before and after."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

_WARM_UP = 10
_MOST_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Speed:
    """The size of a network's file, and how long one image takes.

    Attributes:
        what: runs it, such as `PyTorch` or `ONNX Runtime`.
        file_bytes: of its file.
        median_ms, p95_ms: of single images: half, and 95 %, took no longer.
        runs: so many.
    """

    what: str
    file_bytes: int
    median_ms: float
    p95_ms: float
    runs: int


def speed_of(what: str, file_bytes: int, seconds: Sequence[float]) -> Speed:
    """From how long each run took."""
    milliseconds = 1000 * np.asarray(seconds)
    median, p95 = np.quantile(milliseconds, (0.5, 0.95))
    return Speed(what, file_bytes, float(median), float(p95), len(seconds))


def timed(calls: Mapping[str, Callable[[], object]], runs: int) -> dict[str, list[float]]:
    """How long each call takes, in seconds, time after time.

    They take turns, so that whatever else the machine does meets all of them alike.

    Args:
        calls: by name.
        runs: of each; fewer where they would take more than 20 seconds.
    """
    begun = perf_counter()
    for _ in range(min(_WARM_UP, runs)):
        for call in calls.values():
            call()
        if perf_counter() - begun > _MOST_SECONDS / 4:
            break
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    begun = perf_counter()
    for _ in range(runs):
        for name, call in calls.items():
            start = perf_counter()
            call()
            seconds[name].append(perf_counter() - start)
        if perf_counter() - begun > _MOST_SECONDS:
            break
    return seconds
