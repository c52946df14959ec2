"""Whether an exported network says what the trained one says.

Shape letters: N images, K classes.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from nas_prune.data.metric import ACCURACY, Metric, named_metric
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
        differing: how many are said to be of another class; none where images are not of one class each.
        ties: those of them whose two classes are level: their scores are as far apart as rounding makes them.
        largest_difference: between two scores.
        largest_score: of the trained network.
        metric: of the task.
        value, value_before: of the metric on them: of the exported network, and of the trained one.
    """

    images: int
    data: str
    differing: int
    ties: int
    largest_difference: float
    largest_score: float
    metric: Metric
    value: float
    value_before: float

    @property
    def accuracy(self) -> float:
        """Of the exported network on these images; of another task its metric."""
        return self.value

    @property
    def accuracy_before(self) -> float:
        """Of the trained one."""
        return self.value_before

    @property
    def has_classes(self) -> bool:
        """Whether an image is of one class, which two networks may name alike."""
        return self.metric == ACCURACY

    def content(self) -> dict[str, Any]:
        """As `--format json` and files have it."""
        own = asdict(self)
        name = self.metric.slug
        del own["metric"]
        own[name], own[f"{name}_before"] = own.pop("value"), own.pop("value_before")
        return {**own, **named_metric(self.metric)}


def agreement(theirs_NK: Tensor, ours_NK: Tensor, checked: CheckImages) -> tuple[Agreement, list[int]]:
    """Compare scores.

    Args:
        theirs_NK: of the exported network; of pixels N×K×H×W.
        ours_NK: of the trained one.
        checked: the images.

    Returns:
        The comparison, and the images that are said to be of another class and are no ties.
    """
    theirs_NK, ours_NK = theirs_NK.double(), ours_NK.double()
    is_other_N, is_tie_N = _told_apart(theirs_NK, ours_NK, checked)
    found = Agreement(
        images=len(checked),
        data=checked.data_name,
        differing=int(is_other_N.sum()),
        ties=int(is_tie_N.sum()),
        largest_difference=float((theirs_NK - ours_NK).abs().max()),
        largest_score=float(ours_NK.abs().max()),
        metric=checked.task.metric,
        value=checked.value(theirs_NK),
        value_before=checked.value(ours_NK),
    )
    return found, torch.nonzero(is_other_N & ~is_tie_N).flatten().tolist()


def _told_apart(theirs_NK: Tensor, ours_NK: Tensor, checked: CheckImages) -> tuple[Tensor, Tensor]:
    """Which images are said to be of another class, and which of these are ties."""
    none_N = torch.zeros(len(checked), dtype=torch.bool)
    if not checked.task.is_classification:
        return none_N, none_N
    theirs_N, ours_N = theirs_NK.argmax(1), ours_NK.argmax(1)
    is_other_N = theirs_N != ours_N
    gaps_N = (ours_NK.gather(1, ours_N[:, None]) - ours_NK.gather(1, theirs_N[:, None])).squeeze(1)
    return is_other_N, is_other_N & (gaps_N <= NOISE * ours_NK.abs().amax(1))


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
    is_whole_N = (theirs_NK.isfinite() & ours_NK.isfinite()).flatten(1).all(1)
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
    differences_N, largest_N = (one.abs().flatten(1).amax(1) for one in (theirs_NK - ours_NK, ours_NK))
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
