"""The tables of `tools/compare_methods.py`: each arm beside uniform widths, searches as a random effect."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isnan, nan
from pathlib import Path
from statistics import fmean
from typing import Any

from nas_prune.comparison.statistics import (
    Contrast,
    Estimate,
    by_search,
    by_training,
    difference,
    holm,
    least_found,
    moderated,
)
from nas_prune.comparison.variances import pooled
from nas_prune.runs.directory import RESULT, published
from nas_prune.runs.settings import library_versions
from nas_prune.training.result import read_trained
from tools.methods_plan import FIRST, WHOLE, Plan, Unit, first_alike

RANDOM = "random"  # whose widths differ far more than those of searches: no other arm's variance says anything of it
FIXED = (FIRST, WHOLE)  # the same widths whatever the seed: every training is a unit


@dataclass(frozen=True)
class ArmResult:
    """What the searches of one arm on one network found, and how good that is.

    Attributes:
        name: the arm.
        as_arm: the arm that found the same widths in every search, which is trained for both; its own name if none.
        kind: automatic, predefined, control; `whole` for the uncut network.
        found: of each search its facts: kept by stage, removed blocks, costs, epochs, test accuracies by seed.
    """

    name: str
    as_arm: str
    kind: str
    found: tuple[dict[str, Any], ...]

    @property
    def accuracies(self) -> list[list[float]]:
        """Test accuracies by search, those without any left out."""
        return [list(one["test"].values()) for one in self.found if one["test"]]

    def estimate(self) -> Estimate:
        """Mean and variance, by its kind of unit."""
        groups = self.accuracies
        if self.name in FIXED:
            return by_training([value for group in groups for value in group])
        return by_search(groups)


@dataclass(frozen=True)
class Row:
    """An arm with its comparison; none for uniform widths, and for what is the same as another arm.

    Attributes:
        arm: its searches and trainings.
        estimate: its mean; tested: beside uniform widths.
        p_value: after Holm; p_pooled: the same with one variance between searches for all arms.
        detectable: the smallest true difference found in four of five repeats.
    """

    arm: ArmResult
    estimate: Estimate
    tested: Contrast | None
    p_value: float
    detectable: float
    p_pooled: float = nan


def write_tables(plan: Plan, units: Sequence[Unit], out: Path) -> None:
    """Write `table.md` and `result.json` of what is there."""
    texts, content = [], {}
    for network in plan.networks:
        own = [unit for unit in units if unit.network == network]
        rows = rows_of([arm for name in plan.arms if (arm := _arm(name, own)) is not None])
        if rows:
            contrasts = _contrasts(plan, rows)
            texts.append(f"## {network.name}\n\n" + "\n".join([_table(rows), *contrasts]))
            content[network.name] = {row.arm.name: _facts(row) for row in rows}
    head = {"plan": plan.model_dump(mode="json"), "data": published(units[0].data)}
    text = json.dumps({**head, "versions": library_versions(), "networks": content}, indent=1)
    (out / RESULT).write_text(text + "\n", encoding="utf-8")
    (out / "table.md").write_text("\n\n".join(texts) + "\n", encoding="utf-8")
    print("\n\n".join(texts))


def _arm(name: str, units: Sequence[Unit]) -> ArmResult | None:
    found = [unit for unit in units if unit.widths_of(name) is not None]
    if not found:
        return None
    stands_for = [first_alike(unit, name) for unit in found]
    kind = WHOLE if name == WHOLE else _result(found[0], name)["kind"]
    return ArmResult(
        name,
        stands_for[0] if len(set(stands_for)) == 1 else name,
        kind,
        tuple(_one(unit, name, trained) for unit, trained in zip(found, stands_for, strict=True)),
    )


def _result(unit: Unit, arm: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((unit.found_in(arm) / RESULT).read_text(encoding="utf-8"))
    return content


def _one(unit: Unit, arm: str, trained: str) -> dict[str, Any]:
    widths = unit.widths_of(arm)
    assert widths is not None
    is_whole = arm == WHOLE
    result = None if is_whole else _result(unit, arm)
    seeds = unit.plan.seeds(unit.number)
    done = {seed: read_trained(unit.trained_in(trained, seed)) for seed in seeds}
    return {
        "search": unit.number,
        "widths": list(widths.vector),
        "removed_blocks": list(widths.removed_blocks),
        "keep_by_stage": {} if result is None else result["budgets"][0]["keep_by_stage"],
        "macs": widths.cost.macs,
        "params": widths.cost.params,
        "epochs": 0 if result is None else result["epochs"],
        "spent": None if result is None else result.get("spent"),
        **({"study": result["study"]} if result and "study" in result else {}),
        "sparsity": None if result is None else result["sparsity"],
        "test": {seed: one.test_accuracy for seed, one in done.items() if one is not None},
    }


def rows_of(arms: Sequence[ArmResult]) -> list[Row]:
    """Every arm with its comparison with uniform widths; Holm over those that are compared."""
    trained = {arm.name: arm for arm in arms if arm.accuracies and arm.as_arm == arm.name}
    own = {name: arm.estimate() for name, arm in trained.items()}
    searched = {name: one for name, one in own.items() if name not in (*FIXED, RANDOM)}
    estimates = {**own, **moderated(searched)}
    compared = _beside_first(estimates)
    corrected = dict(zip(compared, holm([one.p_value for one in compared.values()]), strict=True))
    spread = pooled([one.spread for one in searched.values()])
    in_one = _beside_first(
        {**own, **{name: replace(one, spread=spread, most=inf) for name, one in searched.items()}}
    )
    planned = dict(zip(in_one, holm([one.p_value for one in in_one.values()]), strict=True))
    rows = []
    for arm in arms:
        if arm.as_arm in estimates:
            tested = compared.get(arm.name)
            least = least_found(tested.error, tested.freedom, len(compared)) if tested else nan
            p_values = corrected.get(arm.name, nan), planned.get(arm.name, nan)
            rows.append(Row(arm, estimates[arm.as_arm], tested, p_values[0], least, p_values[1]))
    return rows


def _contrasts(plan: Plan, rows: Sequence[Row]) -> list[str]:
    """The plan's other comparisons, a line each."""
    own = {row.arm.name: row.estimate for row in rows}
    lines = []
    for one, other in plan.contrasts:
        if one in own and other in own:
            found = difference(own[one], own[other])
            lines.append(
                f"\n{one} beside {other}: {100 * found.difference:+.2f} points ({100 * found.low:+.2f} to "
                f"{100 * found.high:+.2f}), p = {found.p_value:.2g}, not corrected."
            )
    return lines


