"""How much an image may hold is known from its header, and large ones come out as small ones do."""

import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from nas_prune.data import picture
from nas_prune.data.decode import decode_files
from nas_prune.data.picture import MOST_PIXELS, most_pixels, square
from nas_prune.data.semaphore import WeightedSemaphore
from nas_prune.errors import BadInputError, DataError

RNG = np.random.default_rng(0)


def read(path: Path, *, size: int = 8, channels: int = 3) -> Tensor:
    return decode_files([path], image_size=size, in_channels=channels, root=path.parent).images[0]


def photo(width: int, height: int, mode: str = "RGB") -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(RNG.integers(2**16, size=(height, width)).astype(np.uint16))
    return Image.fromarray(RNG.integers(256, size=(height, width, 4), dtype=np.uint8)).convert(mode)


def header_of_png(width: int, height: int) -> bytes:
    """A PNG of one bit a pixel that ends before its pixels."""
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    header = b"IHDR" + size + bytes([1, 0, 0, 0, 0])
    start = b"\x89PNG\r\n\x1a\n" + bytes([0, 0, 0, 13]) + header + zlib.crc32(header).to_bytes(4, "big")
    return start + bytes([0, 0, 9, 9]) + b"IDAT"


class Noting(WeightedSemaphore):
    """Notes what is asked for."""

    def __init__(self) -> None:
        super().__init__(2**40)
        self.amounts: list[int] = []

    @contextmanager
    def held(self, amount: int) -> Iterator[None]:
        self.amounts.append(amount)
        with super().held(amount):
            yield


def held_for(path: Path, mode: str = "RGB", size: int = 8) -> int:
    semaphore = Noting()
    with path.open("rb") as stream:
        square(stream, mode, size, most_pixels=10**6, semaphore=semaphore)
    return semaphore.amounts[0]


@pytest.mark.parametrize(
    ("mode", "suffix", "grey", "colour"),
    [
        ("L", "png", 1, 1),
        ("1", "png", 2, 2),
        ("I;16", "png", 3, 3),
        ("RGB", "png", 5, 4),
        ("RGBA", "png", 5, 8),
        ("P", "png", 2, 5),
        ("RGB", "webp", 17, 16),
    ],
)
def test_an_image_holds_its_pixels_and_a_copy_where_it_is_converted(
    tmp_path: Path, mode: str, suffix: str, grey: int, colour: int
) -> None:
    path = tmp_path / f"a.{suffix}"
    photo(40, 50, "RGB" if mode == "P" else mode).convert(mode).save(path)
    assert held_for(path, "L") == 40 * 50 * grey
    assert held_for(path, "RGB") == 40 * 50 * colour


def test_a_large_jpeg_holds_what_it_is_reduced_to_unless_it_is_progressive(tmp_path: Path) -> None:
    photo(640, 480).save(tmp_path / "a.jpg")
    photo(640, 480).save(tmp_path / "b.jpg", progressive=True)
    assert held_for(tmp_path / "a.jpg") == 80 * 60 * 4
    assert held_for(tmp_path / "a.jpg", size=100) == 320 * 240 * 4
    assert held_for(tmp_path / "b.jpg") == 80 * 60 * 4 + 8 * 640 * 480


def test_an_image_of_too_many_pixels_is_refused_with_what_allows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo(40, 50).save(tmp_path / "a.png")
    monkeypatch.setenv("NAS_PRUNE_MOST_PIXELS", "1999")
    with pytest.raises(
        DataError, match=r"a.png \(40×50 pixels, more than 1,999; NAS_PRUNE_MOST_PIXELS=2000 allows them\)"
    ):
        read(tmp_path / "a.png")
    monkeypatch.setenv("NAS_PRUNE_MOST_PIXELS", "2000")
    assert read(tmp_path / "a.png").shape == (3, 8, 8)


def test_what_a_large_jpeg_is_reduced_to_counts_unless_it_is_progressive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAS_PRUNE_MOST_PIXELS", "4_800")
    photo(640, 480).save(tmp_path / "a.jpg")
    photo(640, 480).save(tmp_path / "b.jpg", progressive=True)
    assert read(tmp_path / "a.jpg").shape == (3, 8, 8)
    with pytest.raises(DataError, match=r"b.jpg \(640×480 pixels, more than 4,800; .*=307200 allows them"):
        read(tmp_path / "b.jpg")


