"""What is done to an image before a network sees it, and which classes the network's scores are of."""

from math import isfinite
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from torch import Tensor

from nas_prune.data.batches import normalise
from nas_prune.data.images import ImageData
from nas_prune.data.targets import TargetKind, TargetScale
from nas_prune.runs.data_name import CLASSIFICATION
from nas_prune.runs.text import printable

_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=1e-6, allow_inf_nan=False)]


class Preprocessing(BaseModel):
    """What a trained network's images must be.

    Attributes:
        classes: the names of its scores, in order, as they are shown.
        channels: 1 for grey images, 3 for colour.
        size: pixels a side: of the centred square of each image.
        mean, std: of each channel, pixels in [0, 1]; images come with the first subtracted, divided by the second.
        task: that the network was trained for.
        kind: what it says of an image.
        scale: from the numbers that it puts out to those in their own units; None for other kinds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: tuple[str, ...] = Field(min_length=1)
    channels: int = Field(ge=1, strict=True)
    size: int = Field(ge=1, strict=True)
    mean: tuple[_Finite, ...]
    std: tuple[_Positive, ...]
    task: str = Field(default=CLASSIFICATION, max_length=200)
    kind: TargetKind = "class"
    scale: TargetScale | None = None

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what is so for images of one class each: files of earlier versions are equal then."""
        content: dict[str, Any] = handler(self)
        usual = {"task": CLASSIFICATION, "kind": "class", "scale": None}
        return {name: value for name, value in content.items() if name not in usual or usual[name] != value}

    @model_validator(mode="after")
    def _for_each_channel(self) -> "Preprocessing":
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(f"mean and std must be of {self.channels} channels")
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("classes must each be named once")
        if (self.kind == "numbers") != (self.scale is not None):
            raise ValueError("a scale must come with numbers, and with nothing else")
        if self.scale is not None and not all(map(isfinite, (*self.scale.mean, *self.scale.std))):
            raise ValueError("the scale must be finite")
        if self.scale is not None and not min(self.scale.std) > 0:
            raise ValueError("the scale's deviations must be above 0")
        if self.scale is not None and not len(self.scale.mean) == len(self.scale.std) == len(self.classes):
            raise ValueError(f"the scale must be of {len(self.classes)} numbers")
        return self

    def batch(self, images: Tensor) -> Tensor:
        """Images as the network takes them: uint8, N×C×H×W, to float32."""
        return normalise(images, self.mean, self.std)


def preprocessing_of(data: ImageData) -> Preprocessing:
    """What is done to the images of a data set."""
    return Preprocessing(
        classes=tuple(map(printable, data.class_names)),
        channels=data.in_channels,
        size=data.image_size,
        mean=data.mean,
        std=data.std,
        task=data.task.name,
        kind=data.task.kind,
        scale=data.scale,
    )
