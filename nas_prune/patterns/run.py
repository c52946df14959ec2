"""The search for a pattern: train the whole network under a method, cut the scores of its weights at every budget."""

from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import nn

from nas_prune.data.preprocessing import preprocessing_of
from nas_prune.hardware.use import keep_target
from nas_prune.patterns.config import SparsifyConfig, resolve
from nas_prune.patterns.cut import PatternCut, Scores, cut_weights
from nas_prune.patterns.pattern import PATTERNS, MaskFile, PatternMethod
from nas_prune.patterns.prepared import PreparedPatterns, prepared_patterns
from nas_prune.patterns.result import FoundPattern, SparsifyResult, warnings_of, write_result
from nas_prune.patterns.rounds import trained_in_rounds
from nas_prune.patterns.statistics import pattern_of
from nas_prune.runs.directory import NETWORK, begun_whole, check_out, make_run
from nas_prune.runs.files import alone_in
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.runs.reopen import reopen
from nas_prune.runs.settings import write_config
from nas_prune.runs.stopping import resume_hint
from nas_prune.search.result import file_stem
from nas_prune.training.checkpoint import check_same_network, check_same_run, read_tensors, write_tensors
from nas_prune.training.compute import limited_threads
from nas_prune.training.config import resume_command
from nas_prune.training.evaluation import evaluate
from nas_prune.training.given_weights import write_start
from nas_prune.training.guessing import guess_of
from nas_prune.training.masks import Masks, identity_of_masks, masked
from nas_prune.training.network_file import NetworkRecord, read_network, set_weights, write_network
from nas_prune.training.notes import before_training, of_last_epoch
from nas_prune.training.provenance import behind
from nas_prune.training.ranks import ALONE
from nas_prune.training.resumable import drop_checkpoints, facts_of, is_finished, train_in

SCORES, GUIDELINE = "scores.safetensors", "guideline.yaml"


def sparsify(
    config: SparsifyConfig, out: Path | None = None, *, progress: Progress = SILENT
) -> SparsifyResult:
    """Find which single weights of a network stay, at every budget.

    Args:
        config: every setting.
        out: the run's directory, new or empty; the next free `runs/SPACE-METHOD-DATA-NNN` if None.
        progress: reports how far the work is.

    Returns:
        The patterns found; they are also written to the run's directory.

    Raises:
        NasPruneError: something in the settings cannot be used; nothing has been written then.
    """
    config = resolve(config)
    check_out(out)
    stage = prepared_patterns(config, progress)
    run = make_run(out, config.space, config.method, config.data.name)
    with begun_whole(run):
        if stage.given is not None:
            write_start(run, stage.given)
        keep_target(config.target, run)
        if stage.guideline is not None:
            stage.guideline.write(run / GUIDELINE)
        write_config(run, kept_in(stage, run).relative_to(run))
    if stage.given is not None:
        progress.say(stage.given.words)
    progress.say(before_training(stage.data, stage.config.recipe))
    if stage.method.trains and (note := of_last_epoch(stage.config.recipe)) is not None:
        progress.say(note)
    progress.say(f"Writing to {run}. If it is stopped: {_again(stage, run)}")
    return _finish(stage, run, progress)


def kept_in(stage: PreparedPatterns, run: Path) -> SparsifyConfig:
    """The settings with the guideline that is in the run."""
    found = stage.resolved()
    return found if stage.guideline is None else found.model_copy(update={"guideline": str(run / GUIDELINE)})


def resume_sparsify(
    run: Path, *, data_name: str | None = None, space: str | None = None, progress: Progress = SILENT
) -> SparsifyResult:
    """Resume a search for patterns; the result is as if it had never been stopped.

    Args:
        run: its directory.
        data_name: where the images are now, if they or the run were moved.
        space: the network again, if it is one of your own.
        progress: reports how far the work is.

    Raises:
        BadInputError: the directory is not that of a search for patterns, or its checkpoint is damaged.
    """
    config = reopen(run, SparsifyConfig, trusted=space, data_name=data_name, progress=progress)
    return _finish(prepared_patterns(config, progress, run), run, progress)


def _again(stage: PreparedPatterns, run: Path) -> str:
    return resume_command("sparsify", run, stage.config.space, ALONE, stage.config.data)


@dataclass(frozen=True, slots=True)
class Ended:
    """A search whose training is over.

    Attributes:
        network: with the space's own parameters; its weights that have gone are zero.
        epochs_done: how many it had, over all rounds.
        scores: of its weights, where they are of what the method had put into it; None where they are of the network.
    """

    network: nn.Module
    epochs_done: int
    scores: Scores | None = None


def _finish(stage: PreparedPatterns, run: Path, progress: Progress) -> SparsifyResult:
    """Train what is left, cut at every budget, write the results; no other process writes to the run meanwhile."""
    started = perf_counter()
    with limited_threads(stage.threads), alone_in(run), resume_hint(_again(stage, run)):
        ended = _ended(stage, run, progress)
        with progress.waiting("scoring weights"):
            result = _concluded(stage, run, ended, started)
        write_result(result)
        if not stage.config.keep_checkpoints:
            drop_checkpoints(run)
    for text in warnings_of(result):
        progress.say(text)
    return result


