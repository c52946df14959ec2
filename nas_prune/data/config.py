"""Which images, and loading them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)

from nas_prune.data import ImageData, ImageSet, load_data
from nas_prune.data.tasks import task_named, task_names
from nas_prune.runs.data_name import CLASSIFICATION, own_data
from nas_prune.runs.directory import expanded
from nas_prune.runs.own_code import is_own_code
from nas_prune.runs.progress import Progress
from nas_prune.runs.typed import NetworkName

_LONGEST_NAME = 4096  # of a path on Linux


class DataConfig(BaseModel):
    """Which images.

    Attributes:
        name: the data set.
        image_size: pixels a side; None for its own.
        max_images: how many images of the training part.
        val_fraction: share of them that is kept for validation.
        stream: whether a person's own images stay in their files; None for what their size suggests.
        task: what is to be learned of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: NetworkName = "digits"
    image_size: int | None = None
    max_images: int | None = None
    val_fraction: float = Field(default=0.1, gt=0, le=0.5)
    stream: bool | None = None
    task: NetworkName = CLASSIFICATION

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the task where it is the one that there always was: files of earlier versions are equal then."""
        content: dict[str, Any] = handler(self)
        if content.get("task") == CLASSIFICATION:
            del content["task"]
        return content

    @field_validator("name")
    @classmethod
    def _is_a_path(cls, name: str) -> str:
        if "\0" in name or len(name) > _LONGEST_NAME:
            raise ValueError(
                f"a data set's name must have at most {_LONGEST_NAME:,} characters, none of them NUL"
            )
        return name

    @field_validator("task")
    @classmethod
    def _is_a_task(cls, name: str) -> str:
        if name not in task_names() and not is_own_code(name):
            raise ValueError(
                f"a task must be one of {', '.join(task_names())}, or package.module:task of your own, got {name!r}"
            )
        return name

    def at(self, name: str) -> "DataConfig":
        """The same images under another name, such as a folder relative to a run."""
        return self.model_copy(update={"name": name})


def load_images(
    config: DataConfig,
    seed: int,
    progress: Progress,
    *,
    in_channels: int | None = None,
    meant_size: int | None = None,
) -> ImageData:
    """The images a configuration names.

    Args:
        config: which.
        seed: fixes the validation split and, with `max_images`, the images chosen.
        progress: reports how far the work is.
        in_channels: 1 or 3 to convert to; None for what the data set has.
        meant_size: pixels a side that the network is made for: of a person's own images, if no size is asked for.
    """
    is_own = own_data(config.name) is not None
    data = load_data(
        config.name,
        image_size=config.image_size or (meant_size if is_own else None),
        in_channels=in_channels,
        seed=seed,
        val_fraction=config.val_fraction,
        max_images=config.max_images,
        stream=config.stream,
        task=task_named(config.task),
        progress=lambda done, total: progress.update("reading images", done, total),
    )
    if meant_size is None or 2 * data.image_size > meant_size:
        return data
    small = (
        f"The images are of {data.image_size} px and the network is made for {meant_size}: its last stages see little "
        f"of them. --image-size {meant_size} gives it what it is made for."
    )
    return replace(data, notes=(*data.notes, small))


def where_images_are(data: ImageData) -> str:
    """Where the images are, for the log, and what else a person should know of them."""
    parts = (data.train, data.val, data.test)
    numbers = " + ".join(f"{len(part):,}" for part in parts)
    size = f"{max(1, round(sum(map(len, parts)) * data.in_channels * data.image_size**2 / 1e6)):,} MB"
    where = f"are in memory ({size})"
    if not isinstance(data.train, ImageSet):
        where = f"stay in their files ({size} when decoded)"
    return "\n".join([f"{numbers} images for training, validation and test {where}", *data.notes])


def placed(data: DataConfig, folder: Path, data_name: str | None) -> DataConfig:
    """The images; a place is named relative to the directory of the file that names it."""
    if data_name is not None:
        return data.at(data_name)
    own = own_data(data.name)
    return data if own is None else data.at(own.at(str(folder / expanded(own.place))))
