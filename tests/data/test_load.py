import numpy as np
import pytest
import torch
from torch import Tensor

from nas_prune.data import KNOWN_DATA, ImageData, load_data
from nas_prune.data.config import DataConfig, load_images, where_images_are
from nas_prune.errors import BadInputError, DataError
from nas_prune.runs.progress import SILENT
from tests.conftest import WriteDigits


def keys(images: Tensor) -> list[bytes]:
    return sorted(image.numpy().tobytes() for image in images)


def training_images(data: ImageData) -> list[bytes]:
    return keys(torch.cat([data.train.sample(), data.val.sample()]))


def test_train_and_val_are_disjoint_and_make_the_same_whole_for_every_seed() -> None:
    first, second = load_data("digits", seed=0), load_data("digits", seed=1)
    assert (len(first.train), len(first.val)) == (1294, 144)
    assert training_images(first) == training_images(second)
    assert keys(first.val.sample()) != keys(second.val.sample())


def test_the_test_part_is_the_same_for_every_seed_and_other_than_the_training_images() -> None:
    first, second = load_data("digits", seed=0), load_data("digits", seed=1, max_images=100)
    assert first.test.sample().equal(second.test.sample())
    assert first.test.labels.equal(second.test.labels)
    assert not set(keys(first.test.sample())) & set(training_images(first))


def test_the_same_seed_gives_the_same_data() -> None:
    first, second = load_data("digits", seed=3), load_data("digits", seed=3)
    assert first.train.sample().equal(second.train.sample())
    assert first.val.labels.equal(second.val.labels)


def test_the_validation_part_holds_each_class_in_proportion() -> None:
    data = load_data("digits", val_fraction=0.25)
    val, train = (np.bincount(part.labels) for part in (data.val, data.train))
    assert (np.abs(val - (val + train) * 0.25) <= 1).all()
    assert len(data.val) == round(0.25 * (len(data.train) + len(data.val)))


@pytest.mark.parametrize("max_images", [20, 101, 1438, 5000])
def test_max_images_counts_training_and_validation_images(max_images: int) -> None:
    data = load_data("digits", max_images=max_images)
    assert len(data.train) + len(data.val) == min(max_images, 1438)
    assert len(data.test) == 359
    assert set(data.train.labels.tolist()) == set(range(10))


def test_another_seed_chooses_another_subset() -> None:
    first, second = (load_data("digits", max_images=100, seed=seed) for seed in (0, 1))
    assert training_images(first) != training_images(second)


def test_size_and_channels_follow_what_is_asked() -> None:
    data = load_data("digits", image_size=16, in_channels=3)
    for part in (data.train, data.val, data.test):
        assert part.sample().shape[1:] == (3, 16, 16)
        assert part.sample().dtype == torch.uint8
        assert part.labels.dtype == torch.int64


def test_images_that_do_not_fit_into_memory_are_refused() -> None:
    with pytest.raises(
        DataError, match=r"[0-9]\.[0-9] GB, got 1,797 of 3×2000×2000: 21.6 GB. Use a smaller --image-size"
    ):
        load_data("digits", image_size=2000, in_channels=3)


@pytest.mark.parametrize("name", ["imagenet", "folder", "folder:", "digits:8"])
def test_an_unknown_name_lists_the_known_ones(name: str) -> None:
    with pytest.raises(BadInputError, match=f"^--data must be one of {', '.join(KNOWN_DATA)}, got '{name}'"):
        load_data(name)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(BadInputError, match="--image-size must be at least 8, got 7"):
        load_data("digits", image_size=7)
    with pytest.raises(BadInputError, match="in_channels must be 1 .* or 3 .*, got 2"):
        load_data("digits", in_channels=2)
    with pytest.raises(BadInputError, match="val_fraction must be .* at most 0.5, got 0.6"):
        load_data("digits", val_fraction=0.6)
    with pytest.raises(BadInputError, match="val_fraction must be above 0 .*, got 0"):
        load_data("digits", val_fraction=0)
    with pytest.raises(
        BadInputError, match="--max-images must be at least 20, two for each of 10 .*, got 19"
    ):
        load_data("digits", max_images=19)
    with pytest.raises(BadInputError, match="--seed must be 0 or more, got -1"):
        load_data("digits", seed=-1)


def test_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    load_data("digits", image_size=9)
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_a_folders_images_have_the_size_that_the_network_is_made_for(write_digits: WriteDigits) -> None:
    folder = f"folder:{write_digits('', {'0': 10, '1': 10})}"
    assert load_images(DataConfig(name=folder), 0, SILENT, meant_size=64).image_size == 64
    assert load_images(DataConfig(name=folder), 0, SILENT).image_size == 32
    asked = load_images(DataConfig(name=folder, image_size=16), 0, SILENT, meant_size=64)
    assert (asked.image_size, len(asked.notes)) == (16, 3)
    assert "of 16 px and the network is made for 64" in where_images_are(asked)
    digits = load_images(DataConfig(), 0, SILENT, meant_size=224)
    assert digits.image_size == 8
    assert "--image-size 224" in where_images_are(digits)
