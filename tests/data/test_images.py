import pytest
import torch
from torch import Tensor

from nas_prune.data import ImageData, ImageSet, load_data


def data_of(train: Tensor) -> ImageData:
    part = ImageSet(train, torch.zeros(len(train), dtype=torch.int64))
    return ImageData("some", part, part, part, class_names=("a", "b"), flip=False)


def test_mean_and_std_are_those_of_the_training_part_in_float64() -> None:
    data = load_data("digits", in_channels=3, image_size=9)
    pixels = data.train.sample().double() / 255
    assert data.mean == pytest.approx(pixels.mean((0, 2, 3)).tolist(), abs=1e-12)
    assert data.std == pytest.approx(pixels.std((0, 2, 3), correction=0).tolist(), abs=1e-12)


def test_a_constant_channel_has_a_small_std_and_another_has_its_own() -> None:
    images = torch.full((4, 2, 8, 8), 51, dtype=torch.uint8)
    images[::2, 1] = 153
    assert data_of(images).mean == pytest.approx((0.2, 0.4))
    assert data_of(images).std == pytest.approx((1 / 255, 0.2))


def test_sizes_are_read_off_the_images() -> None:
    data = data_of(torch.zeros(5, 3, 16, 16, dtype=torch.uint8))
    assert (len(data.train), data.num_classes, data.image_size, data.in_channels) == (5, 2, 16, 3)


def test_moving_to_a_device_moves_all_parts_and_keeps_mean_and_std() -> None:
    data = load_data("digits")
    moved = data.to("meta")
    assert {part.sample().device.type for part in (moved.train, moved.val, moved.test)} == {"meta"}
    assert {part.labels.device.type for part in (moved.train, moved.val, moved.test)} == {"meta"}
    assert (moved.mean, moved.std, moved.name) == (data.mean, data.std, "digits")
    assert data.train.sample().device.type == "cpu"


@pytest.mark.gpu
def test_batches_on_a_gpu_hold_the_same_images_as_on_the_cpu() -> None:
    from nas_prune.data import Augment, train_batches

    data = load_data("digits")
    augment = Augment(crop_padding=1, flip=True)
    runs = [
        train_batches(d.train, batch_size=64, mean=d.mean, std=d.std, augment=augment, seed=1, epoch=2)
        for d in (data, data.to("cuda"))
    ]
    for (images, labels), (images_gpu, labels_gpu) in zip(*runs, strict=True):
        torch.testing.assert_close(images, images_gpu.cpu(), rtol=1e-6, atol=1e-6)
        assert labels.equal(labels_gpu.cpu())
