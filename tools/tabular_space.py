"""A width space so small that every network of it has been trained: what samplers are tested against.

Four convolutions of four widths each, trained from scratch with three seeds or more; the accuracies stand in a file,
one line for each training, made by `tools/make_tabular.py`. A study on it takes seconds. How good each network is, is
known but for the seeds' luck: `tools/tabular_truth.py` takes that out.

Shape suffixes: C cells of the table, R seeds, E epochs, G groups.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TypeAlias

import numpy as np
import optuna
from numpy.typing import NDArray
from torch import nn

from nas_prune.errors import BadInputError
from nas_prune.runs.typed import Typed
from nas_prune.space.budget import Budget
from nas_prune.space.load import load_space
from nas_prune.space.models.layers import initialise
from nas_prune.space.search_space import SearchSpace
from nas_prune.study import trial_record as record
from nas_prune.study.parameters import Parameters, Parametrised
from nas_prune.study.rule import Layout

Floats: TypeAlias = "NDArray[np.float64]"

NETWORK = Typed("tools.tabular_space:small_network")
BASES = (16, 16, 32, 32)
KEPT = (0.125, 0.25, 0.5, 1.0)
LEAST_SEEDS = 3


def cells() -> list[tuple[int, ...]]:
    """Every width vector of the table."""
    return list(product(*([round(base * share) for share in KEPT] for base in BASES)))


def small_network(in_channels: int, num_classes: int) -> nn.Module:
    """Two convolutions, half the size, two convolutions, the mean of what is left, and a classifier."""
    layers: list[nn.Module] = []
    before = in_channels
    for number, width in enumerate(BASES):
        layers += [
            nn.Conv2d(before, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            *([nn.MaxPool2d(2)] if number == 1 else []),
        ]
        before = width
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, num_classes))
    initialise(network, norm_scale=1.0)
    return network


def small_space(in_channels: int, image_size: int, num_classes: int) -> SearchSpace:
    """The space that the table is of."""
    return load_space(NETWORK, (in_channels, image_size, image_size), num_classes=num_classes)


@dataclass(frozen=True, slots=True)
class Table:
    """Everything that was trained on one data set.

    Attributes:
        space: the space.
        widths_CG: the width vectors.
        val_CRE: validation accuracies after each epoch.
        test_CR: test accuracies at the end.
    """

    space: SearchSpace
    widths_CG: NDArray[np.int64]
    val_CRE: Floats
    test_CR: Floats

    @property
    def training_seeds(self) -> int:
        """How many times each network was trained: what the table has of independent observations."""
        return int(self.test_CR.shape[1])

    @property
    def mean_C(self) -> Floats:
        """The mean test accuracy of each network over seeds: right on average, but the best of them is a lucky one."""
        return np.asarray(self.test_CR.mean(axis=1), dtype=np.float64)

    def feasible(self, budget: Budget) -> NDArray[np.int64]:
        """The cells that a budget allows, by place."""
        cost_C = self.space.cost.kind(budget.kind)(self.widths_CG)
        return np.flatnonzero(cost_C <= self.space.limit(budget))

    def nearest(self, widths_G: Sequence[int], feasible: NDArray[np.int64]) -> int:
        """The feasible cell nearest to some widths, by the sum of squared log ratios."""
        away_FG = np.log(self.widths_CG[feasible]) - np.log(np.asarray(widths_G))
        return int(feasible[int((away_FG**2).sum(axis=1).argmin())])


@dataclass(frozen=True, slots=True)
class Snapped:
    """Parameters whose widths are always those of a network of a table: of the feasible ones the nearest.

    Attributes:
        points: the parameters.
        table: the trainings.
    """

    points: Parametrised
    table: Table

    @property
    def budget(self) -> Budget:
        """As of the parameters."""
        return self.points.budget

    @property
    def columns(self) -> tuple[int, ...]:
        """As of the parameters."""
        return self.points.columns

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """As of the parameters."""
        return self.points.ranges

    @property
    def guideline(self) -> Parameters:
        """As of the parameters."""
        return self.points.guideline

    @property
    def uniform(self) -> Parameters:
        """As of the parameters."""
        return self.points.uniform

    @property
    def layout(self) -> Layout:
        """As of the parameters."""
        return self.points.layout

    def logs_NS(self, values_NP: Floats) -> Floats:
        """Log widths of the nearest networks."""
        logs_FS = np.log(self.table.widths_CG[self.table.feasible(self.budget)][:, list(self.columns)])
        away_NF = ((self.points.logs_NS(values_NP)[:, None] - logs_FS) ** 2).sum(axis=2)
        return np.asarray(logs_FS[away_NF.argmin(axis=1)])

    def widths_G(self, parameters: Mapping[str, float]) -> tuple[int, ...]:
        """Widths of the nearest network."""
        nearest = self.table.nearest(self.points.widths_G(parameters), self.table.feasible(self.budget))
        return tuple(self.table.widths_CG[nearest].tolist())


def read_table(path: Path) -> Table:
    """Read a table that `tools/make_tabular.py` has made.

    Raises:
        BadInputError: it is not there, or some trainings are missing.
    """
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise BadInputError(f"a table must be a readable file of JSON lines, got {path} ({error}).") from None
    head, rows = lines[0], lines[1:]
    trained = {(tuple(row["widths"]), row["seed"]): row for row in rows}
    wanted = cells()
    seeds = range(max(LEAST_SEEDS, 1 + max((row["seed"] for row in rows), default=0)))
    missing = [(one, seed) for one in wanted for seed in seeds if (one, seed) not in trained]
    if missing:
        raise BadInputError(
            f"a table must hold {len(wanted) * len(seeds)} trainings, got {path} without {len(missing)} of them. "
            f"Make it whole: python tools/make_tabular.py {path.stem} --seeds {len(seeds)}."
        )
    in_channels, image_size, _ = head["input_shape"]
    return Table(
        small_space(in_channels, image_size, head["num_classes"]),
        np.array(wanted),
        np.array([[trained[one, seed]["val"] for seed in seeds] for one in wanted]),
        np.array([[trained[one, seed]["test"] for seed in seeds] for one in wanted]),
    )


def read_again(path: Path) -> dict[tuple[int, ...], list[float]]:
    """Test accuracies of networks that were trained again by seeds that a table does not have; empty without a file."""
    if not path.exists():
        return {}
    found: dict[tuple[int, ...], list[float]] = {}
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        row = json.loads(line)
        found.setdefault(tuple(row["widths"]), []).append(row["test"])
    return found


@dataclass(frozen=True, slots=True)
class Run:
    """A study on a table.

    Attributes:
        cells: of each trial, in order.
        values: the validation accuracy that each trial saw after its last epoch.
        epochs: how many each was trained.
        is_stopped: which were ended because they fell behind.
    """

    cells: tuple[int, ...]
    values: tuple[float, ...]
    epochs: tuple[int, ...]
    is_stopped: tuple[bool, ...]

    def best(self, count: int) -> int:
        """The cell of the best of the first so many trials, by what was seen."""
        whole = [number for number in range(min(count, len(self.cells))) if not self.is_stopped[number]]
        return self.cells[max(whole, key=lambda number: self.values[number])]


def simulated(
    table: Table,
    parameters: Parametrised,
    sampler: optuna.samplers.BaseSampler,
    *,
    trials: int,
    seed: int,
    stopping: optuna.pruners.BasePruner | None = None,
) -> Run:
    """A study whose trainings are read from the table; otherwise as `nas-prune study run` has it.

    Args:
        table: the trainings.
        parameters: how a trial's parameters become widths, with its budget.
        sampler: Optuna's.
        trials: how many.
        seed: of the trainings; one for all trials, as in a study.
        stopping: what ends trials that fall behind; nothing if None.
    """
    feasible = table.feasible(parameters.budget)
    study = optuna.create_study(
        direction="maximize", sampler=sampler, pruner=stopping or optuna.pruners.NopPruner()
    )
    study.enqueue_trial(parameters.guideline)
    study.enqueue_trial(parameters.uniform, skip_if_exists=True)
    chosen: list[int] = []
    epochs: list[int] = []

    def objective(trial: optuna.Trial) -> float:
        drawn = {name: trial.suggest_float(name, *ends) for name, ends in parameters.ranges.items()}
        chosen.append(table.nearest(parameters.widths_G(drawn), feasible))
        trial.set_user_attr(record.WIDTHS, json.dumps(table.widths_CG[chosen[-1]].tolist()))
        curve_E = table.val_CRE[chosen[-1], seed]
        for epoch, value in enumerate(curve_E, start=1):
            trial.report(float(value), epoch)
            if epoch < len(curve_E) and trial.should_prune():
                epochs.append(epoch)
                raise optuna.TrialPruned
        epochs.append(len(curve_E))
        return float(curve_E[-1])

    study.optimize(objective, n_trials=trials)
    ended = study.get_trials(deepcopy=False)
    values = [float(table.val_CRE[cell, seed, count - 1]) for cell, count in zip(chosen, epochs, strict=True)]
    is_stopped = tuple(trial.state == optuna.trial.TrialState.PRUNED for trial in ended)
    return Run(tuple(chosen), tuple(values), tuple(epochs), is_stopped)
