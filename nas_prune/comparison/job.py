"""Training the arms of a comparison, in this process or in several."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

from torch import nn

from nas_prune.comparison.arms import Arm, path_of
from nas_prune.comparison.config import CompareConfig
from nas_prune.comparison.costs import behind_one
from nas_prune.comparison.equal_training import epochs_left
from nas_prune.comparison.own_each import cut_by_peer, found_by_study
from nas_prune.comparison.parents import beginnings, finish_search, whole_before, with_weights
from nas_prune.comparison.result import CompareResult, note_of_failure, read_comparison
from nas_prune.comparison.summary import write_comparison
from nas_prune.data import ImageData, SharedImages, share
from nas_prune.errors import BadInputError, FileError, NasPruneError
from nas_prune.runs.directory import RESULT
from nas_prune.runs.files import passing_folder, saying_why, write_whole
from nas_prune.runs.progress import Progress
from nas_prune.runs.stopping import resume_hint
from nas_prune.runs.workers import in_workers
from nas_prune.space.load import load_referenced
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.widths import SpaceReference, Widths, read_widths
from nas_prune.training.config import TrainConfig, resume_command
from nas_prune.training.job import Inputs
from nas_prune.training.ranks import ALONE
from nas_prune.training.result import Trained, read_trained
from nas_prune.training.run import train_member
from nas_prune.training.schedules import training_macs

Task: TypeAlias = "tuple[str, int]"  # arm, or what several arms need together; and seed
_INHERITED = "inherited"  # all arms that need one whole network
_STUDY = "study"  # all arms that train the winner of one study


def command_for(run: Path, widths: Widths, command: str = "compare") -> str:
    """The command that resumes a comparison."""
    return resume_command(command, run, widths.space.name, ALONE)


@dataclass(frozen=True, slots=True)
class Job:
    """A comparison with everything loaded."""

    run: Path
    config: CompareConfig
    widths: Widths
    space: SearchSpace
    data: ImageData

    def folder(self, arm: str) -> Path:
        """Where an arm's trainings are."""
        return self.run / "arms" / arm

    def done(self, arm: str, seed: int) -> Trained | None:
        """What one training gave; None if it is not done."""
        return read_trained(self.folder(arm) / f"seed-{seed}" / RESULT)

    def parent(self, seed: int) -> Path:
        """Where a seed's whole network is trained."""
        return self.run / "parents" / f"seed-{seed}"

    def tasks(self) -> list[Task]:
        """What is left to train, seed by seed: after half of the time, half of every arm is trained."""
        found: dict[Task, None] = {}
        for number in range(self.config.seeds):
            left = [
                (arm, seeds[number])
                for arm in self.config.chosen
                for seeds in self.config.seeds_of(arm)
                if self.done(arm.name, seeds[number]) is None
            ]
            found |= {(_INHERITED, seed): None for arm, seed in left if arm.inherits}
            found |= {
                (_STUDY if arm.kind == "study" else arm.name, seed): None
                for arm, seed in left
                if not arm.inherits
            }
        return list(found)

    def work(self, task: Task, progress: Progress) -> None:
        """Train one arm with one seed, or a whole network and all arms that inherit from it; note why it failed."""
        note_of_failure(self.run, *task).unlink(missing_ok=True)
        try:
            self._work(task, progress)
        except NasPruneError as error:
            self.note(task, str(error))
            raise

    def note(self, task: Task, why: str) -> None:
        """Note why a training did not finish."""
        path = note_of_failure(self.run, *task)
        content = {"training": _name_of(task), "why": why}
        with suppress(FileError):  # a full disk is often the reason
            with saying_why(path.parent):
                path.parent.mkdir(exist_ok=True)
            write_whole(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    def _work(self, task: Task, progress: Progress) -> None:
        name, seed = task
        before = partial(whole_before, self.run, self.config.source, self.space, seed)
        if name == _STUDY:
            found_by_study(self, seed, progress.under(f"study, seed {seed}"))
            for arm in self.config.chosen:
                if arm.kind == "study" and self.done(arm.name, seed) is None:
                    self.train(arm, seed, progress)
            return
        if name != _INHERITED:
            arm, begin = self.config.known[name], None
            if arm.start == "cut":
                begin = cut_by_peer(self, seed, before, progress.under(f"whole network, seed {seed}"))
            self.train(arm, seed, progress, begin=before if arm.start == "given" else begin)
            return
        assert self.config.source is not None
        folder = self.parent(seed)
        settings = with_weights(self.config.source, self.run).model_copy(
            update={"seed": seed, "data": self.config.data, "threads": self.config.threads}
        )
        finish_search(folder, settings, self.data, self.space, progress.under(f"whole network, seed {seed}"))
        widths = read_widths(path_of(self.run, "found", seed))
        starts = beginnings(folder, widths, self.data, self.space, before())
        for arm in self.config.chosen:
            if arm.inherits and self.done(arm.name, seed) is None:
                self.train(arm, seed, progress, begin=starts[arm.start])

    def epochs_of(self, arm: Arm, seed: int, widths: Widths) -> int:
        """The epochs of an arm's recipe: the comparison's, or those that equal training leaves.

        Raises:
            BadInputError: it leaves none, or it is not known what the arm took before.
        """
        config = self.config
        if config.equal_training is None:
            return config.recipe.epochs
        whole = training_macs(self.widths.base_cost.macs, config.num_train, config.recipe.epochs)
        behind = behind_one(arm, seed, self.run, config, self.widths)
        return epochs_left(config.equal_training * whole, behind, widths.cost.macs, config.num_train)

    def train(
        self, arm: Arm, seed: int, progress: Progress, begin: Callable[[], nn.Module] | None = None
    ) -> None:
        """Train one network."""
        folder, config = self.folder(arm.name), self.config
        widths = read_widths(path_of(self.run, arm.kind, seed))
        settings = TrainConfig(
            **config.of_trainings(),
            recipe=config.recipe.with_epochs(self.epochs_of(arm, seed, widths)),
            schedule=arm.schedule,
            cap=config.cap,
            seeds=(seed,),
            data_seed=config.data_seed,
        )
        train_member(
            settings,
            widths,
            folder,
            Inputs(self.data, self.space, begin),
            result=folder / f"seed-{seed}" / RESULT,
            progress=progress.under(f"{arm.name}, seed {seed}").without_words(),
        )


def _prepared(
    run: Path, config: CompareConfig, widths: Widths, reference: SpaceReference, shared: SharedImages
) -> "Callable[[Task, Progress], None]":
    """What one worker process does for a task."""
    space = load_referenced(reference).limited(widths.limits)
    job = Job(run, config, widths, space, shared.attach())
    return job.work


def _name_of(task: Task) -> str:
    name, seed = task
    together = {_INHERITED: "arms that inherit", _STUDY: "arms of a study"}
    return f"{together.get(name, name)}, seed {seed}"


def finish(job: Job, workers: int, progress: Progress) -> CompareResult:
    """Train what is left; write the table."""
    tasks = job.tasks()
    failed: dict[Task, str] = {}
    with resume_hint(command_for(job.run, job.widths, job.config.command)):
        if workers > 1 and len(tasks) > 1:
            with passing_folder(job.run) as folder:
                prepare = partial(
                    _prepared, job.run, job.config, job.widths, job.space.reference, share(job.data, folder)
                )
                outcomes = in_workers(prepare, tasks, workers, progress)
            failed = {task: one.error for task, one in zip(tasks, outcomes, strict=True) if one.error}
            for task, why in failed.items():
                job.note(task, why)  # also of a task whose process died
        else:
            for count, task in enumerate(tasks):
                progress.update("trainings", count, len(tasks))
                try:
                    job.work(task, progress)
                except FileError:  # no other training could write either
                    raise
                except NasPruneError as error:
                    failed[task] = str(error)
                progress.update("trainings", count + 1, len(tasks))
    reasons = tuple((_name_of(task), why) for task, why in failed.items())
    result = replace(read_comparison(job.run), failed=reasons, config=job.config)
    if not any(result.arms.values()):
        raise BadInputError(f"at least one training must come to its end, got: {reasons[0][1]}")
    write_comparison(result)
    return result
