"""How fast the machine runs at the moment: one network, run right before and right after whatever is timed.

A machine's pace changes by some percent from minute to minute, by heat, by its neighbours, by other work. What is timed
is told apart from that by a network whose own time is known.
"""

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from nas_prune.hardware.runtimes import Loaded

Found = TypeVar("Found")

_WARM_UPS, _FEWEST, _MOST = 3, 5, 15  # runs
_RUNS_NS = 10e6


class Pace:
    """Runs a network before and after some work."""

    def __init__(self, network: Loaded) -> None:
        """With a network that stays loaded."""
        self._network = network
        quickest = min(network.whole(_WARM_UPS))
        self._runs = int(np.clip(_RUNS_NS / max(1, quickest), _FEWEST, _MOST))

    def now(self) -> float:
        """Nanoseconds that the network takes now."""
        self._network.whole(_WARM_UPS)
        return float(np.median(self._network.whole(self._runs)))

    def during(self, work: Callable[[], Found]) -> tuple[Found, int]:
        """What some work gives, and what the network took around it, in nanoseconds."""
        before = self.now()
        found = work()
        return found, max(1, round((before + self.now()) / 2))
