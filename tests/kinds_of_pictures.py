"""Pictures of every kind, made by Pillow or byte by byte, with what they are read as."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from nas_prune.data.kinds import Kind

RAMP = np.tile(np.arange(16, dtype=np.uint8) * 16, (16, 1))
GREY = Image.fromarray(RAMP)
HALF, NONE = Image.new("L", (16, 16), 128), Image.new("L", (16, 16), 0)


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content).to_bytes(4, "big")
    return len(content).to_bytes(4, "big") + kind + content + checksum


def png(path: Path, depth: int, colour: int, values: str, nothing: bytes = b"") -> None:
    """A PNG whose pixels are of one form, of which Pillow itself writes not all; the ramp, opaque to a half."""
    rows = b"".join(b"\0" + b"".join(_pixel(int(value), depth, values) for value in row) for row in RAMP)
    header = struct.pack(">IIBBBBB", 16, 16, depth, colour, 0, 0, 0)
    extra = chunk(b"tRNS", nothing) if nothing else b""
    body = chunk(b"IDAT", zlib.compress(rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + body + chunk(b"IEND", b""))


def _pixel(value: int, depth: int, values: str) -> bytes:
    scale, letter = (257, "H") if depth == 16 else (1, "B")
    return b"".join(struct.pack(f">{letter}", scale * (128 if which == "a" else value)) for which in values)


def alike(*row: int) -> list[list[int]]:
    return [list(row)] * 3


SAME, ON_WHITE = alike(0, 32, 128, 240), alike(127, 143, 191, 247)
WITHOUT_32 = alike(0, 255, 128, 240)  # the grey of 32 stands for nothing
CYAN = [[255, 223, 127, 15], [255] * 4, [255] * 4]
DEEP, CLEAR = Kind.DEEP, Kind.TRANSPARENT


def rgba(alpha: Image.Image) -> Image.Image:
    return Image.merge("RGBA", (GREY, GREY, GREY, alpha))


def cmyk() -> Image.Image:
    return Image.merge("CMYK", (GREY, NONE, NONE, NONE))


def deep_pgm(path: Path) -> None:
    path.write_bytes(b"P5 16 16 4095\n" + (RAMP.astype(">u2") * 16 + (RAMP >> 4)).tobytes())


def deep_ppm(path: Path) -> None:
    three = np.repeat(RAMP[..., None], 3, 2).astype(">u2") * 257
    path.write_bytes(b"P6 16 16 65535\n" + three.tobytes())


def deep(path: Path) -> None:
    Image.fromarray(RAMP.astype(np.uint16) * 257).save(path)


Make = Callable[[Path], object]
MADE: dict[str, tuple[Make, list[list[int]], Kind]] = {
    "grey.png": (GREY.save, SAME, Kind(0)),
    "deep.png": (deep, SAME, DEEP),
    "deep.tif": (deep, SAME, DEEP),
    "deep.jp2": (deep, SAME, DEEP),
    "deep.pgm": (deep_pgm, SAME, DEEP),
    "deep.ppm": (deep_ppm, SAME, DEEP),
    "deep-colour.png": (lambda path: png(path, 16, 2, "vvv"), SAME, DEEP),
    "deep-grey-alpha.png": (lambda path: png(path, 16, 4, "va"), ON_WHITE, DEEP | CLEAR),
    "deep-alpha.png": (lambda path: png(path, 16, 6, "vvva"), ON_WHITE, DEEP | CLEAR),
    "deep-key.png": (lambda path: png(path, 16, 0, "v", struct.pack(">H", 32 * 257)), WITHOUT_32, DEEP | CLEAR),
    "key.png": (lambda path: png(path, 8, 0, "v", struct.pack(">H", 32)), WITHOUT_32, CLEAR),
    "colour-key.png": (lambda path: png(path, 8, 2, "vvv", struct.pack(">HHH", 32, 32, 32)), WITHOUT_32, CLEAR),
    "no-such-colour.png": (lambda path: png(path, 8, 2, "vvv", struct.pack(">HHH", 33, 32, 32)), SAME, Kind(0)),
    "alpha.png": (rgba(HALF).save, ON_WHITE, CLEAR),
    "alpha.tif": (rgba(HALF).save, ON_WHITE, CLEAR),
    "clear.webp": (rgba(NONE).save, alike(255, 255, 255, 255), CLEAR),
    "opaque.png": (rgba(Image.new("L", (16, 16), 255)).save, SAME, Kind(0)),
    "grey-alpha.png": (Image.merge("LA", (GREY, HALF)).save, ON_WHITE, CLEAR),
    "palette.png": (GREY.convert("P").save, SAME, Kind(0)),
    "palette-clear.png": (
        lambda path: GREY.convert("P").save(path, transparency=bytes([255] * 32 + [0])), WITHOUT_32, CLEAR,
    ),
    "palette-unused.png": (lambda path: GREY.convert("P").save(path, transparency=3), SAME, Kind(0)),
    "clear.gif": (lambda path: GREY.convert("P").save(path, transparency=32), WITHOUT_32, CLEAR),
    "one-bit.png": (Image.fromarray(RAMP > 100).save, alike(0, 0, 255, 255), Kind(0)),
    "cmyk.jpg": (lambda path: cmyk().save(path, quality=100), CYAN, Kind.CMYK),
    "cmyk.tif": (cmyk().save, CYAN, Kind.CMYK),
}  # fmt: skip
