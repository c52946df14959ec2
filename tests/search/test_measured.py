"""Cuts at budgets on latency, measured by a clock that is made by hand."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from nas_prune.errors import DamagedError
from nas_prune.runs.progress import SILENT
from nas_prune.search.measured import MEASURED, Measured, Timer, measured_cuts
from nas_prune.space.budget import Budget
from nas_prune.space.cut import Cut, cut
from nas_prune.space.load import load_space


@dataclass(frozen=True, slots=True)
class Predicted:
    """Ten microseconds for each channel."""

    def __call__(self, vectors_NV: ArrayLike, /) -> NDArray[np.int64]:
        """Nanoseconds."""
        return np.asarray(10_000 * np.asarray(vectors_NV, dtype=np.int64).sum(axis=-1))

    def real(self, vectors_NV: ArrayLike, /) -> NDArray[np.float64]:
        """The same between whole widths."""
        return np.asarray(10_000 * np.asarray(vectors_NV, dtype=np.float64).sum(axis=-1))


PLAIN = load_space("resnet20", (3, 8, 8), num_classes=4)
SPACE = PLAIN.aimed("clock", [1] * len(PLAIN.groups), {"latency": Predicted()})
SCORES = [np.random.default_rng(column).random(size) for column, size in enumerate(SPACE.base_G)]
LIMIT = Budget.parse("latency<=2ms")


class Clock:
    """A device that takes a share longer than is predicted, and counts how often it is asked."""

    def __init__(self, factor: float) -> None:
        self.factor, self.asked = factor, 0

    def __call__(self, one: Cut) -> float:
        """Milliseconds."""
        self.asked += 1
        return self.factor * sum(one.widths_G) / 100


def measured(run: Path, timer: Timer | None, budget: Budget = LIMIT) -> Measured:
    (found,) = measured_cuts(
        [cut(SPACE, SCORES, budget)], SPACE, SCORES, run, timer, zero=None, progress=SILENT
    )
    return found


def test_widths_that_are_as_fast_as_predicted_are_measured_once_and_kept(tmp_path: Path) -> None:
    clock = Clock(1.0)
    found = measured(tmp_path, clock)
    assert found.cut.widths_G == cut(SPACE, SCORES, LIMIT).widths_G
    assert (clock.asked, found.latency_ms, found.is_over) == (1, 2.0, False)


def test_widths_that_are_slower_are_cut_again_until_they_fit(tmp_path: Path) -> None:
    found = measured(tmp_path, Clock(1.2))
    assert not found.is_over
    assert 1.9 < (found.latency_ms or 0) <= 2.0  # no more is given up than the error asks for
    assert str(found.cut.budget) == "latency<=2ms"
    assert found.cut.limit == 2_000_000
    assert found.cut.gap == pytest.approx(1 - sum(found.cut.widths_G) / 200)


def test_all_other_bounds_hold_for_what_is_cut_again(tmp_path: Path) -> None:
    budget = Budget.parse("macs<=60%, latency<=4ms")
    found = measured(tmp_path, Clock(1.3), budget)
    assert SPACE.cost_at(found.cut.widths_G).macs <= 0.6 * SPACE.cost_at(SPACE.base_G).macs
    assert not found.is_over


@pytest.mark.parametrize("again", [lambda: Clock(5.0), lambda: None])
def test_a_search_that_goes_on_keeps_what_it_measured(
    tmp_path: Path, again: Callable[[], Timer | None]
) -> None:
    first = measured(tmp_path, Clock(1.2))
    clock = again()
    assert measured(tmp_path, clock).cut.widths_G == first.cut.widths_G
    assert clock is None or (isinstance(clock, Clock) and clock.asked == 0)


def test_what_cannot_be_met_gives_the_fastest_widths_and_says_so(tmp_path: Path) -> None:
    found = measured(tmp_path, Clock(1000.0))
    assert found.is_over
    tries = json.loads((tmp_path / MEASURED).read_text())[str(LIMIT)]
    assert found.latency_ms == min(one["measured_ms"] for one in tries)


def test_nothing_is_measured_or_written_where_it_cannot_be_or_no_latency_is_bounded(tmp_path: Path) -> None:
    assert measured(tmp_path, None).latency_ms is None
    clock = Clock(1.0)
    assert measured(tmp_path, clock, Budget.parse("macs<=50%")).latency_ms is None
    assert clock.asked == 0
    assert not (tmp_path / MEASURED).exists()


@pytest.mark.parametrize("content", ["", "[]", '{"latency<=2ms": [{"bound_ns": -1, "measured_ms": 1}]}'])
def test_what_is_not_whole_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / MEASURED).write_text(content)
    with pytest.raises(DamagedError, match="measured must be whole JSON"):
        measured(tmp_path, Clock(1.0))


class WithOverhead(Clock):
    """A device that takes a constant longer than is predicted."""

    def __call__(self, one: Cut) -> float:
        """Milliseconds."""
        self.asked += 1
        return self.factor + sum(one.widths_G) / 100


@pytest.mark.parametrize("overhead", [0.5, 1.0, 1.5, 1.85])
def test_a_constant_that_is_not_predicted_is_found_in_a_few_tries(tmp_path: Path, overhead: float) -> None:
    clock = WithOverhead(overhead)
    found = measured(tmp_path, clock)
    assert not found.is_over
    assert clock.asked <= 3
    assert (found.latency_ms or 0) > 1.9


def test_the_fastest_network_is_tried_before_a_budget_is_not_met(tmp_path: Path) -> None:
    found = measured(tmp_path, WithOverhead(2.0 - sum(SPACE.floor_G) / 100))
    assert found.cut.widths_G == SPACE.floor_G
    assert not found.is_over
