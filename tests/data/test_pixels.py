import numpy as np
import torch
from PIL import Image

from nas_prune.data.pixels import fit_images


def colours(size: int = 12) -> torch.Tensor:
    return torch.randint(
        0, 256, (5, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def test_images_that_fit_are_left_alone() -> None:
    assert fit_images(colours(), 12, 3).equal(colours())


def test_grey_becomes_three_equal_channels() -> None:
    grey = colours()[:, :1]
    assert fit_images(grey, 12, 3).equal(torch.cat([grey, grey, grey], 1))


def test_colour_becomes_the_luma_that_pillow_computes() -> None:
    expected = [np.asarray(Image.fromarray(i.permute(1, 2, 0).numpy()).convert("L")) for i in colours()]
    assert np.array_equal(fit_images(colours(), 12, 1)[:, 0].numpy(), np.stack(expected))


def test_resizing_is_what_pillow_does_up_to_rounding() -> None:
    for size in (8, 20):
        resized = fit_images(colours(), size, 3).permute(0, 2, 3, 1).numpy().astype(int)
        pictures = [Image.fromarray(i.permute(1, 2, 0).numpy()) for i in colours()]
        bilinear = Image.Resampling.BILINEAR
        expected = np.stack([np.asarray(p.resize((size, size), bilinear)) for p in pictures]).astype(int)
        assert np.abs(resized - expected).max() <= 1


def test_many_images_are_resized_as_each_alone() -> None:
    many = colours().repeat(500, 1, 1, 1)
    assert fit_images(many, 8, 3)[-5:].equal(fit_images(colours(), 8, 3))
