"""Images that stay in their files give the very batches that images in memory give."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

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
