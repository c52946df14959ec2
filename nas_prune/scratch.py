"""Training found widths from random weights, over several seeds, and reading the test part once at the end."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from time import perf_counter
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from nas_prune.data import ImageData
from nas_prune.errors import BadInputError
from nas_prune.files import sweep, write_whole
from nas_prune.networks import check_trusted
from nas_prune.rundir import (
    CHECKPOINT,
    append_metrics,
    check_out,
    from_run,
    keep_metrics,
    library_versions,
    make_run,
    portable,
    published,
    read_config,
    write_config,
)
from nas_prune.setup import DataConfig, limited_threads, load_images, pick_device, pick_threads
from nas_prune.space import SearchSpace, load_space
from nas_prune.training.checkpoint import read_checkpoint, write_checkpoint
from nas_prune.training.loop import EpochReport, TrainState, evaluate, fit, start
from nas_prune.training.recipe import Recipe, default_recipe
from nas_prune.training.schedules import Schedule, plan_scratch
from nas_prune.watch import QUIET, Watch
from nas_prune.widths import Widths, read_widths


class TrainConfig(BaseModel):
    """Every setting of a scratch training; what `config.yaml` holds.

    Attributes:
        data: the images.
        recipe: how the whole network is trained; its epochs are the reference of both schedules.
        schedule: `scratch-e` or `scratch-b`.
        cap: bound on Scratch-B's multiplier; None for none.
        multiplier: MACs of the whole network over MACs of the widths, 1 for Scratch-E; not yet capped.
        epochs: the epochs that came out.
        seeds: one training for each; a seed fixes weights and order of images.
        data_seed: fixes the validation split, the same for all.
        device: `auto`, `cpu` or `cuda`.
        threads: CPU threads; None for one where a step is small, and PyTorch's number elsewhere.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    command: Literal["train"] = "train"
    data: DataConfig = DataConfig()
    recipe: Recipe = Field(default_factory=lambda known: default_recipe(known["data"].name))
    schedule: Schedule = "scratch-b"
    cap: float | None = None
    multiplier: float = 1.0
    epochs: int = 0
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    data_seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int | None = Field(default=None, ge=1)
    versions: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class SeedResult:
    """One training's accuracies after its last epoch, as shares; test images were read once, here."""

    seed: int
    val_accuracy: float
    test_accuracy: float
    seconds: float


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What training some widths from scratch gave.

    Attributes:
        run: the run's directory.
        config: its settings, with multiplier and epochs as they came out.
        widths: what was trained.
        seeds: one result for each seed.
    """

    run: Path
    config: TrainConfig
    widths: Widths
    seeds: tuple[SeedResult, ...]


def train(
    config: TrainConfig,
    widths: Widths,
    out: Path | None = None,
    *,
    space: str | None = None,
    watch: Watch = QUIET,
) -> TrainResult:
    """Train networks of the given widths from random weights.

    Args:
        config: every setting; `multiplier` and `epochs` are worked out here.
        widths: the artefact; nothing but its widths is used.
        out: the run's directory, new or empty; the next free `runs/SPACE-SCHEDULE-DATA-NNN` if None.
        space: the network's name again, if it is one of your own: no code that only a file names is imported.
        watch: told of progress.

    Returns:
        Accuracies of each seed after the last epoch; they are also written to the run's directory.

    Raises:
        NasPruneError: something in the settings cannot be used; nothing has been written then.
    """
    check_trusted(widths.space.name, space, "the widths file")
    check_out(out)
    job = _prepare(config, widths, watch)
    run = make_run(out, widths.space.name, config.schedule, config.data.name)
    job.widths.write(run / "widths.json")
    travelling = job.config.data.at(portable(config.data.name, run))
    write_config(run, job.config.model_copy(update={"data": travelling}))
    watch.say(f"Writing to {run}. If it is stopped: nas-prune train --resume {run}")
    return _finish(run, job, watch)


def resume_train(
    run: Path, *, data_name: str | None = None, space: str | None = None, watch: Watch = QUIET
) -> TrainResult:
    """Go on with a scratch training that was stopped; the result is as if it never was.

    Args:
        run: its directory.
        data_name: where the images are now, if they or the run were moved.
        space: the network's name again, if it is one of your own.
        watch: told of progress.

    Raises:
        BadInputError: the directory is no training's, or a checkpoint is damaged.
    """
    config, widths = read_config(run, TrainConfig), read_widths(run / "widths.json")
    check_trusted(widths.space.name, space, str(run))
    sweep(run)
    here = config.data.at(data_name or from_run(config.data.name, run))
    job = _prepare(config.model_copy(update={"data": here}), widths, watch)
    return _finish(run, job, watch)


@dataclass(frozen=True, slots=True)
class _Job:
    """A training that has been found sound: everything loaded, nothing written yet."""

    config: TrainConfig
    widths: Widths
    space: SearchSpace
    data: ImageData
    recipe: Recipe
    threads: int


def _prepare(config: TrainConfig, widths: Widths, watch: Watch) -> _Job:
    space, data = _load(config, widths, watch)
    widths = space.priced(widths)
    plan = plan_scratch(widths, config.recipe, config.schedule, cap=config.cap)
    threads = pick_threads(config.threads, widths.cost.macs, config.recipe.batch_size)
    resolved = {
        "multiplier": plan.multiplier,
        "epochs": plan.recipe.epochs,
        "device": data.train.images.device.type,
        "threads": threads,
        "versions": library_versions(),
    }
    return _Job(config.model_copy(update=resolved), widths, space, data, plan.recipe, threads)


def _load(config: TrainConfig, widths: Widths, watch: Watch) -> tuple[SearchSpace, ImageData]:
    reference = widths.space
    with watch.waiting("tracing the network"):
        space = load_space(
            reference.name,
            reference.input_shape,
            num_classes=reference.num_classes,
            width_multiplier=reference.width_multiplier,
        )
    space.check_trainable()
    data = load_images(config.data, config.data_seed, watch, in_channels=reference.input_shape[0])
    shape = (data.in_channels, data.image_size, data.image_size)
    if shape != reference.input_shape:
        raise BadInputError(
            f"images must be of the shape the widths are for, {_times(reference.input_shape)}, got {_times(shape)}. "
            "Search at this size first."
        )
    if data.num_classes != reference.num_classes:
        raise BadInputError(
            f"--data must have the {reference.num_classes} classes of the widths, got {data.num_classes}. "
            "Search on this data set first."
        )
    return space, data.to(pick_device(config.device))


def _times(shape: tuple[int, int, int]) -> str:
    return "×".join(map(str, shape))


def _finish(run: Path, job: _Job, watch: Watch) -> TrainResult:
    """Train what is left of every seed, write the results."""
    results, seeds = [], job.config.seeds
    with limited_threads(job.threads):
        for number, seed in enumerate(seeds, 1):
            title = f"{job.config.schedule}, seed {number} of {len(seeds)}"
            folder = run / f"seed-{seed}"
            results.append(_one_seed(folder, seed, job, partial(watch.progress, title)))
    result = TrainResult(run, job.config, job.widths, tuple(results))
    write_whole(run / "result.json", json.dumps(summary(result), indent=1) + "\n")
    return result


def _one_seed(folder: Path, seed: int, job: _Job, on_step: Callable[[int, int], None]) -> SeedResult:
    folder.mkdir(exist_ok=True)
    state = start(job.space.build(job.widths, seed=seed, device=job.data.train.images.device), job.recipe)
    if (folder / CHECKPOINT).exists():
        read_checkpoint(folder / CHECKPOINT, state)
    keep_metrics(folder, state.epochs_done)
    started = perf_counter()

    def after_epoch(now: TrainState, report: EpochReport) -> None:
        append_metrics(folder, asdict(report))
        write_checkpoint(folder / CHECKPOINT, now)

    fit(state, job.data, job.recipe, seed=seed, on_step=on_step, on_epoch=after_epoch)
    seconds = perf_counter() - started
    _, val_accuracy = evaluate(state.model, job.data.val, job.data)
    _, test_accuracy = evaluate(state.model, job.data.test, job.data)
    return SeedResult(seed, val_accuracy, test_accuracy, seconds)


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
    }
