"""A search for a pattern that has been checked: images and network loaded, nothing written yet."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from nas_prune.data import ImageData, epoch_seed, num_batches
from nas_prune.data.config import load_images
from nas_prune.errors import BadInputError
from nas_prune.hardware.use import network_for
from nas_prune.patterns.config import SparsifyConfig
from nas_prune.patterns.costs import PatternCosts, costs_of
from nas_prune.patterns.cut import Scores
from nas_prune.patterns.guideline import PatternGuideline, read_pattern_guideline
from nas_prune.patterns.layers import weight_layers
from nas_prune.patterns.methods.contract import Course, Evidence, PatternMethod, Setting
from nas_prune.patterns.methods.registry import method_named
from nas_prune.patterns.stepwise import in_steps, most_steps, stepwise
from nas_prune.runs.progress import Progress
from nas_prune.search.prepared import weights_for
from nas_prune.space.networks import image_channels, meant_size
from nas_prune.space.search_space import SearchSpace
from nas_prune.training.compute import Compute, pick_device, pick_threads
from nas_prune.training.config import checked_images
from nas_prune.training.event_log import check_log, events_folder
from nas_prune.training.given_weights import GivenWeights
from nas_prune.training.loop import SMALLER_RATE, Training
from nas_prune.training.loss import check_goes_with
from nas_prune.training.ranks import ALONE, refuse_several
from nas_prune.training.state import TrainState, start
from nas_prune.training.task_check import try_task


@dataclass(frozen=True, slots=True)
class PreparedPatterns:
    """A search for a pattern that has been checked."""

    config: SparsifyConfig
    method: PatternMethod
    space: SearchSpace
    costs: PatternCosts
    data: ImageData
    compute: Compute
    threads: int
    given: GivenWeights | None = None
    guideline: PatternGuideline | None = None

    def resolved(self) -> SparsifyConfig:
        """The configuration with what was chosen from data and device filled in."""
        data = self.config.data.model_copy(update={"image_size": self.data.image_size})
        return self.config.model_copy(
            update={
                "data": data,
                "epochs": self.config.search_recipe.epochs if self.method.trains else None,
                "device": self.compute.device.type,
                "precision": self.compute.precision,
                "channels_last": self.compute.channels_last,
                "threads": self.threads,
                "weights": None if self.given is None else self.given.name,
            }
        )

    @property
    def course(self) -> Course | None:
        """What happens to weights while the network trains; None for training as usual."""
        config, setting = self.config, self.setting
        if config.iterations is not None and config.iterations > 1 and self.method.takes_iterations:
            return stepwise(setting, in_steps(setting, config.iterations), self.scores)
        return None if self.method.course is None else self.method.course(setting)

    @property
    def setting(self) -> Setting:
        """What a method's course is made for."""
        config = self.config
        return Setting(
            space=self.space,
            costs=self.costs,
            budget=config.budgets[0],
            scope=config.scope or "global",
            epochs=config.search_recipe.epochs,
            steps_per_epoch=num_batches(len(self.data.train), config.recipe.batch_size),
            num_images=len(self.data.train),
            strength=config.strength,
        )

    @property
    def settings(self) -> dict[str, str | int | float | bool | None]:
        """The settings that the method takes, for what it finds."""
        config = self.config
        known = {
            "scope": config.scope,
            "iterations": config.iterations,
            "strength": config.strength,
            "rewind": config.rewind,
            "weights": None if self.given is None else self.given.name,
        }
        return {name: value for name, value in known.items() if value is not None}

    def training(self, course: Course | None, run: Path | None = None) -> Training:
        """How the whole network is trained, to the end: weights come from the last state."""
        config = self.config
        changed: dict[str, Any] = {} if self.given is None else {"weights": self.given.name}
        if course is not None:
            changed = {"method": self.method.name, "budget": str(config.budgets[0]), **self.settings}
        return Training(
            self.data,
            config.search_recipe.to_the_end(),
            config.seed,
            self.compute,
            penalise=None if course is None else course.penalise,
            after_step=None if course is None else course.after_step,
            title="training" if course is None else f"training, {self.method.name}",
            settings=changed,
            log_to=None if config.log is None or run is None else events_folder(run, config.seed),
            if_diverging=SMALLER_RATE
            if config.strength is None
            else "Use a smaller --learning-rate or --strength.",
        )

    def first_state(self, course: Course | None) -> TrainState:
        """The state that the training starts from."""
        model = self.first_network()
        if course is not None:
            course.prepare(model)
        return start(model, self.config.search_recipe.to_the_end())

    def first_network(self) -> nn.Module:
        """The network before its first step, with nothing put into it."""
        network = self.space.build(seed=self.config.seed, device=self.compute.device)
        return network if self.given is None else self.given.put(network)

    def evidence(self, model: nn.Module) -> Evidence:
        """What the method judges weights by."""
        return Evidence(
            model,
            self.space,
            self.costs,
            self.data,
            epoch_seed(self.config.seed, 0, "pattern"),
            self.config.scope or "global",
            self.guideline,
        )

    def scores(self, model: nn.Module) -> Scores:
        """What the method gives each weight of a network."""
        return self.method.scores(self.evidence(model))


def prepared_patterns(
    config: SparsifyConfig, progress: Progress, begun: Path | None = None
) -> PreparedPatterns:
    """Load and check what a search for a pattern needs.

    Args:
        config: every setting, resolved.
        progress: reports how far the work is.
        begun: the directory of a search that has begun: weights it was given are there.

    Raises:
        NasPruneError: something in the settings cannot be used.
    """
    refuse_several("sparsify")
    method = method_named(config.method)
    check_log(config.log)
    device = pick_device(config.device)
    data = load_images(
        config.data,
        config.seed,
        progress,
        in_channels=image_channels(config.space),
        meant_size=meant_size(config.space),
    )
    check_goes_with(data.task, config.recipe)
    if method.needs_classes and data.task.kind != "class":
        raise BadInputError(
            f"--method {method.name} must come with images of one class each, since it draws classes from scores, got "
            f"--task {data.task.name}. Use --method magnitude."
        )
    config = config.model_copy(update={"images": checked_images(config, data)})
    with progress.waiting("tracing the network"):
        space = network_for(config, data)
    space.check_trainable(data.task.puts_out)
    keep = [layer.path for layer in space.graph.layers if config.limits.keeps((layer.path,))]
    costs = costs_of(space, weight_layers(space, keep))
    for budget in config.budgets:
        costs.check(budget)
    whole = space.build(seed=0)
    try_task(whole, data)
    threads = pick_threads(config.threads, space.cost_at(space.base_G).macs, config.recipe.batch_size)
    compute = config.compute(device, ALONE, whole, space.reference.image)
    setting = PreparedPatterns(
        config,
        method,
        space,
        costs,
        data.to(device),
        compute,
        threads,
        weights_for(config, space, data, begun),
        None if config.guideline is None else read_pattern_guideline(config.guideline),
    )
    _check_steps(setting)
    return setting


def _check_steps(stage: PreparedPatterns) -> None:
    """Refuse more steps than the training has where weights may go.

    Raises:
        BadInputError: it is so.
    """
    iterations = stage.config.iterations or 1
    if iterations > 1 and stage.method.takes_iterations:
        most = most_steps(stage.setting)
        if iterations > most:
            raise BadInputError(
                f"--iterations must be at most {most}, the steps of the optimiser between two and four fifths of "
                f"{stage.config.search_recipe.epochs} epochs, got {iterations}."
            )
