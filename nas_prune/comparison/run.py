"""Comparing arms: found widths and the networks to compare them with, seed by seed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

from nas_prune.comparison.arms import Kind, path_of
from nas_prune.comparison.choosing import ALL, Wanted, extended, what_is_trained, with_source
from nas_prune.comparison.config import CompareConfig
from nas_prune.comparison.job import Job, command_for, finish
from nas_prune.comparison.plan import write_plan
from nas_prune.comparison.result import CompareResult
from nas_prune.comparison.searches import check_searches, make_searches
from nas_prune.data import ImageData
from nas_prune.data.config import load_images
from nas_prune.data.identity import identity_of
from nas_prune.data.tasks import task_named
from nas_prune.errors import BadInputError
from nas_prune.guideline.artefact import Guideline
from nas_prune.hardware.use import aimed, keep_target
from nas_prune.runs.directory import begun_whole, check_out, make_run, published
from nas_prune.runs.files import alone_in, remove_partial_files
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.runs.reopen import reopen
from nas_prune.runs.settings import library_versions, write_config
from nas_prune.search.config import SearchConfig
from nas_prune.search.prepared import weights_for
from nas_prune.space.load import load_referenced
from nas_prune.space.names import check_trusted
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.widths import Widths, read_widths
from nas_prune.training.compute import pick_threads
from nas_prune.training.config import checked_images
from nas_prune.training.given_weights import write_start
from nas_prune.training.job import check_fit
from nas_prune.training.notes import before_training


def compare(
    config: CompareConfig,
    widths: Widths,
    out: Path | None = None,
    *,
    search: SearchConfig | None = None,
    wanted: Wanted = ALL,
    space: str | None = None,
    workers: int = 1,
    progress: Progress = SILENT,
) -> CompareResult:
    """Train every arm with every seed, and compare each with the one it belongs beside.

    Args:
        config: every setting; its arms, source and notes are worked out here.
        widths: what is compared.
        out: the run's directory, new or empty; the next free `runs/SPACE-compare-DATA-NNN` if None.
        search: the settings of the search that found the widths, for the arms that inherit weights.
        wanted: which arms, a guideline, a study's widths.
        space: the network's name again, if it is one of your own.
        workers: how many trainings at once, each in a process of its own with its share of the threads.
        progress: reports how far the work is.

    Raises:
        NasPruneError: something in the settings cannot be used; nothing has been written then.
    """
    check_trusted(widths.space.name, space, "the widths file")
    check_out(out)
    config = config.checked()
    data, network = loaded(config, widths, space, progress)
    widths = network.priced(widths)
    known = widths.data
    name = published(config.data.name)
    notes = (
        (f"The widths were found on {known.name} and are compared on {name}.",)
        if known is not None and known.name != name
        else ()
    )
    given = None if search is None else weights_for(search, network, data)
    if search is not None and given is not None:
        search = search.model_copy(update={"weights": given.name})
        progress.say(given.words)
    config = with_source(resolved(config, widths, data, workers, notes), search, widths)
    check_searches(config, data)
    config, extra = extended(config, widths, network, wanted)
    run = make_run(out, widths.space.name, config.command, config.data.name)
    with alone_in(run):
        check_out(run)  # again: another process may have begun there meanwhile
        with begun_whole(run):
            if given is not None:
                write_start(run, given)
            write_all(run, config, widths, network, wanted, extra)
        tell_where(run, widths, data, config, progress)
        if wanted.arms:
            progress.say(what_is_trained(wanted.arms, (), config))
        job = Job(run, config, widths, network, data)
        make_searches(job, progress)
        return finish(job, workers, progress)


def resume_compare(
    run: Path,
    *,
    seeds: int | None = None,
    searches: int | None = None,
    wanted: Wanted = ALL,
    data_name: str | None = None,
    space: str | None = None,
    workers: int = 1,
    progress: Progress = SILENT,
) -> CompareResult:
    """Resume a comparison, or add arms, seeds or searches to it; what is already trained is kept.

    Args:
        run: its directory.
        seeds: more than it has; None for as many.
        searches: likewise.
        wanted: more arms; a guideline or a study's widths that it did not have are added by themselves.
        data_name: where the images are now, if they or the run were moved.
        space: the network's name again, if it is one of your own.
        workers: how many trainings at once.
        progress: reports how far the work is.
    """
    with reopened(run, "compare", seeds=seeds, data_name=data_name, space=space, progress=progress) as job:
        config, widths, network = job.config, job.widths, job.space
        if searches is not None:
            if searches < config.searches:
                raise BadInputError(
                    f"--searches must be at least the {config.searches} that the run has, got {searches}."
                )
            config = config.model_copy(update={"searches": searches})
            check_searches(config, job.data)
        if seeds is not None or searches is not None or wanted != ALL:
            newly: dict[Kind, object] = {"guided": wanted.guideline, "winner": wanted.winner}
            there = {arm.kind for arm in config.chosen}
            for kind, what in newly.items():
                if what is not None and kind in there:
                    raise BadInputError(
                        f"a comparison has one {kind} arm, and {run} has its own already. Begin another comparison."
                    )
                if kind not in there:  # a file that a killed process left there belongs to no arm
                    path_of(run, kind, 0).unlink(missing_ok=True)
            before = config.arms
            config, given = extended(config, widths, network, wanted)
            write_all(run, config, widths, network, wanted, given)
            if wanted.arms:
                progress.say(what_is_trained(wanted.arms, before, config))
        wider = replace(job, config=config)
        make_searches(wider, progress)
        return finish(wider, workers, progress)


@contextmanager
def reopened(
    run: Path,
    command: Literal["compare", "transfer"],
    *,
    seeds: int | None,
    data_name: str | None,
    space: str | None,
    progress: Progress,
) -> Iterator[Job]:
    """A stopped run with everything loaded, with more seeds if asked for; locked inside the block.

    Raises:
        BadInputError: it is of another command, has more seeds already, or another process works on it.
    """
    stored = reopen(run, CompareConfig, trusted=space, data_name=data_name, progress=progress, cleans=False)
    if stored.command != command:
        raise BadInputError(
            f"--resume must be a run of nas-prune {command}, got {run}, of nas-prune {stored.command}."
        )
    widths = read_widths(path_of(run, stored.about, 0))
    if seeds is not None and seeds < stored.seeds:
        raise BadInputError(f"--seeds must be at least the {stored.seeds} that the run has, got {seeds}.")
    config = stored.model_copy(update={"seeds": seeds or stored.seeds})
    with alone_in(run):
        remove_partial_files(run)
        data, network = loaded(config, widths, space, progress)
        again = tuple(arm for arm in config.chosen if arm.kind not in ("guided", "winner", "direct"))
        write_plan(
            run, again, config.seeds, widths, network, data_seed=config.data_seed, pattern=None, given={}
        )
        yield Job(run, config, widths, network, data)


def resolved(
    config: CompareConfig, widths: Widths, data: ImageData, workers: int, notes: tuple[str, ...]
) -> CompareConfig:
    """The settings of a new run: its threads, versions, size and notes."""
    threads = pick_threads(config.threads, widths.base_cost.macs, config.recipe.batch_size)
    return config.model_copy(
        update={
            "threads": config.threads or max(1, threads // workers),
            "versions": library_versions(),
            "notes": notes,
            "num_train": len(data.train),
            "images": identity_of(data),
        }
    )


def tell_where(run: Path, widths: Widths, data: ImageData, config: CompareConfig, progress: Progress) -> None:
    """Say where the images are kept and where the run is."""
    progress.say(before_training(data, config.recipe))
    progress.say(f"Writing to {run}. If it is stopped: {command_for(run, widths, config.command)}")


def loaded(
    config: CompareConfig, widths: Widths, typed: str | None, progress: Progress
) -> tuple[ImageData, SearchSpace]:
    """The images and the network, checked to fit."""
    with progress.waiting("tracing the network"):
        network = aimed(load_referenced(widths.space, typed).limited(widths.limits), config.target)
    network.check_trainable(task_named(config.data.task).puts_out)
    data = load_images(config.data, config.data_seed, progress, in_channels=widths.space.input_shape[0])
    check_fit(data, widths)
    checked_images(config, data)
    return data, network


def write_all(
    run: Path,
    config: CompareConfig,
    widths: Widths,
    network: SearchSpace,
    wanted: Wanted,
    given: dict[Kind, Widths],
) -> None:
    """Write the settings and the widths of all arms; existing widths are kept."""
    pattern = wanted.guideline
    if pattern is not None and isinstance(pattern[1], Guideline):
        pattern[1].write(run / "guideline.yaml")
    keep_target(config.target, run)
    write_plan(
        run,
        config.chosen,
        config.seeds,
        widths,
        network,
        data_seed=config.data_seed,
        pattern=pattern,
        given=given,
    )
    write_config(run, config.relative_to(run))
