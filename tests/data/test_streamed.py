"""Images that stay in their files give the very batches that images in memory give."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from nas_prune.data import Augment, ImageData, ImageSet, load_data, share, train_batches
from nas_prune.data import load as load_module
from nas_prune.data.streamed import StreamedSet
from nas_prune.errors import BadInputError, DataError
from tests.conftest import WriteDigits


@pytest.fixture
def folder(write_digits: WriteDigits) -> str:
    write_digits("train", {"0": 20, "1": 20}, size=12)
    return f"folder:{write_digits('test', {'0': 5, '1': 5}, size=12)}"


def batches(data: ImageData) -> list[tuple[torch.Tensor, torch.Tensor]]:
    augment = Augment(crop_padding=1, flip=True, cutout=2)
    return list(
        train_batches(
            data.train, batch_size=8, mean=data.mean, std=data.std, augment=augment, seed=1, epoch=2
        )
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_streamed_batches_are_those_of_memory_to_the_bit(folder: str, workers: int) -> None:
    memory, streamed = (load_data(folder, image_size=16, stream=stream) for stream in (False, True))
    assert isinstance(streamed.train, StreamedSet)
    assert (streamed.image_size, streamed.in_channels) == (16, 3)
    streamed = replace(streamed, train=replace(streamed.train, workers=workers)).to("cpu")
    assert (streamed.mean, streamed.std) == (memory.mean, memory.std)
    pairs = list(zip(batches(memory), batches(streamed), strict=True))
    assert len(pairs) == 5
    for (images, labels), (again, labels_again) in pairs:
        assert images.equal(again)
        assert labels.equal(labels_again)


def test_the_size_decides_and_the_user_may(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(load_data(folder).train, ImageSet)
    monkeypatch.setattr(load_module, "STREAM_BYTES", 50 * 3 * 32 * 32 - 1)
    assert isinstance(load_data(folder).train, StreamedSet)
    assert isinstance(load_data(folder, stream=False).train, ImageSet)
    assert isinstance(load_data("digits").train, ImageSet)
    with pytest.raises(BadInputError, match="--stream must come with --data folder:PATH"):
        load_data("digits", stream=True)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_file_is_named_when_its_batch_comes(folder: str, workers: int) -> None:
    data = load_data(folder, stream=True)
    assert isinstance(data.train, StreamedSet)
    data = replace(data, train=replace(data.train, workers=workers))
    broken = next(Path(folder.removeprefix("folder:")).glob("train/1/*.png"))
    broken.write_bytes(b"no picture")
    with pytest.raises(DataError, match=rf"must be readable, got train/1/{broken.name} \(not an image\)"):
        batches(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def replace_by_another(path: Path) -> None:
    Image.new("RGB", (9, 9)).save(path.with_name("other.png"))
    path.with_name("other.png").replace(path)


def replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


CHANGES: dict[Callable[[Path], None], str] = {
    Path.unlink: "No such file or directory",
    cut: "image file is truncated.*",
    replace_by_another: "changed since it was listed",
    replace_by_folder: "not a regular file",
    replace_by_pipe: "not a regular file",
}


@pytest.mark.usefixtures("freeing_pipes")
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("change", "reason"), CHANGES.items(), ids=lambda value: getattr(value, "__name__", "")
)
def test_an_image_that_changes_during_a_run_is_named(
    folder: str, change: Callable[[Path], None], reason: str, workers: int
) -> None:
    data = load_data(folder, stream=True)
    assert isinstance(data.train, StreamedSet)
    data = replace(data, train=replace(data.train, workers=workers)).to("cpu")
    assert len(batches(data)) == 5
    changed = data.train.files[7]  # type: ignore[attr-defined]
    change(changed)
    with pytest.raises(DataError, match=rf"must be readable, got train/./{changed.name} \({reason}\)\. Rep"):
        batches(data)


def test_an_image_written_again_with_other_pixels_is_named(folder: str) -> None:
    data = load_data(folder, stream=True)
    assert isinstance(data.train, StreamedSet)
    data = replace(data, train=replace(data.train, workers=0))
    path = data.train.files[3]  # type: ignore[attr-defined]
    status = path.stat()
    path.write_bytes(path.read_bytes())
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert len(batches(data)) == 5
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))
    with pytest.raises(DataError, match=rf"got train/./{path.name} \(changed since it was listed\)"):
        batches(data)


@pytest.mark.usefixtures("freeing_pipes")
def test_what_is_no_file_is_named_before_the_first_batch(folder: str) -> None:
    root = Path(folder.removeprefix("folder:"))
    os.mkfifo(root / "train" / "1" / "f.png")
    (root / "test" / "0" / "g.png").symlink_to("absent")
    expected = (
        r"2 of 52 are not: train/1/f.png \(not a regular file\); test/0/g.png \(No such file or directory\)"
    )
    with pytest.raises(DataError, match=expected):
        load_data(folder, stream=True)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_bound_of_pixels_holds_in_every_process(
    folder: str, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load_data(folder, stream=True)
    assert isinstance(data.train, StreamedSet)
    data = replace(data, train=replace(data.train, workers=workers)).to("cpu")
    monkeypatch.setenv("NAS_PRUNE_MOST_PIXELS", "100")
    with pytest.raises(
        DataError, match=r"png \(12×12 pixels, more than 100; NAS_PRUNE_MOST_PIXELS=144 allows"
    ):
        batches(data)


def test_parked_images_come_back_the_same_and_stay_what_they_are(tmp_path: Path, folder: str) -> None:
    data = load_data(folder)
    shared = share(data, tmp_path)
    for _ in range(2):
        taken = shared.attach()
        assert (taken.mean, taken.class_names, len(taken.test)) == (data.mean, data.class_names, 10)
        assert taken.train.sample().equal(data.train.sample())
        taken.train.sample().zero_()
    streamed = load_data(folder, stream=True)
    assert share(streamed, tmp_path / "nowhere").attach().train is streamed.train
