"""A table of width vectors that somebody has trained, as a world for studies: nothing is trained.

A CSV file with columns `widths` (one digit a layer, in quarters of its base, or integers separated by spaces), `acc_0`
and so on (accuracies in % or as shares, one column for each seed), `macs` and `params`.

Shape suffixes: C networks, F those within a budget, G layers, R seeds, N drawn, P parameters.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.samplers import BaseSampler
from scipy.spatial import KDTree
from scipy.stats import t as student

from nas_prune.errors import BadInputError
from nas_prune.space.budget import Budget
from nas_prune.study import trial_record as record
from nas_prune.study.parameters import Parameters
from nas_prune.study.rule import Layout
from nas_prune.study.rule_sampler import RuleSampler
from nas_prune.study.rule_search import Seen, rule_of
from nas_prune.study.samplers import sampler_named

Floats: TypeAlias = "NDArray[np.float64]"
Integers: TypeAlias = "NDArray[np.int64]"

SHARES = (0.5, 0.75)
LEAST_TRAININGS = 10
_QUARTERS = 4


@dataclass(frozen=True)
class WidthTable:
    """What was trained.

    Attributes:
        name: of the file.
        widths_CG: the networks.
        accuracy_CR: accuracies as shares.
        macs_C, params_C: costs.
        base_G: base widths.
    """

    name: str
    widths_CG: Integers
    accuracy_CR: Floats
    macs_C: Floats
    params_C: Floats
    base_G: Integers

    def uniform(self, share: float) -> int:
        """The place of the network of which every layer keeps the same share.

        Raises:
            BadInputError: there is none.
        """
        found = np.flatnonzero(
            (np.abs(self.widths_CG - share * self.base_G) <= 0.05 * self.base_G).all(axis=1)
        )
        if not len(found):
            raise BadInputError(f"a table must hold uniform widths of {share:g}, got none in {self.name}.")
        return int(found[0])


def read_width_table(path: Path) -> WidthTable:
    """Read a table.

    Raises:
        BadInputError: it cannot be read, or a column is missing.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInputError(f"--table must name a CSV file that can be read, got {path}: {error}.") from None
    columns = list(rows[0]) if rows else []
    seeds = [name for name in columns if name.startswith("acc_")]
    missing = [name for name in ("widths", "acc_0", "macs", "params") if name not in columns]
    if missing or len(seeds) <= 1:
        raise BadInputError(
            f"--table must have the columns widths, acc_0, acc_1 (and more), macs and params, got {', '.join(columns)}."
        )
    try:
        texts = [row["widths"].strip() for row in rows]
        are_digits = not any(" " in text for text in texts)
        widths_CG = np.array([[int(one) for one in (text if are_digits else text.split())] for text in texts])
        accuracy_CR = np.array([[float(row[name]) for name in seeds] for row in rows])
        macs_C, params_C = (np.array([float(row[name]) for row in rows]) for name in ("macs", "params"))
    except (ValueError, TypeError) as error:
        raise BadInputError(f"--table must hold numbers, got {path}: {error}.") from None
    accuracy_CR = accuracy_CR / 100 if accuracy_CR.max() > 1 else accuracy_CR
    base_G = np.full(widths_CG.shape[1], _QUARTERS) if are_digits else widths_CG.max(axis=0)
    return WidthTable(path.stem, widths_CG, accuracy_CR, macs_C, params_C, base_G)


@dataclass(frozen=True)
class TablePoints:
    """Parameters of the networks of a table within a budget: how much wider each layer is than uniform, as a logarithm.

    What is drawn stands for the nearest network.

    Attributes:
        table: the networks.
        start: the place of the uniform network whose MACs are the budget.
    """

    table: WidthTable
    start: int

    @cached_property
    def budget(self) -> Budget:
        """The MACs of the uniform network."""
        return Budget.parse(f"macs<={int(self.table.macs_C[self.start])}")

    @cached_property
    def feasible(self) -> Integers:
        """Places of the networks within the budget."""
        return np.flatnonzero(self.table.macs_C <= self.table.macs_C[self.start])

    @cached_property
    def logs_FG(self) -> Floats:
        """Their log widths."""
        return np.log(self.table.widths_CG[self.feasible])

    @cached_property
    def columns(self) -> tuple[int, ...]:
        """All layers."""
        return tuple(range(len(self.table.base_G)))

    @cached_property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """From the narrowest to the widest, with as much beyond as lets the budget decide."""
        return {f"layer {number}": (-2.5, 2.5) for number in self.columns}

    @property
    def uniform(self) -> Parameters:
        """Uniform widths."""
        return dict.fromkeys(self.ranges, 0.0)

    guideline = uniform

    @cached_property
    def layout(self) -> Layout:
        """Each layer by itself; elasticities by least squares over the networks within the budget."""
        start_G = np.log(self.table.widths_CG[self.start])
        basis = np.column_stack([np.ones(len(self.feasible)), self.logs_FG - start_G])
        fitted = np.linalg.lstsq(basis, np.log(self.table.macs_C[self.feasible]), rcond=None)[0]
        return Layout(np.array(self.columns), np.zeros(len(self.columns)), start_G, np.asarray(fitted[1:]))

    @cached_property
    def _tree(self) -> KDTree:
        return KDTree(self.logs_FG)

    def places(self, values_NP: Floats) -> Integers:
        """Of the feasible networks, those nearest to parameters cut to the budget by one factor."""
        elastic_G = self.layout.elasticity_S
        over_N = values_NP @ elastic_G / elastic_G.sum()
        return np.asarray(self._tree.query(self.layout.centre_S + values_NP - over_N[:, None])[1])

    def logs_NS(self, values_NP: Floats) -> Floats:
        """Log widths of the nearest networks."""
        return np.asarray(self.logs_FG[self.places(values_NP)])

    def place(self, parameters: Mapping[str, float]) -> int:
        """Where the network of parameters stands among the feasible ones."""
        return int(self.places(np.array([[parameters[name] for name in self.ranges]]))[0])

    def widths_G(self, parameters: Mapping[str, float]) -> tuple[int, ...]:
        """Widths of the nearest network."""
        return tuple(self.table.widths_CG[self.feasible[self.place(parameters)]].tolist())


