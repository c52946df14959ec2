"""One mask from an open file: the class of each pixel, cut and resized as the photograph it belongs to."""

from typing import IO, NamedTuple

from PIL import Image

from nas_prune.data.picture import open_image, orientation_of, upright

_PLAIN = ("L", "P", "1")


class Photograph(NamedTuple):
    """How a photograph is stored.

    Attributes:
        size: width and height, as stored.
        orientation: how it is to be turned, by its EXIF; 1 for not at all.
    """

    size: tuple[int, int]
    orientation: int


def photograph_in(stream: IO[bytes]) -> Photograph:
    """How a photograph is stored, by its header.

    Raises:
        Exception: of many types, by Pillow's decoders.
    """
    image = open_image(stream)
    return Photograph(image.size, orientation_of(image))


def mask_in(stream: IO[bytes], *, most_pixels: int) -> Image.Image:
    """A whole mask; what its pixels say are numbers, of a palette too.

    Raises:
        Exception: of many types, by Pillow's decoders.
        ValueError: it is none, or has more pixels.
    """
    image = open_image(stream)
    width, height = image.size
    if width * height > most_pixels:
        raise ValueError(f"{width:,}×{height:,} pixels, more than {most_pixels:,}")
    if image.mode not in _PLAIN:
        raise ValueError(f"a mask must have one channel of 8 bits, of class numbers, got {image.mode}")
    image.load()
    if image.mode == "1":
        return image.convert("L")
    return image


def mask_square(mask: Image.Image, size: int, photograph: Photograph) -> Image.Image:
    """The centred square of a mask, turned as its photograph is; the nearest pixel's class, never one between.

    Args:
        mask: whole.
        size: pixels a side.
        photograph: that it belongs to.

    Raises:
        ValueError: it is of another size, or nobody can tell how it is to be turned.
    """
    turns = photograph.orientation
    stored, turned = photograph.size, photograph.size[::-1] if turns > 4 else photograph.size
    if mask.size not in (stored, turned):
        raise ValueError(
            f"a mask must have the size of its image, {stored[0]}×{stored[1]}, got {mask.width}×{mask.height}"
        )
    if turns != 1 and stored == turned:
        raise ValueError(
            "its image is stored turned (EXIF), and the mask does not say whether it is; save both upright"
        )
    if mask.size == stored:
        mask = upright(mask, turns)
    side = min(mask.size)
    left, top = (mask.width - side) // 2, (mask.height - side) // 2
    return mask.resize((size, size), Image.Resampling.NEAREST, box=(left, top, left + side, top + side))
