"""Training found widths, over several seeds, and reading the test part once at the end."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from nas_prune.data import SharedImages, share
from nas_prune.data.preprocessing import preprocessing_of
from nas_prune.errors import BadInputError
from nas_prune.runs.directory import RESULT, WIDTHS, begun_whole, check_out, make_run
from nas_prune.runs.files import alone_in, passing_folder, saying_why, write_whole
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.runs.reopen import reopen
from nas_prune.runs.settings import write_config
from nas_prune.runs.stopping import resume_hint
from nas_prune.runs.workers import Outcome, in_workers
from nas_prune.space.names import check_trusted
from nas_prune.space.widths import Widths, read_widths
from nas_prune.training.compute import pick_device
from nas_prune.training.config import TrainConfig, resume_command
from nas_prune.training.given_weights import write_start
from nas_prune.training.held_out import write_held_out
from nas_prune.training.job import Inputs, TrainJob, prepared
from nas_prune.training.loop import Observer
from nas_prune.training.masks import write_given
from nas_prune.training.model_file import MODEL, write_model
from nas_prune.training.notes import before_training
from nas_prune.training.ranks import ALONE, joined
from nas_prune.training.result import Trained, TrainResult, summary, write_trained
from nas_prune.training.resumable import drop_checkpoints
from nas_prune.training.seed import train_kept_seed, train_seed


def train(
    config: TrainConfig,
    widths: Widths,
    out: Path | None = None,
    *,
    space: str | None = None,
    workers: int = 1,
    inputs: Inputs | None = None,
    progress: Progress = SILENT,
) -> TrainResult:
    """Train networks of the given widths.

    Args:
        config: every setting; `multiplier` and `epochs` are worked out here.
        widths: the artefact; nothing but its widths is used.
        out: the run's directory, new or empty; the next free `runs/SPACE-SCHEDULE-DATA-NNN` if None.
        space: the network's name again, if it is one of your own: no code that only a file names is imported.
        workers: how many seeds are trained at once, each in a process of its own with its share of the threads.
        inputs: what is loaded already, and masks or weights that no file of a person's has; the run keeps them.
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
        job = prepared(config, widths, ranks, progress, space=space, workers=workers, given=inputs)
        run = _new_run(job, out)
        if job.given is not None:
            progress.say(job.given.words)
        progress.say(before_training(job.data, job.recipe))
        again = resume_command("train", run, widths.space.name, ranks, config.data)
        progress.say(f"Writing to {run}. If it is stopped: {again}")
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
        job = prepared(
            config,
            read_widths(run / WIDTHS),
            ranks,
            progress,
            space=space,
            workers=workers,
            given=Inputs(begun=run),
        )
        return _finish(run, job, workers, progress)


def _new_run(job: TrainJob, out: Path | None) -> Path:
    """Make the run's directory and write what it starts from, if this process is the one that writes."""
    config, ranks = job.config, job.compute.ranks
    run = None
    if ranks.is_first:
        run = make_run(out, job.widths.space.name, config.schedule, config.data.name)
        with begun_whole(run):
            job.widths.write(run / WIDTHS)
            if job.given is not None:
                write_start(run, job.given)
            if job.masks is not None:
                write_given(run, job.masks)
            if job.data.held_out:
                write_held_out(run, job.data)
            write_config(run, config.relative_to(run))
    return Path(ranks.broadcast(str(run)))


def _finish(run: Path, job: TrainJob, workers: int, progress: Progress) -> TrainResult:
    """Train what is left of every seed, write the results; no other process writes to the run meanwhile."""
    ranks = job.compute.ranks
    if workers > 1 and ranks.world > 1:
        raise BadInputError(f"--workers must be 1 under torchrun, got {workers}.")
    command = resume_command("train", run, job.widths.space.name, ranks, job.config.data)
    with alone_in(run, is_needed=ranks.is_first), resume_hint(command):
        outcomes = _in_workers(run, job, workers, progress) if workers > 1 else _in_turn(run, job, progress)
        return _concluded(run, job, outcomes, progress)


