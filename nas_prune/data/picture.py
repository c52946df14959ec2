"""One image from an open file, as a square of the size asked for, in bounded memory.

Its header says how large it is before a pixel is decoded.
"""

import os
import struct
import warnings
from contextlib import closing, suppress
from typing import IO, Any, NamedTuple, cast

import numpy as np
from PIL import Image, UnidentifiedImageError

from nas_prune.data.kinds import Kind, kind_of_header
from nas_prune.data.semaphore import WeightedSemaphore
from nas_prune.errors import BadInputError

# Pillow's own words on large images, of some formats only; here they are refused, or not.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

MOST_PIXELS = 178_956_970  # what Pillow itself decodes
MOST_BYTES = 500_000_000  # held at a time by all threads that decode
_VARIABLE = "NAS_PRUNE_MOST_PIXELS"
_STRIP = 2**20  # pixels that are converted at a time
_BLOCK = 2**26  # bytes

# Pillow tries these one after the other, whatever the file is called. Others are none that cameras or web pages write;
# one of them (EPS) would start another program.
_FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "PPM", "TIFF", "WEBP", "AVIF", "JPEG2000")
# bytes a pixel that their decoders hold besides the picture itself; the others decode line by line
_HELD = {"TIFF": 4, "PPM": 4, "BMP": 1, "GIF": 1, "WEBP": 12, "AVIF": 16, "JPEG2000": 16}
_LARGEST_PIXEL = 4  # bytes: what an image of the most pixels may take, as colour
_SMALL = 2**20  # bytes of a file that cannot take long
_FEW_READS, _CRUMB = 20_000, 256  # a decoder's reads beyond one for so many bytes
_SCAN, _MANY_SCANS, _MOST_WORK = b"\xff\xda", 20, 2_000_000_000  # pixels that all scans go over
_READ_WHOLE, _MOST_WHOLE = ("WEBP", "AVIF"), 2**28  # bytes of a file that is read before it is looked at
_STORED = {"1": 1, "L": 1, "P": 1}  # bytes a pixel; 2 with 16 bits, and 4 otherwise
GREY = ("1", "L", "LA", "I", "I;16", "I;16L", "I;16B", "I;16N")
_WIDE = ("PPM", "PNG")  # formats whose pixels of 32 bits are what Pillow makes of 16


class Square(NamedTuple):
    """A picture as it is used.

    Attributes:
        image: the square.
        kind: what it does not keep of its file.
    """

    image: Image.Image
    kind: Kind


def most_pixels() -> int:
    """How many pixels an image may have: what `NAS_PRUNE_MOST_PIXELS` says, or 178,956,970.

    Raises:
        BadInputError: it says no number above 0.
    """
    written = os.environ.get(_VARIABLE, "").strip()
    with suppress(ValueError):
        if (most := int(written or MOST_PIXELS)) > 0:
            return most
    raise BadInputError(f"{_VARIABLE} must be a whole number above 0, got {written!r:.40}.")


