"""Work that is done again where its threads had to share a core, and that never waits for ever."""

import os
from collections.abc import Iterator

import pytest

from nas_prune.hardware import cores
from nas_prune.hardware.cores import OwnCores, slowdown_of
from nas_prune.hardware.runtime_onnx import _cores, _on_first_core

OWN, SHARED = 1.05, 1.8


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "_PATIENCE", 0.05)
    monkeypatch.setattr(cores, "_PAUSE", 0.001)


def asked(answers: Iterator[float]) -> OwnCores:
    return OwnCores(2, lambda threads: next(answers))


def test_work_waits_until_each_thread_has_a_core() -> None:
    answers = iter([SHARED, SHARED, OWN, OWN])
    assert asked(answers).during(lambda: "done") == "done"
    assert list(answers) == []


def test_work_is_done_again_where_cores_were_lost_meanwhile() -> None:
    done: list[int] = []
    own = asked(iter([OWN, SHARED, SHARED, OWN, OWN]))

    def work() -> int:
        done.append(len(done))
        return len(done)

    assert own.during(work) == 2
    assert own.repeated == 1


def test_where_threads_always_share_cores_nobody_waits_for_ever() -> None:
    count = [0]

    def slow(threads: int) -> float:
        count[0] += 1
        return SHARED

    own = OwnCores(2, slow)
    assert [own.during(lambda: 7) for _ in range(10)] == [7] * 10
    before = count[0]
    own.during(lambda: 7)
    assert count[0] == before


def test_cores_that_are_lost_every_time_end_it_too() -> None:
    answers = [OWN, SHARED] * 1000
    own = OwnCores(2, lambda threads: answers.pop(0))
    done: list[int] = []
    own.during(lambda: done.append(1))
    assert 2 < len(done) <= 20


def test_one_thread_asks_nothing() -> None:
    def refuse(threads: int) -> float:
        raise AssertionError("asked")

    assert OwnCores(1, refuse).during(lambda: 3) == 3


def test_a_thread_alone_is_not_slower_than_itself() -> None:
    assert 0.5 < slowdown_of(1) < 2


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
