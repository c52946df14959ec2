"""A search that has been checked: images and network loaded, everything chosen, nothing written yet."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from nas_prune.data import ImageData, num_batches
from nas_prune.data.config import DataConfig, load_images
from nas_prune.data.preprocessing import preprocessing_of
from nas_prune.errors import BadInputError, NothingToSearchError
from nas_prune.hardware.use import network_for
from nas_prune.runs.progress import Progress
from nas_prune.search.config import SearchConfig
from nas_prune.search.iterations import bound_at, epochs_of_steps, hold, remove, with_removed_last
from nas_prune.search.methods.contract import Evidence, PenaltyTarget, WidthMethod
from nas_prune.search.methods.layer_channels import can_gate
from nas_prune.search.methods.learned_gates import taken_out
from nas_prune.search.methods.registry import known_methods, method_named, scorable, scores_of
from nas_prune.search.sparsity import check_optimiser, chosen_sparsity
from nas_prune.search.stability import KEPT
from nas_prune.space.budget import Budget
from nas_prune.space.cut import Cut, check_feasible, cut
from nas_prune.space.networks import image_channels, meant_size
from nas_prune.space.scores import Scores, within_groups
from nas_prune.space.search_space import Groups, SearchSpace
from nas_prune.space.widths import stage_means
from nas_prune.training.compute import Compute, pick_device, pick_threads
from nas_prune.training.config import checked_images
from nas_prune.training.event_log import check_log, events_folder
from nas_prune.training.given_weights import GivenWeights, WeightsSource, given_weights, read_start
from nas_prune.training.loop import SMALLER_RATE, Observer, Training
from nas_prune.training.loss import check_goes_with
from nas_prune.training.ranks import Ranks
from nas_prune.training.state import TrainState, start
from nas_prune.training.task_check import try_task


class NamesWeights(Protocol):
    """Settings that name what a network starts from."""

    @property
    def weights(self) -> str | None:
        """A file, `as-built`, or None for random weights."""

    @property
    def space(self) -> str:
        """The network, as a person named it."""


@dataclass(frozen=True, slots=True)
class LoadedInputs:
    """Images and networks, each loaded once, for searches of the same ones one after another."""

    images: dict[tuple[DataConfig, int, int | None, int | None], ImageData] = field(default_factory=dict)
    spaces: dict[tuple[Any, ...], SearchSpace] = field(default_factory=dict)

    def data(self, config: SearchConfig, progress: Progress) -> ImageData:
        """The images that a search looks at."""
        in_channels, size = image_channels(config.space), meant_size(config.space)
        key = (config.data, config.seed, in_channels, size)
        if key not in self.images:
            self.images[key] = load_images(
                config.data, config.seed, progress, in_channels=in_channels, meant_size=size
            )
        return self.images[key]

    def space(self, config: SearchConfig, data: ImageData) -> SearchSpace:
        """The network that a search narrows, for those images."""
        shape = (data.in_channels, data.image_size, data.num_classes)
        selections = config.groups == "selections"
        key = (config.space, shape, config.width_multiplier, selections, config.limits, config.target)
        if key not in self.spaces:
            self.spaces[key] = network_for(config, data)
        return self.spaces[key]


@dataclass(frozen=True, slots=True)
class FixedInputs(LoadedInputs):
    """Images and network as given, whatever the settings say: searches with other seeds see the same split."""

    given: tuple[ImageData, SearchSpace] | None = None

    def data(self, config: SearchConfig, progress: Progress) -> ImageData:  # noqa: ARG002
        """The images given."""
        assert self.given is not None
        return self.given[0]

    def space(self, config: SearchConfig, data: ImageData) -> SearchSpace:  # noqa: ARG002
        """The network given."""
        assert self.given is not None
        return self.given[1]


@dataclass(frozen=True, slots=True)
class PreparedSearch:
    """A search that has been checked: everything loaded, nothing written yet."""

    config: SearchConfig
    method: WidthMethod
    space: SearchSpace
    data: ImageData
    columns: tuple[int, ...]
    unscored: tuple[str, ...]
    sparsity: float | None
    compute: Compute
    threads: int
    given: GivenWeights | None = None

    def resolved(self) -> SearchConfig:
        """The configuration with what was chosen from data and device filled in."""
        data = self.config.data.model_copy(update={"image_size": self.data.image_size})
        return self.config.model_copy(
            update={
                "data": data,
                "epochs": self.config.search_recipe.epochs if self.method.trains else None,
                "sparsity": self.sparsity,
                "device": self.compute.device.type,
                "precision": self.compute.precision,
                "channels_last": self.compute.channels_last,
                "threads": self.threads,
                "weights": None if self.given is None else self.given.name,
            }
        )

    def training(self, run: Path | None = None) -> Training:
        """How the whole network is trained, to the end: widths come from the last state. A run takes its events."""
        sparsity, config = self.method.sparsity, self.config
        penalty = None
        if sparsity is not None and self.sparsity is not None:
            target = PenaltyTarget(
                self.space,
                self.columns,
                self.sparsity,
                config.cost,
                is_decoupled=config.recipe.optimizer != "sgd",
            )
            penalty = sparsity.penalty(target)
        return Training(
            self.data,
            config.search_recipe.to_the_end(),
            config.seed,
            self.compute,
            penalise=penalty,
            after_epoch=self.after_epoch(),
            title="training" if penalty is None else "sparse training",
            observer=self.observer(),
            settings=self.training_settings,
            log_to=None if config.log is None or run is None else events_folder(run, config.seed),
            if_diverging=SMALLER_RATE if penalty is None else "Use a smaller --learning-rate or --sparsity.",
        )

    @property
    def training_settings(self) -> dict[str, Any]:
        """What else decides the training: nothing where the network trains as if there were no method."""
        if self.changes_training:
            return {"method": self.method.name, **self.settings}
        return {} if self.given is None else {"weights": self.given.name}

    @property
    def changes_training(self) -> bool:
        """Whether the network does not train as if there were no method."""
        return self.method.changes_training or self.is_stepwise

    @property
    def is_stepwise(self) -> bool:
        """Whether channels go in several steps."""
        return self.config.iterations > 1

    def after_epoch(self) -> Callable[[TrainState], None] | None:
        """What changes the networks after an epoch; None where nothing does."""
        if self.is_stepwise:
            return self.remove_some
        return None if self.method.after_epoch is None else self.soften

    def first_state(self) -> TrainState:
        """The state that the training starts from."""
        model = self.space.build(seed=self.config.seed, device=self.compute.device)
        sparsity, given = self.method.sparsity, self.given
        if given is not None:
            given.put(model)
        if sparsity is not None and (given is None or sparsity.distance_in is None):
            sparsity.prepare(model, self.space, self.columns)
        if self.is_stepwise:
            hold(model, self.space, self.columns)
        return start(model, self.config.search_recipe.to_the_end())

    def soften(self, state: TrainState) -> None:
        """Let the method change the networks after an epoch, by what the cut at the first budget keeps now.

        Processes that train together have the same network then, and so make the same changes.
        """
        assert self.method.after_epoch is not None
        kept_G = self.cuts(state.trained, self.config.budgets[:1])[0].kept_G
        for network in (state.model, state.average):
            if network is not None:
                self.method.after_epoch(network, self.space, kept_G)

    def remove_some(self, state: TrainState) -> None:
        """Where a step is due after an epoch, score the channels that are left and remove a part of them."""
        iterations, (final,) = self.config.iterations, self.config.budgets
        due = epochs_of_steps(self.config.search_recipe.epochs, iterations)
        if state.epochs_done + 1 not in due:
            return
        step = due.index(state.epochs_done + 1) + 1
        bound = bound_at(self.space, final, step, iterations, self.columns)
        kept_G = self.cuts(state.trained, [bound])[0].kept_G
        for network in (state.model, state.average):
            if network is not None:
                remove(network, kept_G)

    def observer(self) -> Observer | None:
        """What notes the widths after every epoch and stops when they are stable; none where they are not searched."""
        if not self.method.shows_widths(self.config.scope):
            return None
        stop = self.config.stop
        is_own = any(budget.is_own for budget in self.config.budgets)
        can_tell = self.method.of == "channels" and not is_own and not self.is_stepwise
        is_wanted = can_tell if stop is None else stop
        return Observer(self.note, lambda lines: is_wanted and self._is_stable(lines))

    def _is_stable(self, lines: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the widths of the last epochs are stable, and had the time to move."""
        config, done = self.config, max((line["epoch"] for line in lines), default=0)
        if not config.stability.is_reached(lines):  # mostly; what is spent takes a moment to sum
            return False
        per_epoch = num_batches(len(self.data.train), config.recipe.batch_size)
        return config.stability.is_reached(lines, config.search_recipe.spent_after(done, per_epoch))

    def cuts(self, model: nn.Module, budgets: Sequence[Budget] | None = None) -> list[Cut]:
        """The scores of a trained network, cut at some budgets; at every one by default."""
        return self.cuts_of(self.scores(model), budgets)

    def cuts_of(self, scores: Scores, budgets: Sequence[Budget] | None = None) -> list[Cut]:
        """Scores, cut at some budgets; at every one by default."""
        chosen = budgets or self.config.budgets
        return [cut(self.space, scores, budget, self.method.zero) for budget in chosen]

    def scores(self, model: nn.Module) -> Scores:
        """What the method gives each channel, compared within groups where the search is a local one."""
        scores = scores_of(self.method, self.evidence(model))
        if self.is_stepwise:
            scores = with_removed_last(model, scores)
        return within_groups(scores) if (self.config.scope or self.method.scope) == "local" else scores

    def evidence(self, model: nn.Module) -> Evidence:
        """What the method looks at."""
        return Evidence(model, self.space, self.columns, self.data, self.config.seed)

    def note(self, model: nn.Module) -> dict[str, Any]:
        """The widths that the scores give now, and each stage's share; nothing where no channel is left to choose."""
        cuts = self.cuts(model)
        if any(len(one.at_floor) == len(self.columns) for one in cuts):
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

    def without_gates(self, model: nn.Module) -> nn.Module:
        """The trained network without what the method put into it."""
        if self.is_stepwise:
            return taken_out(model, self.space)
        sparsity = self.method.sparsity
        return model if sparsity is None else sparsity.without_gates(model, self.space)

    @property
    def settings(self) -> dict[str, str | float | None]:
        """The settings that the method takes."""
        config = self.config
        scope = None if self.method.is_control else config.scope or self.method.scope
        softly_to = None if self.method.after_epoch is None else str(config.budgets[0])
        iterations = config.iterations if self.is_stepwise else None
        found = {
            "sparsity": self.sparsity,
            "scope": scope,
            "cost": config.cost,
            "softly_to": softly_to,
            "iterations": iterations,
            "weights": None if self.given is None else self.given.name,
        }
        of = {"groups": config.groups} if self.method.of == "channels" else {}
        return {**of, **{name: value for name, value in found.items() if value is not None}}


