"""The trainings of a ranking: short and in full, each with its own directory, result and price."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from optuna.trial import FrozenTrial

from nas_prune.data import SharedImages, share
from nas_prune.errors import FileError, NasPruneError
from nas_prune.hardware.use import network_for
from nas_prune.runs.directory import RESULT, WIDTHS
from nas_prune.runs.files import passing_folder, saying_why
from nas_prune.runs.progress import Progress
from nas_prune.runs.workers import in_workers
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.widths import Widths, read_widths
from nas_prune.study import trial_record as record
from nas_prune.study.config import MOST_TRIALS, StudyConfig
from nas_prune.study.context import StudyContext
from nas_prune.study.engine import Engine
from nas_prune.study.trainer import Again, Asked, Length, Trainer
from nas_prune.training.result import Trained, read_trained
from nas_prune.training.schedules import Schedule

Task: TypeAlias = "tuple[str, Length, int]"  # candidate, length, seed
# Of a study with seed 0: none that a trial was trained with, unless there are very many, nor the other length.
_FIRST_SEED: dict[Length, int] = {"short": 1000, "full": 2000}
_APART, _MOST = (
    10_000,
    2**30,
)  # races of studies with other seeds have other ones, or their luck would be shared


def first_seeds(
    trials: Iterable[FrozenTrial], config: StudyConfig, wanted: Mapping[Length, int]
) -> dict[Length, int]:
    """The first seed of a ranking's trainings of each length, which neither a trial nor another study has.

    Args:
        trials: of the study.
        config: its settings.
        wanted: how many seeds there are at most, by length.
    """
    begun = [one.user_attrs[record.SEED] for one in trials if record.SEED in one.user_attrs]
    taken = {int(first) + number for first in begun for number in range(config.seeds)}
    beyond = config.seed + config.seeds * MOST_TRIALS  # what no trial can reach
    own = {length: _APART * config.seed % _MOST + first for length, first in _FIRST_SEED.items()}
    return {
        length: first if taken.isdisjoint(range(first, first + wanted[length])) else beyond + first
        for length, first in own.items()
    }


@dataclass(frozen=True, slots=True)
class Trainings:
    """What the trainings of one Optuna study's ranking need.

    Attributes:
        context: what every training needs.
        folder: where they are kept.
        schedule: of the full ones.
        workers: how many are trained at once.
        progress: reports how far the work is.
    """

    context: StudyContext
    folder: Path
    schedule: Schedule
    workers: int
    progress: Progress

    def train(self, tasks: Sequence[Task], title: str) -> list[tuple[str, str]]:
        """Train what has no result yet; returns what failed, and why."""
        waiting = [task for task in tasks if self.result(task) is None]
        if self.workers > 1 and len(waiting) > 1:
            with passing_folder(self.folder) as passing:
                shared = share(self.context.data, passing)
                prepare = partial(_prepared, self.folder, self.context.config, self.schedule, shared)
                outcomes = in_workers(prepare, waiting, self.workers, self.progress)
            return [
                (" ".join(map(str, task)), one.error)
                for task, one in zip(waiting, outcomes, strict=True)
                if one.error
            ]
        failed = []
        for number, task in enumerate(waiting):
            self.progress.update(title, number, len(waiting))
            try:
                train_task(
                    task,
                    folder=self.folder,
                    config=self.context.config,
                    schedule=self.schedule,
                    progress=self.progress,
                    space=self.context.space,
                    trainer=self.context.trainer,
                )
            except FileError:  # no other training could write either
                raise
            except NasPruneError as error:
                failed.append((" ".join(map(str, task)), str(error)))
            self.progress.update(title, number + 1, len(waiting))
        return failed

    def keep_widths(self, name: str, widths: Widths) -> None:
        """Write a candidate's widths, where its trainings find them.

        The rule's answer may be another one after more trials: what was trained of the one before is kept beside.
        """
        own = self.folder / _stem(name)
        with saying_why(own):
            if (own / WIDTHS).exists() and read_widths(own / WIDTHS).vector != widths.vector:
                beside = (own.with_name(f"{own.name}.{number}") for number in count(1))
                own.rename(next(place for place in beside if not place.exists()))
            own.mkdir(parents=True, exist_ok=True)
        if not (own / WIDTHS).exists():
            widths.write(own / WIDTHS)

    def widths(self, name: str) -> Widths:
        """A candidate's widths."""
        return read_widths(self.folder / _stem(name) / WIDTHS)

    def result(self, task: Task) -> Again | None:
        """What a training gave; None if it has not finished."""
        return self.context.trainer.found(_place(self.folder, task, self.schedule))

    def macs(self, widths: Widths, length: Length) -> int:
        """Multiply-accumulates of one training of some widths."""
        return _macs_of(self.context, widths, length if length == "short" else self.schedule)

    def whole_macs(self, widths: Widths) -> int:
        """Multiply-accumulates of one training of the whole network in full, which these are the widths of."""
        return self.context.trainer.macs(widths.base_cost.macs, self.context.config.full_epochs)


