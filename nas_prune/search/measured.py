"""Cuts at budgets on latency, measured: what is predicted to fit and does not is cut again, somewhat below.

A table's prediction is off by some percent. What a search hands on is timed whole where that can be done here, and what
was measured is kept in the run: a search that is resumed finds the same widths.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from nas_prune.errors import DamagedError
from nas_prune.runs.files import write_whole
from nas_prune.runs.progress import Progress
from nas_prune.runs.reading import read_json
from nas_prune.space.bounds import bounds_of
from nas_prune.space.budget import Budget
from nas_prune.space.cut import Cut, cut, feasible_range
from nas_prune.space.quantities import shown
from nas_prune.space.scores import Scores
from nas_prune.space.search_space import SearchSpace

MEASURED = "measured.json"
LATENCY = "latency"
_TRIES = 6  # of which the last is the fastest network there is
_BELOW = 0.995  # of what would fit if the error stayed as it is

Timer: TypeAlias = Callable[[Cut], float]  # milliseconds of the network of these widths


@dataclass(frozen=True, slots=True)
class Measured:
    """A cut, and how long its network takes.

    Attributes:
        cut: of the budget as it was asked for.
        latency_ms: as measured; None where it was not.
        limit_ms: what the budget allows; None where it bounds no latency.
    """

    cut: Cut
    latency_ms: float | None = None
    limit_ms: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether it takes longer than the budget allows."""
        return self.latency_ms is not None and self.limit_ms is not None and self.latency_ms > self.limit_ms


class _Try(BaseModel):
    """One bound that was tried, and what was measured of the widths that it gave."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    bound_ns: int = Field(ge=1)
    measured_ms: float = Field(ge=0)


_TRIED = TypeAdapter(dict[str, list[_Try]])


def measured_cuts(
    cuts: Sequence[Cut],
    space: SearchSpace,
    scores: Scores,
    run: Path,
    timer: "Timer | None",
    *,
    zero: float | None,
    progress: Progress,
    names: Sequence[str] = (),
) -> list[Measured]:
    """Each cut as it is, or, at a budget on latency, the first below it that is measured to fit.

    Args:
        cuts: at every budget.
        space: the network.
        scores: what they were cut from.
        run: the search's directory, which keeps what was measured.
        timer: times the network of some widths here; None where that cannot be done.
        zero: as in `cut`.
        progress: reports what is measured.
        names: under which each is kept; by default its budget's.

    Raises:
        DamagedError: what the run has kept cannot be read.
    """
    kept, found = _read(run), []
    for one, name in zip(cuts, names or [str(one.budget) for one in cuts], strict=True):
        again = _Again(one, space, scores, zero, timer, kept.setdefault(name, []))
        found.append(again.fitting(progress) if is_on_latency(one.budget) else Measured(one))
        if timer is not None and any(kept.values()):
            content = {name: [each.model_dump() for each in tries] for name, tries in kept.items() if tries}
            write_whole(run / MEASURED, json.dumps(content, indent=1) + "\n")
    return found


def _lower(bound_ns: int, latency_ms: float, limit_ms: float) -> int:
    """A bound below another whose network took too long, whether what is not predicted is a factor or a constant."""
    by_factor = bound_ns * limit_ms / latency_ms
    by_constant = bound_ns - (latency_ms - limit_ms) * 10**6
    return int(_BELOW * min(by_factor, by_constant))


def is_on_latency(budget: Budget) -> bool:
    """Whether one of its bounds is on latency."""
    return any(one.kind == LATENCY for one in budget.bounds)


@dataclass(slots=True)
class _Again:
    """One budget, cut at lower and lower bounds on latency."""

    first: Cut
    space: SearchSpace
    scores: Scores
    zero: float | None
    timer: "Timer | None"
    tries: list[_Try]

    def fitting(self, progress: Progress) -> Measured:
        """The first cut that is measured to fit; the fastest one where none is."""
        budget = self.first.budget
        searched = [column for column, values in enumerate(self.scores) if values is not None]
        bound = next(one for one in bounds_of(self.space, budget, searched).each if one.kind == LATENCY)
        least, _ = feasible_range(self.space, bound.budget, searched)
        limit_ms, known = bound.limit / 10**6, len(self.tries)
        if self.timer is None and not known:
            return Measured(self.first, None, limit_ms)
        found, at = [], bound.limit
        for number in range(_TRIES):
            one = self.first if number == 0 else self._cut_at(at, bound.limit)
            if number >= known:
                if self.timer is None:
                    break
                with progress.waiting(f"measuring {budget}"):
                    self.tries.append(_Try(bound_ns=at, measured_ms=self.timer(one)))
            latency_ms = self.tries[number].measured_ms
            found.append(Measured(one, latency_ms, limit_ms))
            if not found[-1].is_over:
                break
            progress.say(
                f"{budget}: measured {shown(LATENCY, latency_ms * 10**6)}, over {shown(LATENCY, bound.limit)}; cut "
                "again."
            )
            if at <= least:
                break
            at = least if number == _TRIES - 2 else max(least, _lower(at, latency_ms, limit_ms))
        return min(found, key=lambda one: (one.is_over, one.latency_ms if one.is_over else 0.0))

    def _cut_at(self, latency_ns: int, limit_ns: int) -> Cut:
        budget = self.first.budget
        bounds = [
            Budget(LATENCY, absolute=latency_ns) if one.kind == LATENCY else one for one in budget.bounds
        ]
        lower = replace(bounds[0], more=tuple(bounds[1:]))
        found = cut(self.space, self.scores, lower, self.zero)
        predicted = self.space.count(LATENCY, found.widths_G, found.removed)
        return replace(found, budget=budget, limit=limit_ns, count=predicted)


def _read(run: Path) -> dict[str, list[_Try]]:
    path = run / MEASURED
    if not path.exists():
        return {}
    try:
        return _TRIED.validate_python(read_json(path))
    except (OSError, ValueError, RecursionError, ValidationError):
        raise DamagedError(
            f"what a search measured must be whole JSON, got {path}. Remove it: the search is cut and measured again."
        ) from None
