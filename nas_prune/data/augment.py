"""How training images are varied beyond crops and mirrors, by torchvision's transforms; and which images are mixed.

What is drawn for an image depends on seed, epoch and its place in the epoch, what is drawn for a batch on its number:
not on the device, the number of processes, or what was drawn before.

Shape letters: B images of a batch, C channels, H rows, W columns, K classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from nas_prune.data.chance import BatchChance, drawing_from
from nas_prune.errors import BadInputError


class RandAugment(BaseModel):
    """Some operations drawn for each image (Cubuk et al. 2020), with torchvision's names and defaults.

    Attributes:
        operations: how many, one after another.
        magnitude: how strong each is, of 30.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    operations: int = Field(default=2, ge=1, le=14)
    magnitude: int = Field(default=9, ge=0, le=30)


class ColorJitter(BaseModel):
    """By how much the colours of each image change at most; one number stands for the first three.

    Attributes:
        brightness, contrast, saturation: x draws a factor from [1 - x, 1 + x], not below 0.
        hue: a turn of the colour circle by at most this share of it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    brightness: float = Field(default=0, ge=0, le=10)
    contrast: float = Field(default=0, ge=0, le=10)
    saturation: float = Field(default=0, ge=0, le=10)
    hue: float = Field(default=0, ge=0, le=0.5)

    @model_validator(mode="before")
    @classmethod
    def _of_one_number(cls, given: Any) -> Any:
        is_number = isinstance(given, (int, float)) and not isinstance(given, bool)
        return dict.fromkeys(("brightness", "contrast", "saturation"), given) if is_number else given


@dataclass(frozen=True, slots=True)
class Augment:
    """How training images are varied: each one by itself, and then mixed with others of its batch.

    Attributes:
        crop_padding: black pixels added on each side before a random crop back to the old size; 0 for none.
        flip: mirror every other image, at random.
        cutout: side in pixels of a square that is set to the mean colour, its centre anywhere in the image (DeVries
            and Taylor 2017); 0 for none.
        randaugment: operations drawn for each image; None for none.
        color_jitter: changes of the colours drawn for each image; None for none.
        erasing: the probability that a rectangle of an image is set to the mean colour (Zhong et al. 2020).
        mixup: α of the Beta distribution that the shares of two images are drawn from (Zhang et al. 2018); 0 for none.
        cutmix: α likewise, for a rectangle of another image (Yun et al. 2019); 0 for none. With both, one is drawn for
            each batch.
    """

    crop_padding: int
    flip: bool
    cutout: int = 0
    randaugment: RandAugment | None = None
    color_jitter: ColorJitter | None = None
    erasing: float = 0
    mixup: float = 0
    cutmix: float = 0

    def __post_init__(self) -> None:
        for name in ("crop_padding", "cutout", "erasing", "mixup", "cutmix"):
            if getattr(self, name) < 0:
                raise BadInputError(f"{name} must be 0 or more, got {getattr(self, name)}.")

    @property
    def mixes(self) -> bool:
        """Whether labels come out as shares of classes."""
        return bool(self.mixup or self.cutmix)


def recoloured(images: Tensor, augment: Augment, chance: BatchChance) -> Tensor:
    """Images after RandAugment and colour jitter, drawn for each: uint8, B×C×H×W.

    They are worked out on the CPU, so that the pixels are the same wherever the network trains.
    """
    from torchvision.transforms import v2

    steps: list[Callable[[Tensor], Tensor]] = []
    if augment.randaugment is not None:
        steps.append(v2.RandAugment(augment.randaugment.operations, augment.randaugment.magnitude))
    if augment.color_jitter is not None:
        steps.append(v2.ColorJitter(**augment.color_jitter.model_dump()))
    return _each(images.cpu(), steps, chance.of_images("image")).to(images.device) if steps else images


def erased(images: Tensor, augment: Augment, chance: BatchChance) -> Tensor:
    """Normalised images, some with a rectangle set to zero."""
    if not augment.erasing:
        return images
    from torchvision.transforms import v2

    return _each(images, [v2.RandomErasing(augment.erasing)], chance.of_images("erased"))


def mixed(
    images: Tensor, labels: Tensor, augment: Augment, chance: BatchChance, num_classes: int
) -> tuple[Tensor, Tensor]:
    """A batch with each image mixed with the one before it, and the share of each class in it.

    Args:
        images: float32, B×C×H×W.
        labels: int64, B.
        augment: which kinds of mixing there are.
        chance: what the batch draws from.
        num_classes: K.

    Returns:
        Images, and labels as float32, B×K, the sum of each row 1.
    """
    from torchvision.transforms import v2

    kinds: list[Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = []
    if augment.mixup:
        kinds.append(v2.MixUp(alpha=augment.mixup, num_classes=num_classes))
    if augment.cutmix:
        kinds.append(v2.CutMix(alpha=augment.cutmix, num_classes=num_classes))
    with drawing_from(chance.of_batch("batch")):
        return kinds[int(torch.randint(len(kinds), ()))](images, labels)


def _each(images: Tensor, steps: Sequence[Callable[[Tensor], Tensor]], seeds: Sequence[int]) -> Tensor:
    done = []
    with drawing_from(0) as generator:
        for image, seed in zip(images, seeds, strict=True):
            generator.manual_seed(seed)
            for step in steps:
                image = step(image)  # noqa: PLW2901
            done.append(image)
    return torch.stack(done) if done else images
