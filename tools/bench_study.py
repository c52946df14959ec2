"""Samplers, guidelines and early stopping on the tabular benchmark, where the best widths are known.

    python tools/bench_study.py [--budget 'macs<=25%'] [--seeds 24] [--out studies/tabular]

Prints, for each data set, the regret of the observed best after 10, 30 and 60 trials: how many points of test accuracy
the network with the best validation accuracy so far is short of the best network within the budget, by trainings of the
two seeds that the study has not seen. (The best one is best by all three, so every arm's regret is a little too large,
by the same amount.) Mean over seeds of the sampler, each on the trainings of one of the three seeds in turn, with its
90 % interval (Student's t). Arms: `uniform` and `centre` are uniform widths and the guideline's own, without any search
and judged by all three seeds; `random` and `tpe` over one parameter
for each group; and each sampler over the shape parameters, around a guideline that is

- none: around uniform widths;
- right: fitted to the five best networks of this very table, as good as a guideline can be;
- carried: fitted to the five best networks of the other data set;
- wrong: the mirror image of the right one.

Then early stopping: which share of the true top tenth it ends, and the epochs and the regret that come of it. Last,
what Optuna and our own code cost a trial. Everything goes to `bench.json` and `bench.txt` in `--out`.
"""

import argparse
import json
import platform
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import optuna
from scipy.stats import t as student

from nas_prune.guideline.artefact import Guideline
from nas_prune.guideline.fit import fit_guideline
from nas_prune.runs.settings import library_versions
from nas_prune.space.budget import Budget
from nas_prune.space.widths import MethodRecord
from nas_prune.study.parameters import Parametrised, parametrised
from nas_prune.study.samplers import SAMPLERS, quiet, sampler_named, stopping_named
from tools.tabular_space import NETWORK, Run, Table, read_table, simulated

COUNTS = (10, 30, 60)
_BEST = 5


@dataclass(frozen=True)
class Arm:
    """One way to search."""

    name: str
    parameters: Parametrised
    sampler: Callable[[int], optuna.samplers.BaseSampler]
    stopping: Callable[[int], optuna.pruners.BasePruner | None] = lambda _: None


