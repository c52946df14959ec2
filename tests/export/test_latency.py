"""Latencies are of calls that take turns."""

from time import sleep

import pytest

from nas_prune.export.latency import speed_of, timed


def test_calls_take_turns_and_each_is_timed_as_often_as_asked() -> None:
    said: list[str] = []

    def slow() -> None:
        said.append("slow")
        sleep(0.002)

    found = timed({"slow": slow, "quick": lambda: said.append("quick")}, 5)
    assert said == ["slow", "quick"] * 10
    assert [len(own) for own in found.values()] == [5, 5]
    assert min(found["slow"]) > 0.002 > max(found["quick"])


def test_medians_and_the_slowest_twentieth() -> None:
    found = speed_of("it", 7, [0.001] * 90 + [0.1] * 10)
    assert (found.what, found.file_bytes, found.runs) == ("it", 7, 100)
    assert (found.median_ms, found.p95_ms) == pytest.approx((1.0, 100.0))
