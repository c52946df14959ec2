"""The search stage: train the whole network once under a width method, cut its scores at every budget."""

from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from nas_prune.data.config import where_images_are
from nas_prune.runs.directory import CHECKPOINT, METRICS, check_out, make_run, published
from nas_prune.runs.files import write_whole
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.runs.reopen import reopen
from nas_prune.runs.settings import read_config, write_config
from nas_prune.runs.stopping import resume_hint
from nas_prune.search.config import SearchConfig, resolve
from nas_prune.search.methods.registry import method_named
from nas_prune.search.prepared import LoadedInputs, PreparedSearch, prepared_search
from nas_prune.search.result import FoundWidths, SearchResult, file_stem, warnings_of, write_result
from nas_prune.space.cut import Cut, best_channels
from nas_prune.space.scores import Scores
from nas_prune.space.widths import DataRecord, MethodRecord, Widths
from nas_prune.training.checkpoint import read_checkpoint, write_network
from nas_prune.training.compute import limited_threads, pick_device
from nas_prune.training.config import resume_command
from nas_prune.training.evaluation import evaluate
from nas_prune.training.ranks import ALONE, joined
from nas_prune.training.resumable import train_in
from nas_prune.training.starts import NETWORK, write_kept
from nas_prune.training.state import TrainState


def search(
    config: SearchConfig,
    out: Path | None = None,
    *,
    trained: Path | None = None,
    loaded: LoadedInputs | None = None,
    progress: Progress = SILENT,
) -> SearchResult:
    """Train the whole network under a width method and cut it at every budget.

    Args:
        config: every setting.
        out: the run's directory, new or empty; the next free `runs/SPACE-METHOD-DATA-NNN` if None.
        trained: a finished search by a method that, like this one, trains as usual (`trains_as_usual`), with the same
            settings otherwise; its network is used instead of training one again.
        loaded: what earlier searches loaded.
        progress: reports how far the work is.

    Returns:
        The widths found; they are also written to the run's directory.

    Raises:
        NasPruneError: something in the settings cannot be used; nothing has been written then.
    """
    config = resolve(config)
    check_out(out)
    with joined(pick_device(config.device)) as ranks:
        progress = progress if ranks.is_first else SILENT
        stage = prepared_search(config, ranks, progress, loaded)
        run = _new_run(stage, out)
        if trained is not None and ranks.is_first:
            for name in (METRICS, CHECKPOINT):
                write_whole(run / name, (trained / name).read_bytes())
        progress.say(where_images_are(stage.data))
        progress.say(
            f"Writing to {run}. If it is stopped: {resume_command('search', run, config.space, ranks)}"
        )
        return _finish(stage, run, progress)


def resume_search(
    run: Path,
    *,
    data_name: str | None = None,
    space: str | None = None,
    loaded: LoadedInputs | None = None,
    progress: Progress = SILENT,
) -> SearchResult:
    """Resume a search from its last whole epoch; the result is as if it had never been stopped.

    Args:
        run: its directory.
        data_name: where the images are now, if they or the run were moved.
        space: the network again, if it is one of your own, since no code that only a file names is imported.
        loaded: what earlier searches loaded.
        progress: reports how far the work is.

    Raises:
        BadInputError: the directory is not that of a search, or its checkpoint is damaged.
    """
    config = reopen(run, SearchConfig, trusted=space, data_name=data_name, progress=progress)
    method_named(config.method, run=run)
    with joined(pick_device(config.device)) as ranks:
        progress = progress if ranks.is_first else SILENT
        return _finish(prepared_search(config, ranks, progress, loaded), run, progress)


def check_search(config: SearchConfig, loaded: LoadedInputs, progress: Progress = SILENT) -> None:
    """Refuse settings that no search could start with; what is loaded for that stays loaded.

    Raises:
        NasPruneError: as `search` would.
    """
    prepared_search(resolve(config), ALONE, progress, loaded)


def best_of_trained(
    run: Path, widths: Widths, loaded: LoadedInputs, progress: Progress = SILENT
) -> tuple[nn.Module, tuple[NDArray[np.int64], ...]]:
    """The whole network that a finished search trained, and its best channels, as many of each group as some widths.

    Args:
        run: the search's directory.
        widths: of the same space, found by any search.
        loaded: images and network.
        progress: reports how far the work is.

    Raises:
        BadInputError: the directory is not that of a search that trained a network, or its checkpoint is damaged.
    """
    network, scores_G = trained_and_scored(run, loaded, progress)
    config = read_config(run, SearchConfig)
    space = loaded.space(config, loaded.data(config, progress))
    return network, best_channels(scores_G, space.vector(widths))


