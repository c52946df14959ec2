"""The best trials trained again with other seeds, and in full; the winner's widths.

The best of many trials is best partly by luck: its own value is not counted again. Short trainings with new seeds
decide the order. All candidates are then trained in full, which tells whether short training orders networks as full
training does, and what the winner gains over the guideline's centre, for which no search was needed.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

from nas_prune.data import ImageData, SharedImages, share
from nas_prune.errors import BadInputError, NasPruneError
from nas_prune.runs.directory import RESULT, WIDTHS, published
from nas_prune.runs.files import passing_folder, remove_partial_files, saying_why, write_whole
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.runs.stopping import resume_hint
from nas_prune.runs.workers import in_workers
from nas_prune.space.budget import Budget
from nas_prune.space.load import network_for
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.widths import Widths, read_widths
from nas_prune.study import trial_record as record
from nas_prune.study.config import StudyConfig
from nas_prune.study.context import StudyContext, load_study
from nas_prune.study.finalists import Finalists, check_enough, finalists
from nas_prune.study.location import StudyLocation, command_for, read_trials
from nas_prune.study.objective import artefact, folder_name, train_config
from nas_prune.study.parameters import Parametrised
from nas_prune.study.rank_statistics import Correlation, Gain, Interval, correlation, gain_among, interval
from nas_prune.study.rule_search import Seen, logs_of, rule_of, seen_in
from nas_prune.study.worker_lock import WorkerLock, live_workers
from nas_prune.training.config import TrainConfig
from nas_prune.training.result import Trained, read_trained
from nas_prune.training.run import Inputs, train_member
from nas_prune.training.schedules import Schedule

Length: TypeAlias = Literal["short", "full"]
Task: TypeAlias = "tuple[str, Length, int]"  # candidate, length, seed
_FIRST_SEED = {"short": 1000, "full": 2000}  # none that a trial was trained with, nor the other length
_LENGTHS: tuple[Length, ...] = ("short", "full")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A network that is trained again.

    Attributes:
        name: `trial 7`, `rule`, `guideline` or `uniform`.
        number: of its trial; None where it was none.
        widths: its widths.
        short: validation accuracies after short training, one for each new seed.
        full: the same after full training; full_test: test accuracies of these.
        expected: what the rule of all trials and of the short trainings expects of it; None without a rule.
    """

    name: str
    number: int | None
    widths: Widths
    short: tuple[float, ...]
    full: tuple[float, ...]
    full_test: tuple[float, ...]
    expected: float | None = None

    @property
    def interval(self) -> Interval:
        """The mean by which candidates are ordered, and its interval."""
        return interval(self.short)


@dataclass(frozen=True, slots=True)
class Ranking:
    """What ranking one Optuna study gave.

    Attributes:
        study: its name.
        candidates: the best first.
        folder: where the winner's `widths.json` is.
        schedule: of the full trainings.
        failed: trainings that did not finish, and why.
    """

    study: str
    candidates: tuple[Candidate, ...]
    folder: Path
    schedule: Schedule
    failed: tuple[tuple[str, str], ...]

    @property
    def winner(self) -> Candidate:
        """The best."""
        return self.candidates[0]

    @property
    def centre(self) -> Candidate | None:
        """What needs no search: the guideline's widths, or uniform ones without; None where neither was trained."""
        return _centre(self.candidates)

    @property
    def correlation(self) -> Correlation:
        """Between short and full training."""
        short = {one.name: one.interval.mean for one in self.candidates}
        return correlation(short, {one.name: interval(one.full).mean for one in self.candidates if one.full})

    def gain(self, kind: Literal["full", "full_test"]) -> Gain | None:
        """Of the winner over the centre, in full; None where there is nothing to compare.

        Not in short training, by which the winner was chosen: the best of several seems better than it is. The
        validation images took part in that choice, so test accuracies are what to judge by.
        """
        values: dict[str, tuple[float, ...]] = {one.name: getattr(one, kind) for one in self.candidates}
        return gain_among(values, self.winner.name, None if self.centre is None else self.centre.name)


def _centre(candidates: Sequence[Candidate]) -> Candidate | None:
    return next((one for name in record.SOURCES for one in candidates if one.name == name), None)


