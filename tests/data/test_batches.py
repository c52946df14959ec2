import numpy as np
import pytest
import torch
from torch import Tensor

from nas_prune.data import (
    Augment,
    ImageSet,
    Part,
    Share,
    eval_batches,
    load_data,
    normalise,
    num_batches,
    train_batches,
)
from nas_prune.data.batches import _cropped, _cut_out, _mirrored
from nas_prune.errors import BadInputError

DIGITS = load_data("digits")
PLAIN = Augment(crop_padding=0, flip=False)
WHOLE = Share()
# pixels come back as they are: (x − 0) / (255 · 1/255)
RAW = {"mean": (0.0,), "std": (1 / 255,)}


def part_of(count: int) -> ImageSet:
    """Images told apart by their only colour, with that number as the label."""
    numbers = torch.arange(count)
    return ImageSet(numbers.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 8, 8), numbers)


def epoch(
    part: Part, augment: Augment = PLAIN, share: Share = WHOLE, **settings: int
) -> list[tuple[Tensor, Tensor]]:
    settings = {"batch_size": 16, "seed": 0, "epoch": 0, "first": 0} | settings
    return list(
        train_batches(
            part,
            batch_size=settings["batch_size"],
            mean=RAW["mean"],
            std=RAW["std"],
            augment=augment,
            seed=settings["seed"],
            epoch=settings["epoch"],
            first=settings["first"],
            share=share,
        )
    )


def labels(batches: list[tuple[Tensor, Tensor]]) -> list[int]:
    return torch.cat([label for _, label in batches]).tolist()


def test_normalised_training_images_have_mean_zero_and_std_one() -> None:
    images = normalise(DIGITS.train.sample(), DIGITS.mean, DIGITS.std)
    assert images.dtype == torch.float32
    assert images.mean().abs() < 1e-5
    assert images.std(correction=0) == pytest.approx(1, abs=1e-5)


def test_each_channel_is_normalised_by_its_own_numbers() -> None:
    images = torch.full((1, 2, 8, 8), 51, dtype=torch.uint8)
    assert normalise(images, (0.1, 0.2), (0.5, 0.1))[0, :, 0, 0].tolist() == pytest.approx([0.2, 0], abs=1e-6)


def test_normalising_leaves_the_images_as_they_were() -> None:
    before = DIGITS.val.sample().clone()
    normalise(DIGITS.val.sample(), DIGITS.mean, DIGITS.std)
    assert DIGITS.val.sample().equal(before)


def test_an_epoch_shows_each_image_once_with_its_label() -> None:
    batches = epoch(part_of(64))
    assert sorted(labels(batches)) == list(range(64))
    assert labels(batches) != list(range(64))
    for images, label in batches:
        assert images.allclose(label.float().view(-1, 1, 1, 1).expand_as(images))


def test_the_same_seed_and_epoch_give_the_same_batches() -> None:
    augment = Augment(crop_padding=2, flip=True)
    for (images, label), (again, label_again) in zip(
        epoch(DIGITS.train, augment), epoch(DIGITS.train, augment), strict=True
    ):
        assert images.equal(again)
        assert label.equal(label_again)


def test_another_seed_or_epoch_gives_others() -> None:
    orders = [labels(epoch(part_of(64), seed=seed, epoch=number)) for seed in (0, 1) for number in (0, 1)]
    assert len(set(map(tuple, orders))) == 4


def test_batches_do_not_depend_on_the_global_random_state() -> None:
    first = labels(epoch(part_of(64)))
    torch.manual_seed(99)
    assert labels(epoch(part_of(64))) == first


def test_crops_and_flips_are_those_of_a_slow_reference() -> None:
    images = DIGITS.val.sample()
    offsets = torch.randint(5, (2, len(images)), generator=torch.Generator().manual_seed(0))
    is_mirrored = torch.arange(len(images)) % 3 == 0
    fast = _mirrored(_cropped(images, offsets, 2), is_mirrored)
    for i, image in enumerate(images.numpy()):
        row, column = offsets[:, i].tolist()
        slow = np.pad(image, ((0, 0), (2, 2), (2, 2)))[:, row : row + 8, column : column + 8]
        assert np.array_equal(fast[i], slow[:, :, ::-1] if is_mirrored[i] else slow)