def square(
    stream: IO[bytes], mode: str, size: int, *, most_pixels: int, semaphore: WeightedSemaphore
) -> Square:
    """The centred square of an image, upright, resized bilinearly with antialiasing.

    What can be seen through lies on white, as pages show it; of several pictures in a file the first is taken, of 16
    bits the upper 8, and CMYK becomes RGB.

    Args:
        stream: a regular file, or a part of one.
        mode: `L` for grey, `RGB` for colour.
        size: pixels a side.
        most_pixels: how many an image may have; of a large JPEG, once it is reduced.
        semaphore: bounds the bytes that are held while it is decoded.

    Raises:
        Exception: of many types, by Pillow's decoders.
        ValueError: it has more pixels, or pixels that cannot be used.
    """
    _allocate_in_large_blocks()
    if _size(stream) > _SMALL:
        stream = cast("IO[bytes]", _Patient(stream))
    image = open_image(stream)
    if image.mode == "F" or (image.mode == "I" and image.format not in _WIDE):
        raise ValueError("32-bit pixels have no known range; save it with 8 or 16 bits")
    kind = kind_of_header(image, has_several=_has_several(image, stream))
    width, height = image.size
    # a large JPEG is decoded at 1/2, 1/4 or 1/8 of its size, but at least at twice the one wanted
    image.draft(mode, (2 * size, 2 * size))
    is_progressive = "progressive" in image.info  # its coefficients are all held, whatever is made of them
    num_pixels = width * height if is_progressive else image.width * image.height
    if num_pixels > most_pixels:
        raise ValueError(
            f"{width:,}×{height:,} pixels, more than {most_pixels:,}; {_VARIABLE}={num_pixels} allows them"
        )
    # three equal colours are resized as one
    between = "L" if image.mode in GREY else mode
    num_bytes = _num_bytes(image, between) + is_progressive * 8 * num_pixels
    if num_bytes > _LARGEST_PIXEL * most_pixels:
        raise ValueError(
            f"{width:,}×{height:,} pixels, which take {num_bytes / 1e6:,.0f} MB to decode; "
            f"{_VARIABLE}={-(-num_bytes // _LARGEST_PIXEL)} allows that"
        )
    if image.format in ("JPEG", "MPO"):  # what telephones write holds a second picture
        _check_scans(stream, width * height)
    with semaphore.held(num_bytes), closing(image):
        image.load()
        orientation = orientation_of(image)
        kind |= Kind.TRANSPARENT if _is_seen_through(image) else Kind(0)
        return Square(upright(converted(_centred(image, between, size), mode), orientation), kind)


def _size(stream: IO[bytes]) -> int:
    """Of a file, or of a part of one, in bytes."""
    place = stream.tell()
    size = stream.seek(0, os.SEEK_END)
    stream.seek(place)
    return size


class _Patient:
    """A large file that a decoder may read in parts, but not in crumbs.

    Pillow reads headers, and some pixels, piece by piece in Python: millions of empty pieces take minutes.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._left = _FEW_READS + _size(stream) // _CRUMB

    def read(self, size: int = -1) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise ValueError("it is made of too many small parts; save it anew")
        return self._stream.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _check_scans(stream: IO[bytes], num_pixels: int) -> None:
    """Refuse a JPEG that goes over its pixels again and again: a few bytes for each time, and seconds for each.

    Raises:
        ValueError: it does.
    """
    place, size = stream.tell(), _size(stream)
    if size <= _SMALL >> 6:
        return
    stream.seek(0)
    scans, last = 0, b""
    while block := stream.read(_STRIP):
        scans += (last + block).count(_SCAN)
        last = block[-1:]
    stream.seek(place)
    if scans > _MANY_SCANS and scans * num_pixels > _MOST_WORK:
        raise ValueError(f"{scans:,} scans of {num_pixels:,} pixels; save it anew")


def _allocate_in_large_blocks() -> None:
    """Have Pillow allocate large images so that their memory goes back to the system at once.

    In its usual blocks of 16 MB, the C library would keep what is freed, for each thread.
    """
    core = Image.core  # type: ignore[attr-defined]  # Pillow's C library, which its types leave out
    if core.get_block_size() < _BLOCK:
        core.set_block_size(_BLOCK)


def open_image(stream: IO[bytes]) -> Image.Image:
    """The image, not yet decoded. As `Image.open`, but for its bound of pixels, and with few formats."""
    Image.preinit()
    stream.seek(0)
    start = stream.read(16)
    for name in _FORMATS:
        if name not in Image.OPEN and not Image.init() and name not in Image.OPEN:
            continue  # Pillow was built without it
        factory, accepts = Image.OPEN[name]
        accepted = accepts is None or accepts(start)
        if isinstance(accepted, str):
            raise ValueError(accepted)  # noqa: TRY004  (Pillow's reason why it is built without)
        if accepted:
            if name in _READ_WHOLE and _size(stream) > _MOST_WHOLE:
                raise ValueError(f"{name} of more than {_MOST_WHOLE >> 20} MiB")
            stream.seek(0)
            with suppress(SyntaxError, IndexError, TypeError, struct.error):  # a driver's way to say no
                return factory(stream, "")
    raise UnidentifiedImageError


def _has_several(image: Image.Image, stream: IO[bytes]) -> bool:
    """Whether other pictures follow the first, as far as its header says."""
    if image.format == "TIFF":
        return bool(getattr(getattr(image, "tag_v2", None), "next", 0))
    if image.format != "GIF":
        return image.format in ("PNG", "WEBP", "AVIF") and bool(getattr(image, "is_animated", False))
    if _size(stream) > _SMALL:  # the whole first picture would be gone through
        return "loop" in image.info or image.info.get("duration", 0) > 0
    try:  # opened again, since looking further would change it; a GIF is decoded from its pixels' own place
        return bool(getattr(open_image(stream), "is_animated", False))
    except Exception:  # noqa: BLE001  (whatever follows the first picture is not used)
        return False


# What the orientation of EXIF (tag 274) asks to be done, so that up is up.
_TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_HAS_TAGS = ("TIFF",)


def orientation_of(image: Image.Image) -> int:
    """How a camera was held, by the image's EXIF; 1 for upright."""
    if "exif" not in image.info and image.format not in _HAS_TAGS:
        return 1
    try:
        found = image.getexif().get(0x0112, 1)
    except Exception:  # noqa: BLE001  (what is written there is anybody's; the picture itself is whole)
        return 1
    return found if isinstance(found, int) else 1


