"""What every run needs before it starts: the images a configuration names, and a device."""

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


def pick_device(name: str) -> torch.device:
    """The device of a name; `auto` is CUDA where there is one.

    Raises:
        BadInputError: CUDA is asked for and not there.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise BadInputError("--device cuda must have a CUDA device, found none. Use --device cpu.")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
