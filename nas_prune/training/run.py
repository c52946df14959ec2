"""Training found widths, over several seeds, and reading the test part once at the end."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from nas_prune.data import ImageData, SharedImages, share
from nas_prune.data.config import load_images, where_images_are
from nas_prune.errors import BadInputError
from nas_prune.runs.directory import RESULT, WIDTHS, begun_whole, check_out, make_run
from nas_prune.runs.files import alone_in, passing_folder, saying_why, write_whole
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.runs.reopen import reopen
from nas_prune.runs.settings import library_versions, write_config
from nas_prune.runs.stopping import resume_hint
from nas_prune.runs.workers import Outcome, in_workers
from nas_prune.space.load import load_referenced
from nas_prune.space.networks import check_trusted
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.widths import Widths, read_widths
from nas_prune.training.compute import Compute, limited_threads, pick_device, pick_threads
from nas_prune.training.config import TrainConfig, checked_images, resume_command
from nas_prune.training.evaluation import evaluate
from nas_prune.training.loop import Observer, Teacher, Training
from nas_prune.training.ranks import ALONE, Ranks, joined
from nas_prune.training.recipe import Recipe
from nas_prune.training.result import Trained, TrainResult, summary, write_trained
from nas_prune.training.resumable import train_in
from nas_prune.training.schedules import SCHEDULES, plan_training
from nas_prune.training.starts import inherited, load_teacher
from nas_prune.training.state import start


def train(
    config: TrainConfig,
    widths: Widths,
    out: Path | None = None,
    *,
    space: str | None = None,
    workers: int = 1,
    progress: Progress = SILENT,
) -> TrainResult:
    """Train networks of the given widths.

    Args:
        config: every setting; `multiplier` and `epochs` are worked out here.
        widths: the artefact; nothing but its widths is used.
        out: the run's directory, new or empty; the next free `runs/SPACE-SCHEDULE-DATA-NNN` if None.
        space: the network's name again, if it is one of your own: no code that only a file names is imported.
        workers: how many seeds are trained at once, each in a process of its own with its share of the threads.
        progress: reports how far the work is.

    Returns:
        Accuracies of each seed after the last epoch; they are also written to the run's directory.

    Raises:
        NasPruneError: something in the settings cannot be used (nothing has been written then), or no seed could be
            trained to its end.
    """
    check_trusted(widths.space.name, space, "the widths file")
    check_out(out)
    config = config.checked()
    with joined(pick_device(config.device)) as ranks:
        progress = progress if ranks.is_first else SILENT
        job = _prepare(config, widths, ranks, progress, space=space, workers=workers)
        run = _new_run(job, out)
        progress.say(where_images_are(job.data))
        progress.say(
            f"Writing to {run}. If it is stopped: {resume_command('train', run, widths.space.name, ranks)}"
        )
        return _finish(run, job, workers, progress)


def resume_train(
    run: Path,
    *,
    data_name: str | None = None,
    space: str | None = None,
    workers: int = 1,
    progress: Progress = SILENT,
) -> TrainResult:
    """Resume a training; the result is as if it had never been stopped.

    Args:
        run: its directory.
        data_name: where the images are now, if they or the run were moved.
        space: the network's name again, if it is one of your own.
        workers: how many seeds are trained at once.
        progress: reports how far the work is.

    Raises:
        BadInputError: the directory is not that of a training, or its checkpoints are damaged.
    """
    config = reopen(run, TrainConfig, trusted=space, data_name=data_name, progress=progress)
    with joined(pick_device(config.device)) as ranks:
        progress = progress if ranks.is_first else SILENT
        job = _prepare(config, read_widths(run / WIDTHS), ranks, progress, space=space, workers=workers)
        return _finish(run, job, workers, progress)


@dataclass(frozen=True, slots=True)
class _Job:
    """A training that has been checked: everything loaded, nothing written yet."""

    config: TrainConfig
    widths: Widths
    space: SearchSpace
    data: ImageData
    recipe: Recipe
    compute: Compute
    typed: str | None
    start: Callable[[], nn.Module] | None
    teacher: Teacher | None

    @property
    def settings(self) -> dict[str, Any]:
        """What else decides the result."""
        return {
            "schedule": self.config.schedule,
            "inherits": self.start is not None,
            "has_teacher": self.teacher is not None,
        }

    def network(self, seed: int) -> nn.Module:
        """The network before its first step."""
        if self.start is not None:
            return self.start().to(self.compute.device)
        return self.space.build(self.widths, seed=seed, device=self.compute.device)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is already loaded.

    Attributes:
        data: the images.
        network: the space that the widths are of.
        begin: makes the network before its first step; random weights, or those of the search that the settings
            name, if None.
    """

    data: ImageData | None = None
    network: SearchSpace | None = None
    begin: Callable[[], nn.Module] | None = None


