"""One training in a directory: its checkpoints, its metrics, and resuming it after any stop."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from torch import nn

from nas_prune.data.identity import identity_of_labels
from nas_prune.errors import BadInputError, DamagedError
from nas_prune.runs.directory import CHECKPOINT, METRICS, NETWORK, append_metrics, keep_metrics, read_metrics
from nas_prune.runs.files import alone_in, saying_why, sync
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.runs.stopping import Stop, stoppable
from nas_prune.training.checkpoint import read_checkpoint, write_checkpoint
from nas_prune.training.event_log import Events, events_in
from nas_prune.training.loop import EpochReport, Training, fit
from nas_prune.training.network_file import read_network, set_weights
from nas_prune.training.recipe import Recipe
from nas_prune.training.state import TrainState, has_stalled

PREVIOUS = "checkpoint.previous.safetensors"
_SHARE = 0.05  # of the time that checkpoints may take
_WITHIN_EPOCH = 60.0  # seconds after which a checkpoint does not wait for the end of the epoch


def train_in(
    folder: Path,
    state: TrainState,
    training: Training,
    progress: Progress = SILENT,
    *,
    is_held: bool = False,
) -> float:
    """Train what is left, so that at any moment all but the last minute is on the disk.

    Args:
        folder: where checkpoints and metrics are kept; a training that is there is resumed.
        state: the network, fresh; it is changed in place.
        training: what is trained.
        progress: reports how far the work is.
        is_held: this process holds the directory already (`alone_in`), for longer than the training.

    Returns:
        The seconds that this call took.

    Raises:
        NasPruneError: the training cannot continue; what is on the disk can be resumed.
        KeyboardInterrupt: it was stopped, after a checkpoint.
    """
    started = perf_counter()
    ranks = training.compute.ranks
    with alone_in(folder, is_needed=ranks.is_first and not is_held), stoppable() as stop:
        _go_on(folder, state, training, progress)
        log_to = training.log_to if ranks.is_first else None
        with events_in(log_to, state.epochs_done, read_metrics(folder) if log_to else ()) as events:
            keeper = _Keeper(folder, state, training, progress, stop, events)
            if not keeper.is_enough():
                fit(state, training, on_step=keeper.after_step, on_epoch=keeper.after_epoch)
        if stop.is_asked:
            raise KeyboardInterrupt(f"{training.title} stopped: {how_far(state, training.recipe)}")
    return perf_counter() - started


def _go_on(folder: Path, state: TrainState, training: Training, progress: Progress) -> None:
    """Set a state to the newest undamaged checkpoint, and cut the metrics back to it.

    The process that holds the directory chooses; the others read the same one.
    """
    ranks = training.compute.ranks
    if not ranks.is_first:
        if ranks.broadcast(""):
            read_checkpoint(folder / CHECKPOINT, state)
            state.sums = None  # those of the steps so far are added up over all processes: the first has them
        return
    used = _newest(folder, state, facts_of(training), progress)
    if used == PREVIOUS:
        with saying_why(folder / CHECKPOINT):
            (folder / PREVIOUS).replace(folder / CHECKPOINT)  # or the next write would replace it
    missing = state.epochs_done - keep_metrics(folder, state.epochs_done)
    ranks.broadcast(used or "")
    if used is not None:
        progress.say(f"{training.title}: {how_far(state, training.recipe)}")
    if missing:
        progress.say(f"{METRICS} has lost {missing} of these epochs; the training itself has not.")


def _newest(folder: Path, state: TrainState, facts: Mapping[str, Any], progress: Progress) -> str | None:
    there = [name for name in (CHECKPOINT, PREVIOUS) if (folder / name).exists()]
    problems = []
    for name in there:
        try:
            read_checkpoint(folder / name, state, facts)
        except DamagedError as error:
            problems.append(error.problem)
        else:
            if problems:
                progress.say(f"{problems[0]} Going on from {name}.")
            return name
    if problems:
        raise BadInputError(f"{' '.join(problems)} Start the run again.")
    return None


def facts_of(training: Training) -> dict[str, Any]:
    """What files of a training record about themselves: all that decides the result and edited files could change."""
    data, compute = training.data, training.compute
    return {
        "seed": training.seed,
        "recipe": training.recipe.model_dump(mode="json"),
        "images": identity_of_labels(data),
        "precision": compute.precision,
        "channels_last": compute.channels_last,
        "settings": dict(training.settings),
    }


def is_finished(folder: Path) -> bool:
    """Whether a directory holds the network of a finished training, and no checkpoint to look at instead."""
    return (folder / NETWORK).exists() and not any(
        (folder / name).exists() for name in (CHECKPOINT, PREVIOUS)
    )


def take_finished(folder: Path, state: TrainState, training: Training) -> int | None:
    """Set the network of a state to the one that its training left.

    Returns:
        The epoch that the network is of; None for the last.

    Raises:
        DamagedError: the file is damaged.
        BadInputError: it is of another network or another run.
    """
    file = read_network(folder / NETWORK, state.trained)
    record = file.of_same_run(facts_of(training))
    set_weights(state.trained, file)
    state.epochs_done = record.epochs_done
    return record.kept_epoch


def drop_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of trainings whose results are written: of a directory, and of the seeds in it."""
    for place in (folder, *folder.glob("seed-*")):
        for name in (CHECKPOINT, PREVIOUS):
            (place / name).unlink(missing_ok=True)


