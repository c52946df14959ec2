"""Images that are in two parts or in two classes are counted and named, in memory and in their files."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nas_prune.data import copies, load_data
from nas_prune.data.copies import same_files, same_pixels
from tests.conftest import WriteDigits


@pytest.fixture
def root(write_digits: WriteDigits) -> Path:
    """A train, a validation and a test folder of other images each, and three copies of the first in the last."""
    digits = write_digits("all", {"3": 60, "5": 60}, size=16) / "all"
    for label in ("3", "5"):
        files = sorted((digits / label).glob("*.png"))
        for part, own in (("train", files[:40]), ("val", files[40:50]), ("test", files[50:])):
            (digits / part / label).mkdir(parents=True)
            for file in own:
                file.rename(digits / part / label / file.name)
        (digits / label).rmdir()
    return digits


def said(root: Path, *, stream: bool, **settings: int) -> list[str]:
    notes = load_data(f"folder:{root}", stream=stream, **settings).notes  # type: ignore[arg-type]
    return [note for note in notes if note.startswith("The same pixels")]


def some(root: Path, part: str, label: str, place: int) -> Path:
    return sorted((root / part / label).glob("*.png"))[place]


@pytest.mark.parametrize("stream", [False, True])
def test_images_of_two_parts_are_counted_and_one_pair_is_named(stream: bool, root: Path) -> None:
    assert said(root, stream=stream) == []
    for i in range(3):
        shutil.copy(some(root, "train", "5", i), root / "test/5" / f"z{i}.png")
    shutil.copy(some(root, "train", "3", 0), root / "val/3/y.png")
    twin = some(root, "train", "5", 2).name
    (note,) = said(root, stream=stream)
    assert note == (
        "The same pixels are in two parts: an earlier part has 1 of the validation part and 3 of the test part too, "
        f"such as test/5/z2.png, which is train/5/{twin}. Accuracy on them says nothing of other images."
    )


def test_the_same_pixels_in_another_file_are_found_in_memory_alone(root: Path) -> None:
    Image.open(some(root, "train", "5", 1)).save(root / "test/5/z.bmp")
    assert len(said(root, stream=False)) == 1
    assert said(root, stream=True) == []


@pytest.mark.parametrize("stream", [False, True])
def test_one_image_in_two_classes_is_named_with_both(stream: bool, root: Path) -> None:
    shutil.copy(some(root, "train", "5", 1), root / "test/3/z.png")
    twin = some(root, "train", "5", 1).name
    assert said(root, stream=stream)[1:] == [
        f"The same pixels are in two classes once: first test/3/z.png (3), which is train/5/{twin} (5)."
    ]


def test_copies_within_a_part_are_said_only_where_their_classes_differ(root: Path) -> None:
    shutil.copy(some(root, "train", "5", 1), root / "train/5/z.png")
    assert said(root, stream=False) == []
    shutil.copy(some(root, "train", "5", 1), root / "train/3/z.png")
    assert [note.split(":")[0] for note in said(root, stream=False)] == [
        "The same pixels are in two classes 2 times"
    ]


def test_images_that_are_not_used_are_not_compared(root: Path) -> None:
    shutil.copy(some(root, "train", "5", 1), root / "test/5/z.png")
    outcomes = set()
    for seed in range(6):
        data = load_data(f"folder:{root}", max_images=60, seed=seed)
        is_same_NM = data.train.sample()[:, None].eq(data.test.sample()[None]).flatten(2).all(2)
        assert bool(data.notes) == bool(is_same_NM.any())
        outcomes.add(bool(data.notes))
    assert outcomes == {True, False}


def test_a_pair_is_of_an_image_and_the_first_that_is_the_same() -> None:
    images = torch.tensor([1, 2, 1, 3, 2, 1], dtype=torch.uint8).view(6, 1, 1, 1).expand(6, 3, 8, 8)
    assert same_pixels(images) == [(2, 0), (4, 1), (5, 0)]


def test_files_of_one_size_and_one_end_are_compared_to_the_last_byte(tmp_path: Path) -> None:
    files = [tmp_path / f"{i}" for i in range(4)]
    for i, file in enumerate(files):
        file.write_bytes(bytes([min(i, 2)]) * 9_000 + bytes(9_000))
    sizes = np.full(4, 18_000)
    assert same_files(files, [3, 0, 1], sizes) == [(3, 2)]
    files[3].unlink()  # it is named when it is read
    assert same_files(files, [3, 0, 1], sizes) == []


def test_of_very_many_files_evenly_spread_ones_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "_MOST_LOOKED_AT", 10)
    looked_at: list[object] = []
    digest = copies._digest

    def noting(file: Path, *, tail: bool = False) -> bytes:
        looked_at.append(file)
        return digest(file, tail=tail)

    monkeypatch.setattr(copies, "_digest", noting)
    files = [tmp_path / f"{i}" for i in range(100)]
    for file in files:
        file.write_bytes(b"x")
    pairs = same_files(files, [60, 0, 40], np.ones(100, dtype=np.int64))
    assert (len(pairs), len(set(looked_at))) == (10, 20)
