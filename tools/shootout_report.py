"""What a shoot-out says: a table, the planned contrasts, a picture; of what is there.

python tools/shootout_report.py --out shootout
"""

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isnan, nan, sqrt
from pathlib import Path
from statistics import fmean, median
from types import MappingProxyType
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.stats import t as student

from nas_prune.comparison.statistics import (
    LEVEL,
    Contrast,
    Estimate,
    by_training,
    difference,
    holm,
    least_found,
)
from nas_prune.comparison.variances import pooled
from nas_prune.runs.figure import BLACK, BLUE, save
from nas_prune.runs.files import write_whole
from nas_prune.runs.settings import library_versions, machine_name
from tools.shootout_last import unpacked
from tools.shootout_plan import PLAN, Plan, read_plan, units


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


def table(
    plan: Plan, result: TaskResult, latency_ms: Mapping[tuple[int, ...], float] = MappingProxyType({})
) -> str:
    """The arms of a task, in Markdown; with milliseconds where the networks have been timed."""
    lines = [
        (
            f"| arm | n | {_of_what(plan)} accuracy, % (95 %) | of each, % | M MACs | K params | ms | total | "
            "last training, epochs | before, share of the total | seconds |"
        ),
        "|---|--:|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    estimates, machine = result.estimates(), next(iter(result.machines()), "")
    for name, rows in result.rows.items():
        if not rows:
            if plan.repetitions_of(result.task, name) and not plan.arms[name].secondary:
                lines.append(f"| {name} | {result.count(name)} |" + " – |" * 9)
            continue
        one = estimates[name]
        half = half_interval(one)
        ends = "" if isnan(half) else f" ± {100 * half:.2f}"
        costs = [row["widths"]["cost"] for row in rows]
        times = [latency_ms[vector] for vector in map(vector_of, rows) if vector in latency_ms]
        before = fmean((row["before"] or 0) / (row["total"] * row["whole"]) for row in rows)
        cells = [
            name,
            result.count(name),
            f"{100 * one.mean:.2f}{ends}",
            ", ".join(f"{100 * accuracy:.1f}" for accuracy in result.accuracies(name)),
            f"{fmean(cost['macs'] for cost in costs) / 1e6:.2f}",
            f"{fmean(cost['params'] for cost in costs) / 1e3:,.0f}",
            f"{fmean(times):.3f} ({min(times):.3f} to {max(times):.3f})" if len(times) == len(rows) else "–",
            f"{rows[0]['total']:g} W",
            f"{fmean(row['epochs'] for row in rows):.0f}",
            f"{before:.2f}" + ("" if rows[0]["charged"] else " (not charged)"),
            f"{median(seconds):,.0f}" if (seconds := _seconds(rows, machine)) else "–",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _seconds(rows: Sequence[Mapping[str, Any]], machine: str) -> list[float]:
    """Of the repetitions that one machine made; one that was stopped has those of its last call alone."""
    return [row["seconds"] for row in rows if row["machine"] == machine]


def where(result: TaskResult) -> str:
    """On what the repetitions of a task were made, in a sentence."""
    machines = result.machines()
    parts = ", ".join(f"{machine} ({count} repetitions)" for machine, count in machines.items())
    return f"Made on {parts}. Seconds are medians on the first, beside other repetitions."


def _of_what(plan: Plan) -> str:
    return "spare images'" if plan.is_pilot else "test"


def sentences(plan: Plan, rows: Sequence[Tested]) -> str:
    """The contrasts, a line each."""
    lines = []
    for row in rows:
        one = row.contrast
        ends = f" (95 % {100 * one.low:+.2f} to {100 * one.high:+.2f}, n = {one.n} and {one.n_beside})"
        is_control = (row.one, row.other) == plan.control
        alone = "negative control, " if is_control else "shown, not tested, "
        p = (
            alone
            if isnan(row.p_holm)
            else f"p = {row.p_holm:.2g} after Holm, {row.p_own:.2g} by Welch's test; "
        )
        images = "" if isnan(row.by_images) else f", ± {100 * row.by_images:.2f} by the choice of test images"
        doubt = " **The results of this task are in doubt.**" if is_control and one.p_value < LEVEL else ""
        lines.append(
            f"- {row.one} − {row.other}: {100 * one.difference:+.2f} points{ends}{images}; {p}alone p = "
            f"{one.p_value:.2g}, {row.own.p_value:.2g} by Welch's; {100 * row.least:.1f} points would be found in four "
            f"of five.{doubt}"
        )
    return "\n".join(lines)


CLAIM = (("study", "uniform"), ("study", "torch-pruning"))


def verdict(plan: Plan, results: Sequence[TaskResult]) -> str:
    """Whether the claim of the plan holds: in two of three tasks, by both tests, with all repetitions there."""
    lines, holds, open_tasks = [], 0, 0
    for result in results:
        if plan.tasks[result.task].arms is not None:
            continue
        missing = [arm for arm in plan.arms if not plan.arms[arm].secondary and not result.is_whole(arm)]
        if missing:
            counts = ", ".join(f"{arm} {result.count(arm)}" for arm in missing)
            lines.append(f"- {result.task}: no verdict, repetitions are missing: {counts}.")
            open_tasks += 1
            continue
        rows = {(row.one, row.other): row for row in contrasts_of(plan, result)}
        own = [rows[pair] for pair in CLAIM]
        is_better = all(row.contrast.difference > 0 and max(row.p_holm, row.p_own) < LEVEL for row in own)
        holds += is_better
        lines.append(f"- {result.task}: the claim {'holds' if is_better else 'does not hold'}.")
    if open_tasks:
        return "\n".join([*lines, "- The claim: open."])
    return "\n".join([*lines, f"- The claim {'holds' if holds >= 2 else 'does not hold'}: in {holds} tasks."])


def draw(plan: Plan, results: Sequence[TaskResult], path: Path) -> None:
    """Accuracies by arm, a panel for each task: every repetition, the mean and its 95 % interval."""
    shown = [one for one in results if any(one.rows.values())]
    figure = Figure(figsize=(4.6 * len(shown), 3.8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, result in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        _panel(axes, plan, result)
    save(figure, path)


def _panel(axes: Axes, plan: Plan, result: TaskResult) -> None:
    estimates = result.estimates()
    names = list(estimates)
    for place, name in enumerate(reversed(names)):
        one, each = estimates[name], [100 * accuracy for accuracy in result.accuracies(name)]
        colour = BLUE if name == "study" else BLACK
        axes.plot(each, [place] * len(each), "o", color=colour, alpha=0.25, ms=4)
        half = half_interval(one)
        axes.errorbar(
            100 * one.mean,
            place,
            xerr=None if isnan(half) else 100 * half,
            fmt="s",
            color=colour,
            capsize=3,
            ms=5,
        )
    axes.set_yticks(range(len(names)), list(reversed(names)))
    axes.set_title(f"{result.task}, {plan.tasks[result.task].budget}", fontsize=10)
    axes.set_xlabel(f"{_of_what(plan)} accuracy, %")
    axes.grid(axis="x", color="0.9")


def draw_totals(plan: Plan, result: TaskResult, path: Path) -> None:
    """Accuracy against the training that an arm has, for arms of several totals: `study`, `study-6`."""
    families: dict[str, list[tuple[float, float, float]]] = {}
    for name, one in result.estimates().items():
        family = name.split("-")[0] if plan.arms[name].total is not None else name
        total = plan.arms[name].total or plan.total
        families.setdefault(family, []).append((total, 100 * one.mean, 100 * half_interval(one)))
    several = {family: sorted(points) for family, points in families.items() if len(points) > 1}
    if not several:
        return
    figure = Figure(figsize=(5.2, 3.8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for (family, points), colour in zip(several.items(), (BLACK, BLUE), strict=False):
        totals, means, halves = zip(*points, strict=True)
        axes.errorbar(totals, means, yerr=halves, fmt="s-", color=colour, capsize=3, ms=5, label=family)
    axes.set_xscale("log", base=2)
    axes.set_xticks(totals, [f"{total:g}" for total in totals])
    axes.set_xlabel("training, in trainings of the whole network")
    axes.set_ylabel(f"{_of_what(plan)} accuracy, %")
    axes.set_title(f"{result.task}, {plan.tasks[result.task].budget}", fontsize=10)
    axes.grid(color="0.9")
    axes.legend(frameon=False)
    save(figure, path)


def main() -> None:
    """Write `table.md`, `result.json`, `shootout.png` and, of tasks with arms of several totals, `totals-TASK.png`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", type=Path, default=PLAN, help="another plan")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    plan = read_plan(options.file)
    results = read_results(plan, options.out)
    texts, content = [], {}
    for result in results:
        if not any(result.rows.values()):
            continue
        rows = contrasts_of(plan, result)
        timed = latencies(options.out, result.task)
        texts.append(
            f"## {result.task}\n\n{table(plan, result, timed)}\n\n{where(result)}\n\n{sentences(plan, rows)}"
        )
        content[result.task] = result.rows
        draw_totals(plan, result, options.out / f"totals-{result.task}.png")
    head = {"plan": plan.model_dump(mode="json"), "machine": machine_name(), "versions": library_versions()}
    if not plan.is_pilot:
        texts.append(f"## The claim\n\n{verdict(plan, results)}")
    write_whole(options.out / "table.md", "\n\n".join(texts) + "\n")
    write_whole(options.out / "result.json", json.dumps({**head, "tasks": content}, indent=1) + "\n")
    draw(plan, results, options.out / "shootout.png")
    print("\n\n".join(texts))


if __name__ == "__main__":
    main()
