"""Comparing patterns: searches of every seed, and the trainings of all arms; it goes on after any stop."""

import json
from functools import partial
from pathlib import Path
from shlex import quote

from nas_prune.comparison.pattern_config import PatternCompareConfig
from nas_prune.comparison.pattern_result import PatternComparison, read_pattern_comparison, summary
from nas_prune.comparison.pattern_work import (
    GUIDELINE,
    SEARCHED_BY,
    Unit,
    is_done,
    prepared_worker,
    searches_of,
    trainings_of,
    width_searches_of,
)
from nas_prune.errors import BadInputError, FileError, NasPruneError
from nas_prune.hardware.use import keep_target
from nas_prune.patterns.config import resolve
from nas_prune.patterns.guideline import read_pattern_guideline
from nas_prune.patterns.prepared import prepared_patterns
from nas_prune.runs.directory import RESULT, begun_whole, check_out, make_run, published
from nas_prune.runs.files import alone_in, write_whole
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.runs.reopen import reopen
from nas_prune.runs.settings import library_versions, write_config
from nas_prune.runs.stopping import resume_hint
from nas_prune.runs.workers import in_workers
from nas_prune.space.load import images_for
from nas_prune.space.names import is_own
from nas_prune.training.config import checked_images
from nas_prune.training.given_weights import write_start
from nas_prune.training.notes import before_training


def compare_patterns(
    config: PatternCompareConfig,
    out: Path | None = None,
    *,
    space: str | None = None,
    workers: int = 1,
    progress: Progress = SILENT,
) -> PatternComparison:
    """Search with every seed, train every arm, and compare each with the one it belongs beside.

    Args:
        config: every setting.
        out: the run's directory, new or empty; the next free `runs/SPACE-compare-DATA-NNN` if None.
        space: the network again, if it is one of your own.
        workers: how many trainings at once, each in a process of its own.
        progress: reports how far the work is.

    Raises:
        NasPruneError: something in the settings cannot be used; nothing has been written then.
    """
    config = config.checked()
    _ = config.chosen
    check_out(out)
    search = resolve(config.search_of(0))
    stage = prepared_patterns(search, SILENT)
    if config.guideline is not None:
        read_pattern_guideline(config.guideline)
    changes = {
        "search": search.model_copy(
            update={
                "weights": None if stage.given is None else stage.given.name,
                "guideline": None if stage.guideline is None else SEARCHED_BY,
            }
        ),
        "device": stage.compute.device.type,
        "precision": stage.compute.precision,
        "channels_last": stage.compute.channels_last,
        "threads": config.threads or max(1, stage.threads // workers),
        "versions": library_versions(),
        "images": stage.config.images,
        "data": stage.resolved().data,
    }
    config = config.model_copy(update=changes)
    run = make_run(out, config.search.space, "compare", config.data.name)
    with begun_whole(run):
        keep_target(search.target, run)
        if stage.given is not None:
            write_start(run, stage.given)
        if stage.guideline is not None:
            stage.guideline.write(run / SEARCHED_BY)
        if config.guideline is not None:
            read_pattern_guideline(config.guideline).write(run / GUIDELINE)
            config = config.model_copy(update={"guideline": str(run / GUIDELINE)})
        write_config(run, config.relative_to(run))
    for note in _of_guideline(config):
        progress.say(note)
    progress.say(before_training(stage.data, config.recipe))
    progress.say(f"Writing to {run}. If it is stopped: {_again(run, config)}")
    return _finish(run, config, space, workers, progress)


def resume_compare_patterns(
    run: Path,
    *,
    seeds: int | None = None,
    data_name: str | None = None,
    space: str | None = None,
    workers: int = 1,
    progress: Progress = SILENT,
) -> PatternComparison:
    """Resume a comparison of patterns, or add seeds to it; what is done is kept.

    Args:
        run: its directory.
        seeds: more than it has; None for as many.
        data_name: where the images are now, if they or the run were moved.
        space: the network again, if it is one of your own.
        workers: how many trainings at once.
        progress: reports how far the work is.
    """
    config = reopen(
        run, PatternCompareConfig, trusted=space, data_name=data_name, progress=progress, cleans=False
    )
    with alone_in(run):
        if seeds is not None:
            if seeds < config.seeds:
                raise BadInputError(
                    f"--seeds must be at least the {config.seeds} that the run has, got {seeds}."
                )
            config = config.model_copy(update={"seeds": seeds}).checked()
        if any(not is_done(run, unit) for unit in trainings_of(config)):
            seed = config.search_of(0).seed
            checked_images(config, images_for(config.search.space, config.data, seed, SILENT))
        if seeds is not None:  # when all is known to fit
            write_config(run, config.relative_to(run))
    return _finish(run, config, space, workers, progress)


def _of_guideline(config: PatternCompareConfig) -> list[str]:
    """A warning where the guided arm would be judged by the searches that its guideline is of."""
    if config.guideline is None:
        return []
    name = published(config.data.name)
    own = {
        one.seed
        for one in read_pattern_guideline(config.guideline).sources
        if one.network == config.search.space and one.data == name and one.seed < config.seeds
    }
    if not own:
        return []
    seeds = ", ".join(map(str, sorted(own)))
    said = (
        f"The guideline is of searches of this network on these images with seeds that are compared, too ({seeds}): "
        "what is said of the arm guided is said of what it was made from. Fit it to searches with other seeds."
    )
    return [said]


def _again(run: Path, config: PatternCompareConfig) -> str:
    own = f" --space {quote(config.search.space)}" if is_own(config.search.space) else ""
    return f"nas-prune compare --resume {quote(str(run))}{own}"


def _finish(
    run: Path, config: PatternCompareConfig, space: str | None, workers: int, progress: Progress
) -> PatternComparison:
    """Do what is left: all searches first, since arms follow from them; none for a seed whose arms are all trained."""
    failed: list[tuple[str, str]] = []
    with alone_in(run), resume_hint(_again(run, config)):
        seeds = {unit.seed for unit in trainings_of(config) if not is_done(run, unit)}
        for units in (searches_of(config), width_searches_of(config), trainings_of(config)):
            left = [
                unit
                for unit in units
                if unit.seed in seeds
                and not is_done(run, unit)
                and all(is_done(run, before) for before in unit.follows)
            ]
            failed += _done(run, config, space, left, workers, progress)
    result = read_pattern_comparison(run, tuple(failed))
    write_whole(run / RESULT, json.dumps(summary(result), indent=1) + "\n")
    return result


def _done(
    run: Path,
    config: PatternCompareConfig,
    space: str | None,
    units: list[Unit],
    workers: int,
    progress: Progress,
) -> list[tuple[str, str]]:
    """Do some units; those that failed, and why."""
    if workers == 1:
        work, failed = prepared_worker(run, config, space), []
        for number, unit in enumerate(units):
            progress.update(unit.name, number, len(units))
            try:
                work(unit, progress)
            except FileError:
                raise
            except NasPruneError as error:  # the rest is trained, as by several workers
                failed.append((unit.name, str(error)))
        return failed
    outcomes = in_workers(partial(prepared_worker, run, config, space), units, workers, progress)
    pairs = zip(units, outcomes, strict=True)
    return [(unit.name, outcome.error) for unit, outcome in pairs if outcome.error is not None]
