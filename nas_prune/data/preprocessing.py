"""What is done to an image before a network sees it, and which classes the network's scores are of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from nas_prune.data.batches import normalise
from nas_prune.data.images import ImageData
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
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: tuple[str, ...] = Field(min_length=1)
    channels: int = Field(ge=1, strict=True)
    size: int = Field(ge=1, strict=True)
    mean: tuple[_Finite, ...]
    std: tuple[_Positive, ...]

    @model_validator(mode="after")
    def _for_each_channel(self) -> "Preprocessing":
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(f"mean and std must be of {self.channels} channels")
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("classes must each be named once")
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
    )