def _macs_of(context: StudyContext, widths: Widths, length: Literal["short"] | Schedule) -> int:
    trainer = context.trainer
    return trainer.macs(widths.cost.macs, trainer.epochs(context.config, widths, length))


def trained_macs(context: StudyContext, folder: Path) -> int:
    """Training MACs of everything that was trained to its end in the folder of a ranking."""
    found = 0
    for widths_file in sorted(folder.glob(f"*/{WIDTHS}")):
        widths = read_widths(widths_file)
        lengths: list[Literal["short"] | Schedule] = ["short", *get_args(Schedule)]
        for length in lengths:
            for done in widths_file.parent.glob(f"{length}/*/{RESULT}"):
                found += _macs_done(context, widths, length, done)
    return found


def _macs_done(context: StudyContext, widths: Widths, length: Literal["short"] | Schedule, done: Path) -> int:
    """Of one training that has ended, which patience may have ended early; files of earlier versions do not tell."""
    trained = context.trainer.found(done.parent)
    if trained is None or not trained.epochs:
        return _macs_of(context, widths, length)
    return context.trainer.macs(widths.cost.macs, trained.epochs)


def _prepared(
    folder: Path, config: StudyConfig, schedule: Schedule, shared: SharedImages
) -> Callable[[Task, Progress], None]:
    """What one worker process does for a training."""
    data = shared.attach()
    space, trainer = network_for(config, data), Engine(data)

    def work(task: Task, progress: Progress) -> None:
        train_task(
            task,
            folder=folder,
            config=config,
            schedule=schedule,
            progress=progress,
            space=space,
            trainer=trainer,
        )

    return work


def train_task(
    task: Task,
    *,
    folder: Path,
    config: StudyConfig,
    schedule: Schedule,
    progress: Progress,
    space: SearchSpace,
    trainer: Trainer,
) -> None:
    """One training of one candidate; its result is written."""
    name, length, seed = task
    widths = read_widths(folder / _stem(name) / WIDTHS)
    own = progress.under(f"{name}, {length}, seed {seed}")
    asked = Asked(config, space, widths, seed, _place(folder, task, schedule), own)
    trainer.again(asked, length if length == "short" else schedule)


def _stem(name: str) -> str:
    return name.replace(" ", "-")


def _place(folder: Path, task: Task, schedule: Schedule) -> Path:
    name, length, seed = task
    return folder / _stem(name) / (length if length == "short" else schedule) / str(seed)


def read_result(folder: Path, task: Task, schedule: Schedule) -> Trained | None:
    """What a training gave; None if it has not finished."""
    # Files of earlier versions hold the accuracies alone; no more is used here.
    return read_trained(_place(folder, task, schedule) / RESULT, epochs=0, macs=0, params=0)