def _beside_first(estimates: Mapping[str, Estimate]) -> dict[str, Contrast]:
    """All others compared with the first arm, where that was trained."""
    first = estimates.get(FIRST)
    return {
        name: difference(one, first) for name, one in estimates.items() if first is not None and name != FIRST
    }


def _table(rows: Sequence[Row]) -> str:
    head = [
        (
            "| arm | widths | kept by stage | M MACs | K params | test accuracy of each search's widths, % | mean | "
            "beside uniform, points (95 %) | p, Holm | p, one pooled variance |"
        ),
        "|---|---|---|--:|--:|---|--:|---|--:|--:|",
    ]
    told = [row for row in rows if row.tested is not None and not isnan(row.detectable)]
    least = [100 * row.detectable for row in told]
    last = (
        f"{len(told)} comparisons; a true difference would have been found in four of five repeats from "
        f"{min(least):.1f} to {max(least):.1f} points on, by arm."
        if told
        else "Nothing could be tested."
    )
    return "\n".join([*head, *map(_line, rows), "", last])


def _line(row: Row) -> str:
    arm, found = row.arm, row.arm.found
    stages = list(found[0]["keep_by_stage"])
    kept = " / ".join(f"{fmean(one['keep_by_stage'][stage] for one in found):.2f}" for stage in stages) or "–"
    if any(one["removed_blocks"] for one in found):  # whose mean no search has found
        kept = "; ".join(
            " / ".join(f"{one['keep_by_stage'][stage]:.2f}" for stage in stages) for one in found
        )
    blocks = [len(one["removed_blocks"]) for one in found]
    span = f"{min(blocks)}" if min(blocks) == max(blocks) else f"{min(blocks)} to {max(blocks)}"
    gone = f", {span} blocks gone" if any(blocks) else ""
    each = ", ".join(f"{100 * fmean(group):.2f}" for group in arm.accuracies)
    same = f" (as {arm.as_arm})" if arm.as_arm != arm.name else ""
    tested = row.tested
    beside = "–"
    if tested is not None:
        ends = "" if isnan(tested.low) else f" ({100 * tested.low:+.2f} to {100 * tested.high:+.2f})"
        beside = f"{100 * tested.difference:+.2f}{ends}"
    cells = [
        arm.name,
        arm.kind + gone,
        kept,
        f"{fmean(one['macs'] for one in found) / 1e6:.2f}",
        f"{fmean(one['params'] for one in found) / 1e3:,.0f}",
        each,
        f"{100 * row.estimate.mean:.2f}{same}",
        beside,
        *("–" if isnan(p_value) else f"{p_value:.2g}" for p_value in (row.p_value, row.p_pooled)),
    ]
    return f"| {' | '.join(cells)} |"


def _facts(row: Row) -> dict[str, Any]:
    def plain(number: float) -> float | None:
        return None if isnan(number) else number

    tested = row.tested
    return {
        "as": row.arm.as_arm,
        "kind": row.arm.kind,
        "mean": row.estimate.mean,
        "error": plain(row.estimate.error),
        "units": row.estimate.units,
        "beside_uniform": None
        if tested is None
        else {
            "difference": tested.difference,
            "low": plain(tested.low),
            "high": plain(tested.high),
            "p_holm": plain(row.p_value),
            "p_holm_pooled": plain(row.p_pooled),
            "detectable": plain(row.detectable),
        },
        "searches": row.arm.found,
    }
