"""What is done to images that are more than 8-bit colour or grey: found as each is decoded, and said once for all.

Shape letter: N images.
"""

from collections.abc import Sequence
from enum import IntFlag
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nas_prune.data.pictures import Picture, shown

KindArray = NDArray[np.uint8]


class Kind(IntFlag):
    """What a decoded image does not keep of its file."""

    TRANSPARENT = 1
    SEVERAL = 2
    CMYK = 4
    DEEP = 8


_SAID = {
    Kind.TRANSPARENT: ("has transparency: drawn on white", "have transparency: drawn on white"),
    Kind.SEVERAL: (
        "holds several pictures (an animation, or pages): the first is used",
        "hold several pictures (animations, or pages): the first is used",
    ),
    Kind.CMYK: ("is CMYK: converted to RGB without a colour profile",
                "are CMYK: converted to RGB without colour profiles"),
    Kind.DEEP: ("has 16 bits a channel: the upper 8 are used", "have 16 bits a channel: the upper 8 are used"),
}  # fmt: skip


def kind_of_header(image: Image.Image, *, has_several: bool) -> Kind:
    """What is known of an image before it is decoded; whether anything can be seen through it is not.

    Args:
        image: opened, not decoded.
        has_several: whether other pictures follow the first.
    """
    kind = Kind.SEVERAL if has_several else Kind(0)
    if image.mode == "CMYK":
        kind |= Kind.CMYK
    if image.mode.startswith("I") or any(map(_is_deep, getattr(image, "tile", ()))):
        kind |= Kind.DEEP
    return kind


def _is_deep(tile: Any) -> bool:
    """Whether the pixels in a file have 16 bits a channel: Pillow makes 8 of them, and only this says so."""
    if tile[0] == "ppm":  # (mode, largest value)
        return bool(tile[3][-1] > 255)
    return ";16" in str(tile[3])


def notes_of(
    kinds_N: KindArray, pictures: Sequence[Picture], root: Path, *, is_sample: bool = False
) -> tuple[str, ...]:
    """What was done to images, in a sentence for each kind that there is.

    Args:
        kinds_N: of each image.
        pictures: where each is.
        root: the folder that they are named relative to.
        is_sample: whether there are more images that nobody has looked at.
    """
    notes = []
    for kind, (one, many) in _SAID.items():
        places = np.flatnonzero(kinds_N & kind)
        if not len(places):
            continue
        among = f" of {len(kinds_N):,} looked at" if is_sample else ""
        what, first = (one, "") if len(places) == 1 else (many, "such as ")
        noun = "image" if len(places) == 1 and not is_sample else "images"
        notes.append(f"{len(places):,} {noun}{among} ({first}{shown(pictures[places[0]], root)}) {what}.")
    return tuple(notes)