def test_each_image_is_augmented_independently_and_all_outcomes_occur() -> None:
    one = torch.zeros(8, 8, dtype=torch.uint8)
    one[3, 3] = 255
    many = ImageSet(one.expand(600, 1, 8, 8), torch.zeros(600, dtype=torch.int64))
    images = torch.cat(
        [images for images, _ in epoch(many, Augment(crop_padding=1, flip=True), batch_size=600)]
    )
    places = images.flatten(1).argmax(1)
    counts = torch.bincount(places, minlength=64)
    # three rows; columns 2, 3, 4 and, mirrored, 5, 4, 3
    assert {(int(p) // 8, int(p) % 8) for p in places} == {(r, c) for r in (2, 3, 4) for c in (2, 3, 4, 5)}
    assert counts[counts > 0].min() > 15


def test_padding_is_black_before_normalising() -> None:
    white = ImageSet(torch.full((64, 1, 8, 8), 255, dtype=torch.uint8), torch.zeros(64, dtype=torch.int64))
    batches = train_batches(
        white, batch_size=64, mean=(0.5,), std=(0.5,), augment=Augment(3, flip=False), seed=0, epoch=0
    )
    images, _ = next(iter(batches))
    assert images.unique().tolist() == [-1, 1]


def test_without_augmentation_images_are_unchanged() -> None:
    images, _ = epoch(DIGITS.train, batch_size=len(DIGITS.train))[0]
    assert images.sum() == DIGITS.train.sample().sum()


def test_flips_alone_mirror_about_half_of_the_images() -> None:
    ramp = torch.arange(8, dtype=torch.uint8).expand(400, 1, 8, 8)
    images, _ = epoch(ImageSet(ramp, torch.zeros(400)), Augment(0, flip=True), batch_size=400)[0]
    assert 140 < int((images[:, 0, 0, 0] == 7).sum()) < 260


@pytest.mark.parametrize(
    ("count", "batch_size", "expected"),
    [
        (128, 64, 2),
        (96, 64, 2),
        (95, 64, 1),
        (65, 64, 1),
        (5, 64, 1),
        (1, 64, 1),
        (3, 2, 1),
        (5, 1, 5),
        (5, 3, 2),
        (0, 64, 0),
    ],
)
def test_a_small_last_batch_is_dropped_unless_it_is_the_only_one(
    count: int, batch_size: int, expected: int
) -> None:
    assert num_batches(count, batch_size) == expected
    assert len(epoch(part_of(count), batch_size=batch_size)) == expected


@pytest.mark.parametrize("batch_size", [2, 3, 4, 16])
def test_batch_norm_gets_two_values_a_channel_whatever_is_left_for_the_last_batch(batch_size: int) -> None:
    norm = torch.nn.BatchNorm2d(1)
    for count in range(2, 35):
        for images, _ in epoch(part_of(count), batch_size=batch_size):
            assert norm(images[..., :1, :1]).isfinite().all()  # it refuses a batch of one


def test_evaluation_keeps_order_and_drops_nothing() -> None:
    batches = list(eval_batches(part_of(65), batch_size=32, mean=RAW["mean"], std=RAW["std"]))
    assert labels(batches) == list(range(65))
    assert [len(label) for _, label in batches] == [32, 32, 1]


def test_bad_settings_are_refused_in_the_call() -> None:
    with pytest.raises(BadInputError, match="--batch-size must be at least 1, got 0"):
        eval_batches(part_of(4), batch_size=0, mean=RAW["mean"], std=RAW["std"])
    with pytest.raises(BadInputError, match="--batch-size must be at least 1, got 0"):
        train_batches(
            part_of(4), batch_size=0, mean=RAW["mean"], std=RAW["std"], augment=PLAIN, seed=0, epoch=0
        )
    with pytest.raises(BadInputError, match="crop_padding must be 0 or more, got -1"):
        Augment(crop_padding=-1, flip=False)


def test_cut_outs_are_squares_of_zeros_at_every_place_each_image_for_itself() -> None:
    images = torch.ones(500, 3, 8, 8)
    centres = torch.rand(2, 500, generator=torch.Generator().manual_seed(0))
    cut = _cut_out(images, centres, 3)
    for image, (row, column) in zip(cut, (centres * 8).long().T.tolist(), strict=True):
        expected = torch.ones(8, 8)
        expected[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = 0
        assert image.equal(expected.expand(3, 8, 8))
    assert len({tuple(image.flatten().tolist()) for image in cut}) == 64
    assert _cut_out(images, centres, 0).equal(images)


def test_shares_of_a_batch_are_disjoint_and_make_it_up() -> None:
    whole = epoch(part_of(90), Augment(1, flip=True))
    for world in (2, 3):
        shares = [epoch(part_of(90), Augment(1, flip=True), Share(rank, world)) for rank in range(world)]
        for step, (images, label) in enumerate(whole):
            assert torch.cat([share[step][0] for share in shares]).equal(images)
            assert torch.cat([share[step][1] for share in shares]).equal(label)


def test_batches_that_were_had_are_passed_over() -> None:
    whole = epoch(part_of(90), Augment(1, flip=True))
    rest = epoch(part_of(90), Augment(1, flip=True), first=2)
    for (images, label), (again, label_again) in zip(whole[2:], rest, strict=True):
        assert images.equal(again)
        assert label.equal(label_again)


def test_evaluation_is_shared_too() -> None:
    seen = [
        labels(list(eval_batches(part_of(31), batch_size=4, **RAW, share=Share(rank, 2)))) for rank in (0, 1)
    ]
    assert seen == [list(range(16)), list(range(16, 31))]
