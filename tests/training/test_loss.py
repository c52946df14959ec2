"""The loss against arithmetic by hand: shares of classes, weights of classes, smoothing, and a teacher."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import log_softmax, one_hot, softmax

from nas_prune.training.loss import Loss, count_right
from nas_prune.training.recipe import recipe_named

PLAIN = recipe_named("digits")
WEIGHTS = torch.tensor([0.5, 1.0, 2.5])
GENERATOR = torch.Generator().manual_seed(0)
SCORES, WANTED = torch.randn(4, 3, generator=GENERATOR), torch.randn(4, 3, generator=GENERATOR)
LABELS = torch.tensor([0, 2, 1, 0])
SHARES = 0.7 * one_hot(LABELS, 3) + 0.3 * one_hot(LABELS.roll(1), 3)
NO_IMAGES = torch.zeros(4, 1, 8, 8)


def by_hand(shares: Tensor, weights: Tensor, smoothing: float) -> float:
    """Σ over images and classes of -w t log p, over the number of images."""
    target = shares * (1 - smoothing) + smoothing / 3
    return float(-(weights * target * log_softmax(SCORES, 1)).sum() / 4)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("labels", [LABELS, SHARES], ids=["whole", "shares"])
def test_labels_of_both_kinds_are_weighted_and_smoothed(
    labels: Tensor, weights: Tensor | None, smoothing: float
) -> None:
    recipe = PLAIN.model_copy(update={"label_smoothing": smoothing})
    shares = one_hot(LABELS, 3).float() if labels.dim() == 1 else SHARES
    expected = by_hand(shares, torch.ones(3) if weights is None else weights, smoothing)
    assert float(Loss(recipe, weights).of(SCORES, labels, NO_IMAGES)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("labels", [LABELS, SHARES], ids=["whole", "shares"])
def test_a_teacher_counts_each_image_by_the_weight_of_its_classes(labels: Tensor) -> None:
    recipe = PLAIN.model_copy(update={"teacher_share": 0.9, "temperature": 2.0})
    ours, theirs = softmax(SCORES / 2, 1), softmax(WANTED / 2, 1)
    each = 4 * (theirs * (theirs / ours).log()).sum(1)
    shares = one_hot(LABELS, 3).float() if labels.dim() == 1 else SHARES
    expected = 0.1 * by_hand(shares, WEIGHTS, 0) + 0.9 * float((each * (shares * WEIGHTS).sum(1)).mean())
    found = Loss(recipe, WEIGHTS, lambda _: WANTED).of(SCORES, labels, NO_IMAGES)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_a_mixed_image_is_right_by_the_share_of_what_it_is_taken_for() -> None:
    scores = torch.eye(3)[torch.tensor([0, 0, 1, 2])]
    shares = torch.tensor([[0.6, 0.4, 0.0], [0.0, 1.0, 0.0], [0.25, 0.75, 0.0], [0.0, 0.0, 1.0]])
    assert float(count_right(scores, shares)) == pytest.approx(0.6 + 0 + 0.75 + 1)
    assert int(count_right(scores, torch.tensor([0, 1, 1, 2]))) == 3