def prepared_search(
    config: SearchConfig,
    ranks: Ranks,
    progress: Progress,
    loaded: LoadedInputs | None = None,
    begun: Path | None = None,
) -> PreparedSearch:
    """Load and check what a search needs, and choose what its settings leave open.

    Args:
        config: every setting, resolved.
        ranks: the processes that train together.
        progress: reports how far the work is.
        loaded: what earlier searches loaded.
        begun: the directory of a search that has begun: weights it was given are there.

    Raises:
        NasPruneError: something in the settings cannot be used.
    """
    method = method_named(config.method)
    check_optimiser(method, config.recipe)
    check_log(config.log)
    device = pick_device(config.device)
    loaded = loaded or LoadedInputs()
    data = loaded.data(config, progress)
    check_goes_with(data.task, config.recipe)
    if method.needs_classes and data.task.kind != "class":
        raise BadInputError(
            f"--method {method.name} must come with images of one class each, since it draws classes from scores, got "
            f"--task {data.task.name}. Use --method taylor."
        )
    config = config.model_copy(update={"images": checked_images(config, data)})
    with progress.waiting("tracing the network"):
        space = loaded.space(config, data)
    space.check_trainable(data.task.puts_out)
    columns, unscored = _searched(space, method, config)
    wider = () if config.groups == "selections" else _columns(space, method, "all", config.iterations > 1)
    for budget in config.budgets:
        check_feasible(space, budget, columns, wider=wider, method=method.name)
    whole = space.build(seed=0)
    try_task(whole, data)
    given = weights_for(config, space, data, begun)
    sparsity = config.sparsity
    if sparsity is None and method.sparsity is not None:
        distance_in = method.sparsity.distance_in
        distance = (
            None if given is None or distance_in is None else distance_in(given.put(whole), space, columns)
        )
        sparsity = chosen_sparsity(method, config.search_recipe, data, space, distance)
    threads = pick_threads(config.threads, space.cost_at(space.base_G).macs, config.recipe.batch_size)
    ranks.check(config.recipe.batch_size, len(data.train))
    shape = space.reference.image
    compute = config.compute(device, ranks, whole, shape)
    return PreparedSearch(
        config, method, space, data.to(device), columns, unscored, sparsity, compute, threads, given
    )