def _ended(stage: PreparedPatterns, run: Path, progress: Progress) -> Ended:
    """Train what is left, or take what a finished training left."""
    if not stage.method.trains:
        return Ended(stage.first_network(), 0)
    if stage.method.rounds:
        network, epochs = trained_in_rounds(stage, run, progress)
        return Ended(network, epochs)
    course = stage.course
    training = stage.training(course, run)
    if is_finished(run):
        left = _as_left(stage, run, facts_of(training))
        return left if course is None else replace(left, scores=_scores_left(stage, run, facts_of(training)))
    state = stage.first_state(course)
    train_in(run, state, training, progress, is_held=True)
    if course is None:
        network, scores = state.trained, None
    else:
        scores = {name: own.detach().float().cpu() for name, own in stage.scores(state.trained).items()}
        write_tensors(run / SCORES, scores, {"facts": facts_of(training)})
        network = course.plain(state.trained)
    _write(stage, run, network, facts_of(training), state.epochs_done)
    return Ended(network, state.epochs_done, scores)


def _scores_left(stage: PreparedPatterns, run: Path, facts: dict[str, Any]) -> Scores:
    """The scores of a finished training.

    Raises:
        BadInputError, DamagedError: they are of another network or training, or not whole.
    """
    path = run / SCORES
    content, scores = read_tensors(path, "scores")
    check_same_run(path, content.get("facts", facts), facts)  # files of earlier versions have none
    own = dict(stage.space.template.named_parameters())
    check_same_network(path, {layer.name: own[layer.name] for layer in stage.costs.layers.layers}, scores)
    return scores


def _write(
    stage: PreparedPatterns, run: Path, network: nn.Module, facts: dict[str, Any], epochs: int
) -> None:
    record = NetworkRecord(
        widths=stage.space.widths(stage.space.base_G),
        preprocessing=preprocessing_of(stage.data),
        facts=facts,
        epochs_done=epochs,
    )
    write_network(run / NETWORK, network, record)
    read_network(run / NETWORK, network)  # before any checkpoint goes


def trained_network(stage: PreparedPatterns, run: Path) -> nn.Module:
    """The network that a finished search trained; of several rounds the last one's.

    Raises:
        BadInputError, DamagedError: it is of another network, or not whole.
    """
    rounds = [path.parent.name.removeprefix("round-") for path in run.glob(f"round-*/{NETWORK}")]
    last = max((int(number) for number in rounds if number.isdecimal()), default=None)
    return _as_left(stage, run if last is None else run / f"round-{last}", None).network


def _as_left(stage: PreparedPatterns, run: Path, facts: dict[str, Any] | None) -> Ended:
    """What a finished training left.

    Raises:
        BadInputError, DamagedError: it is of another network or training, or not whole.
    """
    network = stage.space.build(seed=0, device=stage.compute.device)
    file = read_network(run / NETWORK, network)
    if facts is not None:
        file.of_same_run(facts)
    set_weights(network, file)
    return Ended(network, 0 if file.record is None else file.record.epochs_done)


def _concluded(stage: PreparedPatterns, run: Path, ended: Ended, started: float) -> SparsifyResult:
    scores = stage.scores(ended.network) if ended.scores is None else ended.scores
    val_score = guess = None
    if stage.method.trains:
        val_score = evaluate(ended.network, stage.data.val, stage.data)[1]
        guess = guess_of(ended.network, stage.data, stage.config.recipe, stage.compute)
    found = [cut_weights(stage.costs, scores, budget, stage.method.zero) for budget in stage.config.budgets]
    return SparsifyResult(
        run=run,
        config=stage.config,
        space=stage.space,
        costs=stage.costs,
        epochs_done=ended.epochs_done,
        metric=stage.data.task.metric,
        val_score=val_score,
        guess=guess,
        found=tuple(_found(stage, run, ended, one) for one in found),
        seconds=perf_counter() - started,
    )


def _found(stage: PreparedPatterns, run: Path, ended: Ended, one: PatternCut) -> FoundPattern:
    path = run / PATTERNS / f"{file_stem(one.budget)}.json"
    pattern = pattern_of(
        stage.space,
        stage.costs,
        one.masks,
        budget=str(one.budget),
        mask=MaskFile(file=f"{path.stem}.safetensors", blake2b=identity_of_masks(one.masks)),
        **_provenance(stage, ended.epochs_done),
    )
    score = None
    if stage.method.trains:
        score = evaluate(pruned(stage, ended.network, one.masks), stage.data.val, stage.data)[1]
    return FoundPattern(pattern, one.masks, path, one.gap, score, one.at_floor)


def pruned(stage: PreparedPatterns, network: nn.Module, masks: Masks) -> nn.Module:
    """A copy of a trained network with the weights that stay alone, moved as the method moves them.

    Args:
        stage: the search.
        network: as its training left it; it is not changed.
        masks: which weights stay.
    """
    copy = stage.space.build(seed=0, device=stage.compute.device)
    copy.load_state_dict(network.state_dict())
    if stage.method.settled is not None:
        own = dict(copy.named_parameters())
        with torch.no_grad():
            for name, tensor in stage.method.settled(stage.evidence(network), masks).items():
                own[name].copy_(tensor)
    return masked(copy, masks)


def _provenance(stage: PreparedPatterns, epochs: int) -> dict[str, Any]:
    config, data = stage.config, stage.data
    return {
        "method": PatternMethod(name=stage.method.name, settings=stage.settings),
        **behind(config.data, data, config.recipe, seed=config.seed, epochs=epochs, versions=config.versions),
    }
