"""What every run needs before it starts: the images a configuration names, a device, and threads."""

import os
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import torch
from pydantic import Field, ValidationError
from torch import nn

from nas_prune.data import ImageData
from nas_prune.data.config import DataConfig
from nas_prune.data.identity import identity_of
from nas_prune.errors import BadInputError
from nas_prune.runs.data_name import CLASSIFICATION, own_data
from nas_prune.runs.directory import TARGET, WIDTHS, from_run, portable, published
from nas_prune.runs.own_code import names_code
from nas_prune.runs.problems import first_problem
from nas_prune.runs.reopen import RunSettings
from nas_prune.runs.typed import Typed, trusted_here
from nas_prune.space.names import check_trusted, is_own
from nas_prune.space.network_settings import NetworkSettings
from nas_prune.space.widths import DataRecord, Widths, read_widths
from nas_prune.training.compute import Compute, Precision, takes_channels_last
from nas_prune.training.event_log import LogName
from nas_prune.training.ranks import Ranks
from nas_prune.training.recipe import Recipe, changed, default_recipe, recipe_named
from nas_prune.training.schedules import Schedule


class RunConfig(RunSettings):
    """The settings of every run: its images and the machine.

    Attributes:
        data: the images.
        device: `auto`, `cpu` or `cuda`.
        threads: CPU threads; None for one where a step is small, and PyTorch's number elsewhere.
        precision: `float32`, `bf16`, or `auto`: bf16 on CUDA devices that have it.
        channels_last: whether images store the channels of each pixel together, which is faster; None where the
            network allows it.
        compiles: whether `torch.compile` is used.
        versions: of the libraries that took part.
        machine: on which the run was started; written with the run.
        images: what tells the images that the run was started with from others; empty if not recorded.
    """

    path_fields: ClassVar[tuple[str, ...]] = ()  # settings that name directories, except the images

    data: DataConfig = DataConfig()
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int | None = Field(default=None, ge=1)
    precision: Literal["auto", "float32", "bf16"] = "auto"
    channels_last: bool | None = None
    compiles: bool = False
    versions: dict[str, str] = Field(default_factory=dict)
    machine: str = ""
    images: str = ""

    if not TYPE_CHECKING:  # whose checkers know better what it takes

        def __init__(self, **given: Any) -> None:
            """Settings as a person types them, with the words of the command line.

            Raises:
                BadInputError: one of them cannot be used.
            """
            try:
                super().__init__(**self.typed(given))
            except ValidationError as error:
                raise BadInputError(
                    f"the settings cannot be used: {first_problem(error, type(self))}."
                ) from None

        __init__.__pydantic_base_init__ = (
            True  # for those that a person types alone: files are validated as they are
        )

    @classmethod
    def typed(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Settings with what was typed in short written out."""
        content = with_short_forms(given)
        if isinstance(content.get("budgets"), str):
            content["budgets"] = (content["budgets"],)
        return content

    @abstractmethod
    def network_in(self, run: Path) -> str:
        """The name of the network that a run of this configuration is about."""

    def checked(self) -> Self:
        """The same settings, checked again: `model_copy` checks nothing.

        Raises:
            BadInputError: one of them cannot be used.
        """
        try:
            return self.model_validate(dict(self))
        except ValidationError as error:
            raise BadInputError(f"the settings cannot be used: {first_problem(error, type(self))}.") from None

    def vouched(self, run: Path, typed: str | None) -> Self:
        """As `RunSettings`."""
        network = self.network_in(run)
        vouched = {"name": trusted_here(self.data.name), "task": trusted_here(self.data.task)}
        missing = _unnamed({"--data": vouched["name"], "--task": vouched["task"]})
        if missing:
            own = [f"--space {network}"] if is_own(network) and not isinstance(typed, Typed) else []
            raise BadInputError(
                f"{' '.join([*own, *missing])} must be given again, got none: {run} is of code of your own, and no "
                "code that only a file names is imported."
            )
        name = check_trusted(network, typed, str(run))
        data = {"data": self.data.model_copy(update=vouched)}
        return self.model_copy(update={"space": name, **data} if "space" in type(self).model_fields else data)

    def versions_at_start(self) -> Mapping[str, str]:
        """As `RunSettings`."""
        return self.versions

    def relative_to(self, run: Path) -> Self:
        """For the run's `config.yaml`: every path relative to the run's directory."""
        paths = {name: os.path.relpath(path, run) for name, path in self._paths().items()}
        data = self.data.at(portable(self.data.name, run))
        return self.model_copy(update={"data": data, **paths, **self.target_at(TARGET)})

    def resolved_from(self, run: Path, data_name: str | None) -> Self:
        """The reverse of `relative_to`: every path as it can be opened from here."""
        paths = {name: os.path.relpath(run / path) for name, path in self._paths().items()}
        data = self.data.at(data_name or from_run(self.data.name, run))
        return self.model_copy(update={"data": data, **paths, **self.target_at(str(run / TARGET))})

    def target_at(self, place: str) -> dict[str, str]:
        """Where the target is, if there is one: a run has a copy of its own."""
        return {} if getattr(self, "target", None) is None else {"target": place}

    def _paths(self) -> dict[str, str]:
        return {name: path for name in self.path_fields if (path := getattr(self, name)) is not None}

    def of_trainings(self) -> dict[str, Any]:
        """These settings for the trainings of a run, whose networks have other widths than the one it was checked with.

        Where that one takes images in channels-last layout, a narrower one may not, and then has the plain one.
        """
        own = {name: getattr(self, name) for name in RunConfig.model_fields}
        return own | {"channels_last": False if self.channels_last is False else None}

    def compute(
        self, device: torch.device, ranks: Ranks, network: nn.Module, image_shape: tuple[int, int, int]
    ) -> Compute:
        """How a run of this configuration is computed.

        Raises:
            BadInputError: the network cannot be computed as asked for.
        """
        precision = _precision(self.precision, device)
        why_not = None if self.channels_last is False else takes_channels_last(network, image_shape, device)
        if (
            self.channels_last and why_not is not None and not self.machine
        ):  # a resumed run does not ask for it again
            raise BadInputError(
                f"--channels-last must come with a network that takes such images, got: {why_not}. "
                "Use --no-channels-last."
            )
        is_last = self.channels_last is not False and why_not is None
        return Compute(device, precision, is_last, self.compiles, ranks)


class NetworkConfig(NetworkSettings, RunConfig):
    """The settings of a run that chooses widths of a network."""

    def network_in(self, run: Path) -> str:  # noqa: ARG002
        """As `RunConfig`."""
        return self.space


def _precision(asked: Literal["auto", "float32", "bf16"], device: torch.device) -> Precision:
    if asked != "auto":
        return asked
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"


def with_short_forms(content: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as a file has them, where names may stand for data sets and recipes."""
    content = dict(content)
    if isinstance(content.get("data"), str):
        content["data"] = {"name": content["data"]}
    if "task" in content:
        data = content.get("data", {})
        content["data"] = {
            **(data.model_dump() if isinstance(data, DataConfig) else data),
            "task": content.pop("task"),
        }
    if isinstance(content.get("recipe"), str):
        content["recipe"] = recipe_named(content["recipe"])
    return content


def images_for(
    widths: Widths,
    *,
    found_on: DataConfig | None = None,
    name: str | None = None,
    max_images: int | None = None,
    stream: bool | None = None,
    task: str | None = None,
) -> DataConfig:
    """The images that networks of some widths are trained on: those named, or those that the widths were found on.

    Args:
        widths: the artefact.
        found_on: the images of the search that found them, as they can be loaded from here; None if not known.
        name: the data set that is asked for; None for the search's own.
        max_images: how many of the training part, where that is asked for.
        stream: whether they stay in their files, where that is asked for.
        task: what is learned of them, where that is asked for.

    Raises:
        BadInputError: they were found on a folder, and it is not said where that is now.
    """
    known = widths.data
    chosen = name or (found_on.name if found_on else known.name if known else "digits")
    if found_on is None and name is None and own_data(chosen) is not None:
        raise BadInputError(f"--data must say where the images are; the widths were found on {chosen}.")
    if found_on is None and name is None and known is None:
        raise BadInputError(
            "--data must say on which images, since the widths were not found on any: digits, which comes along, or "
            "folder:PATH, csv:FILE or hf:DIR."
        )
    size = widths.space.image[1]
    return images_like(known, found_on, chosen, size, max_images=max_images, stream=stream, task=task)


def images_like(
    known: DataRecord | None,
    found_on: DataConfig | None,
    chosen: str,
    image_size: int,
    *,
    max_images: int | None = None,
    stream: bool | None = None,
    task: str | None = None,
) -> DataConfig:
    """Chosen images, with an artefact's settings of them where it was found on these.

    Args:
        known: what the artefact says of its images.
        found_on: the images of its search, if that is at hand.
        chosen: the data set.
        image_size: pixels a side.
        max_images: as in `images_for`.
        stream: likewise.
        task: likewise.
    """
    theirs = published(found_on.name) if found_on else known.name if known else None
    if published(chosen) != theirs:  # settings for other images say nothing about these
        found_on = known = None
    before = found_on or known
    return DataConfig(
        name=chosen,
        image_size=image_size,
        max_images=max_images if max_images is not None or before is None else before.max_images,
        val_fraction=0.1 if before is None else before.val_fraction,
        stream=stream if stream is not None or found_on is None else found_on.stream,
        task=task or trusted_here(CLASSIFICATION if before is None else before.task),
    )


def checked_images(config: RunConfig, data: ImageData) -> str:
    """What tells a run's images from others.

    Raises:
        BadInputError: the run was started with others.
    """
    own = identity_of(data)
    if config.images not in ("", own):
        raise BadInputError(
            f"--data must name the images that the run was begun with, wherever they are now, got others "
            f"({published(config.data.name)}). Begin a new run for other images."
        )
    return own


def _unnamed(options: Mapping[str, str]) -> list[str]:
    """Options whose words are code that nobody has named here, with these words."""
    return [
        f"{option} {name}"
        for option, name in options.items()
        if names_code(name) and not isinstance(name, Typed)
    ]


def resume_command(command: str, run: Path, space: str, ranks: Ranks, data: DataConfig | None = None) -> str:
    """The command that resumes a run."""
    program = "nas-prune" if ranks.world == 1 else f"torchrun --nproc-per-node {ranks.world} -m nas_prune"
    again = f" --space {quote(space)}" if is_own(space) else ""
    for option, name in () if data is None else (("--data", data.name), ("--task", data.task)):
        again += f" {option} {quote(name)}" if names_code(name) else ""
    return f"{program} {command} --resume {quote(str(run))}{again}"


class TrainConfig(RunConfig):
    """Every setting of a training; what `config.yaml` holds.

    Attributes:
        recipe: how the whole network is trained; its epochs are the reference of all schedules.
        schedule: `scratch-e`, `scratch-b`, `fine-tune` or `rewind`.
        cap: bound on Scratch-B's multiplier; None for none.
        multiplier: MACs of the whole network over MACs of the widths for Scratch-B, not yet capped; otherwise the
            schedule's own factor on the epochs.
        epochs: the epochs that came out.
        seeds: one training for each, none twice; a seed fixes weights and order of images.
        data_seed: fixes the validation split, the same for all; where it is None, the seed of the widths' search (0 if
            they have none), which has not looked at its validation images. A run has the number.
        inherits_from: the search whose weights `fine-tune` and `rewind` start from.
        weights: what `fine-tune` and `rewind` start from instead: a file of weights, or `as-built`; those of the whole
            network are cut to the channels that the search of `inherits_from` kept. A run's `config.yaml` has the name
            alone; the weights are in the run.
        teacher: the run whose trained network is imitated; None for none.
        pattern: the pattern of single weights that networks are masked by, by its name; None for none. The masks are in
            the run.
        pattern_macs: what Scratch-B goes by then: the MACs of one image with the weights that are there.
        keep_checkpoints: whether those of finished trainings stay.
        log: what is written of each epoch beside `metrics.jsonl`: `tensorboard`, or None for nothing.
    """

    path_fields: ClassVar[tuple[str, ...]] = ("inherits_from", "teacher")

    command: Literal["train"] = "train"
    recipe: Recipe = Field(default_factory=lambda known: default_recipe(known["data"].name))
    schedule: Schedule = "scratch-b"
    cap: float | None = None
    multiplier: float = 1.0
    epochs: int = 0
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    data_seed: int | None = None
    inherits_from: str | None = None
    weights: str | None = Field(default=None, max_length=4096)
    teacher: str | None = None
    pattern: str | None = Field(default=None, max_length=1000)
    pattern_macs: int | None = Field(default=None, ge=1)
    keep_checkpoints: bool = False
    log: LogName | None = None

    def checked(self) -> Self:
        """As `RunConfig`; no seed may stand twice, which would count one training as several."""
        twice = next((seed for seed in self.seeds if self.seeds.count(seed) > 1), None)
        if twice is not None:
            raise BadInputError(
                f"seeds must each be given once, got {twice} {self.seeds.count(twice)} times."
            )
        return super().checked()

    @classmethod
    def typed(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """As `RunConfig`; `epochs` are the recipe's, as `--epochs` are."""
        content = super().typed(given)
        if type(content.get("seeds")) is int:
            content["seeds"] = tuple(range(content["seeds"]))
        epochs = content.pop("epochs", None)
        if epochs is None:
            return content
        data = content.get("data", DataConfig())
        name = data.name if isinstance(data, DataConfig) else dict(data).get("name", "digits")
        recipe = content.get("recipe") or default_recipe(name)
        recipe = recipe if isinstance(recipe, Recipe) else Recipe.model_validate(recipe)
        return {**content, "recipe": changed(recipe, epochs=epochs)}

    def network_in(self, run: Path) -> str:
        """As `RunConfig`: that of the widths."""
        return read_widths(run / WIDTHS).space.name