def trained_and_scored(
    run: Path, loaded: LoadedInputs, progress: Progress = SILENT
) -> tuple[nn.Module, Scores]:
    """The whole network that a finished search trained, and the scores of each group's channels by its method.

    Args:
        run: the search's directory.
        loaded: images and network.
        progress: reports how far the work is.

    Raises:
        BadInputError: the directory is not that of a search that trained a network, or its checkpoint is damaged.
    """
    stage = prepared_search(read_config(run, SearchConfig), ALONE, progress, loaded)
    state = stage.first_state()
    read_checkpoint(run / CHECKPOINT, state)
    with limited_threads(stage.threads):
        scores = stage.scores(state.trained)
    return stage.without_gates(state.trained), scores[: len(stage.space.groups)]


def trains_as_usual(config: SearchConfig) -> bool:
    """Whether a search trains the network as if there were no method: not changed by it, and not stopped early."""
    method = method_named(config.method)
    is_usual = method.trains and not method.changes_training and config.iterations == 1
    return is_usual and not method.shows_widths(config.scope)


def _new_run(stage: PreparedSearch, out: Path | None) -> Path:
    """Make the run's directory and write its configuration, if this process is the one that writes."""
    config, ranks = stage.config, stage.compute.ranks
    run = None
    if ranks.is_first:
        run = make_run(out, config.space, config.method, config.data.name)
        write_config(run, stage.resolved().relative_to(run))
    return Path(ranks.broadcast(str(run)))


def _finish(stage: PreparedSearch, run: Path, progress: Progress) -> SearchResult:
    """Train what is left, cut at every budget, write the results."""
    started = perf_counter()
    state = stage.first_state()
    command = resume_command("search", run, stage.config.space, stage.compute.ranks)
    with limited_threads(stage.threads), resume_hint(command):
        if stage.method.trains:
            train_in(run, state, stage.training(), progress)
        with progress.waiting("scoring channels"):
            result = _conclude(stage, run, state, started)
    for text in warnings_of(result):
        progress.say(text)
    return result


def _conclude(stage: PreparedSearch, run: Path, state: TrainState, started: float) -> SearchResult:
    """Cut at every budget; the first process writes the results."""
    stage.compute.ranks.take_buffers(state.trained)
    cuts = stage.cuts(state.trained)
    seconds = perf_counter() - started
    trained = stage.without_gates(state.trained) if stage.method.trains else None
    if stage.compute.ranks.is_first and trained is not None:
        write_network(run / NETWORK, trained)
        write_kept(run, {file_stem(one.budget): one.kept_G for one in cuts})
    result = SearchResult(
        run=run,
        config=stage.config,
        space=stage.space,
        method=stage.method,
        sparsity=stage.sparsity,
        epochs_done=state.epochs_done,
        val_accuracy=None if trained is None else evaluate(trained, stage.data.val, stage.data)[1],
        found=tuple(_found(stage, trained, one, run, state.epochs_done) for one in cuts),
        columns=stage.space.groups_in(stage.columns),
        unscored=stage.unscored,
        seconds=seconds,
    )
    if stage.compute.ranks.is_first:
        write_result(result, stage.space.widths(stage.space.base_G, **_provenance(stage, state.epochs_done)))
    return result


def _found(stage: PreparedSearch, model: nn.Module | None, one: Cut, run: Path, epochs: int) -> FoundWidths:
    widths = stage.space.widths(
        one.widths_G, one.kept_G, one.removed, budget=str(one.budget), **_provenance(stage, epochs)
    )
    accuracy = None
    if model is not None:
        narrow = stage.space.narrow(model, one.kept_G, one.removed)
        _, accuracy = evaluate(narrow, stage.data.val, stage.data)
    at_floor = tuple(stage.space.groups[column].name for column in one.at_floor)
    path = run / "widths" / f"{file_stem(one.budget)}.json"
    return FoundWidths(widths, path, one.gap, accuracy, at_floor, one.tied_at_zero)


def _provenance(stage: PreparedSearch, epochs: int) -> dict[str, Any]:
    config, data = stage.config, stage.data
    searched = stage.space.groups_in(stage.columns)
    return {
        "left_whole": [
            group.name for column, group in enumerate(stage.space.groups) if column not in searched
        ],
        "method": MethodRecord(
            name=stage.method.name,
            is_automatic=stage.method.kind(config.scope) == "automatic",
            settings=stage.settings,
        ),
        "data": DataRecord(
            name=published(config.data.name),
            num_train=len(data.train),
            num_val=len(data.val),
            max_images=config.data.max_images,
            val_fraction=config.data.val_fraction,
        ),
        "recipe": config.recipe.model_dump(mode="json"),
        "seed": config.seed,
        "epochs": epochs,
        "versions": config.versions,
    }
