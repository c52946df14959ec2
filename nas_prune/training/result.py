"""What a training is asked to do, and what came out of it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal

from pydantic import Field

from nas_prune.runs.directory import from_run, portable, published
from nas_prune.space.widths import Widths
from nas_prune.training.config import RunConfig
from nas_prune.training.recipe import Recipe, default_recipe
from nas_prune.training.schedules import Schedule


class TrainConfig(RunConfig):
    """Every setting of a training; what `config.yaml` holds.

    Attributes:
        recipe: how the whole network is trained; its epochs are the reference of all schedules.
        schedule: `scratch-e`, `scratch-b`, `fine-tune` or `rewind`.
        cap: bound on Scratch-B's multiplier; None for none.
        multiplier: MACs of the whole network over MACs of the widths for Scratch-B, not yet capped; otherwise the
            schedule's own factor on the epochs.
        epochs: the epochs that came out.
        seeds: one training for each; a seed fixes weights and order of images.
        data_seed: fixes the validation split, the same for all.
        inherits_from: the search whose weights `fine-tune` and `rewind` start from.
        teacher: the run whose trained network is imitated; None for none.
    """

    command: Literal["train"] = "train"
    recipe: Recipe = Field(default_factory=lambda known: default_recipe(known["data"].name))
    schedule: Schedule = "scratch-b"
    cap: float | None = None
    multiplier: float = 1.0
    epochs: int = 0
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    data_seed: int = 0
    inherits_from: str | None = None
    teacher: str | None = None

    def beside(self, run: Path) -> "TrainConfig":
        """For the run's `config.yaml`: every path relative to the run's directory."""
        paths = {"inherits_from": self.inherits_from, "teacher": self.teacher}
        relative = {
            name: None if path is None else os.path.relpath(path, run) for name, path in paths.items()
        }
        return self.model_copy(update={"data": self.data.at(portable(self.data.name, run)), **relative})

    def found_from(self, run: Path, data_name: str | None) -> "TrainConfig":
        """The reverse of `beside`: every path as it can be opened from here."""
        paths = {"inherits_from": self.inherits_from, "teacher": self.teacher}
        here = {name: None if path is None else os.path.relpath(run / path) for name, path in paths.items()}
        data = self.data.at(data_name or from_run(self.data.name, run))
        return self.model_copy(update={"data": data, **here})


@dataclass(frozen=True, slots=True)
class SeedResult:
    """One training's accuracies after its last epoch, as shares; test images were read once, here."""

    seed: int
    val_accuracy: float
    test_accuracy: float
    seconds: float


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What training some widths gave.

    Attributes:
        run: the run's directory.
        config: its settings, with multiplier and epochs as they came out.
        widths: what was trained.
        seeds: one result for each seed that was trained to its end.
        failed: the other seeds, and why they were not.
    """

    run: Path
    config: TrainConfig
    widths: Widths
    seeds: tuple[SeedResult, ...]
    failed: tuple[tuple[int, str], ...] = ()


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation; None for the latter with a single value."""
    return fmean(values), stdev(values) if len(values) > 1 else None


def summary(result: TrainResult) -> dict[str, Any]:
    """A training's result as plain JSON, for `--format json` and `result.json`."""
    mean, deviation = mean_and_deviation([seed.test_accuracy for seed in result.seeds])
    return {
        "space": result.widths.space.name,
        "budget": result.widths.budget,
        "schedule": result.config.schedule,
        "multiplier": result.config.multiplier,
        "cap": result.config.cap,
        "epochs": result.config.epochs,
        "reference_epochs": result.config.recipe.epochs,
        "data": published(result.config.data.name),
        **result.widths.cost.model_dump(),
        "test_accuracy_mean": mean,
        "test_accuracy_std": deviation,
        "seeds": [
            {"seed": one.seed, "val_accuracy": one.val_accuracy, "test_accuracy": one.test_accuracy}
            for one in result.seeds
        ],
        "failed": [{"seed": seed, "why": why} for seed, why in result.failed],
    }
