"""The search stage: train the whole network once under a width method, cut its scores at every budget."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from torch import nn

from nas_prune.budget import Budget
from nas_prune.cut import Cut, check_feasible, cut
from nas_prune.data import ImageData, num_batches
from nas_prune.errors import BadInputError
from nas_prune.files import saying_why, sweep, write_whole
from nas_prune.methods import WidthMethod, method_named, scorable
from nas_prune.networks import check_trusted, image_channels, space_name
from nas_prune.report.figures import draw_widths
from nas_prune.rundir import (
    CHECKPOINT,
    check_out,
    from_run,
    library_versions,
    make_run,
    portable,
    published,
    read_config,
    write_config,
)
from nas_prune.setup import (
    RunConfig,
    limited_threads,
    load_images,
    pick_device,
    pick_threads,
    resume_command,
    tell_of_versions,
    where_images_are,
)
from nas_prune.space import Groups, SearchSpace, load_referenced, load_space
from nas_prune.training.checkpoint import read_checkpoint
from nas_prune.training.compute import Compute
from nas_prune.training.evaluation import evaluate
from nas_prune.training.keeping import train_in
from nas_prune.training.loop import Training
from nas_prune.training.ranks import Ranks, joined
from nas_prune.training.recipe import MOST_EPOCHS, Recipe, default_recipe
from nas_prune.training.state import TrainState, start
from nas_prune.training.stopping import telling_how_to_go_on
from nas_prune.watch import QUIET, Watch
from nas_prune.widths import DataRecord, MethodRecord, Widths, read_widths, stage_means

DEFAULT_BUDGETS = ("macs<=75%", "macs<=50%", "macs<=25%")
TOTAL_PULL = (
    0.5  # how far a γ without other gradients is pulled over the whole training: from its start to zero
)


class SearchConfig(RunConfig):
    """Every setting of a search; what `config.yaml` holds.

    Attributes:
        space, width_multiplier: the network.
        method: the width method.
        groups: `inner` leaves residual streams whole, `all` searches them too.
        budgets: as written, e.g. `macs<=50%`.
        recipe: how the whole network is trained; the data set's own by default.
        epochs: epochs of the search; the recipe's if None. Scratch training goes by the recipe's all the same.
        sparsity: the strength of the method's pull; None for one chosen from the recipe.
        seed: fixes the validation split, the first weights, and the order of the images.
    """

    command: Literal["search"] = "search"
    space: str
    width_multiplier: float = 1.0
    method: str = "slimming"
    groups: Groups = "inner"
    budgets: tuple[str, ...] = DEFAULT_BUDGETS
    recipe: Recipe = Field(default_factory=lambda known: default_recipe(known["data"].name))
    epochs: int | None = Field(default=None, ge=1, le=MOST_EPOCHS)
    sparsity: float | None = Field(default=None, gt=0)
    seed: int = Field(default=0, ge=0, lt=2**31)

    @property
    def search_recipe(self) -> Recipe:
        """How the whole network is trained in this search."""
        return self.recipe if self.epochs is None else self.recipe.with_epochs(self.epochs)


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found at one budget.

    Attributes:
        widths: the artefact.
        path: where it was written.
        gap: the share of the budget that no further channel fits into.
        val_accuracy_cut: validation accuracy of the trained network cut to these widths, before any more training.
    """

    widths: Widths
    path: Path
    gap: float
    val_accuracy_cut: float


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found.

    Attributes:
        run: the run's directory.
        config: its settings.
        space: the network.
        sparsity: the strength of the pull that was used.
        val_accuracy: validation accuracy of the whole network after the sparse training.
        found: one for each budget, in the order asked for.
        columns: which groups were searched, by place.
        unscored: names of groups that were left whole because the method cannot score them.
        seconds: time the training took.
    """

    run: Path
    config: SearchConfig
    space: SearchSpace
    sparsity: float
    val_accuracy: float
    found: tuple[Found, ...]
    columns: tuple[int, ...]
    unscored: tuple[str, ...]
    seconds: float


def resolve(config: SearchConfig) -> SearchConfig:
    """The configuration with every name checked and written in full, before anything is loaded.

    Raises:
        BadInputError, BudgetError: an unknown space or method, or a budget that is not well formed.
    """
    method_named(config.method)
    budgets = tuple(str(Budget.parse(text)) for text in config.budgets)
    if not budgets:
        raise BadInputError("--budget must be given at least once, got none.")
    return config.model_copy(
        update={
            "space": space_name(config.space),
            "budgets": tuple(dict.fromkeys(budgets)),
            "versions": library_versions(),
        }
    )


def search(config: SearchConfig, out: Path | None = None, *, watch: Watch = QUIET) -> SearchResult:
    """Train the whole network under a width method and cut it at every budget.

    Args:
        config: every setting.
        out: the run's directory, new or empty; the next free `runs/SPACE-METHOD-DATA-NNN` if None.
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
        stage = _prepare(config, ranks, heard)
        run = _new_run(stage, out)
        heard.say(where_images_are(stage.data))
        heard.say(f"Writing to {run}. If it is stopped: {resume_command('search', run, config.space, ranks)}")
        return _finish(stage, run, heard)


