"""Where a study is, reading its trials there, and recovering what dead workers left."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import optuna
from optuna.trial import FrozenTrial

from nas_prune.errors import StorageError
from nas_prune.runs.files import refuse_links
from nas_prune.runs.progress import Progress
from nas_prune.runs.settings import read_config
from nas_prune.space.names import is_own
from nas_prune.study.config import StudyConfig, again_in_python
from nas_prune.study.journal import Mended, mend_journal
from nas_prune.study.recovery import Recovered, may_be_gone, recover, silent_for, worker_is_gone
from nas_prune.study.samplers import quiet
from nas_prune.study.storage import HEARTBEAT, JOURNAL, journal_path, opened, shown
from nas_prune.study.trial_check import check_study
from nas_prune.study.worker_lock import WorkerLock, live_workers

if TYPE_CHECKING:
    from nas_prune.study.rank_result import Ranking
    from nas_prune.study.spending import Spent
    from nas_prune.study.standing import Known


@dataclass(frozen=True, slots=True)
class StudyLocation:
    """Where a study is: its directory, and the storage's URL (None for the journal in the directory)."""

    run: Path
    storage: str | None = None
    heartbeat: float = HEARTBEAT


@dataclass(frozen=True, slots=True)
class StudyResult:
    """What a study holds.

    Attributes:
        location: where it is.
        config: its settings.
        trials: of each Optuna study, by its name.
        rankings: of the finalists, where the study's budget was for these, too, and they have been trained.
        known: what the trials of each Optuna study say together, by its name, where it has just been run.
        spent: training MACs that it has taken, where it has just been run.
    """

    location: StudyLocation
    config: StudyConfig
    trials: dict[str, list[FrozenTrial]]
    rankings: "tuple[Ranking, ...]" = ()
    known: "Mapping[str, Known]" = field(default_factory=dict)
    spent: "Spent | None" = None


def storage_flag(location: StudyLocation) -> str:
    """What to add to a command where the trials are not in the study's directory."""
    return "" if location.storage is None else f" --storage {quote(shown(location.storage))}"


def command_for(location: StudyLocation, verb: str = "run", config: StudyConfig | None = None) -> str:
    """The command that resumes a study; a network of your own must be named again.

    Where a function of somebody's own trains, it is their call in Python.
    """
    if config is not None and config.own is not None:
        return again_in_python(location.run)
    again = f" --space {config.space}" if config is not None and is_own(config.space) else ""
    return f"nas-prune study {verb} {quote(str(location.run))}{storage_flag(location)}{again}"


@contextmanager
def studies_in(location: StudyLocation, config: StudyConfig) -> Iterator[dict[str, optuna.Study]]:
    """The Optuna studies of a directory, by name, for the time of the block.

    Raises:
        StorageError: they are not where they should be.
    """
    if location.storage is None and not (location.run / JOURNAL).exists():
        raise StorageError(
            f"the study in {location.run} must have its trials there, or be given its --storage again: "
            "it has no journal."
        )
    with opened(location.storage, location.run) as storage:
        try:
            found = {name: optuna.load_study(study_name=name, storage=storage) for name in config.studies}
        except KeyError:
            raise StorageError(
                f"study {config.name!r} must be in the storage {shown(location.storage)}, which has none of that name. "
                "Give the --storage it was run with."
            ) from None
        for study in found.values():
            check_study(study, config)
        yield found


def read_trials(location: StudyLocation) -> StudyResult:
    """What the study of a directory holds; nothing is changed."""
    config = read_config(location.run, StudyConfig)
    with studies_in(location, config) as studies:
        trials = {name: study.get_trials(deepcopy=False) for name, study in studies.items()}
    return StudyResult(location, config, trials)


def is_alone(run: Path, worker: WorkerLock) -> bool:
    """Whether no other worker of a study's directory is known to be alive; asked by one that holds its own lock.

    Of two that ask at once, each sees the other: both say no.
    """
    return set(live_workers(run)) <= {worker.name}


def mend_if_idle(location: StudyLocation, worker: WorkerLock, progress: Progress) -> None:
    """Remove unfinished lines from the journal, if no other worker is alive and nothing else is wrong with it.

    One that is not in the study's directory is left as it is: others may write to it whom nobody sees from here.
    """
    path = journal_path(location.storage, location.run)
    if path is None or not path.exists() or path != location.run.absolute() / JOURNAL:
        return
    if not is_alone(location.run, worker):
        return
    dropped = mend_journal(path, only_unfinished=True).dropped
    if dropped:
        progress.say(f"{path.name} was incomplete; {dropped} unfinished line{'s' * (dropped > 1)} removed.")


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was repaired of a study: its journal, and the trials that were put back or given up."""

    journal: Mended
    trials: tuple[Recovered, ...]


def recover_study(location: StudyLocation, *, older_than: float | None = None) -> Recovery:
    """Repair what dead workers left: an incomplete journal, and trials that are still marked as running.

    Args:
        location: where the study is.
        older_than: seconds since the beginning of a trial after which its worker counts as dead too; None to leave
            those of machines that cannot be checked from here.

    Raises:
        NasPruneError: there is no such study, or workers are writing to a journal that is damaged.
    """
    quiet()
    config = read_config(location.run, StudyConfig)
    refuse_links(location.run)
    mended, path = Mended(0), journal_path(location.storage, location.run)
    if path is not None and path.exists():
        with closing(WorkerLock(location.run)) as worker:
            mended = mend_journal(path) if is_alone(location.run, worker) else mended
    found: list[Recovered] = []
    gone, maybe = worker_is_gone(location.run), may_be_gone(location.run)
    silent = gone if older_than is None else silent_for(older_than)
    with studies_in(location, config) as studies:
        for study in studies.values():
            found += recover(study, lambda trial: gone(trial) or (maybe(trial) and silent(trial)))
    return Recovery(mended, tuple(found))
