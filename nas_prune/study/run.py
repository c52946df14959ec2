"""Running a study: one worker or several, on one machine or many, until every trial has come to its end."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from time import sleep, time

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from nas_prune.budget import Budget
from nas_prune.cut import check_feasible
from nas_prune.data import ImageData, Parked, park
from nas_prune.errors import BadInputError, NasPruneError, StorageError
from nas_prune.files import passing_folder, sweep
from nas_prune.guideline.apply import Pattern, guideline_named, setting_of
from nas_prune.guideline.artefact import read_guideline
from nas_prune.guideline.hand import RULES
from nas_prune.loading import load_space
from nas_prune.networks import check_trusted, image_channels
from nas_prune.rundir import library_versions, read_config
from nas_prune.setup import load_images, pick_threads, where_images_are
from nas_prune.space import SearchSpace
from nas_prune.study import record
from nas_prune.study.board import show_study
from nas_prune.study.config import GUIDELINE, StudyConfig
from nas_prune.study.creation import OneStudy, claim_directory, open_studies
from nas_prune.study.objective import Loaded, Objective
from nas_prune.study.presence import Presence, live_workers
from nas_prune.study.recovery import Recovered, put_back, recover, silent_for, worker_is_gone
from nas_prune.study.samplers import quiet, sampler_named
from nas_prune.study.storage import (
    HEARTBEAT,
    JOURNAL,
    answered,
    has_heartbeat,
    is_shared,
    journal_path,
    mend_journal,
    open_storage,
    opened,
    shown,
)
from nas_prune.training.stopping import telling_how_to_go_on
from nas_prune.training.workers import in_workers
from nas_prune.watch import QUIET, Watch

_SHOWN_EVERY = 10  # trials after which figures and note are drawn anew
_LOOK_AGAIN = 2.0  # seconds between looks at what others are still at


@dataclass(frozen=True, slots=True)
class Place:
    """Where a study is: its directory, and the storage's URL (None for the journal in the directory)."""

    run: Path
    storage: str | None = None
    heartbeat: float = HEARTBEAT


@dataclass(frozen=True, slots=True)
class StudyResult:
    """What a study holds.

    Attributes:
        place: where it is.
        config: its settings.
        trials: of each Optuna study, by its name.
    """

    place: Place
    config: StudyConfig
    trials: dict[str, list[FrozenTrial]]