def test_the_bound_of_pillow_stays_and_is_said_plainly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(header_of_png(13_400, 13_400))
    with pytest.raises(DataError, match=r"a.png \(13,400×13,400 pixels, more than 178,956,970; NAS_PRUNE"):
        read(path)
    monkeypatch.setenv("NAS_PRUNE_MOST_PIXELS", "200000000")
    with pytest.raises(DataError, match=r"a.png \(image file is truncated"):
        read(path)


def test_a_large_image_below_it_is_read_without_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(header_of_png(10_000, 10_000))
    with pytest.raises(DataError, match=r"a.png \(image file is truncated"):  # not that it may be an attack
        read(path)


@pytest.mark.parametrize("written", ["many", "0", "-5", "1e9", "1.5"])
def test_a_bound_that_is_no_number_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    monkeypatch.setenv("NAS_PRUNE_MOST_PIXELS", written)
    with pytest.raises(BadInputError, match=f"NAS_PRUNE_MOST_PIXELS must be a whole .* got '{written}'"):
        read(tmp_path / "a.png")
    monkeypatch.setenv("NAS_PRUNE_MOST_PIXELS", "")
    assert most_pixels() == MOST_PIXELS


@pytest.mark.parametrize("mode", ["RGBA", "P", "I;16"])
def test_what_is_converted_strip_by_strip_has_the_pixels_of_a_conversion_at_once(
    tmp_path: Path, mode: str
) -> None:
    image = photo(1100, 1200, "L" if mode == "P" else mode)
    if mode == "P":
        image.putpalette(RNG.bytes(768))
    image.save(tmp_path / "a.png", compress_level=1, transparency=bytes(range(200)) if mode == "P" else None)
    if mode == "P":
        image.info["transparency"] = bytes(range(200))
    if mode == "I;16":
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    white = Image.new("RGBA", image.size, "white")
    colours = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    box = (0, 50, 1100, 1150)
    expected = np.asarray(colours.resize((16, 16), Image.Resampling.BILINEAR, box=box)).transpose(2, 0, 1)
    assert read(tmp_path / "a.png", size=16).equal(torch.from_numpy(expected.copy()))


