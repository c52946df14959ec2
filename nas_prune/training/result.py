"""The results of trainings, and their files."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from pydantic import TypeAdapter

from nas_prune.runs.directory import published
from nas_prune.runs.files import write_whole
from nas_prune.runs.reading import read_json
from nas_prune.space.widths import Widths
from nas_prune.training.config import TrainConfig


@dataclass(frozen=True, slots=True)
class Trained:
    """One training: accuracies after its last epoch, as shares; test images were used only then.

    Attributes:
        seed: of its first weights and of the order of its images.
        epochs: how many it had.
        macs, params: of its network.
        seconds: that training took.
    """

    seed: int
    val_accuracy: float
    test_accuracy: float
    epochs: int
    macs: int
    params: int
    seconds: float


_TRAINED = TypeAdapter(Trained)


def write_trained(path: Path, trained: Trained) -> None:
    """Write what a training gave, as JSON."""
    write_whole(path, json.dumps(asdict(trained), indent=1) + "\n")


def read_trained(path: Path, **unwritten: int) -> Trained | None:
    """What `write_trained` wrote; None if it is not there, or damaged.

    Args:
        path: the file.
        unwritten: values of fields that files of earlier versions lack.
    """
    try:
        return _TRAINED.validate_python({**unwritten, **read_json(path)})
    except (OSError, ValueError, TypeError):
        return None


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
    seeds: tuple[Trained, ...]
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
