"""What a study costs beside the trainings: milliseconds a trial, and workers an hour.

    python tools/measure_study.py cost --trials 1000 --sampler cma
    python tools/measure_study.py workers --trials 12

`cost` runs a whole study (journal, records, pictures, note and figures for the dashboard) in which the training alone
is left out: each trial is given an accuracy at once, after five reports. Printed are the milliseconds of trials 1 to
100, of the last hundred, and how long a trial must train for these to be 1 % of it. `workers` runs the same real study
with one worker of one thread and with two, in turn, and compares trials an hour.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from nas_prune.runs.directory import append_metrics, read_metrics
from nas_prune.runs.progress import Progress
from nas_prune.study import objective
from nas_prune.study.config import StudyConfig
from nas_prune.study.run import run_study
from nas_prune.training.result import Trained


def main() -> None:
    """Measure one of the two."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["cost", "workers"])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--sampler", default="cma")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()
    config = StudyConfig(
        name="measured",
        space="resnet20",
        epochs=options.epochs,
        budgets=("macs<=30%",),
        guideline="erk",
        sampler=options.sampler,
        trials=options.trials,
        threads=1,
    )
    if options.what == "cost":
        cost(config)
    else:
        workers(config, options.repeats)


def cost(config: StudyConfig) -> None:
    """Milliseconds a trial without its training."""
    ends: list[float] = []
    stub: Any = _instant(np.random.default_rng(0))
    vars(objective)["train_one"] = stub
    with tempfile.TemporaryDirectory() as folder:
        progress = Progress(say=lambda text: ends.append(perf_counter()) if ", trial " in text else None)
        run_study(config, Path(folder) / "run", progress=progress)
    each = 1e3 * np.diff(ends)
    first, last = each[:100].mean(), each[-100:].mean()
    print(
        f"{config.sampler}, {config.trials} trials: {first:.0f} ms a trial at first, {last:.0f} ms at the end, "
        f"{each.mean():.0f} ms on average: 1 % of trials of {each.mean() / 10:.0f} s"
    )


def _instant(rng: np.random.Generator) -> Callable[..., Trained]:
    """A training that is over at once."""

    def train_one(config: Any, _: Any, folder: Path, *__: Any, **given: Any) -> Trained:
        where = folder / f"seed-{config.seeds[0]}"
        where.mkdir(exist_ok=True)
        value = float(rng.normal(0.6, 0.02))
        for epoch in range(1, config.recipe.epochs + 1):
            losses = {"train_loss": 1.0, "train_accuracy": value, "val_loss": 1.0, "val_accuracy": value}
            append_metrics(where, {"epoch": epoch, "epochs": config.recipe.epochs, **losses})
            given["observer"].is_enough(read_metrics(where))
        return Trained(config.seeds[0], value, value, config.recipe.epochs, 0, 0, 0.0)

    return train_one


def workers(config: StudyConfig, repeats: int) -> None:
    """Trials an hour with one worker and with two, start and end included."""
    ratios = []
    for repeat in range(repeats):
        seconds = {}
        for count in (1, 2):
            started = perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                run_study(config, Path(folder) / "run", workers=count)
            seconds[count] = perf_counter() - started
        ratios.append(seconds[1] / seconds[2])
        hourly = {count: 3600 * config.trials / value for count, value in seconds.items()}
        print(
            f"repeat {repeat + 1}: {hourly[1]:.0f} trials an hour with one worker, {hourly[2]:.0f} with two: "
            f"{ratios[-1]:.2f} times",
            flush=True,
        )
    print(f"median {np.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f} (n = {repeats})")


if __name__ == "__main__":
    main()
