"""The machine's pace: told around what is timed, taken out of it, and waited for where threads are held up."""

import os
from collections.abc import Iterable

import numpy as np
import pytest

from nas_prune.hardware import pace
from nas_prune.hardware.latency_passes import Timed
from nas_prune.hardware.measured_table import _at_pace
from nas_prune.hardware.pace import Pace, smoothed
from nas_prune.hardware.runtime_onnx import _cores, _on_first_core
from nas_prune.hardware.timing import Parts, PartTiming, Timing

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
    monkeypatch.setattr(pace, "_PATIENCE", 0.05)
    monkeypatch.setattr(pace, "_PAUSE", 0.001)


def of(threads: int, *looks: int) -> Pace:
    return Pace(Scripted([FAST] * 41 + list(looks)), threads)


def test_what_the_reference_takes_around_the_work_is_told() -> None:
    one = Pace(Scripted([FAST, FAST, 1_200_000, FAST]), 1)
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


def test_a_faster_pace_than_any_before_is_the_best_from_then_on() -> None:
    one = Pace(Scripted([HELD_UP] * 43 + [FAST, HELD_UP, FAST, FAST]), 2)
    assert one.during(lambda: 1)[1] == HELD_UP  # nothing better was known
    assert one.during(lambda: 1)[1] == FAST
    assert one.repeated == 1


def test_where_threads_are_always_held_up_nobody_waits_for_ever() -> None:
    network = Scripted([FAST] * 41 + [HELD_UP])
    one = Pace(network, 2)
    for _ in range(3):
        assert one.during(lambda: 7)[0] == 7
    before = network.calls
    assert one.during(lambda: 7) == (7, HELD_UP)
    assert network.calls - before == 4


def test_threads_that_are_held_up_every_time_end_it_too() -> None:
    one = of(2, *[FAST, HELD_UP] * 100)
    done: list[int] = []
    one.during(lambda: done.append(1))
    assert 2 < len(done) <= 20


def test_one_thread_waits_for_nothing() -> None:
    one = of(1, HELD_UP, HELD_UP)
    assert one.during(lambda: 3)[0] == 3
    assert one.repeated == 0


def test_a_pace_is_told_by_those_around_it() -> None:
    rng = np.random.default_rng(0)
    true = np.where(np.arange(200) < 100, 1000.0, 1150.0)
    noisy = np.rint(true * np.exp(0.03 * rng.standard_normal(200))).astype(np.int64)
    off = np.abs(smoothed(noisy) / true - 1)
    assert off.mean() < 0.6 * np.abs(noisy / true - 1).mean()


def test_layers_at_another_pace_still_add_up() -> None:
    layers = {str(number): PartTiming(ns, ns + 5) for number, ns in enumerate((1001, 333, 77, 12))}
    one = Timed(0, 3, Timing(sum(part.latency_ns for part in layers.values()), 1500, 7), layers, 1000)
    at = one.at_pace(913.0)
    assert at.whole.median_ns == round(0.913 * one.whole.median_ns)
    assert sum(part.latency_ns for part in at.layers.values()) == at.whole.median_ns
    assert all(part.p95_ns >= part.latency_ns for part in at.layers.values())
    assert one.at_pace(1000).whole == one.whole


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processors cannot be chosen here")
def test_a_session_leaves_the_processors_as_they_were() -> None:
    before = os.sched_getaffinity(0)
    with _on_first_core(2):
        inside = os.sched_getaffinity(0)
    assert os.sched_getaffinity(0) == before
    assert _cores(1) == _cores(len(before) + 1) == []
    if len(before) > 1:
        assert inside == {min(before)}
        assert _cores(2) == sorted(before)[:2]


def test_passes_in_which_threads_were_held_up_do_not_count_where_there_are_others() -> None:
    def timed(turn: int, network: int, ns: int, reference: int) -> Timed:
        return Timed(turn, network, Timing(ns, ns, 1), {}, reference)

    rows = [timed(turn, 0, 500, 1000) for turn in range(30)]
    rows += [timed(0, 1, 700, 1800), timed(1, 1, 650, 1000), timed(0, 2, 900, 1900)]
    paces = np.array([float(row.reference_ns) for row in rows])
    found = _at_pace(rows, paces, 1000)
    assert [one.turn for one in found[1]] == [1]
    assert found[2][0].whole.median_ns == round(900 / 1.9)
    assert len(found[0]) == 30
