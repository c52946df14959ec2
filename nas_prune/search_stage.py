"""The search stage: train the whole network once under a width method, cut its scores at every budget."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from nas_prune.budget import OWN, Budget
from nas_prune.cut import Cut, best_channels, check_feasible, cut
from nas_prune.data import ImageData, num_batches
from nas_prune.errors import BadInputError
from nas_prune.files import sweep, write_whole
from nas_prune.loading import load_space
from nas_prune.methods import (
    METHODS,
    Evidence,
    Pulled,
    Scores,
    WidthMethod,
    method_named,
    scorable,
    within_groups,
)
from nas_prune.networks import check_trusted, image_channels
from nas_prune.rundir import (
    CHECKPOINT,
    METRICS,
    check_out,
    from_run,
    make_run,
    portable,
    published,
    read_config,
    write_config,
)
from nas_prune.search_config import SearchConfig, resolve
from nas_prune.search_result import Found, SearchResult, file_stem, warnings_of, write_kept, write_result
from nas_prune.searched import first_state
from nas_prune.setup import (
    DataConfig,
    limited_threads,
    load_images,
    pick_device,
    pick_threads,
    resume_command,
    tell_of_versions,
    where_images_are,
)
from nas_prune.space import Groups, SearchSpace
from nas_prune.stability import KEPT
from nas_prune.training.checkpoint import read_checkpoint
from nas_prune.training.compute import Compute
from nas_prune.training.evaluation import evaluate
from nas_prune.training.keeping import train_in
from nas_prune.training.loop import Observer, Training
from nas_prune.training.ranks import ALONE, Ranks, joined
from nas_prune.training.recipe import Recipe
from nas_prune.training.state import TrainState
from nas_prune.training.stopping import telling_how_to_go_on
from nas_prune.watch import QUIET, Watch
from nas_prune.widths import DataRecord, MethodRecord, Widths, stage_means


@dataclass(frozen=True, slots=True)
class Loaded:
    """Images and networks, each loaded once, for searches of the same ones one after another."""

    images: dict[tuple[DataConfig, int, int | None], ImageData] = field(default_factory=dict)
    spaces: dict[tuple[Any, ...], SearchSpace] = field(default_factory=dict)

    def data(self, config: SearchConfig, watch: Watch) -> ImageData:
        """The images that a search looks at."""
        in_channels = image_channels(config.space)
        key = (config.data, config.seed, in_channels)
        if key not in self.images:
            self.images[key] = load_images(config.data, config.seed, watch, in_channels=in_channels)
        return self.images[key]

    def space(self, config: SearchConfig, data: ImageData) -> SearchSpace:
        """The network that a search narrows, for those images."""
        shape = (data.in_channels, data.image_size, data.image_size)
        selections = config.groups == "selections"
        key = (config.space, shape, data.num_classes, config.width_multiplier, selections)
        if key not in self.spaces:
            self.spaces[key] = load_space(
                config.space,
                shape,
                num_classes=data.num_classes,
                width_multiplier=config.width_multiplier,
                selections=selections,
            )
        return self.spaces[key]


@dataclass(frozen=True, slots=True)
class Given(Loaded):
    """Images and network of others, whatever the settings say: searches with other seeds see the same split."""

    given: tuple[ImageData, SearchSpace] | None = None

    def data(self, config: SearchConfig, watch: Watch) -> ImageData:  # noqa: ARG002
        """The images given."""
        assert self.given is not None
        return self.given[0]

    def space(self, config: SearchConfig, data: ImageData) -> SearchSpace:  # noqa: ARG002
        """The network given."""
        assert self.given is not None
        return self.given[1]


def search(
    config: SearchConfig,
    out: Path | None = None,
    *,
    trained: Path | None = None,
    loaded: Loaded | None = None,
    watch: Watch = QUIET,
) -> SearchResult:
    """Train the whole network under a width method and cut it at every budget.

    Args:
        config: every setting.
        out: the run's directory, new or empty; the next free `runs/SPACE-METHOD-DATA-NNN` if None.
        trained: a finished search by a method that, like this one, trains as usual (`trains_as_usual`), with the same
            settings otherwise; its network is taken instead of training one again.
        loaded: what earlier searches loaded.
        watch: told of progress.

    Returns:
        The widths found; they are also written to the run's directory.

    Raises:
        NasPruneError: something in the settings cannot be used; nothing has been written then.
    """
    config = resolve(config)
    check_out(out)
    with joined(pick_device(config.device)) as ranks:
        heard = watch if ranks.is_first else QUIET
        stage = _prepare(config, ranks, heard, loaded)
        run = _new_run(stage, out)
        if trained is not None and ranks.is_first:
            for name in (METRICS, CHECKPOINT):
                write_whole(run / name, (trained / name).read_bytes())
        heard.say(where_images_are(stage.data))
        heard.say(f"Writing to {run}. If it is stopped: {resume_command('search', run, config.space, ranks)}")
        return _finish(stage, run, heard)


def resume_search(
    run: Path,
    *,
    data_name: str | None = None,
    space: str | None = None,
    loaded: Loaded | None = None,
    watch: Watch = QUIET,
) -> SearchResult:
    """Go on with a search that was stopped, from its last whole epoch; the result is as if it never was.

    Args:
        run: its directory.
        data_name: where the images are now, if they or the run were moved.
        space: the network again, if it is one of your own, since no code that only a file names is imported.
        loaded: what earlier searches loaded.
        watch: told of progress.

    Raises:
        BadInputError: the directory is no search's, or its checkpoint is damaged.
    """
    config = read_config(run, SearchConfig)
    check_trusted(config.space, space, str(run))
    config = config.model_copy(update={"data": config.data.at(data_name or from_run(config.data.name, run))})
    with joined(pick_device(config.device)) as ranks:
        heard = watch if ranks.is_first else QUIET
        tell_of_versions(config, heard)
        if ranks.is_first:
            sweep(run)
        return _finish(_prepare(config, ranks, heard, loaded), run, heard)


def check_search(config: SearchConfig, loaded: Loaded, watch: Watch = QUIET) -> None:
    """Refuse settings that no search could be begun with; what is loaded for that stays loaded.

    Raises:
        NasPruneError: as `search` would.
    """
    _prepare(resolve(config), ALONE, watch, loaded)


def best_of_trained(
    run: Path, widths: Widths, loaded: Loaded, watch: Watch = QUIET
) -> tuple[nn.Module, tuple[NDArray[np.int64], ...]]:
    """The whole network that a finished search trained, and its best channels, as many of each group as some widths.

    Args:
        run: the search's directory.
        widths: of the same space, found by any search.
        loaded: images and network.
        watch: told of progress.

    Raises:
        BadInputError: the directory is no search's that trained a network, or its checkpoint is damaged.
    """
    stage = _prepare(read_config(run, SearchConfig), ALONE, watch, loaded)
    state = first_state(stage.space, stage.method, stage.columns, stage.config, stage.compute.device)
    read_checkpoint(run / CHECKPOINT, state)
    with limited_threads(stage.threads):
        scores = _scores(stage.method, stage.config, stage.evidence(state.trained))
    kept_G = best_channels(scores[: len(stage.space.groups)], stage.space.vector(widths))
    return stage.settled(state.trained), kept_G


def trains_as_usual(config: SearchConfig) -> bool:
    """Whether a search trains the network as if there were no method: not changed by it, and not stopped early."""
    method = method_named(config.method)
    return method.trains and not method.changes_training and not method.shows_widths(config.scope)


@dataclass(frozen=True, slots=True)
class _Stage:
    """A search that has been found sound: everything loaded, nothing written yet."""

    config: SearchConfig
    method: WidthMethod
    space: SearchSpace
    data: ImageData
    columns: tuple[int, ...]
    unscored: tuple[str, ...]
    sparsity: float | None
    compute: Compute
    threads: int

    def resolved(self, data_name: str) -> SearchConfig:
        """The configuration with what was chosen from data and device filled in."""
        data = self.config.data.model_copy(update={"name": data_name, "image_size": self.data.image_size})
        return self.config.model_copy(
            update={
                "data": data,
                "epochs": self.config.search_recipe.epochs if self.method.trains else None,
                "sparsity": self.sparsity,
                "device": self.compute.device.type,
                "precision": self.compute.precision,
                "channels_last": self.compute.channels_last,
                "threads": self.threads,
            }
        )

    def training(self) -> Training:
        """How the whole network is trained."""
        sparsity, config = self.method.sparsity, self.config
        pull = None
        if sparsity is not None and self.sparsity is not None:
            pull = sparsity.pull(Pulled(self.space, self.columns, self.sparsity, config.cost))
        return Training(
            self.data,
            config.search_recipe,
            config.seed,
            self.compute,
            penalise=pull,
            after_epoch=None if self.method.after_epoch is None else self.soften,
            title="training" if pull is None else "sparse training",
            observer=self.observer(),
            settings={"method": self.method.name, **self.settings} if self.method.changes_training else {},
        )

    def soften(self, state: TrainState) -> None:
        """Let the method change the networks after an epoch, by what the cut at the first budget keeps now.

        Processes that train together have the same weights, and so change the same.
        """
        assert self.method.after_epoch is not None
        kept_G = self.cuts(state.trained, self.config.budgets[:1])[0].kept_G
        for network in (state.model, state.average):
            if network is not None:
                self.method.after_epoch(network, self.space, kept_G)

    def observer(self) -> Observer | None:
        """What notes the widths after every epoch and stops when they are stable; none where they are not searched."""
        if not self.method.shows_widths(self.config.scope):
            return None
        stop = self.config.stop
        can_tell = self.method.of == "channels" and OWN not in self.config.budgets
        is_wanted = can_tell if stop is None else stop
        return Observer(self.note, lambda lines: is_wanted and self.config.stability.is_reached(lines))

    def cuts(self, model: nn.Module, budgets: Sequence[str] | None = None) -> list[Cut]:
        """The scores of a trained network, cut at some budgets; at every one by default."""
        scores = _scores(self.method, self.config, self.evidence(model))
        chosen = map(Budget.parse, budgets or self.config.budgets)
        return [cut(self.space, scores, budget, self.method.zero) for budget in chosen]

    def evidence(self, model: nn.Module) -> Evidence:
        """What the method looks at."""
        return Evidence(model, self.space, self.columns, self.data, self.config.seed)

    def note(self, model: nn.Module) -> dict[str, Any]:
        """The widths that the scores give now, and each stage's share; nothing where no channel is left to choose."""
        cuts = self.cuts(model)
        if any(len(one.held) == len(self.columns) for one in cuts):
            return {}
        found = {str(one.budget): self.space.widths(one.widths_G, removed=one.removed) for one in cuts}
        counted = self.space.groups_in(self.columns)
        lines: dict[str, Any] = {"widths": {budget: list(one.vector) for budget, one in found.items()}}
        if self.method.of == "blocks":
            lines["removed_blocks"] = {budget: list(one.removed_blocks) for budget, one in found.items()}
        return {
            **lines,
            KEPT: {budget: [*stage_means(one, counted).values()] for budget, one in found.items()},
        }

    def settled(self, model: nn.Module) -> nn.Module:
        """The trained network without what the method put into it."""
        return model if self.method.sparsity is None else self.method.sparsity.settled(model, self.space)

    @property
    def settings(self) -> dict[str, str | float | None]:
        """Those that the method takes."""
        config = self.config
        scope = None if self.method.is_control else config.scope or self.method.scope
        softly_to = None if self.method.after_epoch is None else config.budgets[0]
        found = {"sparsity": self.sparsity, "scope": scope, "cost": config.cost, "softly_to": softly_to}
        of = {"groups": config.groups} if self.method.of == "channels" else {}
        return {**of, **{name: value for name, value in found.items() if value is not None}}


