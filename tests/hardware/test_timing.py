"""What is said of runs, and how a run divides."""

import numpy as np
import pytest

from nas_prune.hardware.timing import Parts, Timing, adding_up, clocked


def test_a_timing_has_the_median_and_what_95_of_100_runs_stay_below() -> None:
    assert Timing.of(list(range(1, 101))) == Timing(50, 96, 100)


def test_parts_add_up_to_the_whole_whatever_the_clock_took() -> None:
    rng = np.random.default_rng(0)
    parts = Parts(
        {f"{i}": 1000.0 * (i + 1) + 100 * rng.random(20) for i in range(7)},
        {f"{i}": 1 + i % 3 for i in range(7)},
    )
    for whole in (20_001, 28_000, 40_003):
        found = adding_up(parts, whole)
        assert sum(one.latency_ns for one in found.values()) == whole
        assert all(one.p95_ns >= one.latency_ns > 0 for one in found.values())


def test_the_clock_is_taken_out_by_the_piece() -> None:
    parts = Parts({"a": np.full(4, 50.0), "b": np.full(4, 60.0)}, {"a": 1, "b": 4})
    found = adding_up(parts, 60)
    assert [one.latency_ns for one in found.values()] == [40, 20]


def test_a_run_that_was_disturbed_does_not_count() -> None:
    calm, disturbed = np.full(12, 100.0), np.full(12, 100.0)
    disturbed[3] = 1e6
    quiet = Parts({"a": calm, "b": calm}, {"a": 1, "b": 1})
    loud = Parts({"a": disturbed, "b": calm}, {"a": 1, "b": 1})
    assert adding_up(loud, 200)["a"].latency_ns == adding_up(quiet, 200)["a"].latency_ns


def test_runs_are_clocked_one_by_one() -> None:
    calls: list[int] = []
    assert len(clocked(lambda: calls.append(1), 5)) == len(calls) == 5
    with pytest.raises(ZeroDivisionError):
        clocked(lambda: 1 / 0, 1)
