"""A study's judge: its network trained once for all workers, and loaded by each.

The network lies in `judges/NAME` below the study's directory, trained like any other run: killed at any moment, the
next worker goes on with it, and one lets the others wait. Its weights are used for nothing but judging.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from nas_prune.runs.directory import NETWORK, RESULT
from nas_prune.runs.files import saying_why, write_whole
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.runs.settings import CONFIG
from nas_prune.search.config import SearchConfig
from nas_prune.search.methods.registry import method_named, scorable
from nas_prune.search.prepared import FixedInputs
from nas_prune.search.run import resume_search, search, trained_and_scored
from nas_prune.space.budget import Budget
from nas_prune.space.cut import feasible_range, matched
from nas_prune.space.search_space import SearchSpace
from nas_prune.study.config import SCRATCH, JudgeName
from nas_prune.study.context import StudyContext
from nas_prune.study.judges.contract import Judge
from nas_prune.study.judges.inheriting import Inheriting
from nas_prune.study.judges.own import OwnJudge, Uncounted
from nas_prune.study.judges.proxies import LogWidths, Synflow
from nas_prune.study.judges.slimmable import Narrow, Sandwich, channel_order, macs_of_step
from nas_prune.study.rule_search import AWAY, Pool, in_order
from nas_prune.training.compute import Compute, limited_threads, pick_device, pick_threads
from nas_prune.training.loop import Training
from nas_prune.training.network_file import read_network, set_weights, write_network
from nas_prune.training.ranks import ALONE
from nas_prune.training.resumable import train_in
from nas_prune.training.state import start

JUDGES: Mapping[JudgeName, str] = {
    "scratch": "a training from random weights",
    "inherited": "the best channels of the network that a search trained, batch norms estimated anew",
    "slimmable": "one network trained at many widths, batch norms estimated anew",
    "synflow": "the synaptic flow of a network of random weights",
    "log-widths": "the mean logarithm of the keep ratios",
    "own": "a function of your own, which trains nothing",
}
_METHODS = ("slimming", "taylor")  # the first that scores every searched group, or else most of them
_OF_THE_MACHINE = ("data", "device", "threads", "precision", "channels_last", "compiles")
_DRAWN = 128  # widths of a slimmable network's steps
_SMALLEST = 0.5  # of the budget, for the smallest of them
_LOOK_AGAIN = 2.0  # seconds


def prepare_judge(context: StudyContext, progress: Progress = SILENT) -> None:
    """Train what the study's judge needs, or wait while another worker does.

    Raises:
        NasPruneError: it cannot be trained.
        KeyboardInterrupt: it was stopped; the next call goes on.
    """
    train = _TRAININGS.get(context.config.judging)
    if train is None or is_prepared(context):
        return
    folder = folder_of(context)
    with saying_why(folder):
        folder.parent.mkdir(exist_ok=True)
    lock, has_said = FileLock(folder.parent / "lock", fallback_to_soft=False), False
    while True:
        try:
            with lock.acquire(timeout=_LOOK_AGAIN):
                if not is_prepared(context):
                    train(context, folder, progress)
                return
        except Timeout:
            if not has_said:
                progress.say("Waiting for another worker, which trains the network of the judge.")
                has_said = True


def is_prepared(context: StudyContext) -> bool:
    """Whether the judge's network, where it needs one, has been trained."""
    return context.config.judging not in _TRAININGS or (folder_of(context) / RESULT).exists()


def macs_of_preparing(context: StudyContext) -> int:
    """Training MACs that the judge's network takes, whether or not it has been trained."""
    config, space = context.config, context.space
    if config.judging not in _TRAININGS:
        return 0
    narrow = narrow_of(context) if config.judging == "slimmable" else None
    macs = space.cost_at(space.base_G).macs if narrow is None else macs_of_step(space, narrow)
    return context.trainer.macs(macs, config.judge_recipe.epochs)


def loaded_judge(context: StudyContext) -> Judge | None:
    """The study's judge, prepared before; None where every trial is trained."""
    config = context.config
    if config.judging == SCRATCH:
        return None
    judge = _LOADERS[config.judging](context)
    return judge if config.own is None else Uncounted(judge)


def folder_of(context: StudyContext) -> Path:
    """Where the judge's network is."""
    return context.run / "judges" / context.config.judging


def _search_settings(context: StudyContext) -> SearchConfig:
    """The search that the judge `inherited` takes its network and its channels from."""
    config, space = context.config, context.space
    settings = {
        name: getattr(config, name)
        for name in ("space", "width_multiplier", "groups", "budgets", "recipe", "seed", *_OF_THE_MACHINE)
    }
    method = method_named(_method_for(space, context))
    return SearchConfig(
        **settings,
        method=method.name,
        epochs=config.judge_recipe.epochs,
        # The weights count, too: no early end where a method could have one.
        stop=False if method.shows_widths(None) else None,
    )


