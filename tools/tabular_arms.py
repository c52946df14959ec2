"""The arms of the tabular benchmark: guidelines of a table, samplers around them, and their studies.

Shape suffixes: C cells of the table, R training seeds, K sampler seeds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import optuna
from numpy.typing import NDArray

from nas_prune.guideline.artefact import Guideline
from nas_prune.guideline.fit import fit_guideline
from nas_prune.space.budget import Budget
from nas_prune.space.widths import MethodRecord
from nas_prune.study.parameters import Parametrised, parametrised
from nas_prune.study.rule_sampler import RuleSampler
from nas_prune.study.rule_search import Seen, logs_of, rule_of
from nas_prune.study.samplers import chance_of, sampler_named
from tools.tabular_space import NETWORK, Floats, Run, Snapped, Table, simulated
from tools.tabular_truth import Appraisal, appraised

COUNTS = (10, 30, 60)
BEST = 5
RULE = "rule"

Patterns = dict[str, Callable[[int], Parametrised]]


@dataclass(frozen=True)
class Arm:
    """One way to search.

    Attributes:
        name: of the guideline and the sampler.
        parameters: for a study on one training seed.
        sampler: for one sampler seed and these parameters.
        stopping: for so many epochs.
        sampler_seeds: studies on each training seed.
        has_answer: whether its result is what a rule of all trials expects most of, not the best trial.
    """

    name: str
    parameters: Callable[[int], Parametrised]
    sampler: Callable[[int, Parametrised], optuna.samplers.BaseSampler]
    sampler_seeds: int
    has_answer: bool = False
    stopping: Callable[[int], optuna.pruners.BasePruner | None] = lambda _: None


@dataclass(frozen=True)
class Bench:
    """One data set.

    Attributes:
        name: its name; table: its trainings.
        budget: of every network.
        feasible: the networks within it, by place in the table.
        appraisal: how good these are.
        uniform: the place of uniform widths among them.
        lines: everything that was printed.
    """

    name: str
    table: Table
    budget: Budget
    feasible: NDArray[np.int64]
    appraisal: Appraisal
    uniform: int
    lines: list[str]

    @property
    def training_seeds(self) -> range:
        """The observations."""
        return range(self.table.training_seeds)

    @property
    def widths(self) -> list[tuple[int, ...]]:
        """Of the feasible networks."""
        return [tuple(row) for row in self.table.widths_CG[self.feasible].tolist()]

    def say(self, text: str) -> None:
        """Print a line and keep it."""
        print(text, flush=True)
        self.lines.append(text)

    def places(self, cells: object) -> NDArray[np.int64]:
        """Where cells of the table stand among the feasible ones."""
        return np.searchsorted(self.feasible, np.asarray(cells))

    def centre(self, parameters: Parametrised) -> int:
        """The place of a guideline's own widths."""
        return int(self.places(self.table.nearest(parameters.widths_G(parameters.guideline), self.feasible)))


def bench_of(name: str, table: Table, budget: Budget, lines: list[str]) -> Bench:
    """A data set with how good its networks are."""
    feasible = table.feasible(budget)
    judged = appraised(table.widths_CG[feasible], table.test_CR[feasible])
    bench = Bench(name, table, budget, feasible, judged, 0, lines)
    return replace(
        bench, uniform=bench.centre(parametrised(None, table.space, budget, groups="all", by_layer=False))
    )


def fitted(table: Table, budget: Budget, val_C: Floats) -> Guideline:
    """The guideline of the networks within a budget that some validation accuracies have as the best."""
    feasible = table.feasible(budget)
    best = feasible[np.argsort(-val_C[feasible], kind="stable")[:BEST]]
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


def patterns_of(bench: Bench, other: Table | None) -> Patterns:
    """What studies sample around, for each training seed."""

    def around(guideline: Guideline | None) -> Parametrised:
        return parametrised(guideline, bench.table.space, bench.budget, groups="all", by_layer=False)

    @cache
    def own(seed: int) -> Guideline:
        return fitted(bench.table, bench.budget, bench.table.val_CRE[:, seed, -1])

    none = around(None)
    found: Patterns = {
        "none": lambda _: none,
        "fitted": lambda seed: around(own(seed)),
        "mirrored": lambda seed: around(mirrored(own(seed))),
    }
    if other is not None:
        carried = around(fitted(other, bench.budget, other.val_CRE[:, :, -1].mean(axis=1)))
        found["carried"] = lambda _: carried
    return found


def arms_of(bench: Bench, patterns: Patterns, samplers: Sequence[str], sampler_seeds: int) -> list[Arm]:
    """Every way to search, with so many studies on each training seed."""
    raw = parametrised(None, bench.table.space, bench.budget, groups="all", by_layer=True)
    arms = [
        Arm(f"raw {name}", lambda _: raw, seeded(name, "raw"), sampler_seeds) for name in ("random", "tpe")
    ]
    for kind, parameters in patterns.items():
        arms += [
            Arm(f"{kind} {name}", parameters, seeded(name, kind), sampler_seeds, has_answer=name == RULE)
            for name in samplers
        ]
    return arms


def seeded(name: str, kind: str) -> Callable[[int, Parametrised], optuna.samplers.BaseSampler]:
    """A sampler of that name, made for one sampler seed."""
    if name == RULE:  # a network has one training for each seed, so that asking again says nothing
        return lambda seed, points: RuleSampler(points, chance_of(kind, seed), repeats=False)
    return lambda seed, points: sampler_named(name, points, kind, seed)  # type: ignore[arg-type]


def chosen_by(bench: Bench, arm: Arm, run: Run, seed: int, count: int) -> int:
    """The cell that a study says is the best after so many trials."""
    if not arm.has_answer:
        return run.best(count)
    points = Snapped(arm.parameters(seed), bench.table)
    first = dict(zip(run.cells[:count], run.values, strict=False))
    vectors = tuple(tuple(bench.table.widths_CG[cell].tolist()) for cell in first)
    rule = rule_of(points, Seen(vectors, tuple(first.values()), ()))
    return int(bench.feasible[int(rule.mean_N(logs_of(points, bench.widths)).argmax())])


def runs_of(bench: Bench, arm: Arm) -> list[list[Run]]:
    """Studies, for each training seed as many as the arm has sampler seeds; no two share a sampler seed."""
    return [
        [
            simulated(
                bench.table,
                Snapped(arm.parameters(seed), bench.table),
                arm.sampler(seed * arm.sampler_seeds + number, Snapped(arm.parameters(seed), bench.table)),
                trials=COUNTS[-1],
                seed=seed,
                stopping=arm.stopping(bench.table.val_CRE.shape[2]),
            )
            for number in range(arm.sampler_seeds)
        ]
        for seed in bench.training_seeds
    ]


def gains_again(table: Table, run: Run, seed: int) -> list[float]:
    """Test accuracy won by choosing anew among a run's best five, as shares: one value for each seed that may choose.

    Judged by the trainings of the seeds that took no part in either choice.
    """
    seen = dict(zip(run.cells, run.values, strict=True))
    top = sorted(seen, key=lambda cell: -seen[cell])[:BEST]
    gains = []
    for other in range(table.training_seeds):
        if other != seed:
            judged_C = np.delete(table.test_CR, [seed, other], axis=1).mean(axis=1)
            again = max(top, key=lambda cell: float(table.val_CRE[cell, other, -1]))
            gains.append(float(judged_C[again] - judged_C[top[0]]))
    return gains