def resume_search(
    run: Path, *, data_name: str | None = None, space: str | None = None, watch: Watch = QUIET
) -> SearchResult:
    """Go on with a search that was stopped, from its last whole epoch; the result is as if it never was.

    Args:
        run: its directory.
        data_name: where the images are now, if they or the run were moved.
        space: the network again, if it is one of your own, since no code that only a file names is imported.
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
        return _finish(_prepare(config, ranks, heard), run, heard)


def inherited(run: Path, widths: Widths, *, space: str | None = None) -> Callable[[], nn.Module]:
    """What a search's trained network is when cut to widths it found: the start of fine-tuning.

    Args:
        run: the search's directory.
        widths: one of the width vectors it found.
        space: the network again, if it is one of your own.

    Returns:
        A function that makes the network, its weights those of the channels kept.

    Raises:
        BadInputError: the directory is no finished search's, or its widths are others.
    """
    config = read_config(run, SearchConfig)
    check_trusted(config.space, space, str(run))
    whole = load_referenced(read_widths(run / "widths" / "whole.json").space)
    method = method_named(config.method)
    model = whole.build(seed=config.seed)
    state = start(model, config.search_recipe)
    read_checkpoint(run / CHECKPOINT, state)
    scores = method.scores(state.trained, whole, scorable(whole, method, config.groups))
    for text in config.budgets:
        one = cut(whole, scores, Budget.parse(text))
        if list(one.widths_G) == [group.width for group in widths.groups]:
            return partial(whole.narrow, state.trained, one.kept_G)
    raise BadInputError(f"--from must be the search that found the widths, got {run}, which found others.")


@dataclass(frozen=True, slots=True)
class _Stage:
    """A search that has been found sound: everything loaded, nothing written yet."""

    config: SearchConfig
    method: WidthMethod
    space: SearchSpace
    data: ImageData
    columns: tuple[int, ...]
    unscored: tuple[str, ...]
    sparsity: float
    compute: Compute
    threads: int

    def resolved(self, data_name: str) -> SearchConfig:
        """The configuration with what was chosen from data and device filled in."""
        data = self.config.data.model_copy(update={"name": data_name, "image_size": self.data.image_size})
        return self.config.model_copy(
            update={
                "data": data,
                "epochs": self.config.search_recipe.epochs,
                "sparsity": self.sparsity,
                "device": self.compute.device.type,
                "precision": self.compute.precision,
                "channels_last": self.compute.channels_last,
                "threads": self.threads,
            }
        )

    def fresh_state(self) -> TrainState:
        model = self.space.build(seed=self.config.seed, device=self.compute.device)
        self.method.prepare(model, self.space, self.columns)
        return start(model, self.config.search_recipe)


def _new_run(stage: _Stage, out: Path | None) -> Path:
    """Make the run's directory and write its configuration, if this process is the one that writes."""
    config, ranks = stage.config, stage.compute.ranks
    run = None
    if ranks.is_first:
        run = make_run(out, config.space, config.method, config.data.name)
        write_config(run, stage.resolved(portable(config.data.name, run)))
    return Path(ranks.told(str(run)))


def _prepare(config: SearchConfig, ranks: Ranks, watch: Watch) -> _Stage:
    method = method_named(config.method)
    device = pick_device(config.device)
    data = load_images(config.data, config.seed, watch, in_channels=image_channels(config.space))
    with watch.waiting("tracing the network"):
        space = load_space(
            config.space,
            (data.in_channels, data.image_size, data.image_size),
            num_classes=data.num_classes,
            width_multiplier=config.width_multiplier,
        )
    space.check_trainable()
    columns, unscored = _searched(space, method, config.groups)
    for budget in config.budgets:
        check_feasible(space, Budget.parse(budget), columns)
    sparsity = config.sparsity or _sparsity(config.search_recipe, data)
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
        raise BadInputError(
            f"--method {method.name} must find channels it can score, got none in {space.reference.name} "
            f"with --groups {groups}. Slimming needs norm layers."
        )
    return columns, tuple(
        space.groups[column].name for column in space.searched(groups) if column not in columns
    )


