"""Trainings of a study by a function of somebody's own."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from statistics import fmean
from typing import Literal

import optuna
from torch import nn

from nas_prune.data.metric import Metric
from nas_prune.runs.directory import RESULT
from nas_prune.runs.files import saying_why, write_whole
from nas_prune.runs.progress import SILENT
from nas_prune.runs.reading import read_json
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.widths import Widths
from nas_prune.study.config import StudyConfig
from nas_prune.study.judges.contract import Judgement
from nas_prune.study.own_function import (
    Function,
    FunctionError,
    Stopped,
    Trial,
    asks_for,
    number_of,
    outside,
)
from nas_prune.study.short_numbers import short
from nas_prune.study.trainer import Again, Asked, Told
from nas_prune.training.schedules import Schedule


@dataclass(frozen=True, slots=True)
class OwnTrainer:
    """Asks a function of somebody's own.

    Attributes:
        function: takes a network of random weights, and trains it.
        takes_trial: whether it takes a `Trial`, too.
        metric: what it returns.
        has_epochs: whether the study says how many epochs a training has.
        judge: says how good a network is that is not trained; None where none of theirs does.
        threads: of linear algebra in numpy.
    """

    function: Function
    takes_trial: bool
    metric: Metric
    has_epochs: bool
    judge: Function | None = None
    threads: int | None = None

    @property
    def identity(self) -> str:
        """Nothing: what it trains on is its own affair."""
        return "of a function"

    @property
    def guess(self) -> float | None:
        """Not known."""
        return None

    def macs(self, macs: int, epochs: int) -> int:
        """Of one input in every epoch: how many there are is not known."""
        return macs * epochs

    def epochs(self, config: StudyConfig, widths: Widths, length: Literal["short"] | Schedule) -> int:  # noqa: ARG002
        """As the study says; one where it does not."""
        return config.epochs if length == "short" else config.full_epochs

    def trial(self, asked: Asked, trial: optuna.Trial) -> Told:
        """As `Trainer`."""
        values: list[float] = []
        follower = _Follower(trial, self.metric, asked.config.epochs)
        for number in range(asked.config.seeds):
            seed, report = asked.seed + number, follower.report if number == 0 else _unheard
            try:
                value = self._value(asked, seed, asked.config.epochs, asked.folder / f"seed-{seed}", report)
            except Stopped:
                value = nan
            except FunctionError:
                if follower.broken is not None:
                    raise follower.broken from None
                raise
            if follower.is_stopped:  # whether or not the function let it through
                break
            values.append(value)
        scores = [self.metric.score(value) for value in values]
        done = follower.last if follower.is_stopped else len(values) * asked.config.epochs
        result = {"metric": self.metric.name, "values": values}
        return Told(fmean(scores or [nan]), done, follower.is_stopped, follower.curve, result)

    def tidy(self, folder: Path) -> None:
        """What the function left there is its own affair."""

    def again(self, asked: Asked, length: Literal["short"] | Schedule) -> None:
        """As `Trainer`."""
        epochs = self.epochs(asked.config, asked.widths, length)
        value = self._value(asked, asked.seed, epochs, asked.folder, _unheard)
        with saying_why(asked.folder):
            asked.folder.mkdir(parents=True, exist_ok=True)
        content = {"metric": self.metric.name, "value": value, "epochs": epochs, "seed": asked.seed}
        write_whole(asked.folder / RESULT, json.dumps(content) + "\n")

    def found(self, folder: Path) -> Again | None:
        """As `Trainer`."""
        try:
            content = read_json(folder / RESULT)
            return Again(self.metric.score(number_of(content["value"])), None, int(content["epochs"]))
        except (OSError, ValueError, KeyError, TypeError, FunctionError):
            return None

    def judged(self, space: SearchSpace, seed: int, vector_G: Sequence[int]) -> Judgement:
        """What their judge says of some widths: of a network of random weights, and of the widths if it asks for these.

        Raises:
            FunctionError: it says nothing that can be used.
        """
        assert self.judge is not None
        widths = space.widths(vector_G)
        more = {"widths": widths} if asks_for(self.judge, "widths", "judge") else {}
        with outside(seed, self.threads, SILENT, "judge"):
            value = self.judge(space.build(widths, seed=seed), **more)
        return Judgement(number_of(value, "judge"), 0)

    def _value(
        self, asked: Asked, seed: int, epochs: int, folder: Path, report: Callable[[int, float], bool]
    ) -> float:
        network: nn.Module = asked.space.build(asked.widths, seed=seed)
        known = epochs if self.has_epochs else None
        more = {"trial": Trial(asked.widths, seed, known, folder, report)} if self.takes_trial else {}
        with outside(seed, self.threads, asked.progress, "train"):
            value = self.function(network, **more)
        return number_of(value)


def _unheard(_: int, __: float) -> bool:
    return False


@dataclass(slots=True)
class _Follower:
    """Reports what a function says of its first training to Optuna.

    Attributes:
        trial: whose.
        metric: of the values.
        epochs: of a training; it is not ended after the last one.
        steps: what was said.
        is_stopped: whether it fell behind.
        broken: what the storage raised, which is no fault of the function.
    """

    trial: optuna.Trial
    metric: Metric
    epochs: int
    steps: list[tuple[int, float]] = field(default_factory=list)
    is_stopped: bool = False
    broken: Exception | None = None

    @property
    def last(self) -> int:
        return self.steps[-1][0] if self.steps else 0

    @property
    def curve(self) -> str:
        """For the dashboard."""
        rows = [f"{step},{value}" for step, value in self.steps]
        return "\n".join([f"step,{self.metric.name.replace(',', ' ')}", *rows, ""])

    def report(self, step: int, value: float) -> bool:
        self.steps.append((step, value))
        score = self.metric.score(value)
        try:
            self.trial.report(short(score) if self.metric.is_share else score, step)
            if step < self.epochs:
                self.is_stopped = self.is_stopped or self.trial.should_prune()
        except Exception as error:
            self.broken = error
            raise
        return self.is_stopped
