"""How fast the machine runs at the moment: one network, run right before and right after whatever is timed.

A machine's pace changes by some percent from minute to minute, by heat, by its neighbours, by other work. What is timed
is told apart from that by a network whose own time is known. And on a virtual machine several threads may do no more
than one for seconds at a stretch, with nothing else running: its processors are then halves of one core, or go through
the host to wait for each other. A table of which half was measured so predicts neither, so that such times are waited
out.
"""

from collections.abc import Callable, Sequence
from time import monotonic, sleep
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nas_prune.hardware.runtimes import Loaded

Found = TypeVar("Found")

_WARM_UPS, _FEWEST, _MOST = 3, 5, 25  # runs
_RUNS_NS = 15e6
_FIRST = 40  # looks at the pace before anything is timed
SLOW = 1.25  # times as long as at best
_PATIENCE, _PAUSE = 60.0, 0.25  # seconds
_TRIES, _GIVE_UP = 20, 3
_AROUND = 5  # timings before and after one that its pace is told by


class Pace:
    """Runs a network before and after some work, and waits where several threads are held up."""

    def __init__(self, network: Loaded, threads: int) -> None:
        """With a network that stays loaded, of so many threads; one alone needs no waiting."""
        self._network, self._waits = network, threads > 1
        quickest = min(network.whole(_WARM_UPS))
        self._runs = int(np.clip(_RUNS_NS / max(1, quickest), _FEWEST, _MOST))
        self._best = self._look()
        for _ in range(_FIRST if self._waits else 0):
            sleep(_PAUSE)
            self._best = min(self._best, self._look())
        self._given_up = 0
        self.repeated = 0

    def during(self, work: Callable[[], Found]) -> tuple[Found, int]:
        """What some work gives, and what the network took around it, in nanoseconds.

        Where several threads are held up, it waits, and works again if they were afterwards; not for ever.
        """
        for number in range(_TRIES):
            before = self._steady()
            found = work()
            after = self._look()
            if not self._is_held_up(after) or number == _TRIES - 1:
                break
            self.repeated += 1
        return found, max(1, round((before + after) / 2))

    def _look(self) -> float:
        self._network.whole(_WARM_UPS)
        return float(np.median(self._network.whole(self._runs)))

    def _is_held_up(self, now: float) -> bool:
        self._best = min(self._best, now)
        return self._waits and self._given_up < _GIVE_UP and now > SLOW * self._best

    def _steady(self) -> float:
        until = monotonic() + _PATIENCE
        while self._is_held_up(now := self._look()):
            if monotonic() > until:
                self._given_up += 1
                return now
            sleep(_PAUSE)
        if self._given_up < _GIVE_UP:
            self._given_up = 0
        return now


def smoothed(paces_M: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float64]:
    """The pace at each of M timings in a row: the median of those around it, since each is noisy itself.

    Example:
        >>> smoothed([10, 10, 90, 10, 10]).tolist()
        [10.0, 10.0, 10.0, 10.0, 10.0]
    """
    paces = np.asarray(paces_M, dtype=np.float64)
    return np.array(
        [np.median(paces[max(0, place - _AROUND) : place + _AROUND + 1]) for place in range(len(paces))]
    )