def _new_run(stage: _Stage, out: Path | None) -> Path:
    """Make the run's directory and write its configuration, if this process is the one that writes."""
    config, ranks = stage.config, stage.compute.ranks
    run = None
    if ranks.is_first:
        run = make_run(out, config.space, config.method, config.data.name)
        write_config(run, stage.resolved(portable(config.data.name, run)))
    return Path(ranks.told(str(run)))


def _prepare(config: SearchConfig, ranks: Ranks, watch: Watch, loaded: Loaded | None = None) -> _Stage:
    method = method_named(config.method)
    device = pick_device(config.device)
    loaded = loaded or Loaded()
    data = loaded.data(config, watch)
    with watch.waiting("tracing the network"):
        space = loaded.space(config, data)
    space.check_trainable()
    columns, unscored = _searched(space, method, config.groups)
    for budget in config.budgets:
        check_feasible(space, Budget.parse(budget), columns)
    sparsity = config.sparsity or _sparsity(method, config.search_recipe, data)
    threads = pick_threads(config.threads, space.cost_at(space.base_G).macs, config.recipe.batch_size)
    ranks.check(config.recipe.batch_size, len(data.train))
    shape = space.reference.input_shape
    compute = config.compute(device, ranks, space.build(seed=0), shape)
    return _Stage(config, method, space, data.to(device), columns, unscored, sparsity, compute, threads)


