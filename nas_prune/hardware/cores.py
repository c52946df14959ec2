"""Whether each thread has a core of its own at the moment.

A virtual machine's processors may be two halves of one core for seconds at a stretch: two threads then take up to twice
as long, with nothing else running. A table of which one half was measured so predicts neither.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, perf_counter, sleep
from typing import TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

Found = TypeVar("Found")

_SIZE, _PRODUCTS, _ROUNDS = 192, 6, 5  # of a matrix; how often, in one thread; how often all of that
_SHARED = 1.3  # times as long together as alone
_PATIENCE, _PAUSE = 60.0, 0.25  # seconds
_TRIES, _GIVE_UP = 20, 2


class OwnCores:
    """Lets work wait until its threads have a core each, and does it again where they have lost them meanwhile.

    Where that never comes about, as on a machine of fewer cores, it soon stops waiting.
    """

    def __init__(self, threads: int, slowdown: Callable[[int], float] | None = None) -> None:
        """For work of so many threads.

        Args:
            threads: how many; one alone needs no waiting.
            slowdown: how many times as long so many threads take together as one alone; measured if None.
        """
        self._threads, self._slowdown = threads, slowdown or slowdown_of
        self._given_up = 0
        self.repeated = 0

    def during(self, work: Callable[[], Found]) -> Found:
        """What some work gives that was done while each thread had a core; the last of several tries if none was."""
        for _ in range(_TRIES - 1):
            if not self._wait():
                break
            found = work()
            if self._there():
                return found
            self.repeated += 1
        return work()

    def _there(self) -> bool:
        return self._threads == 1 or self._given_up >= _GIVE_UP or self._slowdown(self._threads) < _SHARED

    def _wait(self) -> bool:
        until = monotonic() + _PATIENCE
        while not self._there():
            if monotonic() > until:
                self._given_up += 1
                return False
            sleep(_PAUSE)
        if self._given_up < _GIVE_UP:
            self._given_up = 0
        return True


def slowdown_of(threads: int) -> float:
    """How many times as long some threads take for a product of matrices each, together, as one alone."""
    matrix = np.full((_SIZE, _SIZE), 0.5, dtype=np.float32)

    def work() -> None:
        out = np.empty_like(matrix)
        for _ in range(_PRODUCTS):
            np.matmul(matrix, matrix, out=out)  # lets other threads run

    def taken(run: Callable[[], object]) -> float:
        began = perf_counter()
        run()
        return perf_counter() - began

    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda _: work(), range(2 * threads)))
        alone = min(taken(lambda: list(pool.map(lambda _: work(), range(1)))) for _ in range(_ROUNDS))
        together = min(
            taken(lambda: list(pool.map(lambda _: work(), range(threads)))) for _ in range(_ROUNDS)
        )
    return together / alone
