"""What threads hold together stays within the bound, and nobody waits for ever."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock
from time import sleep

import pytest

from nas_prune.data.semaphore import WeightedSemaphore


@pytest.mark.parametrize("amounts", [[3, 4, 5, 1, 2] * 8, [10] * 6, [11, 1, 30, 2, 9] * 4])
def test_threads_hold_no_more_than_the_bound_or_one_is_alone(amounts: list[int]) -> None:
    semaphore, lock = WeightedSemaphore(10), Lock()
    held: list[int] = []
    seen: list[list[int]] = []

    def hold(amount: int) -> None:
        with semaphore.held(amount):
            with lock:
                held.append(amount)
                seen.append([*held])
            sleep(0.001)
            with lock:
                held.remove(amount)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(hold, amounts))
    assert len(seen) == len(amounts)
    assert all(sum(together) <= 10 or len(together) == 1 for together in seen)


def test_two_that_fit_are_held_at_once() -> None:
    semaphore, both = WeightedSemaphore(10), [Event(), Event()]

    def hold(place: int) -> bool:
        with semaphore.held(5):
            both[place].set()
            return both[1 - place].wait(5)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(hold, range(2))) == [True, True]


def test_an_error_gives_the_room_back() -> None:
    semaphore = WeightedSemaphore(10)
    with pytest.raises(ZeroDivisionError, match="division"), semaphore.held(10):
        1 / 0  # noqa: B018
    with semaphore.held(10):
        pass