def rank_study(
    location: StudyLocation,
    *,
    top: int = 5,
    seeds: int = 3,
    schedule: Schedule = "scratch-e",
    data_name: str | None = None,
    space: str | None = None,
    workers: int = 1,
    progress: Progress = SILENT,
) -> list[Ranking]:
    """Train the best trials of a study again, then in full; what is already trained is kept.

    Args:
        location: where the study is.
        top: how many trials, besides the guideline's centre and uniform widths.
        seeds: short trainings of each, and full ones of the winner and the centre; the others are trained in full once.
        schedule: of the full trainings: `scratch-e` or `scratch-b`.
        data_name: where the images are now, if they were moved.
        space: the network's name again, if it is one of your own.
        workers: how many are trained at once.
        progress: reports how far the work is.

    Returns:
        A ranking for each Optuna study; everything is also in `rank/` in the study's directory.

    Raises:
        NasPruneError: there is no study, or too few trials are complete.
    """
    found = read_trials(location)
    if found.config.against is not None:
        raise BadInputError(
            "a study to be ranked must have one objective, got two: no trial is the best. "
            "Choose one on the Pareto front in the dashboard and train its widths."
        )
    for name, trials in found.trials.items():
        check_enough(name, trials)
    context = load_study(location.run, data_name=data_name, space=space, progress=progress)
    command = command_for(location, "rank", context.config.space)
    if not live_workers(location.run):
        remove_partial_files(location.run)
    rankings = []
    with resume_hint(command), closing(WorkerLock(location.run)):
        for name, trials in found.trials.items():
            budget = found.config.studies[name][-1]
            points = context.parametrised(budget) if found.config.sampler == "rule" else None
            job = _Job(
                context,
                _folder(location.run, name),
                schedule,
                seeds,
                workers,
                progress,
                points,
                seen_in(trials),
            )
            rankings.append(job.rank(name, finalists(trials, top, points), budget))
    return rankings


def _folder(run: Path, study: str) -> Path:
    return run / "rank" / folder_name(study)


