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
    """Σ over images of w times Σ over classes of -t log p, over the number of images."""
    target = shares * (1 - smoothing) + smoothing / 3
    return float(-((shares @ weights)[:, None] * target * log_softmax(SCORES, 1)).sum() / 4)


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


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("label", [0, 1])
def test_weights_leave_the_scores_that_an_image_asks_for(label: int, smoothing: float) -> None:
    weights = torch.tensor([0.1, 1.0, 12.0])
    recipe = PLAIN.model_copy(update={"label_smoothing": smoothing})
    shares = 0.8 * one_hot(torch.tensor([label]), 3) + 0.2 * one_hot(torch.tensor([2]), 3)
    for labels in (torch.tensor([label]), shares):
        own = one_hot(labels, 3).float() if labels.dim() == 1 else labels
        wanted = own * (1 - smoothing) + smoothing / 3
        scores = wanted.clamp(min=1e-9).log().requires_grad_()
        Loss(recipe, weights).of(scores, labels, NO_IMAGES[:1]).backward()
        assert scores.grad is not None
        assert scores.grad.abs().max() < 1e-6  # they are the best there are
        assert scores.argmax() == label


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
