"""Trainings of a study by nas-prune itself, on its images by its recipe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import optuna
from torch import nn

from nas_prune.data import ImageData
from nas_prune.data.guessing import guess_share
from nas_prune.data.identity import identity_of
from nas_prune.data.metric import Metric, named_metric
from nas_prune.runs.directory import RESULT
from nas_prune.space.widths import Widths
from nas_prune.study import trial_record as record
from nas_prune.study.config import StudyConfig
from nas_prune.study.short_numbers import short
from nas_prune.study.trainer import Again, Asked, Told
from nas_prune.training.config import TrainConfig
from nas_prune.training.job import Inputs
from nas_prune.training.loop import Observer
from nas_prune.training.result import read_trained
from nas_prune.training.resumable import drop_checkpoints
from nas_prune.training.run import train_member, train_one
from nas_prune.training.schedules import Schedule, plan_training, training_macs


@dataclass(frozen=True, slots=True)
class Engine:
    """Trains on images; a training that was stopped goes on from its last checkpoint.

    Attributes:
        data: the images.
    """

    data: ImageData

    @property
    def identity(self) -> str:
        """Of the images."""
        return identity_of(self.data)

    @property
    def guess(self) -> float | None:
        """Of validation images, where each is of one class."""
        if not self.data.task.is_classification:
            return None
        return guess_share(self.data.val.labels, self.data.num_classes)

    def macs(self, macs: int, epochs: int) -> int:
        """Forward and backward passes of all training images."""
        return training_macs(macs, len(self.data.train), epochs)

    def epochs(self, config: StudyConfig, widths: Widths, length: Literal["short"] | Schedule) -> int:
        """By the study's settings, or by a schedule."""
        if length == "short":
            return config.epochs
        return plan_training(widths, config.recipe, length).recipe.epochs

    def trial(self, asked: Asked, trial: optuna.Trial) -> Told:
        """As `Trainer`."""
        config, folder, metric, epochs = asked.config, asked.folder, self.data.task.metric, 0
        scores, tests = list[float](), list[float]()
        follower = _Follower(trial, metric, is_reporting=config.against is None)
        for number in range(config.seeds):
            result = train_one(
                train_config(config, (asked.seed + number,)),
                asked.widths,
                folder,
                Inputs(self.data, asked.space),
                progress=asked.progress.without_words(),
                observer=follower.observer if number == 0 else None,
            )
            scores.append(result.val_score)
            tests.append(result.test_score)
            epochs += follower.epochs if number == 0 else result.epochs
            if follower.is_stopped:
                break
        guess = self.guess
        attributes = (
            {} if guess is None else {record.GUESS: round(guess, 4), record.VAL_IMAGES: len(self.data.val)}
        )
        # Test scores are for a later look at the study; its trials are chosen by validation alone.
        values = {
            name: [metric.score(one) for one in own] for name, own in (("val", scores), ("test", tests))
        }
        return Told(
            fmean(scores),
            epochs,
            follower.is_stopped,
            follower.curve(),
            {**values, **named_metric(metric)},
            attributes,
        )

    def tidy(self, folder: Path) -> None:
        """Drop checkpoints."""
        drop_checkpoints(folder)

    def again(self, asked: Asked, length: Literal["short"] | Schedule) -> None:
        """As `Trainer`; checkpoints are dropped, and the network is kept where the training is in full."""
        config, is_short = asked.config, length == "short"
        how = {} if is_short else {"recipe": config.recipe, "schedule": length}
        train_member(
            train_config(config, (asked.seed,), **how),
            asked.widths,
            asked.folder,
            Inputs(self.data, asked.space),
            result=asked.folder / RESULT,
            progress=asked.progress,
            keeps_network=not is_short,
        )

    def found(self, folder: Path) -> Again | None:
        """As `Trainer`."""
        # Files of earlier versions hold the accuracies alone; no more is used here.
        one = read_trained(folder / RESULT, epochs=0, macs=0, params=0)
        return None if one is None else Again(one.val_score, one.test_score, one.epochs)


@dataclass(slots=True)
class _Follower:
    """Reports a training to Optuna epoch by epoch, and ends it where it falls behind.

    Attributes:
        trial: whose.
        metric: of the training.
        is_reporting: not with two objectives, where Optuna takes no reports.
        lines: what was seen of each epoch.
        is_stopped: whether it fell behind.
    """

    trial: optuna.Trial
    metric: Metric
    is_reporting: bool
    lines: list[Mapping[str, Any]] = field(default_factory=list)
    is_stopped: bool = False
    told: int = 0

    @property
    def observer(self) -> Observer:
        return Observer(note=_nothing, is_enough=self._follow)

    @property
    def epochs(self) -> int:
        return len(self.lines)

    def curve(self) -> str:
        """The training as a table, for the dashboard."""
        known = ("epoch", "train_loss", "train_accuracy", "val_loss", self.metric.key("val"))
        names = [name for name in known if not self.lines or name in self.lines[0]]
        rows = [",".join(str(line[name]) for name in names) for line in self.lines]
        return "\n".join([",".join(names), *rows, ""])

    def _follow(self, lines: Sequence[Mapping[str, Any]]) -> bool:
        self.lines = list(lines)
        if not self.is_reporting:
            return False
        for line in lines[self.told :]:
            score = self.metric.score(float(line[self.metric.key("val")]))
            self.trial.report(short(score) if self.metric.is_share else score, int(line["epoch"]))
        self.told = len(lines)
        if lines and int(lines[-1]["epoch"]) < int(lines[-1]["epochs"]):
            self.is_stopped = self.trial.should_prune()
        return self.is_stopped


def _nothing(_: nn.Module) -> dict[str, Any]:
    return {}


def train_config(config: StudyConfig, seeds: tuple[int, ...], **changes: Any) -> TrainConfig:
    """How the network of a trial is trained."""
    settings = {
        **config.of_trainings(),
        "recipe": config.trial_recipe,
        "schedule": "scratch-e",
        "seeds": seeds,
        "data_seed": config.seed,
    }
    return TrainConfig(**{**settings, **changes})
