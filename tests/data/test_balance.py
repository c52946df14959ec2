"""Classes of different sizes: weights and orders against counts by hand."""

from typing import Any

import pytest
import torch
from torch import Tensor

from nas_prune.data import Augment, ImageSet, Share, train_batches
from nas_prune.data.balance import balanced_order, class_weights, is_uneven

LABELS = torch.tensor([0] * 30 + [1] * 6 + [2] * 4)


def order(seed: int = 0, labels: Tensor = LABELS) -> Tensor:
    return balanced_order(labels, torch.Generator().manual_seed(seed))


def test_weights_are_inverse_to_the_class_and_one_on_average_over_the_images() -> None:
    weights = class_weights(LABELS, 3)
    assert weights.tolist() == pytest.approx([40 / 90, 40 / 18, 40 / 12])
    assert float(weights[LABELS].mean()) == pytest.approx(1)
    assert float(weights[0] * 30) == pytest.approx(float(weights[2] * 4))


def test_a_class_without_images_weighs_one_and_even_classes_all_do() -> None:
    assert class_weights(torch.tensor([0, 0, 2, 2]), 3).tolist() == [1, 1, 1]
    assert class_weights(torch.tensor([0, 0, 0, 2]), 3).tolist() == pytest.approx([2 / 3, 1, 2])


@pytest.mark.parametrize("seed", range(20))
def test_every_class_comes_equally_often_and_its_images_in_turn(seed: int) -> None:
    places = order(seed)
    assert len(places) == 40
    assert sorted(torch.bincount(LABELS[places]).tolist()) == [13, 13, 14]
    times = torch.bincount(places, minlength=40)
    assert times[:30].max() == 1  # of 30 images 13 or 14 are shown
    for label in (1, 2):
        own = times[label == LABELS]
        assert own.max() - own.min() <= 1


def test_orders_are_shuffled_and_depend_on_the_seed_alone() -> None:
    assert order(1).equal(order(1))
    assert not order(1).equal(order(2))
    runs = (LABELS[order(1)].diff() != 0).sum()
    assert runs > 15  # classes are not in blocks
    which = {int(torch.bincount(LABELS[order(seed)]).argmax()) for seed in range(30)}
    assert which == {0, 1, 2}  # the one more is drawn


def test_all_images_of_a_large_class_are_seen_over_epochs() -> None:
    seen = torch.cat([order(seed) for seed in range(12)])
    assert len(seen[seen < 30].unique()) == 30


@pytest.mark.parametrize(("counts", "uneven"), [((30, 10), False), ((31, 10), True), ((5, 0), False)])
def test_classes_are_uneven_above_three_to_one(counts: tuple[int, int], uneven: bool) -> None:
    labels = torch.tensor([0] * counts[0] + [1] * counts[1])
    assert is_uneven(labels, 2) is uneven


def batches(**changes: Any) -> list[tuple[Tensor, Tensor]]:
    part = ImageSet(torch.arange(40, dtype=torch.uint8).view(40, 1, 1, 1).expand(-1, 1, 8, 8), LABELS)
    settings: dict[str, Any] = {
        "batch_size": 10, "mean": (0.0,), "std": (1 / 255,), "seed": 0, "epoch": 0, "is_balanced": True,
        "augment": Augment(crop_padding=0, flip=False),
    }  # fmt: skip
    return list(train_batches(part, **{**settings, **changes}))


def test_a_balanced_epoch_is_as_long_goes_on_within_and_is_shared_out() -> None:
    whole = batches()
    assert sorted(torch.bincount(torch.cat([labels for _, labels in whole])).tolist()) == [13, 13, 14]
    assert all(LABELS[images[:, 0, 0, 0].long()].equal(labels) for images, labels in whole)
    later = batches(first=2)
    assert [labels.tolist() for _, labels in later] == [labels.tolist() for _, labels in whole[2:]]
    halves = [batches(share=Share(rank, 2)) for rank in (0, 1)]
    joined = [torch.cat([one, other]).tolist() for (_, one), (_, other) in zip(*halves, strict=True)]
    assert joined == [labels.tolist() for _, labels in whole]
    assert [labels.tolist() for _, labels in batches(epoch=1)] != [labels.tolist() for _, labels in whole]
    assert torch.bincount(torch.cat([labels for _, labels in batches(is_balanced=False)])).tolist() == [
        30,
        6,
        4,
    ]