def upright(square: Image.Image, orientation: int) -> Image.Image:
    """An image turned as its EXIF says."""
    turned = _TURNED.get(orientation)
    return square if turned is None else square.transpose(turned)


def _num_bytes(image: Image.Image, mode: str) -> int:
    """What decoding an image and making one of a mode of it holds at most."""
    stored = 2 if image.mode.startswith("I;16") else _STORED.get(image.mode, 4)
    copied = 0 if image.mode == mode and not _has_alpha(image) else _STORED.get(mode, 4)
    return image.width * image.height * (stored + _HELD.get(image.format or "", 0) + copied)


def _centred(image: Image.Image, mode: str, size: int) -> Image.Image:
    """The centred square of a decoded image, resized."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return _converted(image, mode).resize(
        (size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side)
    )


def _converted(image: Image.Image, mode: str) -> Image.Image:
    """The image in another mode, made strip by strip so that nothing but it is held."""
    rows = max(1, _STRIP // image.width)
    if (image.mode == mode and not _has_alpha(image)) or image.height <= rows:
        return converted(image, mode)
    whole = Image.new(mode, image.size)
    for first in range(0, image.height, rows):
        strip = image.crop((0, first, image.width, min(first + rows, image.height)))
        whole.paste(converted(strip, mode), (0, first))
    return whole


def _has_alpha(image: Image.Image) -> bool:
    """Whether pixels may be seen through: by a channel, a palette, or one colour that stands for nothing."""
    return image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info


def _is_seen_through(image: Image.Image) -> bool:
    """Whether pixels of a decoded image are seen through: in many files they could be, and none is."""
    nothing = image.info.get("transparency")
    if image.mode in ("LA", "PA", "RGBA"):
        least, _ = cast("tuple[int, int]", image.getextrema()[-1])
        return least < 255
    if nothing is None or image.mode.startswith("I"):
        return nothing is not None
    counts = image.histogram()  # 256 for each channel
    if isinstance(nothing, bytes):
        return any(count for count, alpha in zip(counts, nothing, strict=False) if alpha < 255)
    places = nothing if isinstance(nothing, tuple) else (nothing,)
    if image.mode == "1":
        places = tuple(255 * bool(place) for place in places)
    return all(counts[256 * channel + place % 256] for channel, place in enumerate(places))


def converted(image: Image.Image, mode: str) -> Image.Image:
    """The image as 8-bit grey (`L`) or colour (`RGB`), on white."""
    if image.mode.startswith("I"):  # Pillow would clip 16 bits at 255 instead of scaling them
        return _upper_bits(image).convert(mode)
    if _has_alpha(image):
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB").convert(mode)
    if image.mode == "P":  # its colours; Pillow makes grey of the numbers
        return image.convert("RGB").convert(mode)
    return image if image.mode == mode else image.convert(mode)


def _upper_bits(image: Image.Image) -> Image.Image:
    """The upper 8 of 16 bits; the grey that stands for nothing, if there is one, is white."""
    deep = np.asarray(image)
    pixels = (deep >> 8).astype(np.uint8)
    if isinstance(nothing := image.info.get("transparency"), int):
        pixels[deep == nothing] = 255
    return Image.fromarray(pixels)
