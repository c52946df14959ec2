"""One training of a job: with one seed, from its first step to its network's file."""

from dataclasses import replace
from pathlib import Path

from nas_prune.data.balance import is_uneven
from nas_prune.data.guessing import guess_share
from nas_prune.data.preprocessing import preprocessing_of
from nas_prune.errors import DamagedError
from nas_prune.runs.directory import NETWORK, RESULT
from nas_prune.runs.files import saying_why
from nas_prune.runs.progress import Progress
from nas_prune.training.compute import limited_threads
from nas_prune.training.evaluation import balanced_accuracy, evaluate
from nas_prune.training.event_log import events_folder
from nas_prune.training.job import TrainJob
from nas_prune.training.loop import Observer, Training
from nas_prune.training.network_file import NetworkRecord, read_network, write_network
from nas_prune.training.result import Trained, read_trained, write_trained
from nas_prune.training.resumable import drop_checkpoints, facts_of, is_finished, take_finished, train_in
from nas_prune.training.state import TrainState, start, take_best


def train_kept_seed(seed: int, progress: Progress, *, run: Path, job: TrainJob) -> Trained:
    """Train with one seed, and leave the network, its result, and checkpoints only where they are asked for."""
    trained = train_seed(seed, progress, run=run, job=job, keeps_network=True)
    if job.compute.ranks.is_first and not job.config.keep_checkpoints:
        drop_checkpoints(run / f"seed-{seed}")
    return trained


def train_seed(
    seed: int,
    progress: Progress,
    *,
    run: Path,
    job: TrainJob,
    observer: Observer | None = None,
    keeps_network: bool = False,
) -> Trained:
    """Train with one seed, or read what such a training has left.

    Args:
        seed: of the weights and the order of images.
        progress: reports how far the work is.
        run: where the training's own directory is.
        job: what is trained.
        observer: looks at the network after every epoch.
        keeps_network: whether the network and its result are written there at the end.
    """
    folder = run / f"seed-{seed}"
    with saying_why(folder):
        folder.mkdir(exist_ok=True)
    seeds, recipe = job.config.seeds, job.recipe
    which = f" ({seeds.index(seed) + 1} of {len(seeds)})" if len(seeds) > 1 else ""
    title = f"{job.config.schedule}, seed {seed}{which}"
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
        log_to=None if job.config.log is None else events_folder(run, seed),
    )
    assert job.config.threads is not None
    with limited_threads(job.config.threads):
        return _trained(folder, state, training, progress, job=job, keeps_network=keeps_network)


def _trained(
    folder: Path,
    state: TrainState,
    training: Training,
    progress: Progress,
    *,
    job: TrainJob,
    keeps_network: bool,
) -> Trained:
    """Train what is left and evaluate it; or take what is there, if it is finished."""
    ranks, seconds, kept_epoch = job.compute.ranks, 0.0, None
    is_there = ranks.any(ranks.is_first and keeps_network and is_finished(folder))
    if is_there:
        try:
            kept_epoch = take_finished(folder, state, training)
        except DamagedError as error:
            progress.say(f"{error.problem} {training.title} is trained again.")
            is_there = False
    if is_there:
        before = read_trained(folder / RESULT)
        if before is not None and before.seed == training.seed:
            return before
    else:
        seconds = train_in(folder, state, training, progress)
        kept_epoch = take_best(state)
    trained = _evaluated(state, training, job, kept_epoch, seconds)
    if keeps_network and ranks.is_first:
        record = NetworkRecord(
            widths=job.widths,
            preprocessing=preprocessing_of(job.data),
            facts=facts_of(training),
            epochs_done=state.epochs_done,
            kept_epoch=kept_epoch,
        )
        write_network(folder / NETWORK, state.trained, record)
        read_network(folder / NETWORK, state.trained)  # before any checkpoint goes
        # Without its seconds, so that a run that was stopped is the same to the bit.
        write_trained(folder / RESULT, replace(trained, seconds=0.0))
    return trained


def _evaluated(
    state: TrainState, training: Training, job: TrainJob, kept_epoch: int | None, seconds: float
) -> Trained:
    """What the network that is kept gives on the validation and the test part."""
    data, compute, cost = job.data, job.compute, job.widths.cost
    _, val_score = evaluate(state.trained, data.val, data, compute)
    _, test_score = evaluate(state.trained, data.test, data, compute)
    balanced: dict[str, float] = {}
    is_classification = data.task.is_classification
    if is_classification and is_uneven(data.train.labels, data.num_classes):
        for name in ("val", "test"):
            accuracy = balanced_accuracy(state.trained, getattr(data, name), data, compute)
            balanced[f"{name}_balanced_accuracy"] = accuracy
    return Trained(
        training.seed,
        val_score,
        test_score,
        state.epochs_done,
        cost.macs,
        cost.params,
        seconds,
        kept_epoch=kept_epoch,
        guess=guess_share(data.test.labels, data.num_classes) if is_classification else None,
        metric=data.task.metric,
        **balanced,
    )
