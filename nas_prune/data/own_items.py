"""The items of a person's own data sets, each read and checked: an image, and what is to be learned of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from nas_prune.data.picture import GREY, converted
from nas_prune.data.targets import UNLABELLED, TargetKind
from nas_prune.errors import DataError
from nas_prune.runs.text import first_line

_MOST_BYTES = 8_000_000_000
_ASKED_AGAIN = 16  # items, which must be the same then
_ONE, _THREE = 1, 3  # channels


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """An image, uint8, C×H×W, and what is to be learned of it."""

    image: Tensor
    target: Tensor


def items_of(dataset: Any, kind: TargetKind, where: str) -> list[Item]:
    """All items of a data set, once each."""
    length = len(dataset)
    if not length:
        raise DataError(f"{where} must have items, got none.")
    found, held = [], 0
    for place in range(length):
        item = _item(dataset, place, kind, where)
        held += item.image.numel()
        if held > _MOST_BYTES:
            raise DataError(
                f"{where} must fit into {_MOST_BYTES / 1e9:.0f} GB, got more. Save the images for --data folder:PATH."
            )
        found.append(item)
    if len(dataset) != length:
        raise DataError(f"{where} must keep its length, got {length:,} and then {len(dataset):,}.")
    odd = next(
        (
            place
            for place in _spread(length)
            if not _is_same(_item(dataset, place, kind, where), found[place])
        ),
        None,
    )
    if odd is not None:
        raise DataError(
            f"{where} must give the same item each time, got another for item {odd}. Leave random transforms out: the "
            "recipe varies images."
        )
    return found


def _spread(length: int) -> Sequence[int]:
    """Some places of a data set, evenly spread."""
    return range(0, length, max(1, length // _ASKED_AGAIN))


def _is_same(one: Item, other: Item) -> bool:
    return torch.equal(one.image, other.image) and torch.equal(one.target, other.target)


def _item(dataset: Any, place: int, kind: TargetKind, where: str) -> Item:
    try:
        pair = dataset[place]
    except Exception as error:
        raise DataError(
            f"item {place} of {where} must be there, got {type(error).__name__}: {first_line(error)}."
        ) from error
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise DataError(
            f"item {place} of {where} must be (image, what is to be learned), got {_words(pair)}."
            + (
                " Wrap it: [(one['image'], one['label']) for one in data]"
                if isinstance(pair, Mapping)
                else ""
            )
        )
    try:
        return Item(_image(pair[0]), _TARGETS[kind](pair[1]))
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"item {place} of {where} cannot be used: {first_line(error)}.") from None


def _words(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {list(value.shape)}"
    return (
        f"a {type(value).__name__} of {len(value)}"
        if isinstance(value, (tuple, list))
        else type(value).__name__
    )


def _image(value: Any) -> Tensor:
    """An image as uint8, C×H×W."""
    if isinstance(value, Image.Image):
        if value.mode in ("F", "I"):
            raise ValueError("32-bit pixels have no known range; give 8 or 16 bits")
        value = torch.from_numpy(np.array(converted(value, "L" if value.mode in GREY else "RGB")))
        value = value.unsqueeze(0) if value.dim() == 2 else value.permute(2, 0, 1)
    if not isinstance(value, Tensor):
        raise TypeError(f"an image must be Pillow's or a tensor C×H×W, got {type(value).__name__}")
    if value.dim() != 3 or value.shape[0] not in (_ONE, _THREE) or not value.numel():
        raise ValueError(f"an image must be a tensor C×H×W of 1 or 3 channels, got {list(value.shape)}")
    if value.is_floating_point():
        if not bool(((value >= 0) & (value <= 1)).all()):
            raise ValueError(
                "floats must be from 0 to 1 as pixels, got others: leave out normalising, which is ours"
            )
        return (value.float() * 255).round().to(torch.uint8)
    if value.dtype != torch.uint8:
        raise ValueError(f"pixels must be uint8, or floats from 0 to 1, got {value.dtype}")
    return value.contiguous().clone()


def _class(value: Any) -> Tensor:
    number = np.asarray(value.cpu() if isinstance(value, Tensor) else value)
    if number.shape != () or number.dtype.kind not in "iu" or number < 0:
        raise ValueError(f"a label must be a class's number from 0, got {_words(value)} {str(value)[:40]!r}")
    return torch.tensor(int(number))


def _flags(value: Any) -> Tensor:
    row = torch.as_tensor(
        np.asarray(value.cpu() if isinstance(value, Tensor) else value, dtype=np.float64)
    ).float()
    if row.dim() != 1 or not bool(((row == 0) | (row == 1)).all()):
        raise ValueError(f"several classes must be a row of 0 and 1, got {_words(value)}")
    return row


def _numbers(value: Any) -> Tensor:
    row = np.atleast_1d(np.asarray(value.cpu() if isinstance(value, Tensor) else value, dtype=np.float64))
    found = torch.from_numpy(row).float()
    if row.ndim != 1 or not bool(found.isfinite().all()):
        raise ValueError(
            f"what is learned must be a number or a row of some, each finite in float32, got {_words(value)}"
        )
    return found


def _mask(value: Any) -> Tensor:
    if isinstance(value, Image.Image):
        if value.mode not in ("L", "P", "1"):
            raise ValueError(f"a mask must have one channel of class numbers, got {value.mode}")
        value = torch.from_numpy(np.array(value).astype(np.uint8))  # of two levels, black is 0 and white 1
    mask = torch.as_tensor(np.asarray(value.cpu() if isinstance(value, Tensor) else value))
    mask = mask.squeeze(0) if mask.dim() == 3 and mask.shape[0] == 1 else mask
    if mask.dim() != 2 or mask.is_floating_point() or not bool(((mask >= 0) & (mask <= UNLABELLED)).all()):
        raise ValueError(f"a mask must be H×W of class numbers from 0 to 255, got {_words(value)}")
    return mask.to(torch.uint8)


_TARGETS: dict[TargetKind, Callable[[Any], Tensor]] = {
    "class": _class,
    "classes": _flags,
    "numbers": _numbers,
    "mask": _mask,
}
