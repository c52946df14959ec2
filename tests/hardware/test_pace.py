"""The machine's pace: told around what is timed, and waited for where threads are held up."""

import os
from collections.abc import Iterable

import pytest

from nas_prune.hardware import pace
from nas_prune.hardware.latency_passes import Timed
from nas_prune.hardware.measured_table import _steady
from nas_prune.hardware.pace import Pace
from nas_prune.hardware.timing import Parts, Timing

FAST, HELD_UP = 1_000_000, 1_800_000


class Scripted:
    """A network whose looks take what a script says, the last one for ever."""

    def __init__(self, looks: Iterable[int]) -> None:
        self.looks = list(looks)
        self.calls = 0

    def whole(self, runs: int) -> list[int]:
        self.calls += 1
        if runs > 3 and len(self.looks) > 1:
            return [self.looks.pop(0)] * runs
        return [self.looks[0]] * runs

    def parts(self, runs: int, layers: tuple[str, ...]) -> Parts:
        raise AssertionError


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "_PATIENCE", 0.1)
    monkeypatch.setattr(pace, "_AT_ONCE", 0.05)
    monkeypatch.setattr(pace, "_PAUSE", 0.001)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


def of(threads: int, *looks: int) -> Pace:
    return Pace(Scripted([FAST] * 11 + list(looks)), threads, 10)


def test_what_the_reference_takes_around_the_work_is_told() -> None:
    one = Pace(Scripted([FAST, FAST, 1_200_000, FAST]), 1, 10)
    assert one.during(lambda: "done") == ("done", 1_100_000)


def test_work_waits_while_threads_are_held_up() -> None:
    done: list[int] = []
    one = of(2, HELD_UP, HELD_UP, FAST, FAST)
    assert one.during(lambda: done.append(1)) == (None, FAST)
    assert (len(done), one.repeated) == (1, 0)


def test_work_is_done_again_where_they_were_held_up_meanwhile() -> None:
    done: list[int] = []
    one = of(2, FAST, HELD_UP, HELD_UP, FAST, FAST)
    assert one.during(lambda: done.append(1)) == (None, FAST)
    assert (len(done), one.repeated) == (2, 1)


def test_a_faster_pace_than_any_before_is_the_best_once_it_is_no_chance() -> None:
    one = Pace(Scripted([HELD_UP] * 11 + [FAST, FAST] * 3 + [HELD_UP, FAST, FAST]), 2, 10)
    for _ in range(3):
        assert one.during(lambda: 1)[1] == FAST
    assert one.during(lambda: 1)[1] == FAST  # it waited
    lucky = Pace(Scripted([FAST // 2] + [FAST] * 30), 2, 10)
    assert lucky.during(lambda: 1)[1] == FAST
    assert lucky.repeated == 0


def test_where_threads_are_always_held_up_nobody_waits_for_ever() -> None:
    network = Scripted([FAST] * 11 + [HELD_UP])
    one = Pace(network, 2, 10)
    for _ in range(5):
        assert one.during(lambda: 7)[0] == 7
    before = network.calls
    assert one.during(lambda: 7) == (7, HELD_UP)
    assert network.calls - before == 4


def test_more_threads_than_cores_wait_for_nothing() -> None:
    network = Scripted([FAST, HELD_UP])
    one = Pace(network, 3, 10)
    assert one.during(lambda: 7) == (7, HELD_UP)
    assert network.calls == 7


def test_threads_that_are_held_up_every_time_end_it_too() -> None:
    one = of(2, *[FAST, HELD_UP] * 100)
    done: list[int] = []
    one.during(lambda: done.append(1))
    assert 2 < len(done) <= 20


def test_one_thread_waits_for_nothing() -> None:
    one = Pace(Scripted([FAST, HELD_UP, HELD_UP, FAST]), 1, 10)
    assert one.during(lambda: 3) == (3, HELD_UP)
    assert one.repeated == 0


def test_passes_in_which_threads_were_held_up_do_not_count_where_there_are_others() -> None:
    def timed(turn: int, network: int, ns: int, reference: int) -> Timed:
        return Timed(turn, network, Timing(ns, ns, 1), {}, reference)

    rows = [timed(turn, 0, 500, 1000) for turn in range(30)]
    rows += [timed(0, 1, 700, 1800), timed(1, 1, 750, 1000), timed(0, 2, 900, 1900), timed(1, 2, 950, 1900)]
    found = _steady(rows)
    assert [one.turn for one in found[1]] == [1]
    assert [one.turn for one in found[2]] == [0, 1]
    assert len(found[0]) == 30