def _prepare(
    config: TrainConfig,
    widths: Widths,
    ranks: Ranks,
    progress: Progress,
    *,
    space: str | None,
    workers: int = 1,
    given: "Inputs | None" = None,
) -> _Job:
    given = given or Inputs()
    network = given.network
    if network is None:
        with progress.waiting("tracing the network"):
            network = load_referenced(widths.space, space)
    network.check_trainable()
    images = given.data or load_images(
        config.data, config.data_seed, progress, in_channels=widths.space.input_shape[0]
    )
    check_fit(images, widths)
    own = checked_images(config, images)
    widths = network.priced(widths)
    plan = plan_training(widths, config.recipe, config.schedule, cap=config.cap)
    ranks.check(plan.recipe.batch_size, len(images.train))
    trial = network.build(widths, seed=0)
    compute = config.compute(pick_device(config.device), ranks, trial, widths.space.image)
    threads = pick_threads(config.threads, widths.cost.macs, config.recipe.batch_size)
    resolved = {
        "multiplier": plan.multiplier,
        "epochs": plan.recipe.epochs,
        "device": compute.device.type,
        "precision": compute.precision,
        "channels_last": compute.channels_last,
        "threads": config.threads or max(1, threads // min(workers, len(config.seeds))),
        "versions": library_versions(),
        "images": own,
    }
    return _Job(
        config.model_copy(update=resolved),
        widths,
        network,
        images if workers > 1 else images.to(compute.device),
        plan.recipe,
        compute,
        space,
        given.begin or _start(config, widths, space),
        _teacher(config, widths, compute, space),
    )


def _start(config: TrainConfig, widths: Widths, space: str | None) -> Callable[[], nn.Module] | None:
    if not SCHEDULES[config.schedule].inherits:
        return None
    if config.inherits_from is None:
        raise BadInputError(
            f"--schedule {config.schedule} must come with --from RUN, the search to inherit from."
        )
    return inherited(Path(config.inherits_from), widths, space=space)


def _teacher(config: TrainConfig, widths: Widths, compute: Compute, space: str | None) -> Teacher | None:
    if config.teacher is None:
        return None
    return load_teacher(Path(config.teacher), widths.space, compute, space=space)


def check_fit(data: ImageData, widths: Widths) -> None:
    """Refuse images that networks of some widths cannot be trained on.

    Raises:
        BadInputError: they are of another shape, or have another number of classes.
    """
    reference = widths.space
    shape = (data.in_channels, data.image_size, data.image_size)
    if shape != reference.input_shape:
        raise BadInputError(
            f"images must be of the shape the widths are for, {_times(reference.image)}, got {_times(shape)}. "
            "Search at this size first."
        )
    if data.num_classes != reference.num_classes:
        raise BadInputError(
            f"--data must have the {reference.num_classes} classes of the widths, got {data.num_classes}. "
            "Search on this data set first."
        )


def _times(shape: tuple[int, int, int]) -> str:
    return "×".join(map(str, shape))


def _new_run(job: _Job, out: Path | None) -> Path:
    """Make the run's directory and write what it starts from, if this process is the one that writes."""
    config, ranks = job.config, job.compute.ranks
    run = None
    if ranks.is_first:
        run = make_run(out, job.widths.space.name, config.schedule, config.data.name)
        with begun_whole(run):
            job.widths.write(run / WIDTHS)
            write_config(run, config.relative_to(run))
    return Path(ranks.broadcast(str(run)))


def _finish(run: Path, job: _Job, workers: int, progress: Progress) -> TrainResult:
    """Train what is left of every seed, write the results."""
    seeds = job.config.seeds
    if workers > 1 and job.compute.ranks.world > 1:
        raise BadInputError(f"--workers must be 1 under torchrun, got {workers}.")
    command = resume_command("train", run, job.widths.space.name, job.compute.ranks)
    with alone_in(run, is_needed=job.compute.ranks.is_first), resume_hint(command):
        outcomes = _in_workers(run, job, workers, progress) if workers > 1 else _in_turn(run, job, progress)
    done = tuple(one.result for one in outcomes if one.result is not None)
    failed = tuple((seed, one.error) for seed, one in zip(seeds, outcomes, strict=True) if one.error)
    result = TrainResult(run, job.config, job.widths, done, failed)
    if not done:
        raise BadInputError(f"no seed was trained to its end: {failed[0][1]}")
    if job.compute.ranks.is_first and not failed:
        write_whole(run / RESULT, json.dumps(summary(result), indent=1) + "\n")
    return result


def _in_turn(run: Path, job: _Job, progress: Progress) -> list[Outcome[Trained]]:
    return [Outcome(_one_seed(seed, progress, run=run, job=job), None) for seed in job.config.seeds]


def _in_workers(run: Path, job: _Job, workers: int, progress: Progress) -> list[Outcome[Trained]]:
    with passing_folder(run) as folder:
        prepare = partial(_worker, run, job.config, job.widths, job.typed, share(job.data, folder))
        return in_workers(prepare, job.config.seeds, workers, progress)


def _worker(
    run: Path, config: TrainConfig, widths: Widths, space: str | None, shared: SharedImages
) -> Callable[[int, Progress], Trained]:
    """What one worker process does for a seed."""
    job = _prepare(config, widths, ALONE, SILENT, space=space, given=Inputs(shared.attach()))
    return partial(_one_seed, run=run, job=job)


def train_one(
    config: TrainConfig,
    widths: Widths,
    folder: Path,
    inputs: Inputs,
    *,
    progress: Progress = SILENT,
    observer: Observer | None = None,
) -> Trained:
    """Train one network with everything loaded already, as one of many; a stopped training is resumed.

    Args:
        config: every setting, with one seed.
        widths: the artefact.
        folder: where its training is kept, in a directory of its own.
        inputs: what is loaded.
        progress: reports how far the work is.
        observer: looks at the network after every epoch, and may end the training.

    Raises:
        NasPruneError: it did not finish.
    """
    job = _prepare(config, widths, ALONE, SILENT, space=None, given=inputs)
    return _one_seed(config.seeds[0], progress, run=folder, job=job, observer=observer)


def train_member(
    config: TrainConfig,
    widths: Widths,
    folder: Path,
    inputs: Inputs,
    *,
    result: Path,
    progress: Progress = SILENT,
    keeps_checkpoint: bool = False,
) -> Trained:
    """Train one network of a population, write its result, and then remove its checkpoints.

    Args:
        config: every setting, with one seed.
        widths: the artefact.
        folder: where its training is kept, in a directory of its own; it is made.
        inputs: what is loaded.
        result: the file of the result; until it exists, the training can be resumed.
        progress: reports how far the work is.
        keeps_checkpoint: whether the trained network is kept.

    Raises:
        NasPruneError: it did not finish.
    """
    with saying_why(folder):
        folder.mkdir(parents=True, exist_ok=True)
    trained = train_one(config, widths, folder, inputs, progress=progress)
    write_trained(result, trained)
    if not keeps_checkpoint:
        drop_checkpoints(folder / f"seed-{trained.seed}")
    return trained


def drop_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of trainings whose results are written, in a directory and below."""
    for checkpoint in folder.rglob("checkpoint*.safetensors"):
        checkpoint.unlink()


def _one_seed(
    seed: int, progress: Progress, *, run: Path, job: _Job, observer: Observer | None = None
) -> Trained:
    folder = run / f"seed-{seed}"
    with saying_why(folder):
        folder.mkdir(exist_ok=True)
    seeds, recipe = job.config.seeds, job.recipe
    title = f"{job.config.schedule}, seed {seeds.index(seed) + 1} of {len(seeds)}"
    state = start(job.network(seed), recipe)
    training = Training(
        job.data,
        recipe,
        seed,
        job.compute,
        teacher=job.teacher,
        title=title,
        observer=observer,
        settings=job.settings,
    )
    assert job.config.threads is not None
    with limited_threads(job.config.threads):
        seconds = train_in(folder, state, training, progress)
        _, val_accuracy = evaluate(state.trained, job.data.val, job.data, job.compute)
        _, test_accuracy = evaluate(state.trained, job.data.test, job.data, job.compute)
    cost = job.widths.cost
    return Trained(seed, val_accuracy, test_accuracy, state.epochs_done, cost.macs, cost.params, seconds)