def _concluded(
    run: Path, job: TrainJob, outcomes: Sequence[Outcome[Trained]], progress: Progress
) -> TrainResult:
    """The result of all seeds; where each was trained to its end the first process writes it, and `model.py`."""
    done = tuple(one.result for one in outcomes if one.result is not None)
    failed = tuple(
        (seed, one.error) for seed, one in zip(job.config.seeds, outcomes, strict=True) if one.error
    )
    result = TrainResult(run, job.config, job.widths, done, failed, job.space, preprocessing_of(job.data))
    if not done:
        raise BadInputError(f"no seed was trained to its end: {failed[0][1]}")
    if job.compute.ranks.is_first and not failed:
        with progress.waiting("writing model.py"):
            why = write_model(run, job.space, job.widths, result.preprocessing, job.typed)
        if why is not None:
            progress.say(
                f"{MODEL} cannot be written ({why}): nas_prune.load_network({str(run)!r}) gives the network."
            )
        write_whole(run / RESULT, json.dumps(summary(result), indent=1) + "\n")
    return result


def _in_turn(run: Path, job: TrainJob, progress: Progress) -> list[Outcome[Trained]]:
    return [Outcome(train_kept_seed(seed, progress, run=run, job=job), None) for seed in job.config.seeds]


def _in_workers(run: Path, job: TrainJob, workers: int, progress: Progress) -> list[Outcome[Trained]]:
    with passing_folder(run) as folder:
        prepare = partial(_worker, run, job.config, job.widths, job.typed, share(job.data, folder))
        return in_workers(prepare, job.config.seeds, workers, progress)


def _worker(
    run: Path, config: TrainConfig, widths: Widths, space: str | None, shared: SharedImages
) -> Callable[[int, Progress], Trained]:
    """What one worker process does for a seed."""
    job = prepared(config, widths, ALONE, SILENT, space=space, given=Inputs(shared.attach(), begun=run))
    return partial(train_kept_seed, run=run, job=job)


def train_one(
    config: TrainConfig,
    widths: Widths,
    folder: Path,
    inputs: Inputs,
    *,
    progress: Progress = SILENT,
    observer: Observer | None = None,
    keeps_network: bool = False,
) -> Trained:
    """Train one network with everything loaded already, as one of many; a stopped training is resumed.

    Args:
        config: every setting, with one seed.
        widths: the artefact.
        folder: where its training is kept, in a directory of its own.
        inputs: what is loaded.
        progress: reports how far the work is.
        observer: looks at the network after every epoch, and may end the training.
        keeps_network: whether the trained network is written beside its checkpoints.

    Raises:
        NasPruneError: it did not finish.
    """
    job = prepared(config, widths, ALONE, SILENT, space=None, given=inputs)
    return train_seed(
        config.seeds[0], progress, run=folder, job=job, observer=observer, keeps_network=keeps_network
    )


def train_member(
    config: TrainConfig,
    widths: Widths,
    folder: Path,
    inputs: Inputs,
    *,
    result: Path,
    progress: Progress = SILENT,
    keeps_network: bool = False,
) -> Trained:
    """Train one network of a population, write its result, and then remove its checkpoints.

    Args:
        config: every setting, with one seed.
        widths: the artefact.
        folder: where its training is kept, in a directory of its own; it is made.
        inputs: what is loaded.
        result: the file of the result; until it exists, the training can be resumed.
        progress: reports how far the work is.
        keeps_network: whether the trained network is kept.

    Raises:
        NasPruneError: it did not finish.
    """
    with saying_why(folder):
        folder.mkdir(parents=True, exist_ok=True)
    trained = train_one(config, widths, folder, inputs, progress=progress, keeps_network=keeps_network)
    write_trained(result, trained)
    drop_checkpoints(folder / f"seed-{trained.seed}")
    return trained