def _sparsity(recipe: Recipe, data: ImageData) -> float:
    """The strength λ that pulls a γ without any other gradient by `TOTAL_PULL` over the whole training.

    With momentum m that distance is λ · Σ learning rates / (1 - m). The paper's 160 epochs on CIFAR-10 at
    λ = 1e-4 make about 7; short recipes at that λ would not move γ at all.
    """
    per_epoch = num_batches(len(data.train), recipe.batch_size)
    steps = per_epoch * recipe.epochs
    rates = sum(recipe.rate_at(step, steps, per_epoch) for step in range(steps))
    return TOTAL_PULL * (1 - recipe.momentum) / rates


def _finish(stage: _Stage, run: Path, watch: Watch) -> SearchResult:
    """Train what is left, cut at every budget, write the results."""
    training = Training(
        stage.data,
        stage.config.search_recipe,
        stage.config.seed,
        stage.compute,
        penalise=stage.method.penalty(stage.space, stage.columns, stage.sparsity),
        title="sparse training",
        settings={"method": stage.method.name, "sparsity": stage.sparsity, "groups": stage.config.groups},
    )
    state = stage.fresh_state()
    command = resume_command("search", run, stage.config.space, stage.compute.ranks)
    with limited_threads(stage.threads), telling_how_to_go_on(command):
        seconds = train_in(run, state, training, watch)
        return _conclude(stage, run, state.trained, seconds)


def _conclude(stage: _Stage, run: Path, model: nn.Module, seconds: float) -> SearchResult:
    """Cut at every budget; the process that writes writes the results."""
    stage.compute.ranks.take_buffers(model)
    scores = stage.method.scores(model, stage.space, stage.columns)
    cuts = [cut(stage.space, scores, Budget.parse(text)) for text in stage.config.budgets]
    result = SearchResult(
        run,
        stage.config,
        stage.space,
        stage.sparsity,
        evaluate(model, stage.data.val, stage.data)[1],
        tuple(_found(stage, model, one, run) for one in cuts),
        stage.columns,
        stage.unscored,
        seconds,
    )
    if stage.compute.ranks.is_first:
        _write(stage, result)
    return result


def _found(stage: _Stage, model: nn.Module, one: Cut, run: Path) -> Found:
    widths = stage.space.widths(one.widths_G, budget=str(one.budget), **_provenance(stage))
    _, accuracy = evaluate(stage.space.narrow(model, one.kept_G), stage.data.val, stage.data)
    return Found(widths, run / "widths" / f"{_file_stem(one.budget)}.json", one.gap, accuracy)


def _write(stage: _Stage, result: SearchResult) -> None:
    folder = result.run / "widths"
    with saying_why(folder):
        folder.mkdir(exist_ok=True)
    stage.space.widths(stage.space.base_G, **_provenance(stage)).write(folder / "whole.json")
    for found in result.found:
        found.widths.write(found.path)
    draw_widths([found.widths for found in result.found], result.run / "widths.png", searched=stage.columns)
    write_whole(result.run / "result.json", json.dumps(summary(result), indent=1) + "\n")


def _file_stem(budget: Budget) -> str:
    return str(budget).replace("<=", "-").replace("%", "pct")


def _provenance(stage: _Stage) -> dict[str, Any]:
    config, data = stage.config, stage.data
    return {
        "method": MethodRecord(
            name=stage.method.name,
            is_automatic=stage.method.is_automatic,
            settings={"sparsity": stage.sparsity, "groups": config.groups},
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
        "epochs": config.search_recipe.epochs,
        "versions": config.versions,
    }


def summary(result: SearchResult) -> dict[str, Any]:
    """A search's result as plain JSON, for `--format json` and `result.json`; no paths but relative ones."""
    base = result.space.cost_at(result.space.base_G)
    return {
        "space": result.config.space,
        "method": result.config.method,
        "data": published(result.config.data.name),
        "epochs": result.config.search_recipe.epochs,
        "sparsity": result.sparsity,
        "seed": result.config.seed,
        "base": {**asdict(base), "val_accuracy": result.val_accuracy},
        "unscored": list(result.unscored),
        "budgets": [
            {
                "budget": found.widths.budget,
                "widths": {group.name: group.width for group in found.widths.groups},
                "keep_by_stage": {
                    str(stage): share for stage, share in stage_means(found.widths, result.columns).items()
                },
                **found.widths.cost.model_dump(),
                "gap": found.gap,
                "val_accuracy_cut": found.val_accuracy_cut,
                "file": f"widths/{found.path.name}",
            }
            for found in result.found
        ],
    }
