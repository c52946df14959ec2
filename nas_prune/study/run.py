"""Running a study: created or resumed, by one worker or several, until every trial has ended."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from shlex import quote
from time import monotonic
from typing import Any

import optuna
from optuna.storages import BaseStorage
from threadpoolctl import threadpool_limits

from nas_prune.errors import BadInputError
from nas_prune.guideline.apply import Pattern, check_reachable, guideline_named
from nas_prune.guideline.hand import RULES
from nas_prune.hardware.use import target_or_kept
from nas_prune.runs.directory import default_run
from nas_prune.runs.files import remove_partial_files
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.runs.settings import command_of, library_versions, read_config
from nas_prune.runs.stopping import resume_hint
from nas_prune.study.clock import clock_of, note_time
from nas_prune.study.config import GUIDELINE, StudyConfig, again_in_python
from nas_prune.study.context import StudyContext, images_and_network, load_study
from nas_prune.study.creation import check_same, check_storage, claim_directory, claiming, write_wanted
from nas_prune.study.dashboard import show_study
from nas_prune.study.engine import Engine
from nas_prune.study.judges.prepare import prepare_judge
from nas_prune.study.location import (
    StudyLocation,
    StudyResult,
    command_for,
    is_alone,
    mend_if_idle,
    storage_flag,
)
from nas_prune.study.planned_race import race_of_plan
from nas_prune.study.planning import resolved_plan, say_plan
from nas_prune.study.samplers import quiet
from nas_prune.study.spending import said_of, spent
from nas_prune.study.standing import known_of
from nas_prune.study.storage import HEARTBEAT, opened, shown
from nas_prune.study.worker import Worker, put_back_stale, work_in_processes
from nas_prune.study.worker_lock import WorkerLock, live_workers
from nas_prune.training.compute import pick_threads
from nas_prune.training.notes import before_training


def run_study(
    config: StudyConfig,
    out: Path | None = None,
    *,
    storage: str | None = None,
    workers: int = 1,
    is_new: bool = False,
    heartbeat: float = HEARTBEAT,
    progress: Progress = SILENT,
) -> StudyResult:
    """Create or resume a study, until it has all its trials.

    Args:
        config: every setting.
        out: its directory; `runs/NAME` if None.
        storage: any URL that Optuna takes, or a journal file; the journal in its directory if None.
        workers: how many processes of this machine work on it; others may join from anywhere.
        is_new: start another, under the next free name; the existing one is kept.
        heartbeat: seconds between a worker's heartbeats, where the storage is a database.
        progress: reports how far the work is.

    Raises:
        NasPruneError: something in the settings cannot be used (nothing has been written then), another study of
            that name exists, the storage does not answer, or too many trials in a row have failed.
        KeyboardInterrupt: it was stopped.
    """
    if config.own is not None:
        raise BadInputError(
            f"a study whose training is your own must be run by {again_in_python(Path('DIR'))}."
        )
    run, started = out or default_run(config.name), monotonic()
    config, pattern = resolved(config, run, is_new=is_new)
    data, space = images_and_network(config, progress)
    threads = pick_threads(config.threads, space.cost_at(space.base_G).macs, config.recipe.batch_size)
    config = config.model_copy(update={"threads": config.threads or max(1, threads // workers)})
    context = StudyContext(run, config, space, Engine(data), pattern)
    location = StudyLocation(run, storage, heartbeat)
    how = How(workers, is_new, before_training(data, config.recipe), started)
    return begun(location, context, how, progress)


@dataclass(frozen=True, slots=True)
class How:
    """How a study is begun.

    Attributes:
        workers: how many processes of this machine work on it.
        is_new: whether another is begun where there is one.
        said: what there is to know before anything is trained.
        started: when the command did, by `time.monotonic`.
    """

    workers: int
    is_new: bool
    said: str
    started: float


def resolved(config: StudyConfig, run: Path, *, is_new: bool) -> tuple[StudyConfig, Pattern | None]:
    """The settings of a study, with what they leave open and what that of its directory has decided; its guideline."""
    is_there = not is_new and command_of(run) == "study"
    if is_there:
        config = _as_before(config, run)
        config = config.model_copy(update={"target": target_or_kept(config.target, run)})
    config = _resolved(config)
    if config.sampler == "rule" and config.stopping != "none" and not is_there:
        raise BadInputError(
            f"stopping must be none with the sampler rule, got {config.stopping}: the rule learns nothing from a trial "
            "that was ended, and would ask for its like again. Name another sampler, such as cma, or no stopping."
        )
    pattern = None if config.guideline is None else guideline_named(config.guideline)
    if config.guideline is not None and config.guideline not in RULES:
        config = config.model_copy(update={"guideline": GUIDELINE})
    return config, pattern


def begun(location: StudyLocation, context: StudyContext, how: How, progress: Progress) -> StudyResult:
    """Create or resume a study of which everything is loaded, until it has all its trials.

    Raises:
        NasPruneError: as `run_study`.
    """
    run, asked, storage = location.run, context.config, location.storage
    for budget in asked.budgets:
        check_reachable(context.space, budget, asked.groups)
    config = resolved_plan(context, how.workers, progress)
    if how.is_new:
        run = run.absolute() if run.name in ("", "..") else run
        run, config = _free(run, config, storage)
        location = replace(location, run=run)
    context = replace(context, run=run, config=config)
    if storage is not None:
        # A storage that does not answer or holds another study is refused before anything is written.
        with opened(storage, run, heartbeat=location.heartbeat) as known:
            check_storage(context, known)
    with claiming(run) as is_first:
        if not is_first and asked.plan is None and config.plan is not None:
            # Another worker has planned it meanwhile, by its own measure of time.
            config = _as_before(asked, run)
            context = replace(context, config=config)
        claim_directory(run, config, context.pattern)
    if how.said:
        progress.say(how.said)
    return _work(location, context, how.workers, progress, how.started)


def resume_study(
    location: StudyLocation,
    *,
    data_name: str | None = None,
    space: str | None = None,
    workers: int = 1,
    trials: int | None = None,
    timeout: float | None = None,
    progress: Progress = SILENT,
) -> StudyResult:
    """Resume the study of a directory.

    Args:
        location: where it is.
        data_name: where the images are now, if they or the directory were moved.
        space: the network's name again, if it is one of your own.
        workers: how many processes work on it.
        trials: how many trials it is to have; the study's own number if None.
        timeout: seconds after which no trial is started; the study's own if None.
        progress: reports how far the work is.
    """
    started = monotonic()
    context = load_study(location.run, data_name=data_name, space=space, progress=progress)
    changes = {"trials": trials, "timeout": timeout}
    config = context.config.model_copy(update={key: one for key, one in changes.items() if one is not None})
    if config.trials != context.config.trials:  # a wish that hours do not bound
        config = config.model_copy(update={"hours": None})
    context = replace(context, config=config)
    return _work(location, context, workers, progress, started)


def _as_before(config: StudyConfig, run: Path) -> StudyConfig:
    """The settings with what the study of a directory has decided and its file leaves open."""
    there = read_config(run, StudyConfig)
    changes: dict[str, Any] = {}
    if config.sampler is None:  # one of before may have another default
        changes["sampler"] = there.sampler
    named = [name for name in ("judge", "judged", "judge_epochs") if getattr(config, name) is not None]
    is_open = config.budget_training is not None or config.hours is not None
    decided = ["plan", "budget_training", "judge", "judged", "judge_epochs"]
    if is_open and "plan" not in there.model_fields_set:  # of before there were plans
        changes |= {"budget_training": None, "hours": None, "trials": there.trials}
    elif there.plan is not None:
        if config.hours is None and is_open:
            named.append("budget_training")
        # Trials that were asked for beside the plan have ended the hours of the directory.
        elif config.hours is not None and (there.hours is not None or there.trials == there.plan.trials):
            named.append("hours")
        then, now = ({name: getattr(one, name) for name in named} for one in (there, config))
        check_same(then, now, f"the study in {run}")
        # Beside more trials than were planned, or fewer, all else holds.
        decided += ["hours", "trials"] if is_open or config.trials == there.trials else []
        changes |= {name: getattr(there, name) for name in decided}
    return config.model_copy(update=changes)


def _resolved(config: StudyConfig) -> StudyConfig:
    config = config.checked()
    versions = library_versions(("nas-prune", "torch", "torchvision", "numpy", "optuna", "cmaes"))
    default = "rule" if config.against is None else "tpe"
    return config.model_copy(update={"versions": versions, "sampler": config.sampler or default})


def _free(run: Path, config: StudyConfig, url: str | None) -> tuple[Path, StudyConfig]:
    """The next name that neither a directory nor a study has."""
    taken = set()
    if url is not None:
        with opened(url, run) as storage:
            taken = {study.study_name for study in optuna.get_all_study_summaries(storage)}
    number = 1
    while True:
        suffix = "" if number == 1 else f"-{number}"
        other = config.model_copy(update={"name": f"{config.name}{suffix}"})
        folder = run.with_name(f"{run.name}{suffix}")
        if not folder.exists() and not taken & set(other.studies):
            return folder, other
        number += 1


@contextmanager
def _cleaned_and_opened(
    location: StudyLocation, worker: WorkerLock, progress: Progress
) -> Iterator[BaseStorage]:
    """The storage, opened; what a killed worker left unfinished is removed where no other one is alive."""
    if is_alone(location.run, worker):  # otherwise partial files may be theirs
        remove_partial_files(location.run)
    mend_if_idle(location, worker, progress)
    with opened(
        location.storage, location.run, on_stale=put_back_stale, heartbeat=location.heartbeat
    ) as storage:
        yield storage


def _work(
    location: StudyLocation, context: StudyContext, workers: int, progress: Progress, started: float
) -> StudyResult:
    """Run the trials that are left, in this process or in several."""
    quiet()
    began = datetime.now()  # noqa: DTZ005  (Optuna's times have no zone)
    with (
        resume_hint(command_for(location, config=context.config)),
        threadpool_limits(
            1, user_api="blas"
        ),  # for a rule's small matrices more threads only wait for each other
        closing(WorkerLock(location.run)) as worker_lock,
        _cleaned_and_opened(location, worker_lock, progress) as storage,
    ):
        say_plan(context.config, progress)
        worker = Worker(location, context, storage, worker_lock, began)
        clock = clock_of(context, workers, started)
        note_time(context, worker_lock.name, started)
        worker.deadline = clock.deadline
        write_wanted(location.run, context.config)
        if live_workers(location.run) == [worker_lock.name]:
            worker.put_back_first_ones()
        progress.say(
            f"Study {context.config.name} in {location.run}, trials in {shown(location.storage)}. "
            f"Watch it: nas-prune dashboard {quote(str(location.run))}{storage_flag(location)}"
        )
        for one in worker.studies:
            show_study(context, one)
        if workers == 1:
            while worker.may_go_on() and worker.step(progress):
                pass
        else:
            if worker.next_study() is not None:
                prepare_judge(context, progress)  # each process loads it by itself
            work_in_processes(worker, workers, progress)
        worker.check_failures()
        is_up = clock.is_up and worker.missing() > 0
        if is_up:
            context = worker.end_early(progress)
        is_done = is_up or not worker.missing()
        if not is_done:
            progress.say(f"Trials are left. Go on: {command_for(location, config=context.config)}")
        rankings = race_of_plan(location, context, worker.trials(), clock, progress) if is_done else ()
        note_time(context, worker_lock.name, started)
        trials = worker.trials()
        found = spent(context, trials)
        progress.say("\n".join(said_of(context, found)))
        for one in worker.studies:
            show_study(context, one)
        known = {one.name: known_of(context, one.budgets[-1], trials[one.name]) for one in worker.studies}
        return StudyResult(location, context.config, trials, rankings, known, found)
