"""Batches of normalised images, cropped and mirrored on their device without a loop over images.

Shape letters: B images of a batch, C channels, H rows, W columns, K classes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from nas_prune.data.augment import Augment, erased, mixed, recoloured
from nas_prune.data.balance import balanced_order
from nas_prune.data.chance import BatchChance, epoch_seed
from nas_prune.data.images import Part
from nas_prune.data.targets import UNLABELLED
from nas_prune.errors import BadInputError

_OF_MASKS = 3  # dimensions


@dataclass(frozen=True, slots=True)
class Share:
    """Which part of every batch one of several processes takes.

    Example:
        >>> [Share(rank, world=2).of(64, 95) for rank in (0, 1)]
        [slice(64, 80, None), slice(80, 95, None)]
    """

    rank: int = 0
    world: int = 1

    def of(self, start: int, stop: int) -> slice:
        """The places it takes of those from `start` to `stop`."""
        each, rest = divmod(stop - start, self.world)
        first = start + self.rank * each + min(self.rank, rest)
        return slice(first, first + each + (self.rank < rest))

    def slices(self, count: int, batch_size: int) -> list[slice]:
        """Its places in each of the batches that cover `count` images."""
        starts = range(0, count, batch_size)
        return [self.of(start, min(start + batch_size, count)) for start in starts]


def num_batches(count: int, batch_size: int) -> int:
    """How many batches an epoch of `count` training images has.

    A last, incomplete batch is left out when it has one image or fewer than half of `batch_size` (batch norm
    needs more), unless it is the only one.

    Example:
        >>> num_batches(100, 64), num_batches(90, 64), num_batches(5, 64)
        (2, 1, 1)
    """
    full, rest = divmod(count, batch_size)
    is_kept = rest >= 2 and 2 * rest >= batch_size
    return full + (is_kept or (full == 0 and rest > 0))


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """The images with each channel's mean subtracted and divided by its standard deviation, as float32.

    Args:
        images: uint8, N×C×H×W.
        mean: of each channel, pixels in [0, 1].
        std: likewise.
    """
    offset = torch.tensor([255 * value for value in mean], device=images.device).view(-1, 1, 1)
    scale = torch.tensor([255 * value for value in std], device=images.device).view(-1, 1, 1)
    return images.float().sub_(offset).div_(scale)


def train_batches(  # noqa: PLR0913  (all but the first by keyword)
    part: Part,
    *,
    batch_size: int,
    mean: Sequence[float],
    std: Sequence[float],
    augment: Augment,
    seed: int,
    epoch: int,
    first: int = 0,
    share: Share = Share(),
    num_classes: int = 0,
    is_balanced: bool = False,
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of shuffled, augmented, normalised batches.

    Order and augmentation depend on `seed` and `epoch` alone, on any device, in memory or from files. A few images
    of an epoch may be left out, see `num_batches`.

    Args:
        part: the images.
        batch_size: images in a batch, over all processes together.
        mean: of each channel, pixels in [0, 1].
        std: likewise.
        augment: how the images are varied.
        seed: with `epoch`, fixes order and augmentation.
        epoch: the number of the epoch.
        first: how many batches to skip.
        share: which part of every batch to take. Images are mixed within it.
        num_classes: K, needed where images are mixed.
        is_balanced: whether every class comes equally often, see `balanced_order`.

    Returns:
        Pairs of float32 images, B×C×H×W, and their labels: int64, B; where images are mixed, the shares of the classes
        in each, B×K; or what else the part has. Masks are cropped and mirrored as their images are.

    Raises:
        BadInputError: `batch_size` is below 1.
    """
    _check_batch_size(batch_size)
    drawn = _drawn(part.labels, augment, seed, epoch, is_balanced=is_balanced)
    slices = share.slices(len(part), batch_size)[first : num_batches(len(part), batch_size)]
    places = [drawn.order[chosen] for chosen in slices]
    drawn = drawn.to(part.device)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for number, (images, chosen) in enumerate(zip(part.batches(places), slices, strict=True), first):
            here = drawn.at(chosen)
            labels = part.labels[here.order]
            if labels.dim() == _OF_MASKS:
                cut = _cropped(labels.unsqueeze(1), here.offsets, augment.crop_padding, UNLABELLED)
                labels = (_mirrored(cut, here.mirrored) if augment.flip else cut).squeeze(1)
            cropped = _cropped(images, here.offsets, augment.crop_padding)
            turned = _mirrored(cropped, here.mirrored) if augment.flip else cropped
            chance = BatchChance(seed, epoch, number, chosen)
            whole = normalise(recoloured(turned, augment, chance), mean, std)
            varied = erased(_cut_out(whole, here.centres, augment.cutout), augment, chance)
            yield mixed(varied, labels, augment, chance, num_classes) if augment.mixes else (varied, labels)

    return batches()


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The random choices for N images: their order, crops (2×N), mirrors, centres of cut-outs (2×N)."""

    order: Tensor
    offsets: Tensor
    mirrored: Tensor
    centres: Tensor

    def at(self, place: slice) -> "_Drawn":
        tensors = (self.order, self.offsets, self.mirrored, self.centres)
        return _Drawn(*(tensor[..., place] for tensor in tensors))

    def to(self, device: torch.device) -> "_Drawn":
        tensors = (self.order, self.offsets, self.mirrored, self.centres)
        return _Drawn(*(tensor.to(device) for tensor in tensors))


def _drawn(labels: Tensor, augment: Augment, seed: int, epoch: int, *, is_balanced: bool) -> _Drawn:
    generator, count = torch.Generator().manual_seed(epoch_seed(seed, epoch)), len(labels)
    order = balanced_order(labels, generator) if is_balanced else torch.randperm(count, generator=generator)
    offsets = torch.randint(2 * augment.crop_padding + 1, (2, count), generator=generator)
    mirrored = (torch.rand(count, generator=generator) < 0.5) & augment.flip
    return _Drawn(order, offsets, mirrored, centres=torch.rand(2, count, generator=generator))


def eval_batches(
    part: Part, *, batch_size: int, mean: Sequence[float], std: Sequence[float], share: Share = Share()
) -> Iterator[tuple[Tensor, Tensor]]:
    """All images in their order, normalised and otherwise unchanged; the last batch may be smaller.

    Raises:
        BadInputError: `batch_size` is below 1.
    """
    _check_batch_size(batch_size)
    whole = share.of(0, len(part))
    starts = range(whole.start, whole.stop, batch_size)
    slices = [slice(start, min(start + batch_size, whole.stop)) for start in starts]
    chunks = zip(part.batches([torch.arange(one.start, one.stop) for one in slices]), slices, strict=True)
    return ((normalise(images, mean, std), part.labels[chosen]) for images, chosen in chunks)


def _cropped(images: Tensor, offsets: Tensor, padding: int, value: int = 0) -> Tensor:
    """Each image padded, with black if not said, and cut back to its size at its own offset (2×B: rows, columns)."""
    if not padding:
        return images
    height, width = images.shape[-2:]
    windows = pad(images, (padding,) * 4, value=value).unfold(2, height, 1).unfold(3, width, 1)
    return windows[torch.arange(len(images), device=images.device), :, offsets[0], offsets[1]]


def _mirrored(images: Tensor, is_mirrored: Tensor) -> Tensor:
    return torch.where(is_mirrored.view(-1, 1, 1, 1), images.flip(3), images)


def _cut_out(images: Tensor, centres: Tensor, side: int) -> Tensor:
    """Each normalised image with a square of its own set to zero; it may reach beyond the edge."""
    if not side:
        return images
    rows, columns = (
        _outside(share, side, size) for share, size in zip(centres, images.shape[-2:], strict=True)
    )
    return images * (rows.unsqueeze(2) | columns.unsqueeze(1)).unsqueeze(1)


def _outside(centres: Tensor, side: int, size: int) -> Tensor:
    """Which of `size` places lie outside an interval around each centre, given as a share: B×size."""
    first = (centres * size).floor().view(-1, 1) - side // 2
    places = torch.arange(size, device=centres.device)
    return (places < first) | (places >= first + side)


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise BadInputError(f"--batch-size must be at least 1, got {batch_size}.")
