"""Whether an exported network says what the trained one says.

Shape letters: N images, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nas_prune.errors import BadInputError
from nas_prune.export.images import CheckImages

NOISE = 1e-5  # of an image's largest score: closer classes are told apart by the order of sums alone
TOLERANCE = 1e-3  # of an image's largest score
_LEAST_SHARE = 0.01  # of the largest of all, that an image's counts as at least


@dataclass(frozen=True, slots=True)
class Agreement:
    """How an exported network compares with the trained one, image by image.

    Attributes:
        images: how many.
        data: of which data set they are test images.
        differing: how many are said to be of another class.
        ties: those of them whose two classes are level: their scores are as far apart as rounding makes them.
        largest_difference: between two scores.
        largest_score: of the trained network.
        accuracy, accuracy_before: on them: of the exported network, and of the trained one.
    """

    images: int
    data: str
    differing: int
    ties: int
    largest_difference: float
    largest_score: float
    accuracy: float
    accuracy_before: float


def agreement(theirs_NK: Tensor, ours_NK: Tensor, checked: CheckImages) -> tuple[Agreement, list[int]]:
    """Compare scores.

    Args:
        theirs_NK: of the exported network.
        ours_NK: of the trained one.
        checked: the images.

    Returns:
        The comparison, and the images that are said to be of another class and are no ties.
    """
    theirs_NK, ours_NK = theirs_NK.double(), ours_NK.double()
    theirs_N, ours_N = theirs_NK.argmax(1), ours_NK.argmax(1)
    is_other_N = theirs_N != ours_N
    gaps_N = (ours_NK.gather(1, ours_N[:, None]) - ours_NK.gather(1, theirs_N[:, None])).squeeze(1)
    is_tie_N = is_other_N & (gaps_N <= NOISE * ours_NK.abs().amax(1))
    found = Agreement(
        images=len(checked),
        data=checked.data_name,
        differing=int(is_other_N.sum()),
        ties=int(is_tie_N.sum()),
        largest_difference=float((theirs_NK - ours_NK).abs().max()),
        largest_score=float(ours_NK.abs().max()),
        accuracy=float((theirs_N == checked.labels).double().mean()),
        accuracy_before=float((ours_N == checked.labels).double().mean()),
    )
    return found, torch.nonzero(is_other_N & ~is_tie_N).flatten().tolist()


def checked_agreement(
    theirs_NK: Tensor, ours_NK: Tensor, checked: CheckImages, classes: Sequence[str]
) -> Agreement:
    """The comparison, where the exported network says the same.

    Raises:
        BadInputError: it says another class, gives other scores, or none.
    """
    if theirs_NK.shape != ours_NK.shape:
        got, wanted = ("×".join(map(str, one.shape)) for one in (theirs_NK, ours_NK))
        raise _other(f"scores of {got} where it gives {wanted}")
    is_whole_N = theirs_NK.isfinite().all(1) & ours_NK.isfinite().all(1)
    if not is_whole_N.all():
        number = int(torch.nonzero(~is_whole_N)[0])
        raise _other(f"no numbers for {checked.called(number)}")
    found, others = agreement(theirs_NK, ours_NK, checked)
    if others:
        first = others[0]
        said, meant = (classes[int(one[first].argmax())] for one in (theirs_NK, ours_NK))
        more = (
            f", and others for {len(others) - 1} more of {found.images:,} images" if len(others) > 1 else ""
        )
        raise _other(f"{said!r} where that says {meant!r} for {checked.called(first)}{more}")
    differences_N, largest_N = (theirs_NK - ours_NK).abs().amax(1), ours_NK.abs().amax(1)
    excess_N = differences_N - TOLERANCE * largest_N.clamp(min=_LEAST_SHARE * found.largest_score)
    if (excess_N > 0).any():
        worst = int(excess_N.argmax())
        off, largest = float(differences_N[worst]), float(largest_N[worst])
        raise _other(
            f"scores that differ by {off:.3g} (the largest is {largest:.3g}) for {checked.called(worst)}"
        )
    return found


def _other(got: str) -> BadInputError:
    return BadInputError(
        f"the exported network must say what the trained one says, got {got}. Nothing was written: an exporter is "
        "wrong, or the network's code does something else while it is exported. Another form may do: --to."
    )