def main() -> None:
    """Run all arms, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", default="macs<=25%")
    parser.add_argument("--seeds", type=int, default=24)
    parser.add_argument("--tables", type=Path, default=Path("studies/tabular"))
    parser.add_argument("--out", type=Path, default=Path("studies/tabular"))
    parser.add_argument("--samplers", nargs="*", default=list(SAMPLERS))
    options = parser.parse_args()
    quiet()
    budget = Budget.parse(options.budget)
    tables = {path.stem: read_table(path) for path in sorted(options.tables.glob("*.jsonl"))}
    lines: list[str] = []
    content: dict[str, Any] = {
        "budget": str(budget),
        "seeds": options.seeds,
        "versions": library_versions(("torch", "numpy", "optuna", "cmaes")),
        "machine": platform.machine(),
        "regret": {},
        "stopping": {},
    }
    for name, table in tables.items():
        others = [other for other in tables if other != name]
        arms = _arms(table, tables[others[0]] if others else None, budget, options.samplers)
        content["regret"][name] = _regrets(name, table, budget, arms, options.seeds, lines)
        content["stopping"][name] = _stopping(name, table, budget, options.seeds, lines)
    content["cost_ms"] = _costs(next(iter(tables.values())), budget, lines)
    text = "\n".join(lines) + "\n"
    (options.out / "bench.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (options.out / "bench.txt").write_text(text, encoding="utf-8")


def say(lines: list[str], text: str) -> None:
    """Print a line and keep it."""
    print(text, flush=True)
    lines.append(text)


def fitted(table: Table, budget: Budget) -> Guideline:
    """The guideline of the best networks of a table within a budget."""
    feasible = table.feasible(budget)
    best = feasible[np.argsort(-table.truth_C[feasible], kind="stable")[:_BEST]]
    widths = [
        table.space.widths(
            table.widths_CG[cell].tolist(),
            budget=str(budget),
            left_whole=(),
            method=MethodRecord(name="best-of-table", is_automatic=True),
            seed=number,
        )
        for number, cell in enumerate(best)
    ]
    return fit_guideline(widths, model="stage-role-slope", spaces=(NETWORK,))


def mirrored(guideline: Guideline) -> Guideline:
    """The guideline that says the opposite."""
    cells = tuple(
        cell.model_copy(
            update={
                "log_ratio": -cell.log_ratio,
                "low": None if cell.low is None else -(cell.high or 0.0),
                "high": None if cell.high is None else -(cell.low or 0.0),
                "slope": -cell.slope,
            }
        )
        for cell in guideline.cells
    )
    return guideline.model_copy(update={"cells": cells})


def _arms(table: Table, other: Table | None, budget: Budget, samplers: list[str]) -> list[Arm]:
    right = fitted(table, budget)
    patterns = {"none": None, "right": right, "wrong": mirrored(right)}
    if other is not None:
        patterns["carried"] = fitted(other, budget)
    raw = parametrised(None, table.space, budget, groups="all", by_layer=True)
    arms = [
        Arm("raw random", raw, lambda seed: sampler_named("random", "raw", seed)),
        Arm("raw tpe", raw, lambda seed: sampler_named("tpe", "raw", seed)),
    ]
    for kind, pattern in patterns.items():
        parameters = parametrised(pattern, table.space, budget, groups="all", by_layer=False)
        arms += [Arm(f"{kind} {name}", parameters, _seeded(name, kind)) for name in samplers]
    return arms


def _seeded(name: str, kind: str) -> Callable[[int], optuna.samplers.BaseSampler]:
    return lambda seed: sampler_named(name, kind, seed)  # type: ignore[arg-type]


def _run(table: Table, arm: Arm, seed: int) -> Run:
    return simulated(
        table,
        arm.parameters,
        arm.sampler(seed),
        trials=COUNTS[-1],
        seed=seed % table.val_CRE.shape[1],
        stopping=arm.stopping(table.val_CRE.shape[2]),
    )


def _interval(values: list[float]) -> tuple[float, float]:
    spread = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return float(np.mean(values)), float(student.ppf(0.95, len(values) - 1) * spread)


def _regrets(
    name: str, table: Table, budget: Budget, arms: list[Arm], seeds: int, lines: list[str]
) -> dict[str, Any]:
    feasible, truth_C = table.feasible(budget), table.truth_C
    best = float(truth_C[feasible].max())
    say(
        lines,
        f"\n{name}, {budget}: {len(feasible)} of {len(truth_C)} networks, best {100 * best:.2f} % on test images; "
        f"regret of the observed best in points, n = {seeds}",
    )
    say(lines, f"{'arm':<18}" + "".join(f"{f'{count} trials':>18}" for count in COUNTS))
    truth_RC = [table.truth_without(seed) for seed in range(table.val_CRE.shape[1])]
    found: dict[str, Any] = {}
    for kind, parameters in {arm.name.partition(" ")[0]: arm.parameters for arm in arms}.items():
        centre = {"raw": "uniform", "none": "uniform"}.get(kind, f"{kind} centre")
        short = best - float(truth_C[table.nearest(parameters.widths_G(parameters.guideline), feasible)])
        if centre not in found:
            found[centre] = {"0": [short, 0.0]}
            say(lines, f"{centre:<18}{100 * short:>18.2f}  (no search)")
    for arm in arms:
        runs = [_run(table, arm, seed) for seed in range(seeds)]
        own = {
            str(count): _interval(
                [best - float(truth_RC[seed % 3][run.best(count)]) for seed, run in enumerate(runs)]
            )
            for count in COUNTS
        }
        found[arm.name] = own
        cells = [f"{100 * mean:.2f} ± {100 * half:.2f}" for mean, half in own.values()]
        say(lines, f"{arm.name:<18}" + "".join(f"{cell:>18}" for cell in cells))
    return found


def _stopping(name: str, table: Table, budget: Budget, seeds: int, lines: list[str]) -> dict[str, Any]:
    """What early stopping does to random trials without a guideline."""
    parameters = parametrised(None, table.space, budget, groups="all", by_layer=False)
    feasible, truth_C = table.feasible(budget), table.truth_C
    best = float(truth_C[feasible].max())
    arm = Arm("stopping", parameters, _seeded("random", "stopping"))
    kinds: dict[str, Callable[[int], optuna.pruners.BasePruner | None]] = {
        "none": lambda _: None,
        "median": lambda epochs: stopping_named("median", epochs),
        "Optuna's default": lambda _: optuna.pruners.MedianPruner(),
    }
    say(lines, f"\n{name}: early stopping of random trials, {COUNTS[-1]} trials, n = {seeds}")
    say(lines, f"{'stopping':<18}{'top tenth ended':>18}{'epochs':>18}{'regret':>18}")
    found = {}
    for kind, made in kinds.items():
        ended, epochs, regrets = [], [], []
        for seed in range(seeds):
            run = _run(table, replace(arm, stopping=made), seed)
            truths = truth_C[list(run.cells)]
            top = truths >= np.quantile(truths, 0.9)
            ended.append(float(np.array(run.is_stopped)[top].mean()))
            epochs.append(sum(run.epochs) / (len(run.epochs) * table.val_CRE.shape[2]))
            judged_C = table.truth_without(seed % table.val_CRE.shape[1])
            regrets.append(best - float(judged_C[run.best(COUNTS[-1])]))
        found[kind] = {
            "top_ended": _interval(ended),
            "epochs": _interval(epochs),
            "regret": _interval(regrets),
        }
        cells = [f"{100 * mean:.1f} ± {100 * half:.1f}" for mean, half in found[kind].values()]
        say(lines, f"{kind:<18}" + "".join(f"{cell:>18}" for cell in cells))
    return found


def _costs(table: Table, budget: Budget, lines: list[str]) -> dict[str, float]:
    """Milliseconds of a trial without its training, the mean over 60 trials in memory."""
    parameters = parametrised(None, table.space, budget, groups="all", by_layer=False)
    found = {}
    for name in ("random", "cma", "tpe", "gp", "nsga2"):
        started = perf_counter()
        simulated(table, parameters, sampler_named(name, 0), trials=COUNTS[-1], seed=0)
        found[name] = 1e3 * (perf_counter() - started) / COUNTS[-1]
    said = ", ".join(f"{name} {value:.1f}" for name, value in found.items())
    say(lines, f"\nms a trial, sampler and projection, {COUNTS[-1]} trials in memory: {said}")
    return found


if __name__ == "__main__":
    main()