def _method_for(space: SearchSpace, context: StudyContext) -> str:
    groups = context.config.groups
    return max(_METHODS, key=lambda name: len(scorable(space, method_named(name), groups)))


def _train_inherited(context: StudyContext, folder: Path, progress: Progress) -> None:
    given = FixedInputs(given=(context.data, context.space))
    progress.say(f"Training the network of the judge inherited, {context.config.judge_recipe.epochs} epochs.")
    own = progress.under("judge").without_words()
    if (folder / CONFIG).exists():
        resume_search(
            folder, data_name=context.config.data.name, space=context.config.space, loaded=given, progress=own
        )
        return
    search(_search_settings(context), folder, loaded=given, progress=own)


def _load_inherited(context: StudyContext) -> Judge:
    given = FixedInputs(given=(context.data, context.space))
    network, scores_G = trained_and_scored(folder_of(context), given)
    order_G = tuple(
        order if scores is None else np.argsort(-scores, kind="stable")
        for order, scores in zip(channel_order(context.space), scores_G, strict=True)
    )
    compute, threads = _compute(context)
    return Inheriting(
        network,
        order_G,
        context.space,
        context.data.to(compute.device),
        context.config.seed,
        compute,
        threads,
    )


def narrow_of(context: StudyContext) -> Narrow:
    """The widths whose networks share a slimmable one's weights: those that the study could ask for."""
    config, space = context.config, context.space
    drawn = [vector_G for budget in config.budgets for vector_G in possible_widths(context, budget)]
    columns = space.searched(config.groups)
    least_G = [matched(space, columns, _tightened(space, one, columns)).widths_G for one in config.budgets]
    smallest_G = min(least_G, key=lambda widths_G: space.cost_at(widths_G).macs)
    return Narrow(smallest_G, tuple(drawn))


def _tightened(space: SearchSpace, budget: Budget, columns: Sequence[int]) -> Budget:
    """A budget somewhat below another, of whose bounds the least ones stay feasible."""

    def lower(one: Budget) -> Budget:
        low, _ = feasible_range(space, one, columns)
        return Budget(one.kind, absolute=max(low, int(_SMALLEST * space.limit(one, columns))))

    first, *others = map(lower, budget.bounds)
    return replace(first, more=tuple(others))


def possible_widths(context: StudyContext, budget: Budget) -> list[tuple[int, ...]]:
    """Widths that a study could ask for at a budget, drawn everywhere."""
    config, points = context.config, context.parametrised(budget)
    pool = Pool(points, np.random.default_rng(config.seed))
    centres = in_order(points, points.guideline, points.uniform)
    pool.add_around(centres, AWAY, _DRAWN // (len(centres) * len(config.budgets)))
    return [points.widths_G(pool.parameters(place)) for place in range(len(pool.values_NP))]


def _train_slimmable(context: StudyContext, folder: Path, progress: Progress) -> None:
    with saying_why(folder):
        folder.mkdir(exist_ok=True)
    config, space = context.config, context.space
    compute, threads = _compute(context)
    state = start(space.build(seed=config.seed, device=compute.device), config.judge_recipe.to_the_end())
    sandwich = Sandwich(state.model, space, narrow_of(context), compute)
    training = Training(
        context.data.to(compute.device),
        config.judge_recipe.to_the_end(),
        config.seed,
        compute,
        penalise=sandwich.penalise,
        title="slimmable network",
        settings={"judge": "slimmable"},
    )
    with limited_threads(threads):
        train_in(folder, state, training, progress.under("judge"))
    write_network(folder / NETWORK, state.trained)
    write_whole(folder / RESULT, json.dumps({"epochs": state.epochs_done}) + "\n")


def _load_slimmable(context: StudyContext) -> Judge:
    compute, threads = _compute(context)
    space = context.space
    network = space.build(seed=0, device=compute.device)
    set_weights(network, read_network(folder_of(context) / NETWORK, network))
    data, seed = context.data.to(compute.device), context.config.seed
    return Inheriting(network, channel_order(space), space, data, seed, compute, threads)


def _compute(context: StudyContext) -> tuple[Compute, int]:
    config, space = context.config, context.space
    shape = space.reference.image
    compute = config.compute(pick_device(config.device), ALONE, space.build(seed=0), shape)
    macs = space.cost_at(space.base_G).macs
    return compute, pick_threads(config.threads, macs, config.recipe.batch_size)


_TRAININGS: Mapping[str, Callable[[StudyContext, Path, Progress], None]] = {
    "inherited": _train_inherited,
    "slimmable": _train_slimmable,
}
_LOADERS: Mapping[JudgeName, Callable[[StudyContext], Judge]] = {
    "inherited": _load_inherited,
    "slimmable": _load_slimmable,
    "synflow": lambda context: Synflow(context.space, context.config.seed),
    "log-widths": lambda context: LogWidths(context.space, context.space.searched(context.config.groups)),
    "own": lambda context: OwnJudge(context.own, context.space, context.config.seed),
}