@dataclass(frozen=True, slots=True)
class _Job:
    """What ranking one Optuna study needs."""

    context: StudyContext
    folder: Path
    schedule: Schedule
    seeds: int
    workers: int
    progress: Progress
    points: Parametrised | None
    seen: Seen

    def rank(self, study: str, chosen: Finalists, budget: Budget) -> Ranking:
        """Train what is missing, in two rounds: short ones, which choose the winner, then full ones."""
        for name, (_, vector) in chosen.items():
            widths = artefact(self.context, vector, budget)
            own = self.folder / _stem(name)
            with saying_why(own):
                own.mkdir(parents=True, exist_ok=True)
            if not (own / WIDTHS).exists():
                widths.write(own / WIDTHS)
        failed = self._train([(name, "short", seed) for seed in self._seeds("short") for name in chosen])
        candidates = [self._candidate(name, number) for name, (number, _) in chosen.items()]
        ordered = self._best_first([one for one in candidates if one.short])
        if not ordered:
            raise BadInputError(f"a candidate must be trained to its end, got: {failed[0][1]}")
        first, *others = self._seeds("full")
        pair = {one.name for one in (ordered[0], _centre(ordered)) if one is not None}
        full: list[Task] = [(one.name, "full", first) for one in ordered]
        full += [(one.name, "full", seed) for seed in others for one in ordered if one.name in pair]
        failed += self._train(full)
        ordered = [replace(self._candidate(one.name, one.number), expected=one.expected) for one in ordered]
        ranking = Ranking(study, tuple(ordered), self.folder, self.schedule, tuple(failed))
        self._write(ranking)
        return ranking

    def _seeds(self, length: Length) -> range:
        return range(_FIRST_SEED[length], _FIRST_SEED[length] + self.seeds)

    def _train(self, tasks: list[Task]) -> list[tuple[str, str]]:
        """Train what has no result yet; returns what failed, and why."""
        waiting = [task for task in tasks if read_result(self.folder, task, self.schedule) is None]
        work = partial(
            train_task,
            folder=self.folder,
            config=self.context.config,
            schedule=self.schedule,
            progress=self.progress,
        )
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
        for count, task in enumerate(waiting):
            self.progress.update(f"{task[1]} trainings", count, len(waiting))
            try:
                work(task, space=self.context.space, data=self.context.data)
            except NasPruneError as error:
                failed.append((" ".join(map(str, task)), str(error)))
            self.progress.update(f"{task[1]} trainings", count + 1, len(waiting))
        return failed

    def _best_first(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """By what the rule of all trials and short trainings expects, or without one by the means of the latter."""
        if self.points is None or not candidates:
            return sorted(candidates, key=lambda one: -one.interval.mean)
        again = [(one.widths.vector, value) for one in candidates for value in one.short]
        seen = Seen(
            (*self.seen.widths, *(vector for vector, _ in again)),
            (*self.seen.values, *(value for _, value in again)),
            (),
        )
        logs = logs_of(self.points, [one.widths.vector for one in candidates])
        expected = rule_of(self.points, seen).mean_N(logs).tolist()
        known = [replace(one, expected=value) for one, value in zip(candidates, expected, strict=True)]
        return sorted(known, key=lambda one: -(one.expected or 0.0))

    def _candidate(self, name: str, number: int | None) -> Candidate:
        results = {
            length: [
                one
                for seed in self._seeds(length)
                if (one := read_result(self.folder, (name, length, seed), self.schedule)) is not None
            ]
            for length in _LENGTHS
        }
        return Candidate(
            name,
            number,
            read_widths(self.folder / _stem(name) / WIDTHS),
            tuple(one.val_accuracy for one in results["short"]),
            tuple(one.val_accuracy for one in results["full"]),
            tuple(one.test_accuracy for one in results["full"]),
        )

    def _write(self, ranking: Ranking) -> None:
        ranking.winner.widths.write(self.folder / WIDTHS)
        content = summary(ranking, self.context.config)
        write_whole(self.folder / RESULT, json.dumps(content, indent=1) + "\n")


def _prepared(
    folder: Path, config: StudyConfig, schedule: Schedule, shared: SharedImages
) -> Callable[[Task, Progress], Trained]:
    """What one worker process does for a training."""
    data = shared.attach()
    space = network_for(config, data)

    def work(task: Task, progress: Progress) -> Trained:
        return train_task(
            task, folder=folder, config=config, schedule=schedule, progress=progress, space=space, data=data
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
    data: ImageData,
) -> Trained:
    """One training of one candidate; its result is written, its checkpoints are dropped unless it is in full."""
    name, length, seed = task
    where = _place(folder, task, schedule)
    return train_member(
        _settings(config, task, schedule),
        read_widths(folder / _stem(name) / WIDTHS),
        where,
        Inputs(data, space),
        result=where / RESULT,
        progress=progress.under(f"{name}, {length}, seed {seed}"),
        keeps_checkpoint=length == "full",
    )


def _settings(config: StudyConfig, task: Task, schedule: Schedule) -> TrainConfig:
    _, length, seed = task
    if length == "short":
        return train_config(config, (seed,))
    return train_config(config, (seed,), recipe=config.recipe, schedule=schedule)


def _stem(name: str) -> str:
    return name.replace(" ", "-")


def _place(folder: Path, task: Task, schedule: Schedule) -> Path:
    name, length, seed = task
    return folder / _stem(name) / (length if length == "short" else schedule) / str(seed)


def read_result(folder: Path, task: Task, schedule: Schedule) -> Trained | None:
    """What a training gave; None if it has not finished."""
    # Files of earlier versions hold the accuracies alone; no more is used here.
    return read_trained(_place(folder, task, schedule) / RESULT, epochs=0, macs=0, params=0)


def summary(ranking: Ranking, config: StudyConfig) -> dict[str, Any]:
    """A ranking as plain JSON."""
    gains = {kind: ranking.gain(kind) for kind in ("full", "full_test")}
    return {
        "study": ranking.study,
        "data": published(config.data.name),
        "short_epochs": config.epochs,
        "full_epochs": config.recipe.epochs,
        "schedule": ranking.schedule,
        "winner": ranking.winner.name,
        "centre": None if ranking.centre is None else ranking.centre.name,
        "candidates": [
            {
                "name": one.name,
                "trial": one.number,
                "short": list(one.short),
                "short_mean": one.interval.mean,
                "expected": one.expected,
                "short_interval": [one.interval.low, one.interval.high] if one.interval.n > 1 else None,
                "full": list(one.full),
                "full_test": list(one.full_test),
                "widths": list(one.widths.vector),
                **one.widths.cost.model_dump(),
            }
            for one in ranking.candidates
        ],
        "correlation": None
        if ranking.correlation.rho != ranking.correlation.rho
        else asdict(ranking.correlation),
        "gain": {kind: None if one is None else one.plain() for kind, one in gains.items()},
        "widths": WIDTHS,
        "failed": [{"training": name, "why": why} for name, why in ranking.failed],
    }
