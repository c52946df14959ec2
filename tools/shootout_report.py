"""What a shoot-out says: a table, the planned contrasts, a picture; of what is there.

python tools/shootout_report.py --out shootout
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path
from statistics import fmean, median, stdev
from types import MappingProxyType
from typing import Any

from nas_prune.comparison.statistics import LEVEL
from nas_prune.runs.files import write_whole
from nas_prune.runs.settings import library_versions, machine_name
from tools.shootout_figures import draw, draw_totals
from tools.shootout_plan import PLAN, Plan, read_plan
from tools.shootout_results import (
    TaskResult,
    Tested,
    contrasts_of,
    half_interval,
    latencies,
    of_what,
    read_results,
    vector_of,
)


def table(
    plan: Plan, result: TaskResult, latency_ms: Mapping[tuple[int, ...], float] = MappingProxyType({})
) -> str:
    """The arms of a task, in Markdown; with milliseconds where the networks have been timed."""
    lines = [
        (
            f"| arm | n | {of_what(plan)} accuracy, % (95 %) | deviation | of each, % | M MACs | K params | ms "
            "| total | last training, epochs | before, share of the total | seconds |"
        ),
        "|---|--:|---|--:|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    estimates, machine = result.estimates(), next(iter(result.machines()), "")
    for name, rows in result.rows.items():
        if not rows:
            if plan.repetitions_of(result.task, name) and not plan.arms[name].secondary:
                lines.append(f"| {name} | {result.count(name)} |" + " – |" * 10)
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
            f"{100 * stdev(result.accuracies(name)):.2f}" if len(rows) > 1 else "–",
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
    parts = ", ".join(f"{machine} ({count} repetitions)" for machine, count in result.machines().items())
    return f"Made on {parts}. Seconds are medians on the first, beside other repetitions."


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
            else f"p = {row.p_holm:.2g} after Holm, {row.p_own:.2g} by Welch's test "
            f"({100 * row.own.low:+.2f} to {100 * row.own.high:+.2f}); "
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


def text_of(plan: Plan, result: TaskResult, out: Path) -> str:
    """What a task says; of one that is not done, how far it is, and no accuracy."""
    if to_come := result.to_come():
        return f"Not read before all repetitions are done. To come: {to_come}."
    timed, rows = latencies(out, result.task), contrasts_of(plan, result)
    return f"{table(plan, result, timed)}\n\n{where(result)}\n\n{sentences(plan, rows)}"


def main() -> None:
    """Write `table.md`, `result.json`, `shootout.png` and, of tasks with arms of several totals, `totals-TASK.png`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", type=Path, default=PLAN, help="another plan")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    plan = read_plan(options.file)
    results = read_results(plan, options.out)
    begun = [one for one in results if any(one.rows.values())]
    texts = [f"## {one.task}\n\n{text_of(plan, one, options.out)}" for one in begun]
    done = [one for one in begun if not one.to_come()]
    for result in done:
        draw_totals(plan, result, options.out / f"totals-{result.task}.png")
    content = {one.task: one.rows for one in done}
    head = {"plan": plan.model_dump(mode="json"), "machine": machine_name(), "versions": library_versions()}
    if not plan.is_pilot:
        texts.append(f"## The claim\n\n{verdict(plan, results)}")
    write_whole(options.out / "table.md", "\n\n".join(texts) + "\n")
    write_whole(options.out / "result.json", json.dumps({**head, "tasks": content}, indent=1) + "\n")
    if done:
        draw(plan, done, options.out / "shootout.png")
    print("\n\n".join(texts))


if __name__ == "__main__":
    main()
