"""One worker of a study: which trial is next, which workers have died, and when the study is done."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from math import log10
from time import monotonic, sleep

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState
from threadpoolctl import threadpool_limits

from nas_prune.data import SharedImages, share
from nas_prune.data.metric import ACCURACY, Metric
from nas_prune.errors import BadInputError, FileError
from nas_prune.hardware.use import network_for
from nas_prune.runs.files import passing_folder
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.runs.workers import in_workers
from nas_prune.study import trial_record as record
from nas_prune.study.clock import note_time
from nas_prune.study.config import SCRATCH, StudyConfig
from nas_prune.study.context import StudyContext, pattern_in
from nas_prune.study.creation import OneStudy, open_studies, write_wanted
from nas_prune.study.dashboard import show_study
from nas_prune.study.engine import Engine
from nas_prune.study.judges.contract import Judge
from nas_prune.study.judges.prepare import loaded_judge, prepare_judge
from nas_prune.study.location import StudyLocation, command_for
from nas_prune.study.objective import Objective
from nas_prune.study.recovery import put_back, recover, worker_is_gone
from nas_prune.study.samplers import quiet, sampler_named
from nas_prune.study.spending import pays_for_another
from nas_prune.study.storage import answered, has_heartbeat, open_storage
from nas_prune.study.worker_lock import WorkerLock

_SHOWN_EVERY = 10  # trials after which figures and note are renewed
_LOOK_AGAIN = 2.0  # seconds between checks of other workers' trials


@dataclass(slots=True)
class Worker:
    """One worker of a study.

    Attributes:
        location: where the study is.
        context: what every trial needs.
        storage: Optuna's.
        worker_lock: shows others that it is alive.
        began: when the command began; failures before that do not count.
        judge: says how good widths are that are not trained; None where every trial is, and before the first.
        deadline: when no further trial is begun, by `time.monotonic`.
        started: when this worker began, likewise.
        studies: Optuna's.
        has_said: whether it has reported that it waits for others.
    """

    location: StudyLocation
    context: StudyContext
    storage: BaseStorage
    worker_lock: WorkerLock
    began: datetime
    judge: Judge | None = None
    deadline: float | None = None
    started: float = field(default_factory=monotonic)
    studies: list[OneStudy] = field(init=False)
    has_said: bool = False

    def __post_init__(self) -> None:
        self.studies = answered(partial(open_studies, self.context, self.storage), self.location.storage)

    def may_go_on(self) -> bool:
        """Whether further trials are to be begun: not after the deadline, nor after too many failures."""
        is_late = self.deadline is not None and monotonic() > self.deadline
        return not is_late and len(self.failures()) < self.context.config.max_failures

    def step(self, progress: Progress = SILENT) -> bool:
        """Work on one trial, or wait a moment for those of others; whether there may be more to do."""
        return answered(partial(self._step, progress), self.location.storage)

    def _step(self, progress: Progress) -> bool:
        one = self.next_study()
        if one is not None:
            self._optimize(one, progress)
            return True
        # Those of others may have ended since: whether a trial is paid for depends on them.
        return self.waits(progress) or self.missing() > 0

    def next_study(self) -> OneStudy | None:
        """The study that has a trial to begin; those of dead workers are put back first."""
        waiting = []
        for one in self.studies:
            recover(one.study, self._is_dead)
            if self._missing_of(one):
                waiting.append(one)
        if self.deadline is None:
            return next(iter(waiting), None)
        # In turns, so that all have trials when the time is up.
        return min(
            waiting, key=lambda one: record.count_begun(one.study.get_trials(deepcopy=False)), default=None
        )

    def _missing_of(self, one: OneStudy) -> int:
        trials = one.study.get_trials(deepcopy=False)
        found = record.count_missing(trials, self.context.config.trials)
        return found if found and pays_for_another(self.context, trials) else 0

    def _is_dead(self, trial: FrozenTrial) -> bool:
        """Whether no worker runs a trial any more: this worker, which asks, runs none."""
        own = trial.user_attrs.get(record.WORKER) == self.worker_lock.name
        return own or worker_is_gone(self.location.run)(trial)

    def waits(self, progress: Progress) -> bool:
        """Wait a moment while others run the last trials: if they die, their trials must be resumed."""
        running = [
            trial
            for one in self.studies
            for trial in one.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        ]
        if not running:
            return False
        if not self.has_said:
            self.has_said = True
            names = ", ".join(
                str(trial.user_attrs.get(record.WORKER, "one without a name")) for trial in running
            )
            progress.say(
                f"Waiting for the last trials of other workers ({names}). If these are dead: "
                f"{command_for(self.location, 'recover')} --older-than 3600"
            )
        if has_heartbeat(self.location.storage):
            for one in self.studies:
                optuna.storages.fail_stale_trials(one.study)
        sleep(_LOOK_AGAIN)
        return True

    def _optimize(self, one: OneStudy, progress: Progress) -> None:
        config, trials = self.context.config, one.study.get_trials(deepcopy=False)
        assert config.sampler is not None
        if self.judge is None:
            prepare_judge(self.context, progress)
            self.judge = loaded_judge(self.context)
        is_alone = not any(trial.state == TrialState.RUNNING for trial in trials)
        begun = record.next_place(trials)
        chance = [config.seed, one.name, begun, *([] if is_alone else [self.worker_lock.name])]
        judge = record.next_judge(trials, config.judging, config.judged)
        points = self.context.parametrised(one.budgets[-1])
        one.study.sampler = sampler_named(config.sampler, points, *chance, judge=judge)
        progress.update(one.name, record.count_finished(trials), config.trials)
        objective = Objective(
            self.context, one.study, one.budgets, self.worker_lock.name, progress, self.judge
        )
        try:
            one.study.optimize(objective, n_trials=1, catch=(Exception,))
        except AssertionError as error:  # Optuna's, where it cannot write how a trial has ended
            if isinstance(error.__context__, FileError):
                raise error.__context__ from None
            raise
        except (UpdateFinishedTrialError, ValueError):
            if not objective.has_ended():  # by somebody else: this process could not end it
                raise
            progress.say(
                "This worker seemed to be dead, and its trial was put back for another; continuing with the next."
            )
            return
        if objective.cannot_write is not None:
            raise objective.cannot_write
        note_time(self.context, self.worker_lock.name, self.started)
        self._tell(one, progress)

    def _tell(self, one: OneStudy, progress: Progress) -> None:
        trials = one.study.get_trials(deepcopy=False)
        own = [trial for trial in trials if trial.user_attrs.get(record.WORKER) == self.worker_lock.name]
        if own:
            progress.say(said_of(own[-1], trials, one.name, self.context.config.metric))
        finished = record.count_finished(trials)
        progress.update(one.name, finished, self.context.config.trials)
        # Ten times, a hundred times as many are shown a tenth, a hundredth as often.
        if finished % max(_SHOWN_EVERY, 10 ** int(log10(max(1, finished)))) == 0:
            show_study(self.context, one)

    def trials(self) -> dict[str, list[FrozenTrial]]:
        """All trials, by the name of their study."""
        return {one.name: one.study.get_trials(deepcopy=False) for one in self.studies}

    def end_early(self, progress: Progress) -> StudyContext:
        """Let the study have as many trials as its hours have sufficed for, those of other workers awaited."""
        while self.waits(progress):
            for one in self.studies:
                recover(one.study, self._is_dead)
        ended = sorted(record.count_finished(trials) for trials in self.trials().values())
        config = self.context.config.model_copy(update={"trials": max(1, ended[0])})
        said = " and ".join(map(str, ended))
        progress.say(f"The time for trials is up: the study ends with {said} of them.")
        self.context = replace(self.context, config=config)
        write_wanted(self.location.run, config)
        return self.context

    def missing(self) -> int:
        """How many trials are still to be begun here."""
        return sum(self._missing_of(one) for one in self.studies)

    def put_back_first_ones(self) -> None:
        """Let the guideline and uniform widths be tried again if they failed: all else is compared with them."""
        for one in self.studies:
            trials = one.study.get_trials(deepcopy=False)
            for trial, fate in zip(trials, record.fates(trials), strict=True):
                if fate == record.Fate.FAILED and record.SOURCE in trial.user_attrs:
                    put_back(one.study, trial)

    def count(self) -> int:
        """How many attempts there were at all trials."""
        return sum(len(one.study.get_trials(deepcopy=False)) for one in self.studies)

    def failures(self) -> list[str]:
        """The reasons of the failures in a row since the command began, the last one first."""
        found: list[str] = []
        for one in self.studies:
            trials = one.study.get_trials(deepcopy=False)
            found = max(found, record.failures_in_a_row(trials, self.began), key=len)
        return found

    def check_failures(self) -> None:
        """Stop where too many trials in a row have failed.

        Raises:
            BadInputError: they have; the last reason is named.
        """
        reasons, most = self.failures(), self.context.config.max_failures
        if len(reasons) >= most:
            raise BadInputError(
                f"trials must not fail {most} times in a row, which they did; the last one because {reasons[0]} "
                f"Correct that and resume: {command_for(self.location, config=self.context.config)}"
            )


def work_in_processes(worker: Worker, workers: int, progress: Progress) -> None:
    """Give trials to processes of this machine until all have ended."""
    location, context = worker.location, worker.context
    with passing_folder(location.run) as folder:
        shared = share(context.data, folder)
        prepare = partial(_prepared, location, context.config, shared, worker.began, worker.deadline)
        while worker.may_go_on():
            if worker.next_study() is not None:
                before = worker.count()
                outcomes = in_workers(prepare, range(worker.missing()), workers, progress)
                errors = [outcome.error for outcome in outcomes if outcome.error]
                for error in errors:
                    progress.say(f"A worker has ended: {error}")
                if errors and worker.count() == before:
                    raise BadInputError(f"workers must be able to begin a trial, got: {errors[-1]}")
            elif not worker.waits(progress) and not worker.missing():
                return


def _prepared(
    location: StudyLocation,
    config: StudyConfig,
    shared: SharedImages,
    began: datetime,
    deadline: float | None,
) -> Callable[[int, Progress], None]:
    """What one process does for a trial; its lock is held as long as the process lives."""
    quiet()
    threadpool_limits(1, user_api="blas")  # as the process that began this one
    data = shared.attach()
    context = StudyContext(
        location.run, config, network_for(config, data), Engine(data), pattern_in(location.run, config)
    )
    storage = open_storage(
        location.storage, location.run, on_stale=put_back_stale, heartbeat=location.heartbeat
    )
    worker = Worker(location, context, storage, WorkerLock(location.run), began, deadline=deadline)

    def work(_: int, progress: Progress) -> None:
        if worker.may_go_on() and worker.next_study() is not None:
            worker.step(progress)

    return work


def put_back_stale(study: optuna.Study, trial: FrozenTrial) -> None:
    """What a database does with a trial whose worker sends no more heartbeats."""
    trials = study.get_trials(deepcopy=False)
    if record.deaths(trial, trials) < record.MOST_DEATHS:
        put_back(study, trial)


def said_of(trial: FrozenTrial, trials: list[FrozenTrial], study: str, metric: Metric = ACCURACY) -> str:
    """One line on a trial that has ended."""
    name = f"{study}, trial {trial.number}"
    if str(trial.user_attrs.get(record.FAILED, "")).startswith(record.SURPLUS):
        return f"{name} was {record.reason_of(trial)}"
    if trial.user_attrs.get(record.FAILED):
        return f"{name} failed: {record.reason_of(trial)}"
    if trial.state == TrialState.PRUNED:
        return f"{name} fell behind and was ended after {trial.user_attrs.get(record.EPOCHS)} epochs"
    if trial.values is None:
        return f"{name} has ended without a value"
    told, judge = trial.user_attrs.get(record.REPEAT_OF), record.judge_of(trial)
    best = max(
        (one for one in trials if one.values and record.judge_of(one) == judge), key=lambda one: one.values[0]
    )
    source = trial.user_attrs.get(record.SOURCE)
    by = "" if judge == SCRATCH else f" by {judge}"
    return (
        f"{name}{f' ({source})' if source else ''}: {record.shown(trial, metric)}{by} at "
        f"{trial.user_attrs[record.MACS]:,} MACs"
        f"{f' (as trial {told}, of the same widths)' if told is not None else ''}; "
        f"best {record.shown(best, metric)} (trial {best.number})"
    )
