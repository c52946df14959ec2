import os
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from nas_prune.data.decode import decode_files
from nas_prune.errors import DataError

GRADIENT = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4


def read(path: Path, *, size: int = 8, channels: int = 1) -> Tensor:
    return decode_files([path], image_size=size, in_channels=channels, root=path.parent).images[0]


def saved(path: Path, image: Image.Image) -> Path:
    image.save(path)
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".pgm", ".ppm"])
def test_lossless_files_come_back_as_they_were(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"a{suffix}", Image.fromarray(GRADIENT))
    assert np.array_equal(read(path)[0], GRADIENT)
    assert np.array_equal(read(path, channels=3), np.stack([GRADIENT] * 3))


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_lossy_files_come_back_nearly_as_they_were(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"a{suffix}", Image.fromarray(GRADIENT).convert("RGB"))
    assert np.abs(read(path, channels=3).numpy().astype(int).mean(0) - GRADIENT).mean() < 8


def test_colour_keeps_its_channel_order(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.new("RGB", (8, 8), (10, 20, 30)))
    assert read(path, channels=3)[:, 0, 0].tolist() == [10, 20, 30]
    assert read(path)[0, 0, 0] == Image.new("RGB", (1, 1), (10, 20, 30)).convert("L").getpixel((0, 0))


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(GRADIENT.astype(np.uint16) * 256))
    assert np.array_equal(read(path)[0], GRADIENT)


@pytest.mark.parametrize("mode", ["RGBA", "P", "LA", "1", "CMYK"])
def test_other_pixel_formats_are_converted(tmp_path: Path, mode: str) -> None:
    white = Image.new("L", (8, 8), 255).convert(mode)
    path = saved(tmp_path / ("a.tif" if mode == "CMYK" else "a.png"), white)
    assert read(path, channels=3).unique().tolist() == [255]


def test_a_transparent_palette_is_read_without_a_warning(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([200, 200, 200])
    image.save(tmp_path / "a.png", transparency=b"\x80")
    assert read(tmp_path / "a.png").unique().tolist() == [227]  # half of it and half of white


def test_the_centre_of_an_oblong_image_is_kept(tmp_path: Path) -> None:
    wide = np.pad(GRADIENT, ((0, 0), (4, 4)), constant_values=255)
    assert np.array_equal(read(saved(tmp_path / "w.png", Image.fromarray(wide)))[0], GRADIENT)
    assert np.array_equal(read(saved(tmp_path / "t.png", Image.fromarray(wide.T.copy())))[0], GRADIENT.T)


def test_a_large_jpeg_looks_like_its_full_decoding_made_smaller(tmp_path: Path) -> None:
    large = Image.fromarray(GRADIENT).resize((1024, 1024), Image.Resampling.BICUBIC).convert("RGB")
    path = saved(tmp_path / "a.jpg", large)
    full = np.asarray(Image.open(path).resize((16, 16), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(read(path, size=16, channels=3).permute(1, 2, 0).numpy() - full).max() <= 4


def test_order_is_kept_over_many_files_and_progress_is_told(tmp_path: Path) -> None:
    paths = [saved(tmp_path / f"{i}.png", Image.new("L", (8, 8), i)) for i in range(150)]
    told: list[tuple[int, int]] = []
    images = decode_files(
        paths, image_size=8, in_channels=1, root=tmp_path, progress=lambda *now: told.append(now)
    ).images
    assert images[:, 0, 0, 0].equal(torch.arange(150, dtype=torch.uint8))
    assert told == [(64, 150), (128, 150), (150, 150)]


def test_unreadable_files_are_named_and_counted(tmp_path: Path) -> None:
    good = saved(tmp_path / "good.png", Image.fromarray(GRADIENT))
    whole = saved(tmp_path / "whole.jpg", Image.fromarray(GRADIENT).resize((99, 99))).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).write_text("no image")
    paths = [good, *(tmp_path / name for name in ("cut.jpg", "a.png", "b.png", "c.png"))]
    expected = (
        r"4 of 5 are not: cut.jpg \(.*truncated.*\); a.png \(not an image\); b.png \(not an image\); …\. Rep"
    )
    with pytest.raises(DataError, match=expected):
        decode_files(paths, image_size=8, in_channels=1, root=tmp_path)


def test_an_image_without_a_known_range_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.tif", Image.fromarray(GRADIENT.astype(np.float32)))
    with pytest.raises(DataError, match=r"a.tif \(32-bit pixels have no known range"):
        read(path)


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    before = Path.cwd()
    os.chdir(path.parent)  # the whole path may be too long for a socket
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)
    os.chdir(before)


def make_link(path: Path) -> None:
    path.symlink_to("absent")


def make_circle(path: Path) -> None:
    path.symlink_to(path.name)


def make_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


KINDS: dict[Callable[[Path], None], str] = {
    make_pipe: "not a regular file",
    make_socket: "not a regular file",
    make_device: "not a regular file",
    Path.mkdir: "not a regular file",
    make_link: "No such file or directory",
    make_circle: "Too many levels of symbolic links",
}


@pytest.mark.usefixtures("freeing_pipes")
@pytest.mark.parametrize(("make", "reason"), KINDS.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_what_is_no_file_is_named_and_not_waited_for(
    tmp_path: Path, make: Callable[[Path], None], reason: str
) -> None:
    good = saved(tmp_path / "good.png", Image.fromarray(GRADIENT))
    make(tmp_path / "f.png")
    with pytest.raises(DataError, match=rf"1 of 2 are not: f.png \({reason}\). Repair"):
        decode_files([good, tmp_path / "f.png"], image_size=8, in_channels=1, root=tmp_path)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"a\x1b[31m.png", r"a\\x1b\[31m.png"),
        (b"a\nb.png", r"a\\nb.png"),
        ("a\u202egnp.png".encode(), r"a\\u202egnp.png"),
        (b"caf\xe9.png", r"caf\\udce9.png"),
    ],
)
def test_a_name_is_shown_without_what_would_act_on_a_terminal(
    tmp_path: Path, name: bytes, shown: str
) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_text("no image")
    with pytest.raises(DataError, match=rf"are not: {shown} \(not an image\)"):
        read(path)


def test_a_name_that_is_no_text_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.png")
    saved(tmp_path / "a.png", Image.fromarray(GRADIENT)).rename(path)
    assert np.array_equal(read(path)[0], GRADIENT)


def test_an_interrupt_waits_for_no_more_than_the_images_being_decoded(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(GRADIENT).resize((600, 600)))
    asked: list[int] = []

    class Noting(list[Path]):
        def __getitem__(self, place: int) -> Path:  # type: ignore[override]
            asked.append(place)
            return super().__getitem__(place)

    def interrupt(done: int, total: int) -> None:
        asked.clear()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decode_files(Noting([path] * 640), image_size=8, in_channels=1, root=tmp_path, progress=interrupt)
    assert len(asked) <= 16