def weights_for(
    config: NamesWeights, space: SearchSpace, data: ImageData, begun: Path | None = None
) -> GivenWeights | None:
    """The weights that a search starts from; None for random ones.

    Args:
        config: its settings.
        space: its network.
        data: its images.
        begun: its directory, where it has begun: the weights are there.

    Raises:
        BadInputError: they cannot be read, or are not of this network.
    """
    if config.weights is None:
        return None
    like = space.build(seed=0)
    if begun is not None:
        return read_start(begun, like)
    source = WeightsSource(config.weights, preprocessing_of(data).classes, config.space)
    return given_weights(source, space, like)


def _searched(
    space: SearchSpace, method: WidthMethod, config: SearchConfig
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The columns that are searched, and the names of groups that would be if the method could score them.

    Where channels go in steps, it must be possible to hold them at zero, too.
    """
    groups, is_stepwise = config.groups, config.iterations > 1
    columns = _columns(space, method, groups, is_stepwise)
    if not columns:
        others = ", ".join(name for name, other in known_methods().items() if scorable(space, other, groups))
        hint = f" These find channels there: {others}." if others else ""
        raise NothingToSearchError(
            f"--method {method.name} must find {method.asks}, got none in {space.reference.name} with --groups "
            f"{groups}{f', {space.limits.words}' if space.limits else ''}.",
            hint,
        )
    wanted = space.searched(groups) if method.of == "channels" else ()
    return columns, tuple(space.groups[column].name for column in wanted if column not in columns)


def _columns(space: SearchSpace, method: WidthMethod, groups: Groups, is_stepwise: bool) -> tuple[int, ...]:  # noqa: FBT001
    return tuple(
        column for column in scorable(space, method, groups) if not is_stepwise or can_gate(space, column)
    )
