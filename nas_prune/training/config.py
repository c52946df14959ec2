"""What every run needs before it starts: the images a configuration names, a device, and threads."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Protocol

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from nas_prune.data import ImageData, ImageSet, load_data
from nas_prune.data.identity import identity_of
from nas_prune.errors import BadInputError
from nas_prune.runs.directory import library_versions, published
from nas_prune.runs.progress import Watch
from nas_prune.space.load import load_space
from nas_prune.space.networks import is_own
from nas_prune.space.search_space import Groups, SearchSpace
from nas_prune.training.compute import Compute, Precision, takes_channels_last
from nas_prune.training.ranks import Ranks


class DataConfig(BaseModel):
    """Which images.

    Attributes:
        name: the data set.
        image_size: pixels a side; None for its own.
        max_images: how many images of the training part.
        val_fraction: share of them that is kept for validation.
        stream: whether a folder's images stay in their files; None for what their size suggests.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "digits"
    image_size: int | None = None
    max_images: int | None = None
    val_fraction: float = Field(default=0.1, gt=0, le=0.5)
    stream: bool | None = None

    def at(self, name: str) -> "DataConfig":
        """The same images under another name, such as a folder relative to a run."""
        return self.model_copy(update={"name": name})


class RunConfig(BaseModel):
    """What every run is told of its images and of the machine.

    Attributes:
        data: the images.
        device: `auto`, `cpu` or `cuda`.
        threads: CPU threads; None for one where a step is small, and PyTorch's number elsewhere.
        precision: `float32`, `bf16`, or `auto`: bf16 on CUDA devices that have it.
        channels_last: whether images lie channel by channel for each pixel, which is faster; None where the network's
            code can take them so.
        compiles: whether `torch.compile` is used.
        versions: of the libraries that took part.
        machine: on which the run was begun; written with the run.
        images: what tells the images that the run was begun with from others; empty where that was not noted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: DataConfig = DataConfig()
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int | None = Field(default=None, ge=1)
    precision: Literal["auto", "float32", "bf16"] = "auto"
    channels_last: bool | None = None
    compiles: bool = False
    versions: dict[str, str] = {}
    machine: str = ""
    images: str = ""

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
        ):  # nobody asks for it again on resuming
            raise BadInputError(
                f"--channels-last must come with a network that takes such images, got: {why_not}. "
                "Use --no-channels-last."
            )
        is_last = self.channels_last is not False and why_not is None
        return Compute(device, precision, is_last, self.compiles, ranks)


def _precision(asked: Literal["auto", "float32", "bf16"], device: torch.device) -> Precision:
    if asked != "auto":
        return asked
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"


def load_images(config: DataConfig, seed: int, watch: Watch, *, in_channels: int | None = None) -> ImageData:
    """The images a configuration names.

    Args:
        config: which.
        seed: fixes the validation split and, with `max_images`, the images chosen.
        watch: told of progress.
        in_channels: 1 or 3 to convert to; None for what the data set has.
    """
    return load_data(
        config.name,
        image_size=config.image_size,
        in_channels=in_channels,
        seed=seed,
        val_fraction=config.val_fraction,
        max_images=config.max_images,
        stream=config.stream,
        progress=lambda done, total: watch.progress("reading images", done, total),
    )


def checked_images(config: RunConfig, data: ImageData) -> str:
    """What tells a run's images from others.

    Raises:
        BadInputError: the run was begun with others.
    """
    own = identity_of(data)
    if config.images not in ("", own):
        raise BadInputError(
            f"--data must name the images that the run was begun with, wherever they are now, got others "
            f"({published(config.data.name)}). Begin a new run for other images."
        )
    return own


class NamesNetwork(Protocol):
    """A configuration that names a network.

    Attributes:
        space, width_multiplier, groups: the network, and which of its groups are narrowed.
    """

    @property
    def space(self) -> str: ...  # noqa: D102

    @property
    def width_multiplier(self) -> float: ...  # noqa: D102

    @property
    def groups(self) -> Groups: ...  # noqa: D102


def network_for(config: NamesNetwork, data: ImageData) -> SearchSpace:
    """The network that a configuration names, for its images.

    Raises:
        BadInputError: as `load_space`.
    """
    return load_space(
        config.space,
        (data.in_channels, data.image_size, data.image_size),
        num_classes=data.num_classes,
        width_multiplier=config.width_multiplier,
        selections=config.groups == "selections",
    )


def where_images_are(data: ImageData) -> str:
    """Where the images are, for the log."""
    parts = (data.train, data.val, data.test)
    numbers = " + ".join(f"{len(part):,}" for part in parts)
    size = f"{max(1, round(sum(map(len, parts)) * data.in_channels * data.image_size**2 / 1e6)):,} MB"
    if isinstance(data.train, ImageSet):
        return f"{numbers} images for training, validation and test are in memory ({size})"
    return f"{numbers} images for training, validation and test stay in their files ({size} when decoded)"


def resume_command(command: str, run: Path, space: str, ranks: Ranks) -> str:
    """What to type to go on with a run."""
    program = "nas-prune" if ranks.world == 1 else f"torchrun --nproc-per-node {ranks.world} -m nas_prune"
    again = f" --space {space}" if is_own(space) else ""
    return f"{program} {command} --resume {run}{again}"


def tell_of_versions(config: RunConfig, watch: Watch) -> None:
    """Say which libraries have changed since a run was begun: the same bits are promised for the same ones only."""
    now = library_versions()
    changed = [
        f"{name} {then} then, {now.get(name)} now"
        for name, then in config.versions.items()
        if now.get(name) != then
    ]
    if changed:
        watch.say(f"Last digits may differ from those of a run that was not stopped: {'; '.join(changed)}.")


SMALL_STEP_MACS = 500_000_000  # forward MACs of a batch below which a second thread gains little


def pick_threads(asked: int | None, macs: int, batch_size: int) -> int:
    """How many CPU threads a training uses: what is asked for, or one where a step is small.

    Threads wait for each other at every operation. In small steps that costs as much as it gains, and on a
    machine that does anything else many times more. The number is a function of the settings alone, since it
    decides the order of sums and with it the last bits of the result.
    """
    return asked or (1 if macs * batch_size < SMALL_STEP_MACS else torch.get_num_threads())


@contextmanager
def limited_threads(count: int) -> Iterator[None]:
    """Run with a number of CPU threads, and put the old number back."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def pick_device(name: str) -> torch.device:
    """The device of a name; `auto` is CUDA where there is one.

    Raises:
        BadInputError: CUDA is asked for and not there.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise BadInputError("--device cuda must have a CUDA device, found none. Use --device cpu.")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
