"""One image from an open file, as a square of the size asked for, in bounded memory.

Its header says how large it is before a pixel is decoded.
"""

import os
import struct
import warnings
from contextlib import closing, suppress
from typing import IO, Any, cast

import numpy as np
from PIL import Image, UnidentifiedImageError

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
_GREY = ("1", "L", "LA", "I;16", "I;16L", "I;16B", "I;16N")


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
) -> Image.Image:
    """The centred square of an image, upright, resized bilinearly with antialiasing. Transparency is dropped.

    Args:
        stream: a regular file.
        mode: `L` for grey, `RGB` for colour.
        size: pixels a side.
        most_pixels: how many an image may have; of a large JPEG, once it is reduced.
        semaphore: bounds the bytes that are held while it is decoded.

    Raises:
        Exception: of many types, by Pillow's decoders.
        ValueError: it has more pixels, or pixels that cannot be used.
    """
    _allocate_in_large_blocks()
    if os.fstat(stream.fileno()).st_size > _SMALL:
        stream = cast("IO[bytes]", _Patient(stream))
    image = _opened(stream)
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
    between = "L" if image.mode in _GREY else mode
    num_bytes = _num_bytes(image, between) + is_progressive * 8 * num_pixels
    if num_bytes > _LARGEST_PIXEL * most_pixels:
        raise ValueError(
            f"{width:,}×{height:,} pixels, which take {num_bytes / 1e6:,.0f} MB to decode; "
            f"{_VARIABLE}={-(-num_bytes // _LARGEST_PIXEL)} allows that"
        )
    if image.format == "JPEG":
        _check_scans(stream, width * height)
    with semaphore.held(num_bytes), closing(image):
        image.load()
        orientation = _orientation(image)
        return _upright(_in_mode(_centred(image, between, size), mode), orientation)


class _Patient:
    """A large file that a decoder may read in parts, but not in crumbs.

    Pillow reads headers, and some pixels, piece by piece in Python: millions of empty pieces take minutes.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._left = _FEW_READS + os.fstat(stream.fileno()).st_size // _CRUMB

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
    place, size = stream.tell(), os.fstat(stream.fileno()).st_size
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


def _opened(stream: IO[bytes]) -> Image.Image:
    """The image, not yet decoded. As `Image.open`, but for its bound of pixels, and with few formats."""
    Image.preinit()
    start = stream.read(16)
    for name in _FORMATS:
        if name not in Image.OPEN and not Image.init() and name not in Image.OPEN:
            continue  # Pillow was built without it
        factory, accepts = Image.OPEN[name]
        accepted = accepts is None or accepts(start)
        if isinstance(accepted, str):
            raise ValueError(accepted)  # noqa: TRY004  (Pillow's reason why it is built without)
        if accepted:
            if name in _READ_WHOLE and os.fstat(stream.fileno()).st_size > _MOST_WHOLE:
                raise ValueError(f"{name} of more than {_MOST_WHOLE >> 20} MiB")
            stream.seek(0)
            with suppress(SyntaxError, IndexError, TypeError, struct.error):  # a driver's way to say no
                return factory(stream, "")
    raise UnidentifiedImageError


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


def _orientation(image: Image.Image) -> int:
    """How a camera was held, by the image's EXIF; 1 for upright."""
    if "exif" not in image.info and image.format not in _HAS_TAGS:
        return 1
    try:
        found = image.getexif().get(0x0112, 1)
    except Exception:  # noqa: BLE001  (what is written there is anybody's; the picture itself is whole)
        return 1
    return found if isinstance(found, int) else 1


def _upright(square: Image.Image, orientation: int) -> Image.Image:
    turned = _TURNED.get(orientation)
    return square if turned is None else square.transpose(turned)


def _num_bytes(image: Image.Image, mode: str) -> int:
    """What decoding an image and making one of a mode of it holds at most."""
    stored = 2 if image.mode.startswith("I;16") else _STORED.get(image.mode, 4)
    copied = 0 if image.mode == mode else _STORED.get(mode, 4)
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
    if image.mode == mode or image.height <= rows:
        return _in_mode(image, mode)
    whole = Image.new(mode, image.size)
    for first in range(0, image.height, rows):
        strip = image.crop((0, first, image.width, min(first + rows, image.height)))
        whole.paste(_in_mode(strip, mode), (0, first))
    return whole


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    """The image as 8-bit grey (`L`) or colour (`RGB`)."""
    if image.mode == mode:
        return image
    if image.mode.startswith("I;16"):  # Pillow would clip 16 bits at 255 instead of scaling them
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert(mode)
    if image.mode in ("I", "F"):
        raise ValueError("32-bit pixels have no known range; save it with 8 or 16 bits")
    if image.mode == "P":  # through RGBA, or Pillow warns about transparent palettes
        return image.convert("RGBA").convert(mode)
    return image.convert(mode)
