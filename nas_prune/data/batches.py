"""Batches of normalised images, augmented on the device they lie on, without a loop over images.

Shape letters: B images of a batch, C channels, H rows, W columns.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import torch
from torch import Tensor
from torch.nn.functional import pad

from nas_prune.data.images import ImageSet
from nas_prune.errors import BadInputError


@dataclass(frozen=True, slots=True)
class Augment:
    """How training images are varied, each one by itself.

    Attributes:
        crop_padding: black pixels added on each side before a random crop back to the old size; 0 for none.
        flip: mirror every other image, at random.
    """

    crop_padding: int
    flip: bool

    def __post_init__(self) -> None:
        if self.crop_padding < 0:
            raise BadInputError(f"crop_padding must be 0 or more, got {self.crop_padding}.")


def num_batches(count: int, batch_size: int) -> int:
    """How many batches an epoch of `count` training images has.

    A last, incomplete batch is left out when it has one image or fewer than half of `batch_size` (batch norm
    makes little of a handful), unless it is the only one.

    Example:
        >>> num_batches(100, 64), num_batches(90, 64), num_batches(5, 64)
        (2, 1, 1)
    """
    full, rest = divmod(count, batch_size)
    is_kept = rest >= 2 and 2 * rest >= batch_size
    return full + (is_kept or (full == 0 and rest > 0))


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """The images with each channel's mean taken off and divided by its standard deviation, as float32.

    Args:
        images: uint8, N×C×H×W.
        mean: of each channel, pixels in [0, 1].
        std: likewise.
    """
    offset = torch.tensor([255 * value for value in mean], device=images.device).view(-1, 1, 1)
    scale = torch.tensor([255 * value for value in std], device=images.device).view(-1, 1, 1)
    return images.float().sub_(offset).div_(scale)


def train_batches(
    part: ImageSet,
    *,
    batch_size: int,
    mean: Sequence[float],
    std: Sequence[float],
    augment: Augment,
    seed: int,
    epoch: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of shuffled, augmented, normalised batches.

    Order and augmentation depend on `seed` and `epoch` alone, on any device. A few images of an epoch may be
    left out, see `num_batches`.

    Args:
        part: the images.
        batch_size: images in a batch.
        mean: of each channel, pixels in [0, 1].
        std: likewise.
        augment: how the images are varied.
        seed: with `epoch`, fixes order and augmentation.
        epoch: the number of the epoch.

    Returns:
        Pairs of float32 images, B×C×H×W, and int64 labels, B.

    Raises:
        BadInputError: `batch_size` is below 1.
    """
    _check_batch_size(batch_size)
    generator = torch.Generator().manual_seed(_epoch_seed(seed, epoch))
    order = torch.randperm(len(part), generator=generator)
    offsets = torch.randint(2 * augment.crop_padding + 1, (2, len(part)), generator=generator)
    mirrored = (torch.rand(len(part), generator=generator) < 0.5) & augment.flip
    order, offsets, mirrored = (drawn.to(part.images.device) for drawn in (order, offsets, mirrored))

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for i in range(num_batches(len(part), batch_size)):
            batch = slice(i * batch_size, (i + 1) * batch_size)
            images = _cropped(part.images[order[batch]], offsets[:, batch], augment.crop_padding)
            images = _mirrored(images, mirrored[batch]) if augment.flip else images
            yield normalise(images, mean, std), part.labels[order[batch]]

    return batches()


def eval_batches(
    part: ImageSet, *, batch_size: int, mean: Sequence[float], std: Sequence[float]
) -> Iterator[tuple[Tensor, Tensor]]:
    """All images in their order, normalised and otherwise unchanged; the last batch may be smaller.

    Raises:
        BadInputError: `batch_size` is below 1.
    """
    _check_batch_size(batch_size)
    chunks = zip(part.images.split(batch_size), part.labels.split(batch_size), strict=True)
    return ((normalise(images, mean, std), labels) for images, labels in chunks if len(labels))


def _cropped(images: Tensor, offsets: Tensor, padding: int) -> Tensor:
    """Each image padded with black and cut back to its size at its own offset (2×B: rows, columns)."""
    if not padding:
        return images
    height, width = images.shape[-2:]
    windows = pad(images, (padding,) * 4).unfold(2, height, 1).unfold(3, width, 1)
    return windows[torch.arange(len(images), device=images.device), :, offsets[0], offsets[1]]


def _mirrored(images: Tensor, is_mirrored: Tensor) -> Tensor:
    return torch.where(is_mirrored.view(-1, 1, 1, 1), images.flip(3), images)


def _epoch_seed(seed: int, epoch: int) -> int:
    """A number that differs for every pair; neighbouring seeds share no epochs."""
    return int.from_bytes(blake2b(f"{seed}/{epoch}".encode(), digest_size=4).digest(), "big")


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise BadInputError(f"--batch-size must be at least 1, got {batch_size}.")