@dataclass(frozen=True, slots=True)
class TableRun:
    """A study on a table.

    Attributes:
        places: of each trial's network among the feasible ones.
        values: what was seen.
        shown: which seeds of each network were.
    """

    places: tuple[int, ...]
    values: tuple[float, ...]
    shown: Mapping[int, int]

    def truth(self, points: TablePoints, place: int) -> float:
        """The mean accuracy of a network by the seeds that the study has not seen."""
        row_R = points.table.accuracy_CR[points.feasible[place]]
        return float(np.delete(row_R, self.shown.get(place, [])).mean())

    @property
    def luckiest(self) -> int:
        """The place of the best trial by what was seen."""
        return self.places[int(np.argmax(self.values))]

    def answer(self, points: TablePoints) -> int:
        """The place that the rule of all trials expects most of."""
        widths_CG = points.table.widths_CG[points.feasible]
        first = dict(zip(self.places, self.values, strict=True))
        vectors = tuple(tuple(widths_CG[place].tolist()) for place in first)
        rule = rule_of(points, Seen(vectors, tuple(first.values()), ()))
        return int(rule.mean_N(points.logs_FG).argmax())


def run_on_table(points: TablePoints, sampler: BaseSampler, trainings: int, seed: int) -> TableRun:
    """A study whose trainings are read from the table.

    Args:
        points: the networks within a budget.
        sampler: what asks for them.
        trainings: how many.
        seed: decides which seed of a network is seen, always the same.
    """
    rng = np.random.default_rng(seed)
    places: list[int] = []
    shown: dict[int, int] = {}
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial(points.uniform)

    def objective(trial: optuna.Trial) -> float:
        place = points.place({name: trial.suggest_float(name, *ends) for name, ends in points.ranges.items()})
        row = points.feasible[place]
        shown.setdefault(place, int(rng.integers(points.table.accuracy_CR.shape[1])))
        places.append(place)
        trial.set_user_attr(record.WIDTHS, json.dumps(points.table.widths_CG[row].tolist()))
        return float(points.table.accuracy_CR[row, shown[place]])

    study.optimize(objective, n_trials=trainings)
    return TableRun(tuple(places), tuple(one.values[0] for one in study.get_trials(deepcopy=False)), shown)


def on_table(path: Path, trainings: int, seeds: int, *, as_json: bool) -> None:
    """Print what studies find at the MACs of the uniform networks of `SHARES` of the widths, a line for each arm.

    Raises:
        BadInputError: the table cannot be used, or there are too few trainings or seeds.
    """
    if trainings < LEAST_TRAININGS or seeds < 2:
        raise BadInputError(
            f"--trainings must be at least {LEAST_TRAININGS} and --seeds at least 2, got {trainings} and {seeds}."
        )
    table = read_width_table(path)
    if not as_json:
        print(
            f"{table.name}: {trainings} trainings a study, {seeds} studies; accuracies in %, 95 % intervals"
        )
        print(f"{'arm':<10}{'budget':>8}{'mean':>8}{'low':>8}{'high':>8}{'uniform':>9}{'over uniform':>14}")
    for share in SHARES:
        points = TablePoints(table, table.uniform(share))
        uniform = float(table.accuracy_CR[points.start].mean())
        for arm, values in _arms(points, trainings, seeds).items():
            mean, half = float(np.mean(values)), _half(values)
            said = {
                "arm": arm,
                "budget": share,
                "mean": round(100 * mean, 3),
                "low": round(100 * (mean - half), 3),
                "high": round(100 * (mean + half), 3),
                "uniform": round(100 * uniform, 3),
                "gain_over_uniform": round(100 * (mean - uniform), 3),
            }
            if as_json:
                print(json.dumps(said), flush=True)
            else:
                numbers = (
                    f"{said['mean']:>8.2f}{said['low']:>8.2f}{said['high']:>8.2f}{said['uniform']:>9.2f}"
                )
                print(f"{arm:<10}{share:>8}{numbers}{said['gain_over_uniform']:>14.2f}", flush=True)


def _arms(points: TablePoints, trainings: int, seeds: int) -> dict[str, list[float]]:
    """How good what each way finds is, by study: our default, today's other samplers' best trials, and chance."""
    found: dict[str, list[float]] = {"default": [], "cma": [], "tpe": [], "random": []}
    for seed in range(seeds):
        for arm, values in found.items():
            sampler = (
                RuleSampler(points, seed, repeats=False)
                if arm == "default"
                else sampler_named(arm, points, seed)  # type: ignore[arg-type]
            )
            run = run_on_table(points, sampler, trainings, seed)
            values.append(run.truth(points, run.answer(points) if arm == "default" else run.luckiest))
    return found


def _half(values: Sequence[float]) -> float:
    spread = float(np.std(values, ddof=1)) / len(values) ** 0.5
    return float(student.ppf(0.975, len(values) - 1)) * spread