def how_far(state: TrainState, recipe: Recipe) -> str:
    """How far a training has got, for people."""
    steps = f"{state.steps_done:,} step{'s' * (state.steps_done != 1)}"
    within = f", and {steps} of the next" if state.steps_done else ""
    epochs = "1 epoch is" if recipe.epochs == 1 else f"{recipe.epochs} epochs are"
    return f"{state.epochs_done} of {epochs} done{within}"


@dataclass(slots=True)
class _Keeper:
    """Writes the checkpoints and metrics of a training."""

    folder: Path
    state: TrainState
    training: Training
    progress: Progress
    stop: Stop
    events: Events
    written: float = field(default_factory=perf_counter)
    cost: float = 0.0

    def after_step(self, done: int, total: int) -> None:
        self.progress.update(self.training.title, done, total)
        if self.training.compute.ranks.world > 1:
            return  # each process has its own sums and random state: only whole epochs are kept
        is_stopped = self.stop.is_asked
        if is_stopped or self._since() > max(_WITHIN_EPOCH, self.cost / _SHARE):
            self._write()
        if is_stopped:
            self._stop()

    def after_epoch(self, report: EpochReport) -> bool:
        ranks, observer = self.training.compute.ranks, self.training.observer
        is_stopped = ranks.any(self.stop.is_asked)
        if ranks.is_first:
            notes = {} if observer is None else observer.note(self.state.trained)
            append_metrics(self.folder, {**report.line(), **notes})
            self.events(report.line())  # before the checkpoint that covers the epoch
            self.progress.note(
                self.training.title,
                f"epoch {report.epoch} of {report.epochs}, loss {report.train_loss:.3g}, "
                f"val. {report.metric.name} {report.metric.shown(report.metric.score(report.val_score))}",
                report.epoch == report.epochs,
            )
        is_enough = self.is_enough() or has_stalled(self.state, self.training.recipe)
        is_due = (
            is_stopped or is_enough or report.epoch == report.epochs or self._since() * _SHARE > self.cost
        )
        if ranks.is_first and is_due:
            self._write()
        if is_stopped:  # a later request is seen after the next step: all processes must agree
            self._stop()
        return is_enough

    def is_enough(self) -> bool:
        """Whether the observer says that no more epochs are needed."""
        ranks, observer = self.training.compute.ranks, self.training.observer
        if observer is None:
            return False
        return ranks.any(ranks.is_first and observer.is_enough(read_metrics(self.folder)))

    def _since(self) -> float:
        return perf_counter() - self.written

    def _write(self) -> None:
        if not _is_finite(self.state.model):
            return  # the check of the losses, some steps late on a GPU, will report it; the last good state stays
        started = perf_counter()
        sync(self.folder / METRICS)
        write_checkpoint(
            self.folder / CHECKPOINT, self.state, facts_of(self.training), previous=self.folder / PREVIOUS
        )
        self.written = perf_counter()
        self.cost = self.written - started

    def _stop(self) -> None:
        done = how_far(self.state, self.training.recipe)
        raise KeyboardInterrupt(f"{self.training.title} stopped: {done}")


def _is_finite(model: nn.Module) -> bool:
    return all(bool(parameter.isfinite().all()) for parameter in model.parameters())