def _searched(
    space: SearchSpace, method: WidthMethod, groups: Groups
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The columns that are searched, and the names of groups that would be if the method could score them."""
    columns = scorable(space, method, groups)
    if not columns:
        others = ", ".join(name for name, other in METHODS.items() if scorable(space, other, groups))
        hint = f" These find channels there: {others}." if others else ""
        raise BadInputError(
            f"--method {method.name} must find {method.asks}, got none in {space.reference.name} with --groups "
            f"{groups}.{hint}"
        )
    wanted = space.searched(groups) if method.of == "channels" else ()
    return columns, tuple(space.groups[column].name for column in wanted if column not in columns)


def _sparsity(method: WidthMethod, recipe: Recipe, data: ImageData) -> float | None:
    """The strength λ that pulls what has no other gradient from its start to zero over the whole training.

    With momentum m a gradient of λ moves a parameter by λ · Σ learning rates / (1 - m). The paper's 160 epochs on
    CIFAR-10 at λ = 1e-4 make about 7; short recipes at that λ would not move γ at all.
    """
    if method.sparsity is None:
        return None
    per_epoch = num_batches(len(data.train), recipe.batch_size)
    steps = per_epoch * recipe.epochs
    rates = sum(recipe.rate_at(step, steps, per_epoch) for step in range(steps))
    momentum = recipe.momentum if method.sparsity.momentum is None else method.sparsity.momentum
    return method.sparsity.distance * (1 - momentum) / rates


def _finish(stage: _Stage, run: Path, watch: Watch) -> SearchResult:
    """Train what is left, cut at every budget, write the results."""
    started = perf_counter()
    state = first_state(stage.space, stage.method, stage.columns, stage.config, stage.compute.device)
    command = resume_command("search", run, stage.config.space, stage.compute.ranks)
    with limited_threads(stage.threads), telling_how_to_go_on(command):
        if stage.method.trains:
            train_in(run, state, stage.training(), watch)
        with watch.waiting("scoring channels"):
            result = _conclude(stage, run, state, started)
    for text in warnings_of(result):
        watch.say(text)
    return result


def _conclude(stage: _Stage, run: Path, state: TrainState, started: float) -> SearchResult:
    """Cut at every budget; the process that writes writes the results."""
    stage.compute.ranks.take_buffers(state.trained)
    cuts = stage.cuts(state.trained)
    seconds = perf_counter() - started
    trained = stage.settled(state.trained) if stage.method.trains else None
    if stage.compute.ranks.is_first and stage.method.trains:
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


def _scores(method: WidthMethod, config: SearchConfig, evidence: Evidence) -> Scores:
    scores = method.scores(evidence)
    return within_groups(scores) if (config.scope or method.scope) == "local" else scores


def _found(stage: _Stage, model: nn.Module | None, one: Cut, run: Path, epochs: int) -> Found:
    widths = stage.space.widths(
        one.widths_G, one.kept_G, one.removed, budget=str(one.budget), **_provenance(stage, epochs)
    )
    accuracy = None
    if model is not None:
        narrow = stage.space.narrow(model, one.kept_G, one.removed)
        _, accuracy = evaluate(narrow, stage.data.val, stage.data)
    held = tuple(stage.space.groups[column].name for column in one.held)
    path = run / "widths" / f"{file_stem(one.budget)}.json"
    return Found(widths, path, one.gap, accuracy, held, one.unjudged)


def _provenance(stage: _Stage, epochs: int) -> dict[str, Any]:
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
