"""Times of runs, and what is said of many of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a network takes for one image, in nanoseconds.

    Attributes:
        median_ns: of all runs.
        p95_ns: which 95 of 100 runs stay below.
        runs: how many there were.
    """

    median_ns: int
    p95_ns: int
    runs: int

    @classmethod
    def of(cls, ns_R: Sequence[int]) -> "Timing":
        """What is said of some runs.

        Example:
            >>> Timing.of([3, 1, 2])
            Timing(median_ns=2, p95_ns=3, runs=3)
        """
        return cls(int(np.median(ns_R)), int(np.quantile(ns_R, 0.95, method="higher")), len(ns_R))


@dataclass(frozen=True, slots=True)
class Parts:
    """How the runs of a network divide into its layers.

    Attributes:
        ns: nanoseconds of each run in each layer and in what follows it, by the layer's path; as many of each.
        pieces: how many pieces of each layer were clocked in a run; each costs the clock's own time.
    """

    ns: Mapping[str, NDArray[np.float64]]
    pieces: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class PartTiming:
    """How long a layer takes within its network, in nanoseconds."""

    latency_ns: int
    p95_ns: int


def clocked(run: Callable[[], Any], runs: int) -> list[int]:
    """Nanoseconds of each of some runs."""
    found = []
    for _ in range(runs):
        began = perf_counter_ns()
        run()
        found.append(perf_counter_ns() - began)
    return found


def adding_up(parts: Parts, whole_ns: int) -> dict[str, PartTiming]:
    """The parts of a network's time, freed of the clock's own: their sum is the time of the whole.

    What the parts have too much is taken from them in proportion to the pieces that were clocked. A part's time is the
    mean of its middle half of runs: some runtimes tell whole microseconds, of which a median is one.

    Args:
        parts: of runs that were clocked piece by piece.
        whole_ns: the time of a run that was not.

    Example:
        >>> found = adding_up(Parts({"a": np.array([8.0]), "b": np.array([6.0])}, {"a": 1, "b": 1}), 10)
        >>> [one.latency_ns for one in found.values()]
        [6, 4]
    """
    usual = {path: _middle(ns_R) for path, ns_R in parts.ns.items()}
    own = (sum(usual.values()) - whole_ns) / max(1, sum(parts.pieces.values()))
    freed = {path: max(0.1 * ns, ns - own * parts.pieces[path]) for path, ns in usual.items()}
    scale = whole_ns / max(sum(freed.values()), 1e-9)  # 1, but where nothing was left of a part
    found, said, exact = {}, 0, 0.0
    for path, ns in freed.items():
        exact += ns * scale
        latency = round(exact) - said  # so that the sum is the whole after rounding, too
        said += latency
        late = float(np.quantile(parts.ns[path], 0.95)) - own * parts.pieces[path]
        found[path] = PartTiming(latency, max(latency, round(late)))
    return found


def _middle(ns_R: ArrayLike) -> float:
    ns = np.sort(np.asarray(ns_R, dtype=np.float64))
    cut = len(ns) // 4
    return float(ns[cut : len(ns) - cut].mean())
