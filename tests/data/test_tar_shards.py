"""Shards of images: written by the library where it is there, and by hand, whole and damaged."""

import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from nas_prune.data import load_data
from nas_prune.data.sources import source_named
from nas_prune.errors import DataError

DIGITS = load_digits()
PIXELS = (DIGITS.images * 15).astype(np.uint8)


def png(number: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PIXELS[number]).save(stream, "PNG")
    return stream.getvalue()


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def write_shards(folder: Path, names: dict[str, range]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, numbers in names.items():
        with tarfile.open(folder / name, "w") as archive:
            for number in numbers:
                add(archive, f"{number:04d}.png", png(number))
                add(archive, f"{number:04d}.cls", str(DIGITS.target[number]).encode())
                add(archive, f"{number:04d}.pyd", pickle.dumps(number))
    return folder


@pytest.mark.parametrize("stream", [False, True])
def test_shards_hold_the_images_that_were_put_in(tmp_path: Path, stream: bool) -> None:
    folder = write_shards(
        tmp_path, {"train-0.tar": range(30), "train-1.tar": range(30, 60), "test-0.tar": range(60, 90)}
    )
    data = load_data(f"wds:{folder}", image_size=8, in_channels=1, stream=stream)
    assert data.class_names == tuple("0123456789")
    assert len(data.train) + len(data.val) == 60
    (images,) = data.test.batches([torch.arange(30)])
    assert np.array_equal(images[:, 0].numpy(), PIXELS[60:90])
    assert data.test.labels.tolist() == DIGITS.target[60:90].tolist()
    assert any(".pyd (90)" in note for note in data.notes)


def test_parts_may_be_folders_or_be_none(tmp_path: Path) -> None:
    write_shards(tmp_path / "a" / "train", {"0.tar": range(40)})
    write_shards(tmp_path / "a" / "val", {"0.tar": range(40, 80)})
    assert len(load_data(f"wds:{tmp_path / 'a'}", image_size=8).test) == 40
    write_shards(tmp_path / "b", {"0.tar": range(60)})
    assert len(load_data(f"wds:{tmp_path / 'b'}", image_size=8).test) == 12


def test_images_kept_for_testing_have_one_name_however_the_path_is_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shards(tmp_path / "d" / "w", {"a.tar": range(60)})
    monkeypatch.chdir(tmp_path / "d")
    sources = [source_named(name, None) for name in (f"wds:{tmp_path / 'd' / 'w'}", "wds:w", "wds:../d/w")]
    assert len({source.held_out for source in sources}) == 1
    names = frozenset(sources[0].held_out)
    assert all(name.startswith("a.tar[") for name in names)
    assert all(source.has_held_out(names) for source in sources)
    assert sources[1].has_held_out(frozenset(f"w/{name}" for name in names))  # a run of before
    assert not sources[1].has_held_out(frozenset([*names][1:]))
    assert not sources[1].has_held_out(frozenset())


def test_two_folders_of_one_part_are_refused(tmp_path: Path) -> None:
    write_shards(tmp_path / "train", {"0.tar": range(30)})
    write_shards(tmp_path / "training", {"0.tar": range(30, 60)})
    with pytest.raises(DataError, match="one folder for each part, got train and training"):
        load_data(f"wds:{tmp_path}", image_size=8)


def test_shards_of_the_library_are_read(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    with webdataset.TarWriter(str(tmp_path / "train-0.tar")) as sink:
        for number in range(40):
            sink.write(
                {"__key__": f"digits/{number:04d}", "png": png(number), "cls": int(DIGITS.target[number])}
            )
    data = load_data(f"wds:{tmp_path}", image_size=8, in_channels=1)
    both = torch.cat([part.images for part in (data.train, data.val, data.test)])  # type: ignore[attr-defined]
    assert sorted(both.sum((1, 2, 3)).tolist()) == sorted(PIXELS[:40].sum((1, 2)).tolist())


def damaged(folder: Path, how: str) -> None:
    path = write_shards(folder, {"0.tar": range(30)}) / "0.tar"
    match how:
        case "none":
            path.unlink()
        case "compressed":
            path.rename(folder / "0.tar.gz")
        case "gzip":
            path.unlink()
            with tarfile.open(path, "w:gz") as archive:
                add(archive, "a.png", png(0))
        case "cut":
            path.write_bytes(path.read_bytes()[:700])
        case "text":
            path.write_text("no archive")
        case "unlabelled" | "two images" | "no text" | "long":
            name, content = {
                "unlabelled": ("x.png", png(1)),
                "two images": ("0001.jpg", png(1)),
                "no text": ("x.cls", b"\xff\xfe"),
                "long": ("x.cls", b"a" * 300),
            }[how]
            with tarfile.open(path, "a") as archive:
                add(archive, name, content)
        case "mixed":
            write_shards(folder, {"test-0.tar": range(5)})


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("none", "must hold .tar files, got none."),
        ("compressed", "There is 0.tar.gz: unpack it to a .tar."),
        ("gzip", "0.tar must be a .tar file that is not compressed"),
        ("cut", "0.tar"),
        ("text", "0.tar must be a .tar file that is not compressed"),
        ("unlabelled", "every sample of 0.tar must have a class (.cls), got 1 without, first x."),
        ("two images", "must have one image, got two for 0001."),
        ("no text", "must be a number or a name"),
        ("long", "must have at most 255 letters, got 300."),
        ("mixed", "got 0.tar beside others."),
    ],
)
def test_damaged_shards_are_named(tmp_path: Path, how: str, said: str) -> None:
    damaged(tmp_path, how)
    with pytest.raises(DataError) as caught:
        load_data(f"wds:{tmp_path}", image_size=8)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
