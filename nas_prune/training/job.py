"""A training that has been checked: everything loaded, nothing written yet."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from nas_prune.data import ImageData
from nas_prune.data.config import load_images
from nas_prune.data.preprocessing import preprocessing_of
from nas_prune.data.tasks import task_named
from nas_prune.errors import BadInputError
from nas_prune.runs.progress import Progress
from nas_prune.runs.settings import library_versions
from nas_prune.space.load import load_referenced
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.widths import Widths
from nas_prune.training.compute import Compute, pick_device, pick_threads
from nas_prune.training.config import TrainConfig, checked_images
from nas_prune.training.event_log import check_log
from nas_prune.training.given_weights import GivenWeights, WeightsSource, given_weights, read_start
from nas_prune.training.loss import Teacher, check_goes_with
from nas_prune.training.masks import GivenMasks, hold, read_given
from nas_prune.training.notes import check_validation
from nas_prune.training.ranks import Ranks
from nas_prune.training.recipe import Recipe
from nas_prune.training.schedules import SCHEDULES, plan_training
from nas_prune.training.starts import inherited, kept_in, load_teacher
from nas_prune.training.task_check import try_task


@dataclass(frozen=True, slots=True)
class TrainJob:
    """A training that has been checked, of one or several seeds."""

    config: TrainConfig
    widths: Widths
    space: SearchSpace
    data: ImageData
    recipe: Recipe
    compute: Compute
    typed: str | None
    start: Callable[[], nn.Module] | None
    given: GivenWeights | None
    teacher: Teacher | None
    masks: GivenMasks | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What else decides the result."""
        known: dict[str, Any] = {
            "schedule": self.config.schedule,
            "inherits": self.start is not None,
            "has_teacher": self.teacher is not None,
        }
        if self.given is not None:
            known["weights"] = self.given.name
        return known if self.masks is None else {**known, "masks": self.masks.identity}

    def network(self, seed: int) -> nn.Module:
        """The network before its first step; weights that its masks leave out are zero, and stay so."""
        network = self._unmasked(seed)
        if self.masks is None:
            return network
        inherits = self.start is not None or self.given is not None
        return hold(network, self.masks.of(seed), scales=not inherits)

    def _unmasked(self, seed: int) -> nn.Module:
        if self.start is not None:
            return self.start().to(self.compute.device)
        network = self.space.build(self.widths, seed=seed, device=self.compute.device)
        return network if self.given is None else self.given.put(network)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is already loaded.

    Attributes:
        data: the images.
        network: the space that the widths are of.
        begin: makes the network before its first step; random weights, or those that the settings name, if None.
        begun: the directory of a run that has begun: weights and masks that it was given are there.
        weights: what the network starts from, where it is no file's.
        masks: which of its weights are there; None for all.
    """

    data: ImageData | None = None
    network: SearchSpace | None = None
    begin: Callable[[], nn.Module] | None = None
    begun: Path | None = None
    weights: GivenWeights | None = None
    masks: GivenMasks | None = None


def prepared(
    config: TrainConfig,
    widths: Widths,
    ranks: Ranks,
    progress: Progress,
    *,
    space: str | None,
    workers: int = 1,
    given: Inputs | None = None,
) -> TrainJob:
    """Load and check what a training needs, and work out what its settings leave open.

    Args:
        config: every setting.
        widths: the artefact.
        ranks: the processes that train together.
        progress: reports how far the work is.
        space: the network's name again, if it is one of your own.
        workers: how many seeds are trained at once.
        given: what is loaded already.

    Raises:
        NasPruneError: something in the settings cannot be used.
    """
    given = given or Inputs()
    network, images = _loaded(config, widths, given, progress, space)
    own = checked_images(config, images)
    widths = network.priced(widths)
    plan = plan_training(widths, config.recipe, config.schedule, cap=config.cap, macs=config.pattern_macs)
    ranks.check(plan.recipe.batch_size, len(images.train))
    trial = network.build(widths, seed=0)
    try_task(trial, images)
    compute = config.compute(pick_device(config.device), ranks, trial, widths.space.image)
    threads = pick_threads(config.threads, widths.cost.macs, config.recipe.batch_size)
    resolved = {
        "data_seed": _split_seed(config, widths),
        "multiplier": plan.multiplier,
        "epochs": plan.recipe.epochs,
        "device": compute.device.type,
        "precision": compute.precision,
        "channels_last": compute.channels_last,
        "threads": config.threads or max(1, threads // min(workers, len(config.seeds))),
        "versions": library_versions(),
        "images": own,
    }
    config = config.model_copy(update=resolved)
    images = images if workers > 1 else images.to(compute.device)
    weights = given.weights
    if weights is None and given.begin is None:
        weights = _weights(config, widths, network, images, space=space, begun=given.begun)
    if weights is not None:
        config = config.model_copy(update={"weights": weights.name})
    begin = given.begin or (None if weights else _start(config, widths, space))
    teacher = _teacher(config, images, compute, space)
    masks = given.masks
    if masks is None and config.pattern is not None and given.begun is not None:
        masks = read_given(given.begun, config.pattern, config.seeds)
    return TrainJob(
        config, widths, network, images, plan.recipe, compute, space, begin, weights, teacher, masks
    )


def _loaded(
    config: TrainConfig, widths: Widths, given: Inputs, progress: Progress, space: str | None
) -> tuple[SearchSpace, ImageData]:
    """The network and the images, checked to fit."""
    check_log(config.log)
    network = given.network
    if network is None:
        with progress.waiting("tracing the network"):
            network = load_referenced(widths.space, space)
    network.check_trainable(task_named(config.data.task).puts_out)
    images = given.data or load_images(
        config.data, _split_seed(config, widths), progress, in_channels=widths.space.input_shape[0]
    )
    check_fit(images, widths)
    check_validation(images, config.recipe)
    check_goes_with(images.task, config.recipe, has_teacher=config.teacher is not None)
    return network, images


def _split_seed(config: TrainConfig, widths: Widths) -> int:
    """What the images are split by: as for the search of the widths, where the settings leave it open."""
    return (widths.seed or 0) if config.data_seed is None else config.data_seed


def _start(config: TrainConfig, widths: Widths, space: str | None) -> Callable[[], nn.Module] | None:
    if not SCHEDULES[config.schedule].inherits:
        return None
    if config.inherits_from is None:
        raise BadInputError(
            f"--schedule {config.schedule} must come with --from RUN, the search to inherit from, or --weights FILE."
        )
    return inherited(Path(config.inherits_from), widths, space=space)


def _weights(
    config: TrainConfig,
    widths: Widths,
    network: SearchSpace,
    images: ImageData,
    *,
    space: str | None,
    begun: Path | None,
) -> GivenWeights | None:
    """The weights that are given for networks of some widths: theirs, or the whole network's, to be cut."""
    if config.weights is None:
        return None
    if not SCHEDULES[config.schedule].inherits:
        raise BadInputError(
            f"--weights must come with --schedule fine-tune or rewind, got {config.schedule}, from random weights."
        )
    like = network.build(widths, seed=0)
    if begun is not None:
        return read_start(begun, like)
    source = WeightsSource(config.weights, preprocessing_of(images).classes, space)
    try:
        return given_weights(source, network, like)
    except BadInputError:
        if widths.vector == network.base_G and not widths.removed_blocks:
            raise
        return _cut(source, network, like, widths, config.inherits_from)


