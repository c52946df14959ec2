"""Augmentations by torchvision: functions of seed, epoch and place alone, and labels that say what was mixed."""

from typing import Any

import pytest
import torch
from torch import Tensor

from nas_prune.data import Augment, ImageSet, Share, train_batches
from nas_prune.data.augment import ColorJitter, RandAugment
from nas_prune.data.chance import BatchChance, epoch_seed
from nas_prune.errors import BadInputError

PLAIN = Augment(crop_padding=0, flip=False)
KINDS = {
    "randaugment": RandAugment(),
    "color_jitter": ColorJitter(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.1),
    "erasing": 0.5,
    "mixup": 0.4,
    "cutmix": 1.0,
}
CLASSES = 4


@pytest.fixture(scope="module")
def part() -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (50, 3, 16, 16), generator=generator, dtype=torch.uint8)
    return ImageSet(images, torch.arange(50) % CLASSES)


def batches(part: ImageSet, augment: Augment, **changes: Any) -> list[tuple[Tensor, Tensor]]:
    settings: dict[str, Any] = {
        "batch_size": 16, "mean": (0.0,) * 3, "std": (1 / 255,) * 3, "seed": 3, "epoch": 0, "num_classes": CLASSES,
    }  # fmt: skip
    return list(train_batches(part, augment=augment, **{**settings, **changes}))


def of(kind: str) -> Augment:
    settings: dict[str, Any] = {kind: KINDS[kind]}
    return Augment(crop_padding=0, flip=False, **settings)


ALL = Augment(crop_padding=2, flip=True, cutout=3, **KINDS)  # type: ignore[arg-type]


def same(one: list[tuple[Tensor, Tensor]], other: list[tuple[Tensor, Tensor]]) -> bool:
    return all(a.equal(c) and b.equal(d) for (a, b), (c, d) in zip(one, other, strict=True))


@pytest.mark.parametrize("augment", [*map(of, KINDS), ALL], ids=[*KINDS, "all"])
def test_batches_depend_on_seed_epoch_and_place_and_on_nothing_drawn_before(
    part: ImageSet, augment: Augment
) -> None:
    torch.manual_seed(1)
    whole = batches(part, augment)
    assert torch.rand(()) == torch.rand((), generator=torch.Generator().manual_seed(1))  # nothing is taken
    torch.manual_seed(2)
    assert same(batches(part, augment), whole)
    assert same(batches(part, augment, first=2), whole[2:])
    for other in ({"seed": 4}, {"epoch": 1}):
        assert not same(batches(part, augment, **other), whole)
    assert not same(batches(part, PLAIN), whole)


@pytest.mark.parametrize("kind", ["randaugment", "color_jitter", "erasing"])
def test_two_processes_vary_their_images_as_one_does(part: ImageSet, kind: str) -> None:
    whole = batches(part, of(kind))
    halves = [batches(part, of(kind), share=Share(rank, 2)) for rank in (0, 1)]
    joined = [(torch.cat([a, c]), torch.cat([b, d])) for (a, b), (c, d) in zip(*halves, strict=True)]
    assert same(joined, whole)


@pytest.mark.parametrize("kind", ["randaugment", "color_jitter"])
def test_each_image_is_drawn_by_itself(kind: str) -> None:
    one = torch.randint(0, 256, (1, 3, 16, 16), dtype=torch.uint8)
    twins = ImageSet(one.expand(16, -1, -1, -1).clone(), torch.zeros(16, dtype=torch.int64))
    ((images, _),) = batches(twins, of(kind))
    assert len(images.flatten(1).unique(dim=0)) > 4


def test_erasing_sets_a_rectangle_of_some_images_to_the_mean(part: ImageSet) -> None:
    plain, erased = batches(part, PLAIN), batches(part, of("erasing"))
    shares = []
    for (before, _), (after, _) in zip(plain, erased, strict=True):
        changed = (before != after).any(1)
        assert (after.movedim(1, -1)[changed] == 0).all()
        shares += [float(one.float().mean()) for one in changed]
    assert 0.3 < sum(share > 0 for share in shares) / len(shares) < 0.7  # of probability 0.5
    assert max(shares) < 0.34


