"""What is more than 8-bit colour or grey is read as it is meant, and said once with how many there are."""

import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nas_prune.data import load_data
from nas_prune.data import picture as picture_module
from nas_prune.data.decode import decode_files
from nas_prune.data.kinds import Kind, notes_of
from nas_prune.data.known import KNOWN_DATA
from nas_prune.errors import DataError
from tests.conftest import WriteDigits
from tests.kinds_of_pictures import CLEAR, CYAN, DEEP, MADE, RAMP, WITHOUT_32, png


def read(path: Path, channels: int = 3) -> tuple[list[list[int]], Kind]:
    """A row of pixels, channel by channel, and what the image does not keep."""
    found = decode_files([path], image_size=16, in_channels=channels, root=path.parent)
    assert found.kinds_N is not None
    return found.images[0, :, 8, [0, 2, 8, 15]].tolist(), Kind(int(found.kinds_N[0]))


@pytest.mark.parametrize("name", MADE)
def test_every_kind_has_the_right_pixels_in_colour_and_grey(name: str, tmp_path: Path) -> None:
    make, expected, kind = MADE[name]
    make(tmp_path / name)
    assert read(tmp_path / name) == (expected, kind)
    grey, again = read(tmp_path / name, channels=1)
    assert again == kind
    if expected != CYAN:
        assert grey == expected[:1]


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif", "avif"])
def test_of_several_pictures_the_first_is_taken(suffix: str, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (16, 16), (60 * i, 0, 0)) for i in (1, 2, 3)]
    path = tmp_path / f"x.{suffix}"
    how: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], **how)
    assert read(path) == ([[60] * 4, [0] * 4, [0] * 4], Kind.SEVERAL)
    frames[0].save(path)
    assert read(path)[1] == Kind(0)


def test_what_follows_the_first_picture_may_be_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [Image.new("RGB", (16, 16), (60 * i, 0, 0)) for i in (1, 2, 3)]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:], duration=100)
    raw = (tmp_path / "x.gif").read_bytes()
    for end in range(len(raw) // 2, len(raw)):
        (tmp_path / "y.gif").write_bytes(raw[:end])
        assert read(tmp_path / "y.gif")[0] == [[60] * 4, [0] * 4, [0] * 4]
    monkeypatch.setattr(picture_module, "_SMALL", 10)  # of a large one, only the header is looked at
    assert read(tmp_path / "x.gif")[1] == Kind.SEVERAL


def test_the_two_pictures_of_a_telephone_are_no_animation(tmp_path: Path) -> None:
    image = Image.new("RGB", (16, 16), (60, 60, 60))
    image.save(tmp_path / "x.jpg", format="MPO", save_all=True, append_images=[image])
    assert read(tmp_path / "x.jpg")[1] == Kind(0)


@pytest.mark.parametrize(("dtype", "name"), [(np.float32, "x.tif"), (np.int32, "x.tif")])
def test_pixels_of_32_bits_are_refused(dtype: type, name: str, tmp_path: Path) -> None:
    Image.fromarray(RAMP.astype(dtype)).save(tmp_path / name)
    with pytest.raises(DataError, match="32-bit pixels have no known range; save it with 8 or 16 bits"):
        read(tmp_path / name)


def test_a_large_image_on_white_is_put_together_from_strips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    png(tmp_path / "x.png", 8, 2, "vvv", struct.pack(">HHH", 32, 32, 32))
    monkeypatch.setattr(picture_module, "_STRIP", 32)
    assert read(tmp_path / "x.png") == (WITHOUT_32, CLEAR)


@pytest.mark.parametrize("stream", [False, True])
def test_each_kind_is_said_once_with_its_number(stream: bool, write_digits: WriteDigits) -> None:
    root = write_digits("", {"0": 10, "1": 10}, size=16)
    for i, (name, (make, _, _)) in enumerate(sorted(MADE.items())):
        make(root / "01"[i % 2] / f"z{name}")
    notes = [
        note for note in load_data(f"folder:{root}", stream=stream).notes if "The same pixels" not in note
    ]
    number = {kind: sum(kind in own for _, _, own in MADE.values()) for kind in Kind}
    among, such = (r"\d+ images of 32 looked at", ".*") if stream else ("{} images", "such as [01]/z")
    for kind, what in (
        (CLEAR, "have transparency: drawn on white"),
        (DEEP, "have 16 bits a channel: the upper 8 are used"),
        *(() if stream else ((Kind.CMYK, "are CMYK: converted to RGB without colour profiles"),)),
    ):
        pattern = rf"{among.format(number[kind])} \({such}.*\) {what}\."
        assert [bool(re.fullmatch(pattern, note)) for note in notes].count(True) == 1, (pattern, notes)
    assert stream or len(notes) == 4  # and the part for testing


def test_one_image_is_said_in_the_singular(tmp_path: Path) -> None:
    kinds = np.array([0, Kind.CMYK, 0], dtype=np.uint8)
    files = [tmp_path / f"{i}.png" for i in range(3)]
    assert notes_of(kinds, files, tmp_path) == (
        "1 image (1.png) is CMYK: converted to RGB without a colour profile.",
    )
    assert notes_of(kinds[:1], files, tmp_path) == ()


def test_data_sets_that_come_along_have_nothing_to_say() -> None:
    assert "digits" in KNOWN_DATA
    assert load_data("digits").notes == ()
