"""What every run needs before it starts: the images a configuration names, a device, and threads."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from pydantic import BaseModel, ConfigDict, Field

from nas_prune.data import ImageData, load_data
from nas_prune.errors import BadInputError
from nas_prune.watch import Watch


class DataConfig(BaseModel):
    """Which images: a data set's name, their size, how many of the training part, and the validation share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "digits"
    image_size: int | None = None
    max_images: int | None = None
    val_fraction: float = Field(default=0.1, gt=0, le=0.5)

    def at(self, name: str) -> "DataConfig":
        """The same images under another name, such as a folder relative to a run."""
        return self.model_copy(update={"name": name})


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
        progress=lambda done, total: watch.progress("reading images", done, total),
    )


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
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
