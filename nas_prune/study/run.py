"""Running a study: created or gone on with, by one worker or several, until every trial has come to its end."""

from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from shlex import quote
from time import time

import optuna

from nas_prune.data.config import where_images_are
from nas_prune.guideline.apply import guideline_named, setting_of
from nas_prune.guideline.hand import RULES
from nas_prune.runs.files import sweep
from nas_prune.runs.progress import QUIET, Watch
from nas_prune.runs.settings import library_versions
from nas_prune.runs.stopping import telling_how_to_go_on
from nas_prune.space.budget import Budget
from nas_prune.space.cut import check_feasible
from nas_prune.study.config import GUIDELINE, StudyConfig
from nas_prune.study.context import Loaded, images_and_network, load_study
from nas_prune.study.creation import check_storage, claim_directory, keep_wishes
from nas_prune.study.dashboard import show_study
from nas_prune.study.location import Place, StudyResult, command_for, mend_if_idle, storage_flag
from nas_prune.study.samplers import quiet
from nas_prune.study.storage import HEARTBEAT, is_shared, opened, shown
from nas_prune.study.worker import Worker, put_back_stale, work_in_processes
from nas_prune.study.worker_lock import Presence, live_workers
from nas_prune.training.compute import pick_threads


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
    data, space = images_and_network(config, watch)
    for budget in (Budget.parse(text) for text in config.budgets):
        check_feasible(space, budget, setting_of(space, config.groups).columns)
    threads = pick_threads(config.threads, space.cost_at(space.base_G).macs, config.recipe.batch_size)
    config = config.model_copy(update={"threads": config.threads or max(1, threads // workers)})
    run = out or Path("runs") / config.name
    if is_new:
        run = run.absolute() if run.name in ("", "..") else run
        run, config = _free(run, config, storage)
    loaded, place = Loaded(run, config, space, data, pattern), Place(run, storage, heartbeat)
    if storage is not None:
        # One that does not answer or holds another study is to be said before anything is written.
        with opened(storage, run, heartbeat=heartbeat) as known:
            check_storage(loaded, known)
    claim_directory(run, config, pattern)
    watch.say(where_images_are(data))
    return _work(place, loaded, workers, watch)


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


def _resolved(config: StudyConfig, storage: str | None) -> StudyConfig:
    versions = library_versions(("nas-prune", "torch", "torchvision", "numpy", "optuna", "cmaes"))
    is_tpe = is_shared(storage) or config.against is not None
    return config.model_copy(
        update={"versions": versions, "sampler": config.sampler or ("tpe" if is_tpe else "cma")}
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
    if not live_workers(place.run):  # whose files these may be
        sweep(place.run)
    mend_if_idle(place, watch)
    began = datetime.now()  # noqa: DTZ005  (Optuna's times have no zone)
    deadline = None if loaded.config.timeout is None else time() + loaded.config.timeout
    with (
        telling_how_to_go_on(command_for(place, space=loaded.config.space)),
        closing(Presence(place.run)) as presence,
        opened(place.storage, place.run, on_stale=put_back_stale, heartbeat=place.heartbeat) as storage,
    ):
        worker = Worker(place, loaded, storage, presence, began, deadline)
        keep_wishes(place.run, loaded.config)
        if live_workers(place.run) == [presence.name]:
            worker.put_back_first_ones()
        watch.say(
            f"Study {loaded.config.name} in {place.run}, trials in {shown(place.storage)}. "
            f"Watch it: nas-prune dashboard {quote(str(place.run))}{storage_flag(place)}"
        )
        for one in worker.studies:
            show_study(loaded, one)
        if workers == 1:
            while worker.may_go_on() and worker.step(watch):
                pass
        else:
            work_in_processes(worker, workers, watch)
        worker.check_failures()
        for one in worker.studies:
            show_study(loaded, one)
        return StudyResult(
            place, loaded.config, {one.name: one.study.get_trials(deepcopy=False) for one in worker.studies}
        )
