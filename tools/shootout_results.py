"""What the repetitions of a shoot-out came to: means, planned contrasts, errors; of what is there."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import nan, sqrt
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from scipy.stats import t as student

from nas_prune.comparison.statistics import Contrast, Estimate, by_training, difference, holm, least_found
from nas_prune.comparison.variances import pooled
from tools.shootout_last import unpacked
from tools.shootout_plan import Plan, units


@dataclass(frozen=True, slots=True)
class TaskResult:
    """The repetitions of a task that are done.

    Attributes:
        plan: what was decided.
        task: its name.
        rows: of each arm, by its name: what the repetitions wrote.
        failed: of each arm, how many repetitions failed the last time that they were tried.
    """

    plan: Plan
    task: str
    rows: Mapping[str, list[dict[str, Any]]]
    failed: Mapping[str, int] = field(default_factory=dict)

    def count(self, arm: str) -> str:
        """How many repetitions are done, of how many."""
        done, planned = len(self.rows[arm]), self.plan.repetitions_of(self.task, arm)
        failed = self.failed.get(arm, 0)
        return (str(done) if done == planned else f"{done} of {planned}") + (
            f", {failed} failed" if failed else ""
        )

    def is_whole(self, arm: str) -> bool:
        """Whether all repetitions of an arm are done."""
        return len(self.rows[arm]) == self.plan.repetitions_of(self.task, arm) > 0

    def to_come(self) -> str:
        """The arms of which repetitions are still to come: until then nobody looks at it; nothing in a pilot."""
        arms = [
            arm
            for arm, rows in self.rows.items()
            if not self._is_shown(arm)
            and len(rows) + self.failed.get(arm, 0) < self.plan.repetitions_of(self.task, arm)
        ]
        return "" if self.plan.is_pilot else ", ".join(f"{arm} {self.count(arm)}" for arm in arms)

    def accuracies(self, arm: str) -> list[float]:
        """Of each repetition: of test images, or of spare ones in a pilot."""
        return [row["spare" if self.plan.is_pilot else "test"] for row in self.rows[arm]]

    def machines(self) -> dict[str, int]:
        """How many repetitions each machine made; the one that made most first."""
        return dict(Counter(row["machine"] for rows in self.rows.values() for row in rows).most_common())

    def estimates(self) -> dict[str, Estimate]:
        """Mean accuracies; one variance for all arms that are tested, as planned, another for those that are not."""
        found: dict[str, Estimate] = {}
        for is_shown in (False, True):
            names = [name for name, rows in self.rows.items() if rows and self._is_shown(name) is is_shown]
            own = {name: by_training(self.accuracies(name)) for name in names}
            if own:
                spread = pooled([one.spread for one in own.values()])
                found |= {name: replace(one, spread=spread, most=spread.freedom) for name, one in own.items()}
        return {name: found[name] for name in self.rows if name in found}

    def _is_shown(self, arm: str) -> bool:
        return self.plan.arms[arm].secondary


@dataclass(frozen=True, slots=True)
class Tested:
    """A planned contrast.

    Attributes:
        one, other: the arms.
        contrast: of their test accuracies, with one variance for all arms.
        own: the same with a variance for each of the two (Welch).
        p_holm, p_own: of both, after Holm's correction over the contrasts of the task; NaN for the control, which is
            not among them, and where a task is shown alone.
        least: the smallest true difference that would be found in four of five repeats.
        by_images: standard error of the difference by the choice of test images, which repetitions have in common; NaN
            where it is not known which ones were right.
    """

    one: str
    other: str
    contrast: Contrast
    own: Contrast
    p_holm: float
    p_own: float
    least: float
    by_images: float


def read_results(plan: Plan, out: Path) -> list[TaskResult]:
    """What is there, task by task."""
    found = []
    for task in plan.tasks:
        rows: dict[str, list[dict[str, Any]]] = {arm: [] for arm in plan.arms}
        failed: dict[str, int] = {}
        for unit in units(plan, out, (task,), tuple(plan.arms)):
            if unit.result.exists():
                rows[unit.arm].append(json.loads(unit.result.read_text(encoding="utf-8")))
            elif unit.failure.exists():
                failed[unit.arm] = failed.get(unit.arm, 0) + 1
        found.append(TaskResult(plan, task, rows, failed))
    return found


def contrasts_of(plan: Plan, result: TaskResult) -> list[Tested]:
    """The contrasts of a task, corrected together, and the negative control."""
    estimates = result.estimates()
    pairs = [pair for pair in plan.contrasts if set(pair) <= estimates.keys()]
    is_tested = plan.tasks[result.task].arms is None
    rows = _tested(result, pairs, len(plan.contrasts), is_corrected=is_tested)
    control = plan.control
    if control is not None and set(control) <= estimates.keys() and control[0] != control[1]:
        rows += _tested(result, [control], 1, is_corrected=False)
    return rows


def _tested(
    result: TaskResult, pairs: Sequence[tuple[str, str]], family: int, *, is_corrected: bool
) -> list[Tested]:
    estimates = result.estimates()
    found = [difference(estimates[one], estimates[other]) for one, other in pairs]
    own = [difference(*(by_training(result.accuracies(name)) for name in pair)) for pair in pairs]
    corrected = [
        holm([one.p_value for one in contrasts], family) if is_corrected else [nan] * len(pairs)
        for contrasts in (found, own)
    ]
    return [
        Tested(
            *pair, one, welch, p, p_own, least_found(one.error, one.freedom, family), by_images(result, *pair)
        )
        for pair, one, welch, p, p_own in zip(pairs, found, own, *corrected, strict=True)
    ]


def by_images(result: TaskResult, one: str, other: str) -> float:
    """Standard error of a difference of two arms by the choice of test images, all repetitions being given."""
    shares = []
    for arm in (one, other):
        rows = result.rows[arm]
        if not all("right" in row for row in rows):
            return nan
        count = result.plan.tasks[result.task].images.test // 2
        shares.append(np.mean([unpacked(row["right"], count) for row in rows], axis=0))
    return float(np.std(shares[0] - shares[1], ddof=1) / sqrt(len(shares[0])))


def half_interval(one: Estimate) -> float:
    """Half of the 95 % interval of a mean."""
    if not one.spread.freedom:
        return nan
    return float(student.ppf(0.975, one.spread.freedom)) * sqrt(one.spread.variance / one.units)


def vector_of(row: Mapping[str, Any]) -> tuple[int, ...]:
    """The widths that a repetition trained last."""
    return tuple(group["width"] for group in row["widths"].get("groups", ()))


def latencies(out: Path, task: str) -> dict[tuple[int, ...], float]:
    """Milliseconds of each network of a task, the median of its passes; nothing where they have not been timed."""
    path = out / f"latency-{task}.json"
    if not path.exists():
        return {}
    networks = json.loads(path.read_text(encoding="utf-8"))["networks"]
    return {tuple(one["widths"]): median(one["ms"]) for one in networks}


def of_what(plan: Plan) -> str:
    """Which images accuracies are of."""
    return "spare images'" if plan.is_pilot else "test"
