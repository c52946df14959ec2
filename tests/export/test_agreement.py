"""When two networks say the same: by hand, on made-up scores."""

from typing import Any

import pytest
import torch

from nas_prune.data import ImageSet
from nas_prune.data.metric import ACCURACY
from nas_prune.errors import BadInputError
from nas_prune.export.agreement import NOISE, Agreement, agreement, checked_agreement
from nas_prune.export.images import CheckImages

OURS = torch.tensor([[1.0, 3.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 10.0], [4.0, 4.0, 1.0]])


def checked(**given: Any) -> CheckImages:
    images, labels = torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.tensor([1, 0, 2, 1])
    known = {"names": ("a/0.png", "a/1\n.png", "b/2.png", "b/3.png"), "places": (0, 9, 18, 27), **given}
    return CheckImages(images, labels, data_name="folder:a", training=ImageSet(images, labels), **known)


def compared(theirs: torch.Tensor, **given: Any) -> Agreement:
    return checked_agreement(theirs, OURS, checked(**given), ("cat", "dog", "eel"))


def test_the_same_scores_agree() -> None:
    found = compared(OURS.clone())
    assert found == Agreement(4, "folder:a", 0, 0, 0.0, 10.0, ACCURACY, 0.75, 0.75)


def test_another_class_names_its_image_and_how_many_there_are() -> None:
    theirs = OURS.clone()
    theirs[1] = torch.tensor([0.0, 2.0, 0.0])
    with pytest.raises(BadInputError, match=r"got 'dog' where that says 'cat' for a/1\\n\.png\. Nothing"):
        compared(theirs)
    theirs[2, 0] = 11.0
    with pytest.raises(BadInputError, match=r"a/1\\n\.png, and others for 1 more of 4 images"):
        compared(theirs)
    with pytest.raises(BadInputError, match="for test image 9 of folder:a"):
        compared(theirs, names=())


@pytest.mark.parametrize(("share", "is_tie"), [(0.5, True), (2.0, False)])
def test_level_scores_are_a_tie_where_rounding_alone_decides(share: float, is_tie: bool) -> None:
    ours = OURS.clone()
    ours[3, 0] += share * NOISE * 4  # float32 tells them apart: 4 + 2e-5
    theirs = ours.clone()
    theirs[3, 0] = 4 - 1e-5
    found, others = agreement(theirs, ours, checked())
    assert (found.differing, found.ties, others) == (1, int(is_tie), [] if is_tie else [3])
    assert (found.value, found.value_before) == (1.0, 0.75)


def test_scores_that_are_far_off_are_refused_though_the_class_is_right() -> None:
    assert compared(OURS * 1.0005).differing == 0
    with pytest.raises(
        BadInputError, match=r"scores that differ by 0\.02 \(the largest is 10\) for b/2\.png"
    ):
        compared(OURS * 1.002)


def test_what_is_no_number_or_of_another_shape_is_refused() -> None:
    theirs = OURS.clone()
    theirs[2, 1] = float("nan")
    with pytest.raises(BadInputError, match=r"no numbers for b/2\.png"):
        compared(theirs)
    with pytest.raises(BadInputError, match="scores of 4×2 where it gives 4×3"):
        compared(OURS[:, :2])


def test_a_trained_network_without_numbers_is_refused_too() -> None:
    for wrong in (float("nan"), float("inf")):
        ours = OURS.clone()
        ours[2, 0] = wrong
        with pytest.raises(BadInputError, match="no numbers for b/2.png"):
            checked_agreement(OURS, ours, checked(), ("cat", "dog", "eel"))


def test_each_image_has_its_own_measure_of_what_is_far_off() -> None:
    ours = OURS.clone()
    ours[2] = torch.tensor([0.0, 0.0, 1e4])
    theirs = ours.clone()
    theirs[0] *= 1.5  # far off for this image, not beside the other's ten thousand
    theirs[0] += 40
    with pytest.raises(BadInputError, match="scores that differ by 41.5"):
        checked_agreement(theirs, ours, checked(), ("cat", "dog", "eel"))
