"""Training found widths from random weights, over several seeds, and reading the test part once at the end."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from time import perf_counter
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from nas_prune.data import ImageData
from nas_prune.errors import BadInputError
from nas_prune.files import sweep, write_whole
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
from nas_prune.training.schedules import Schedule, ScratchPlan, plan_scratch
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
    config: TrainConfig, widths: Widths, out: Path | None = None, *, watch: Watch = QUIET
) -> TrainResult:
    """Train networks of the given widths from random weights.

    Args:
        config: every setting; `multiplier` and `epochs` are worked out here.
        widths: the artefact; nothing but its widths is used.
        out: the run's directory, new or empty; the next free `runs/SPACE-SCHEDULE-DATA-NNN` if None.
        watch: told of progress.

    Returns:
        Accuracies of each seed after the last epoch; they are also written to the run's directory.

    Raises:
        NasPruneError: something in the settings cannot be used; nothing has been written then.
    """
    check_out(out)
    space, data = _load(config, widths, watch)
    widths = space.priced(widths)
    plan = plan_scratch(widths, config.recipe, config.schedule, cap=config.cap)
    threads = pick_threads(config.threads, widths.cost.macs, config.recipe.batch_size)
    config = config.model_copy(
        update={
            "multiplier": plan.multiplier,
            "epochs": plan.recipe.epochs,
            "device": data.train.images.device.type,
            "threads": threads,
            "versions": library_versions(),
        }
    )
    data_kind = published(config.data.name).replace("folder:", "")
    run = make_run(out, f"{widths.space.name}-{config.schedule}-{data_kind}")
    widths.write(run / "widths.json")
    write_config(run, _with_data_name(config, portable(config.data.name, run)))
    watch.say(f"Writing to {run}. If it is stopped: nas-prune train --resume {run}")
    with limited_threads(config.threads or 1):
        return _finish(run, config, widths, space, data, plan, watch)


def resume_train(run: Path, *, data_name: str | None = None, watch: Watch = QUIET) -> TrainResult:
    """Go on with a scratch training that was stopped; the result is as if it never was.

    Args:
        run: its directory.
        data_name: where the images are now, if they or the run were moved.
        watch: told of progress.

    Raises:
        BadInputError: the directory is no training's, or a checkpoint is damaged.
    """
    config = read_config(run, TrainConfig)
    sweep(run)
    config = _with_data_name(config, data_name or from_run(config.data.name, run))
    widths = read_widths(run / "widths.json")
    space, data = _load(config, widths, watch)
    widths = space.priced(widths)
    plan = plan_scratch(widths, config.recipe, config.schedule, cap=config.cap)
    with limited_threads(config.threads or 1):
        return _finish(run, config, widths, space, data, plan, watch)


def _with_data_name(config: TrainConfig, name: str) -> TrainConfig:
    return config.model_copy(update={"data": config.data.model_copy(update={"name": name})})


def _load(config: TrainConfig, widths: Widths, watch: Watch) -> tuple[SearchSpace, ImageData]:
    reference = widths.space
    space = load_space(
        reference.name,
        reference.input_shape,
        num_classes=reference.num_classes,
        width_multiplier=reference.width_multiplier,
    )
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


def _finish(
    run: Path,
    config: TrainConfig,
    widths: Widths,
    space: SearchSpace,
    data: ImageData,
    plan: ScratchPlan,
    watch: Watch,
) -> TrainResult:
    results = []
    for number, seed in enumerate(config.seeds, 1):
        folder = run / f"seed-{seed}"
        folder.mkdir(exist_ok=True)
        title = f"{config.schedule}, seed {number} of {len(config.seeds)}"
        results.append(_one_seed(folder, seed, space, widths, data, plan.recipe, watch, title))
    result = TrainResult(run, config, widths, tuple(results))
    write_whole(run / "result.json", json.dumps(summary(result), indent=1) + "\n")
    return result


def _one_seed(
    folder: Path,
    seed: int,
    space: SearchSpace,
    widths: Widths,
    data: ImageData,
    recipe: Recipe,
    watch: Watch,
    title: str,
) -> SeedResult:
    state = start(space.build(widths, seed=seed, device=data.train.images.device), recipe)
    if (folder / CHECKPOINT).exists():
        read_checkpoint(folder / CHECKPOINT, state)
    keep_metrics(folder, state.epochs_done)
    started = perf_counter()

    def after_epoch(now: TrainState, report: EpochReport) -> None:
        append_metrics(folder, asdict(report))
        write_checkpoint(folder / CHECKPOINT, now)

    fit(
        state,
        data,
        recipe,
        seed=seed,
        on_step=lambda done, total: watch.progress(title, done, total),
        on_epoch=after_epoch,
    )
    seconds = perf_counter() - started
    _, val_accuracy = evaluate(state.model, data.val, data)
    _, test_accuracy = evaluate(state.model, data.test, data)
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