def run_study(
    config: StudyConfig,
    out: Path | None = None,
    *,
    storage: str | None = None,
    workers: int = 1,
    is_new: bool = False,
    heartbeat: float = HEARTBEAT,
    watch: Watch = QUIET,
) -> StudyResult:
    """Create a study, or go on with it, until it has all its trials.

    Args:
        config: every setting.
        out: its directory; `runs/NAME` if None.
        storage: any URL that Optuna takes, or a journal file; the journal in its directory if None.
        workers: how many processes of this machine work on it; others may join from anywhere.
        is_new: begin another beside the one that is there, under the next free name.
        heartbeat: seconds between the signs of life of a worker, where the storage is a database.
        watch: told of progress.

    Raises:
        NasPruneError: something in the settings cannot be used (nothing has been written then), the study is there and
            is another, the storage does not answer, or too many trials in a row have failed.
        KeyboardInterrupt: it was stopped.
    """
    config = _resolved(config, storage)
    pattern = None if config.guideline is None else guideline_named(config.guideline)
    if config.guideline is not None and config.guideline not in RULES:
        config = config.model_copy(update={"guideline": GUIDELINE})
    data, space = _loaded(config, watch)
    for budget in (Budget.parse(text) for text in config.budgets):
        check_feasible(space, budget, setting_of(space, config.groups).columns)
    threads = pick_threads(config.threads, space.cost_at(space.base_G).macs, config.recipe.batch_size)
    config = config.model_copy(update={"threads": config.threads or max(1, threads // workers)})
    run = out or Path("runs") / config.name
    if is_new:
        run, config = _free(run, config, storage)
    claim_directory(run, config, pattern)
    watch.say(where_images_are(data))
    place = Place(run, storage, heartbeat)
    return _work(place, Loaded(run, config, space, data, pattern), workers, watch)


def resume_study(
    place: Place,
    *,
    data_name: str | None = None,
    space: str | None = None,
    workers: int = 1,
    trials: int | None = None,
    timeout: float | None = None,
    watch: Watch = QUIET,
) -> StudyResult:
    """Go on with the study of a directory.

    Args:
        place: where it is.
        data_name: where the images are now, if they or the directory were moved.
        space: the network's name again, if it is one of your own.
        workers: how many processes work on it.
        trials: how many trials it is to have; as many as it was given if None.
        timeout: seconds after which no trial is begun; as it was given if None.
        watch: told of progress.
    """
    loaded = load_study(place.run, data_name=data_name, space=space, watch=watch)
    changes = {"trials": trials, "timeout": timeout}
    config = loaded.config.model_copy(update={key: one for key, one in changes.items() if one is not None})
    loaded = replace(loaded, config=config)
    return _work(place, loaded, workers, watch)


def load_study(
    run: Path, *, data_name: str | None = None, space: str | None = None, watch: Watch = QUIET
) -> Loaded:
    """What the study of a directory needs, loaded again."""
    config = read_config(run, StudyConfig)
    check_trusted(config.space, space, str(run))
    config = config.found_from(run, data_name)
    data, network = _loaded(config, watch)
    return Loaded(run, config, network, data, pattern_in(run, config))


def pattern_in(run: Path, config: StudyConfig) -> Pattern | None:
    """The guideline of the study of a directory."""
    if config.guideline is None or config.guideline in RULES:
        return RULES[config.guideline] if config.guideline else None
    return read_guideline(run / GUIDELINE)


@contextmanager
def studies_in(place: Place, config: StudyConfig) -> Iterator[dict[str, optuna.Study]]:
    """The Optuna studies of a directory, by name, for the time of the block.

    Raises:
        StorageError: they are not where they should be.
    """
    if place.storage is None and not (place.run / JOURNAL).exists():
        raise StorageError(
            f"the study in {place.run} must have its trials there, or be given its --storage again: it has no journal."
        )
    with opened(place.storage, place.run) as storage:
        try:
            found = {name: optuna.load_study(study_name=name, storage=storage) for name in config.studies}
        except KeyError:
            raise StorageError(
                f"study {config.name!r} must be in the storage {shown(place.storage)}, which has none of that name. "
                "Give the --storage it was run with."
            ) from None
        yield found


def read_trials(place: Place) -> StudyResult:
    """What the study of a directory holds; nothing is changed."""
    config = read_config(place.run, StudyConfig)
    with studies_in(place, config) as studies:
        trials = {name: study.get_trials(deepcopy=False) for name, study in studies.items()}
    return StudyResult(place, config, trials)


def _resolved(config: StudyConfig, storage: str | None) -> StudyConfig:
    versions = library_versions(("nas-prune", "torch", "torchvision", "numpy", "optuna", "cmaes"))
    is_tpe = is_shared(storage) or config.against is not None
    return config.model_copy(
        update={"versions": versions, "sampler": config.sampler or ("tpe" if is_tpe else "cma")}
    )


def _loaded(config: StudyConfig, watch: Watch) -> tuple[ImageData, SearchSpace]:
    data = load_images(config.data, config.seed, watch, in_channels=image_channels(config.space))
    with watch.waiting("tracing the network"):
        space = space_of(config, data)
    space.check_trainable()
    return data, space


def space_of(config: StudyConfig, data: ImageData) -> SearchSpace:
    """The space of a study, at the size of its images."""
    return load_space(
        config.space,
        (data.in_channels, data.image_size, data.image_size),
        num_classes=data.num_classes,
        width_multiplier=config.width_multiplier,
        selections=config.groups == "selections",
    )


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
        place = run.with_name(f"{run.name}{suffix}")
        if not place.exists() and not taken & set(other.studies):
            return place, other
        number += 1


def _work(place: Place, loaded: Loaded, workers: int, watch: Watch) -> StudyResult:
    """All that is left, in this process or in several."""
    quiet()
    sweep(place.run)
    _mend(place, watch)
    began = datetime.now()  # noqa: DTZ005  (Optuna's times have no zone)
    deadline = None if loaded.config.timeout is None else time() + loaded.config.timeout
    with (
        telling_how_to_go_on(command_for(place)),
        closing(Presence(place.run)) as presence,
        opened(place.storage, place.run, on_stale=_on_stale, heartbeat=place.heartbeat) as storage,
    ):
        worker = Worker(place, loaded, storage, presence, began, deadline)
        watch.say(
            f"Study {loaded.config.name} in {place.run}, trials in {shown(place.storage)}. "
            f"Watch it: nas-prune dashboard {place.run}{storage_flag(place)}"
        )
        for one in worker.studies:
            show_study(loaded, one)
        if workers == 1:
            while worker.may_go_on() and worker.step(watch):
                pass
        else:
            _in_workers(worker, workers, watch)
        worker.check_failures()
        for one in worker.studies:
            show_study(loaded, one)
        return StudyResult(
            place, loaded.config, {one.name: one.study.get_trials(deepcopy=False) for one in worker.studies}
        )


def storage_flag(place: Place) -> str:
    """What to add to a command where the trials are not in the study's directory."""
    return "" if place.storage is None else f" --storage {shown(place.storage)}"


def command_for(place: Place) -> str:
    """What to type to go on."""
    return f"nas-prune study run {place.run}{storage_flag(place)}"


def _mend(place: Place, watch: Watch) -> None:
    """Take a line that breaks off out of the journal, if nobody is writing to it."""
    path = journal_path(place.storage, place.run)
    if path is None or not path.exists() or live_workers(place.run):
        return
    dropped = mend_journal(path)
    if dropped:
        watch.say(f"{path.name} broke off; {dropped} unfinished line{'s' * (dropped > 1)} taken out.")


@dataclass(slots=True)
class Worker:
    """One process at work on a study.

    Attributes:
        place: where the study is.
        loaded: what every trial needs.
        storage: Optuna's.
        presence: shows others that it is alive.
        began: when the command began; failures before that are forgiven.
        deadline: when no further trial is begun, in seconds since 1970.
        studies: Optuna's.
    """

    place: Place
    loaded: Loaded
    storage: BaseStorage
    presence: Presence
    began: datetime
    deadline: float | None
    studies: list[OneStudy] = field(init=False)

    def __post_init__(self) -> None:
        self.studies = answered(partial(open_studies, self.loaded, self.storage), self.place.storage)

    def may_go_on(self) -> bool:
        """Whether further trials are to be begun: not after the deadline, nor after too many failures."""
        is_late = self.deadline is not None and time() > self.deadline
        return not is_late and len(self.failures()) < self.loaded.config.max_failures

    def step(self, watch: Watch = QUIET) -> bool:
        """Work on one trial, or wait a moment for those of others; whether there may be more to do."""
        return answered(partial(self._step, watch), self.place.storage)

    def _step(self, watch: Watch) -> bool:
        one = self.next_study()
        if one is not None:
            self._optimize(one, watch)
            return True
        return self.waits()

    def next_study(self) -> OneStudy | None:
        """The study that has a trial to begin; those of dead workers are seen to first."""
        for one in self.studies:
            recover(one.study, worker_is_gone(self.place.run))
            trials = one.study.get_trials(deepcopy=False)
            if record.count_waiting(trials) or record.count_lines(trials) < self.loaded.config.trials:
                return one
        return None

    def waits(self) -> bool:
        """Wait a moment where others are at the last trials: should they die, somebody must go on with these."""
        wanted = self.loaded.config.trials
        counts = [record.count_finished(one.study.get_trials(deepcopy=False)) for one in self.studies]
        if min(counts) >= wanted:
            return False
        if has_heartbeat(self.place.storage):
            for one in self.studies:
                optuna.storages.fail_stale_trials(one.study)
        sleep(_LOOK_AGAIN)
        return True

    def _optimize(self, one: OneStudy, watch: Watch) -> None:
        config, trials = self.loaded.config, one.study.get_trials(deepcopy=False)
        assert config.sampler is not None
        is_alone = not any(trial.state == TrialState.RUNNING for trial in trials)
        chance = [config.seed, one.name, len(trials), *([] if is_alone else [self.presence.name])]
        one.study.sampler = sampler_named(config.sampler, *chance)
        watch.progress(one.name, record.count_finished(trials), config.trials)
        objective = Objective(
            self.loaded, one.study, one.budgets, self.presence.name, Watch(progress=watch.progress)
        )
        one.study.optimize(objective, n_trials=1, catch=(NasPruneError,))
        self._tell(one, watch)

    def _tell(self, one: OneStudy, watch: Watch) -> None:
        trials = one.study.get_trials(deepcopy=False)
        own = [trial for trial in trials if trial.user_attrs.get(record.WORKER) == self.presence.name]
        if own:
            watch.say(said_of(own[-1], trials, one.name))
        finished = record.count_finished(trials)
        watch.progress(one.name, finished, self.loaded.config.trials)
        if finished % _SHOWN_EVERY == 0:
            show_study(self.loaded, one)

    def missing(self) -> int:
        """How many trials are still to be begun here."""
        counts = [one.study.get_trials(deepcopy=False) for one in self.studies]
        wanted = self.loaded.config.trials
        return sum(
            max(0, wanted - record.count_lines(trials)) + record.count_waiting(trials) for trials in counts
        )

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
            BadInputError: it is so; the last reason is named.
        """
        reasons, most = self.failures(), self.loaded.config.max_failures
        if len(reasons) >= most:
            raise BadInputError(
                f"trials must not fail {most} times in a row, which they did; the last one because {reasons[0]} "
                f"Mend it and go on: {command_for(self.place)}"
            )


def recover_study(place: Place, *, older_than: float | None = None) -> tuple[int, list[Recovered]]:
    """See to what dead workers left: a journal that breaks off, and trials that are still called running.

    Args:
        place: where the study is.
        older_than: seconds since the beginning of a trial after which its worker counts as dead too; None to leave
            those of machines that cannot be looked at from here.

    Returns:
        How many unfinished lines were taken out of the journal, and the trials that were put back or given up.

    Raises:
        NasPruneError: there is no such study, or workers are writing to a journal that is damaged.
    """
    quiet()
    config = read_config(place.run, StudyConfig)
    dropped, path = 0, journal_path(place.storage, place.run)
    if path is not None and path.exists() and not live_workers(place.run):
        dropped = mend_journal(path)
    found = []
    gone = worker_is_gone(place.run)
    silent = gone if older_than is None else silent_for(older_than)
    with studies_in(place, config) as studies:
        for study in studies.values():
            found += recover(study, lambda trial: gone(trial) or silent(trial))
    return dropped, found


def _on_stale(study: optuna.Study, trial: FrozenTrial) -> None:
    trials = study.get_trials(deepcopy=False)
    if record.deaths(trial, trials) < record.MOST_DEATHS:
        put_back(study, trial)


def _in_workers(worker: Worker, workers: int, watch: Watch) -> None:
    """Hand trials out to processes of this machine until all have come to their end."""
    place, loaded = worker.place, worker.loaded
    with passing_folder(place.run) as folder:
        parked = park(loaded.data, folder)
        prepare = partial(_prepared, place, loaded.config, parked, worker.began, worker.deadline)
        while worker.may_go_on():
            if worker.next_study() is not None:
                for outcome in in_workers(prepare, range(worker.missing()), workers, watch):
                    if outcome.error:
                        watch.say(f"A worker has ended: {outcome.error}.")
            elif not worker.waits():
                return


def _prepared(
    place: Place, config: StudyConfig, parked: Parked, began: datetime, deadline: float | None
) -> Callable[[int, Watch], None]:
    """What one process does for a trial; its lock is held as long as the process lives."""
    quiet()
    data = parked.taken()
    loaded = Loaded(place.run, config, space_of(config, data), data, pattern_in(place.run, config))
    storage = open_storage(place.storage, place.run, on_stale=_on_stale, heartbeat=place.heartbeat)
    worker = Worker(place, loaded, storage, Presence(place.run), began, deadline)

    def work(_: int, watch: Watch) -> None:
        if worker.may_go_on() and worker.next_study() is not None:
            worker.step(watch)

    return work


def said_of(trial: FrozenTrial, trials: list[FrozenTrial], study: str) -> str:
    """One line on a trial that has ended."""
    name = f"{study}, trial {trial.number}"
    if trial.user_attrs.get(record.FAILED):
        return f"{name} failed: {record.reason_of(trial)}"
    if trial.state == TrialState.PRUNED:
        return f"{name} fell behind and was ended after {trial.user_attrs.get(record.EPOCHS)} epochs"
    if trial.values is None:
        return f"{name} has ended without a value"
    told = trial.user_attrs.get(record.TOLD_FROM)
    best = max((one for one in trials if one.values), key=lambda one: one.values[0])
    source = trial.user_attrs.get(record.SOURCE)
    return (
        f"{name}{f' ({source})' if source else ''}: {100 * trial.values[0]:.2f} % at "
        f"{trial.user_attrs[record.MACS]:,} MACs"
        f"{f' (as trial {told}, of the same widths)' if told is not None else ''}; "
        f"best {100 * best.values[0]:.2f} % (trial {best.number})"
    )