def test_no_file_is_given_to_another_program(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(DataError, match=r"a.png \(not an image\)"):
        read(path)


def test_a_sparse_file_of_many_gigabytes_is_not_read_before_it_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "a.webp"
    photo(8, 8).save(path)
    with path.open("r+b") as stream:
        stream.truncate(2**36)
    with pytest.raises(DataError, match=r"a.webp \(WEBP of more than 256 MiB\)"):
        read(path)


@pytest.mark.parametrize("shape", [b"0 5", b"5 0", b"0 0"])
def test_an_image_without_pixels_is_named(tmp_path: Path, shape: bytes) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P5 " + shape + b" 255\n")
    with pytest.raises(DataError, match=r"a.pgm \(not an image\)"):
        read(tmp_path / "a.pgm")


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1)])
def test_an_image_one_pixel_wide_has_one_colour(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size, (10, 20, 30)).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png").flatten(1).unique(dim=1).tolist() == [[10], [20], [30]]


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.5])
def test_pixels_that_are_no_numbers_are_refused_by_name(tmp_path: Path, value: float) -> None:
    Image.fromarray(np.full((4, 4), value, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"a.tif \(32-bit pixels have no known range"):
        read(tmp_path / "a.tif")


_MEASURE = """
import sys, threading, time
from pathlib import Path
from nas_prune.data import picture
from nas_prune.data.decode import decode_files

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

peak, before = 0, resident()
def sample():
    global peak
    while True:
        peak = max(peak, resident())
        time.sleep(0.005)

threading.Thread(target=sample, daemon=True).start()
paths = [Path(sys.argv[1])] * 70
decode_files(paths, image_size=32, in_channels=3, root=paths[0].parent)
print((peak - before) // 10**6)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the memory of a process from /proc")
def test_seventy_images_of_169_million_pixels_take_less_than_600_mb(tmp_path: Path) -> None:
    Image.new("1", (13_000, 13_000), 1).save(tmp_path / "a.png")
    command = [sys.executable, "-c", _MEASURE, str(tmp_path / "a.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    assert int(done.stdout) < 600


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content).to_bytes(4, "big")
    return len(content).to_bytes(4, "big") + kind + content + checksum


def png_of_crumbs(path: Path, count: int) -> None:
    """Behind its pixels, nothing but many short texts."""
    photo(8, 8).save(path)
    raw = path.read_bytes()
    end = raw.rindex(b"IEND") - 4
    path.write_bytes(raw[:end] + chunk(b"tEXt", b"a\0b") * count + raw[end:])


def ppm_of_crumbs(path: Path, count: int) -> None:
    path.write_bytes(b"P6\n" + b"# x\n" * count + b"8 8 255\n" + bytes(192))


def bmp_of_crumbs(path: Path, count: int) -> None:
    """Every pixel is a run of one."""
    data = b"\x01\x05" * count + b"\0\1"
    size = (count).to_bytes(4, "little") + (1).to_bytes(4, "little")
    middle = bytes([1, 0, 8, 0, 1, 0, 0, 0]) + len(data).to_bytes(4, "little") + bytes(8)
    header = (40).to_bytes(4, "little") + size + middle + (256).to_bytes(4, "little") * 2
    path.write_bytes(b"BM" + bytes(8) + (14 + 40 + 1024).to_bytes(4, "little") + header + bytes(1024) + data)


@pytest.mark.parametrize(
    ("suffix", "make"), [("png", png_of_crumbs), ("ppm", ppm_of_crumbs), ("bmp", bmp_of_crumbs)]
)
def test_an_image_of_crumbs_is_not_put_together(
    suffix: str, make: Callable[[Path, int], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("_SMALL", 1000), ("_FEW_READS", 100)):
        monkeypatch.setattr(picture, name, value)
    path = tmp_path / f"x.{suffix}"
    make(path, 10)
    read(path)
    make(path, 3000)
    with pytest.raises(DataError, match="made of too many small parts; save it anew"):
        read(path)


def test_a_jpeg_that_goes_over_its_pixels_again_and_again_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.jpg"
    photo(64, 64, "L").save(path, progressive=True)
    *head, last = path.read_bytes().removesuffix(b"\xff\xd9").split(b"\xff\xda")
    path.write_bytes(b"\xff\xda".join([*head, *[last] * 400]) + b"\xff\xd9")
    read(path)  # small enough for that
    monkeypatch.setattr(picture, "_MOST_WORK", 64 * 64 * 100)
    with pytest.raises(DataError, match=r"40\d scans of 4,096 pixels; save it anew"):
        read(path)


def test_the_bound_on_scans_holds_for_the_jpegs_of_telephones_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.jpg"
    image = photo(64, 64, "L")
    image.save(path, format="MPO", save_all=True, append_images=[image], progressive=True)
    head, middle, rest = path.read_bytes().partition(b"\xff\xda")
    scan, end, second = rest.partition(b"\xff\xd9")
    path.write_bytes(head + middle + scan + (middle + scan.rpartition(middle)[2]) * 400 + end + second)
    with Image.open(path) as opened:
        assert opened.format == "MPO"
    monkeypatch.setattr(picture, "_MOST_WORK", 64 * 64 * 100)
    with pytest.raises(DataError, match=r"4\d\d scans of 4,096 pixels; save it anew"):
        read(path)


def test_an_image_that_takes_much_memory_to_decode_is_refused_with_what_allows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo(100, 100).save(tmp_path / "x.webp", lossless=True)
    monkeypatch.setenv("NAS_PRUNE_MOST_PIXELS", "10000")
    with pytest.raises(DataError, match="100×100 pixels, which take 0 MB to decode; .*_PIXELS=40000 allows"):
        read(tmp_path / "x.webp")
    monkeypatch.setenv("NAS_PRUNE_MOST_PIXELS", "40000")
    read(tmp_path / "x.webp")


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_stands_upright_however_the_camera_was_held(
    orientation: int, suffix: str, tmp_path: Path
) -> None:
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:4, :12], pixels[4:8, :4] = 250, 120
    upright = Image.fromarray(pixels)
    held = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # what undoes what EXIF asks for
    image = upright if orientation == 1 else upright.transpose(Image.Transpose(held[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    settings: dict[str, Any] = {"quality": 100} if suffix in ("jpg", "webp") else {}
    image.save(tmp_path / f"x.{suffix}", exif=exif, **settings)
    found = read(tmp_path / f"x.{suffix}", size=16).int()
    assert (found - torch.from_numpy(pixels).permute(2, 0, 1)).abs().float().mean() < 6


def test_a_broken_orientation_is_none(tmp_path: Path) -> None:
    photo(8, 8).save(tmp_path / "x.png")
    plain = read(tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as image:
        image.save(tmp_path / "x.png", exif=b"Exif\0\0MM\0*nonsense")
    assert torch.equal(read(tmp_path / "x.png"), plain)
