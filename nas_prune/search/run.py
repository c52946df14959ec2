"""The search stage: train the whole network once under a width method, cut its scores at every budget."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from nas_prune.data.preprocessing import preprocessing_of
from nas_prune.hardware.use import keep_target, timer_for
from nas_prune.runs.directory import (
    CHECKPOINT,
    METRICS,
    NETWORK,
    begun_whole,
    check_out,
    make_run,
)
from nas_prune.runs.files import alone_in, write_whole
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.runs.reopen import reopen
from nas_prune.runs.settings import read_config, write_config
from nas_prune.runs.stopping import resume_hint
from nas_prune.search.config import SearchConfig, resolve
from nas_prune.search.measured import Measured, is_on_latency, measured_cuts
from nas_prune.search.methods.registry import method_named
from nas_prune.search.prepared import LoadedInputs, PreparedSearch, prepared_search
from nas_prune.search.result import FoundWidths, SearchResult, file_stem, warnings_of, write_result
from nas_prune.search.scores_file import SCORES, read_scores, write_scores
from nas_prune.space.cut import best_channels
from nas_prune.space.scores import Scores
from nas_prune.space.widths import MethodRecord, Widths
from nas_prune.training.checkpoint import read_checkpoint
from nas_prune.training.compute import limited_threads, pick_device
from nas_prune.training.config import resume_command
from nas_prune.training.evaluation import evaluate
from nas_prune.training.given_weights import loads_weights, write_start
from nas_prune.training.guessing import guess_of
from nas_prune.training.network_file import (
    NetworkRecord,
    read_network,
    set_weights,
    write_network,
)
from nas_prune.training.notes import before_training, of_last_epoch
from nas_prune.training.provenance import behind
from nas_prune.training.ranks import ALONE, joined
from nas_prune.training.resumable import drop_checkpoints, facts_of, is_finished, train_in
from nas_prune.training.starts import write_kept


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
        _say_start(stage, progress)
        progress.say(before_training(stage.data, stage.config.recipe))
        if stage.method.trains and (note := of_last_epoch(stage.config.recipe)) is not None:
            progress.say(note)
        again = resume_command("search", run, config.space, ranks, config.data)
        progress.say(f"Writing to {run}. If it is stopped: {again}")
        return _finish(stage, run, progress, trained)


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
        return _finish(prepared_search(config, ranks, progress, loaded, run), run, progress)


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
    stage = prepared_search(read_config(run, SearchConfig), ALONE, progress, loaded, run)
    with limited_threads(stage.threads):
        if is_finished(run):
            ended = _as_left(stage, run, facts=None)
        else:
            state = stage.first_state()
            read_checkpoint(run / CHECKPOINT, state)
            ended = _Ended(stage.without_gates(state.trained), stage.scores(state.trained), state.epochs_done)
    assert ended.network is not None
    return ended.network, ended.scores[: len(stage.space.groups)]


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
        with begun_whole(run):
            if stage.given is not None:
                write_start(run, stage.given)
            keep_target(config.target, run)
            write_config(run, stage.resolved().relative_to(run))
    return Path(ranks.broadcast(str(run)))


def _say_start(stage: PreparedSearch, progress: Progress) -> None:
    """Say which weights the network starts from, where these are given or a person may expect others."""
    config = stage.config
    if stage.given is not None:
        progress.say(stage.given.words)
    elif stage.method.trains and loads_weights(stage.space, config.space):
        progress.say(
            f"--space {config.space} gives its network the same weights each time; they are drawn anew here. "
            "--weights as-built starts from them."
        )


@dataclass(frozen=True, slots=True)
class _Ended:
    """A search whose training is over.

    Attributes:
        network: without what the method had put in; None where none is trained.
        scores: of its channels.
        epochs_done: how many it had.
        is_left: it is as an earlier call has left it.
    """

    network: nn.Module | None
    scores: Scores
    epochs_done: int
    is_left: bool = False


def _finish(
    stage: PreparedSearch, run: Path, progress: Progress, trained: Path | None = None
) -> SearchResult:
    """Train what is left, cut at every budget, write the results; no other process writes to the run meanwhile.

    Args:
        stage: the search.
        run: its directory.
        progress: reports how far the work is.
        trained: another search, whose training this one takes over.
    """
    started = perf_counter()
    command = resume_command("search", run, stage.config.space, stage.compute.ranks, stage.config.data)
    is_first = stage.compute.ranks.is_first
    with limited_threads(stage.threads), alone_in(run, is_needed=is_first), resume_hint(command):
        if trained is not None and is_first:
            network = NETWORK if is_finished(trained) else CHECKPOINT
            for name in (METRICS, network):
                write_whole(run / name, (trained / name).read_bytes())
        ended = _ended(stage, run, progress)
        with progress.waiting("scoring channels"):
            result = _conclude(stage, run, ended, started, progress)
        if is_first and not stage.config.keep_checkpoints:
            drop_checkpoints(run)
    for text in warnings_of(result):
        progress.say(text)
    return result


def _ended(stage: PreparedSearch, run: Path, progress: Progress) -> _Ended:
    """Train what is left, or take what a finished training left."""
    ranks = stage.compute.ranks
    if ranks.any(ranks.is_first and stage.method.trains and is_finished(run)):
        return _as_left(stage, run, facts_of(stage.training()))
    state = stage.first_state()
    if stage.method.trains:
        train_in(run, state, stage.training(run), progress, is_held=True)
    ranks.take_buffers(state.trained)
    with progress.waiting("scoring channels"):
        scores = stage.scores(state.trained)
    network = stage.without_gates(state.trained) if stage.method.trains else None
    return _Ended(network, scores, state.epochs_done)


def _as_left(stage: PreparedSearch, run: Path, facts: Mapping[str, Any] | None) -> _Ended:
    """What a finished training left; the scores are worked out anew where another search left the network.

    Args:
        stage: the search.
        run: its directory.
        facts: what the network's file must record of the training; not checked if None.

    Raises:
        BadInputError, DamagedError: it is of another network or training, or not whole.
    """
    network = stage.space.build(seed=0, device=stage.compute.device)
    file = read_network(run / NETWORK, network)
    if facts is not None:
        file.of_same_run(facts)
    set_weights(network, file)
    is_scored = (run / SCORES).exists() or not trains_as_usual(stage.config)
    scores = read_scores(run, stage.space) if is_scored else stage.scores(network)
    epochs = 0 if file.record is None else file.record.epochs_done
    return _Ended(network, scores, epochs, is_left=is_scored)


def _conclude(
    stage: PreparedSearch, run: Path, ended: _Ended, started: float, progress: Progress
) -> SearchResult:
    """Cut at every budget; the first process writes the results."""
    timed, trained = _timed(stage, run, ended.scores, progress), ended.network
    cuts = [one.cut for one in timed]
    seconds = perf_counter() - started
    whole = stage.space.widths(stage.space.base_G, **_provenance(stage, ended.epochs_done))
    if stage.compute.ranks.is_first and trained is not None and not ended.is_left:
        record = NetworkRecord(
            widths=whole,
            preprocessing=preprocessing_of(stage.data),
            facts=facts_of(stage.training()),
            epochs_done=ended.epochs_done,
        )
        write_network(run / NETWORK, trained, record)
        read_network(run / NETWORK, trained)  # before any checkpoint goes
        write_kept(run, {file_stem(one.budget): one.kept_G for one in cuts})
        write_scores(run, stage.space, ended.scores)
    result = SearchResult(
        run=run,
        config=stage.config,
        space=stage.space,
        method=stage.method,
        sparsity=stage.sparsity,
        epochs_done=ended.epochs_done,
        metric=stage.data.task.metric,
        val_score=None if trained is None else evaluate(trained, stage.data.val, stage.data)[1],
        guess=None if trained is None else guess_of(trained, stage.data, stage.config.recipe, stage.compute),
        found=tuple(_found(stage, trained, one, run, ended.epochs_done) for one in timed),
        columns=stage.space.groups_in(stage.columns),
        unscored=stage.unscored,
        seconds=seconds,
    )
    if stage.compute.ranks.is_first:
        write_result(result, whole)
    return result


def _timed(stage: PreparedSearch, run: Path, scores: Scores, progress: Progress) -> list[Measured]:
    """The scores cut at every budget; where it can be, networks at those on latency are measured to fit."""
    cuts, target = stage.cuts_of(scores), stage.config.target
    is_asked = stage.compute.ranks.is_first and any(is_on_latency(one.budget) for one in cuts)
    time_of = timer_for(stage.space, target, progress) if is_asked else None
    timer = None if time_of is None else lambda one: time_of(one.widths_G, one.removed)
    return measured_cuts(cuts, stage.space, scores, run, timer, zero=stage.method.zero, progress=progress)


def _found(
    stage: PreparedSearch, model: nn.Module | None, timed: Measured, run: Path, epochs: int
) -> FoundWidths:
    one = timed.cut
    widths = stage.space.widths(
        one.widths_G, one.kept_G, one.removed, budget=str(one.budget), **_provenance(stage, epochs)
    )
    widths = widths.measured(timed.latency_ms)
    score = None
    if model is not None:
        narrow = stage.space.narrow(model, one.kept_G, one.removed)
        _, score = evaluate(narrow, stage.data.val, stage.data)
    at_floor = tuple(stage.space.groups[column].name for column in one.at_floor)
    path = run / "widths" / f"{file_stem(one.budget)}.json"
    return FoundWidths(widths, path, one.gap, score, at_floor, one.tied_at_zero, is_slow=timed.is_over)


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
        **behind(config.data, data, config.recipe, seed=config.seed, epochs=epochs, versions=config.versions),
    }