def _cut(
    source: WeightsSource, network: SearchSpace, like: nn.Module, widths: Widths, search: str | None
) -> GivenWeights:
    """Weights of the whole network, of the channels that a search kept.

    Raises:
        BadInputError: they are not the whole network's either, or it is not said which search.
    """
    whole = network.build(seed=0)
    found = given_weights(source, network, whole)
    if search is None:
        raise BadInputError(
            f"--weights of the whole network must come with --from RUN, the search whose channels are kept, got "
            f"{found.name} alone."
        )
    narrow = network.narrow(found.put(whole), kept_in(Path(search), widths), widths.removed_blocks)
    own = narrow.state_dict()
    anew = tuple(name for name in found.anew if name in own)
    return replace(
        found, tensors={name: own[name] for name in like.state_dict() if name not in anew}, anew=anew
    )


def _teacher(config: TrainConfig, images: ImageData, compute: Compute, space: str | None) -> Teacher | None:
    if config.teacher is None:
        return None
    return load_teacher(Path(config.teacher), preprocessing_of(images), compute, space=space)


def check_fit(data: ImageData, widths: Widths) -> None:
    """Refuse images that networks of some widths cannot be trained on.

    Raises:
        BadInputError: they are of another shape, or have another number of classes.
    """
    reference = widths.space
    shape = (data.in_channels, data.image_size, data.image_size)
    if shape != reference.input_shape:
        raise BadInputError(
            f"images must be of the shape the widths are for, {_times(reference.image)}, got {_times(shape)}. "
            "Search at this size first."
        )
    if data.num_classes != reference.num_classes:
        raise BadInputError(
            f"--data must have the {reference.num_classes} classes of the widths, got {data.num_classes}. "
            "Search on this data set first."
        )


def _times(shape: tuple[int, int, int]) -> str:
    return "×".join(map(str, shape))