def mixing(part: ImageSet, kind: str, **changes: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The first batch before and after: images and one-hot labels, images and shares."""
    images, labels = batches(part, PLAIN, **changes)[0]
    after, shares = batches(part, of(kind), **changes)[0]
    return images, torch.nn.functional.one_hot(labels, CLASSES).float(), after, shares


def test_mixup_gives_labels_the_shares_that_it_gave_the_images(part: ImageSet) -> None:
    for epoch in range(5):
        images, labels, after, shares = mixing(part, "mixup", epoch=epoch)
        others, theirs = images.roll(1, 0), labels.roll(1, 0)
        own = float(
            ((after - others) * (images - others)).sum() / ((images - others) ** 2).sum()
        )  # of least squares
        assert 0 <= own <= 1
        assert after.allclose(own * images + (1 - own) * others, atol=0.1)
        assert shares.allclose(own * labels + (1 - own) * theirs, atol=1e-4)
        assert shares.sum(1).allclose(torch.ones(len(shares)))


def test_cutmix_gives_labels_the_share_of_the_pixels(part: ImageSet) -> None:
    seen = set()
    for epoch in range(5):
        images, labels, after, shares = mixing(part, "cutmix", epoch=epoch)
        is_other = (after != images).any(1).any(0)
        assert after[:, :, is_other].equal(images.roll(1, 0)[:, :, is_other])
        own = 1 - float(is_other.float().mean())
        assert shares.allclose(own * labels + (1 - own) * labels.roll(1, 0), atol=1e-6)
        seen.add(round(own, 3))
    assert len(seen) > 2


def test_of_mixup_and_cutmix_one_is_drawn_for_each_batch(part: ImageSet) -> None:
    both = Augment(crop_padding=0, flip=False, mixup=0.4, cutmix=1.0)
    drawn = set[str]()
    for epoch in range(10):
        for (images, _), (after, _) in zip(
            batches(part, PLAIN, epoch=epoch), batches(part, both, epoch=epoch), strict=True
        ):
            others = images.roll(1, 0)
            drawn.add("cutmix" if ((after == images) | (after == others)).all() else "mixup")
    assert drawn == {"mixup", "cutmix"}


def test_grey_images_are_varied_too() -> None:
    grey = ImageSet(torch.randint(0, 256, (8, 1, 8, 8), dtype=torch.uint8), torch.arange(8) % CLASSES)
    ((images, shares),) = batches(grey, ALL, mean=(0.5,), std=(0.5,))
    assert images.shape == (8, 1, 8, 8)
    assert images.isfinite().all()
    assert shares.shape == (8, CLASSES)


def test_one_number_stands_for_brightness_contrast_and_saturation() -> None:
    assert ColorJitter.model_validate(0.4) == ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4)
    assert ColorJitter.model_validate({"hue": 0.1}) == ColorJitter(hue=0.1)


def test_settings_below_zero_are_refused() -> None:
    with pytest.raises(BadInputError, match="mixup must be 0 or more, got -1"):
        Augment(crop_padding=0, flip=False, mixup=-1)


def test_seeds_differ_by_place_and_purpose_and_not_by_share() -> None:
    whole, half = BatchChance(1, 2, 0, slice(0, 4)), BatchChance(1, 2, 0, slice(2, 4))
    assert whole.of_images("image")[2:] == half.of_images("image")
    assert whole.of_batch("batch") == half.of_batch("batch")
    seeds = [*whole.of_images("image"), *whole.of_images("erased"), whole.of_batch("batch"), epoch_seed(1, 2)]
    assert len(set(seeds)) == len(seeds)
