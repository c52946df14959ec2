"""How fast the machine runs at the moment: one network, run right before and right after whatever is timed.

On a virtual machine several threads may do no more than one for seconds or minutes, with nothing else running: its
processors are then halves of one core. A table of which half was measured so predicts neither, so that such times are
waited out. A network whose own time is known tells them.
"""

import os
from collections.abc import Callable
from time import monotonic, sleep
from typing import TypeVar

import numpy as np

from nas_prune.hardware.runtimes import Loaded

Found = TypeVar("Found")

_WARM_UPS, _FEWEST, _MOST = 3, 5, 25  # runs
_RUNS_NS = 15e6
SLOW = 1.25  # times as long as at best
_PATIENCE, _AT_ONCE, _PAUSE = 600.0, 60.0, 0.25  # seconds: in all, before one piece of work, between looks
_TRIES = 20
_OF_THE_BEST = 5  # looks, whose median is the best: a single one may be too good


class Pace:
    """Runs a network before and after some work, and waits where several threads are held up."""

    def __init__(self, network: Loaded, threads: int, looks: int) -> None:
        """With a network that stays loaded, of so many threads; one alone needs no waiting.

        Args:
            network: that tells the pace.
            threads: that it runs on; where there are fewer cores, nothing waits.
            looks: how often it is looked at to know its best before anything is timed, four times a second.
        """
        self._network, self._waits = network, 1 < threads <= (os.cpu_count() or 1)
        quickest = min(network.whole(_WARM_UPS))
        self._runs = int(np.clip(_RUNS_NS / max(1, quickest), _FEWEST, _MOST))
        self._quickest: list[float] = []
        self._waited = 0.0
        self.repeated = 0
        self._look()
        for _ in range(looks if self._waits else 0):
            sleep(_PAUSE)
            self._look()

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
        now = float(np.median(self._network.whole(self._runs)))
        self._quickest = sorted([*self._quickest, now])[:_OF_THE_BEST]
        return now

    def _is_held_up(self, now: float) -> bool:
        is_slow = now > SLOW * float(np.median(self._quickest))
        return self._waits and self._waited < _PATIENCE and is_slow

    def _steady(self) -> float:
        until = monotonic() + _AT_ONCE
        while self._is_held_up(now := self._look()) and monotonic() < until:
            sleep(_PAUSE)
            self._waited += _PAUSE
        return now
