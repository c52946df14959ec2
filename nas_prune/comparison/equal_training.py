"""Arms that each take the same total: what had to be trained for an arm is taken from its own training's epochs."""

from collections.abc import Iterable
from math import floor

from nas_prune.comparison.charge import Charge, search_behind, searches_behind, total
from nas_prune.comparison.config import CompareConfig
from nas_prune.errors import BadInputError
from nas_prune.guideline.apply import Pattern
from nas_prune.space.widths import Widths
from nas_prune.training.schedules import training_macs


def check_equal(
    config: CompareConfig, widths: Widths, pattern: Pattern | None, winner: tuple[Charge, ...] | None
) -> None:
    """Refuse a total that leaves nothing for some arm, or an arm of which it is not known what it took.

    Args:
        config: the comparison, with its arms.
        widths: those it is about.
        pattern: the guideline, where an arm has its widths.
        winner: what the study took whose winner is trained; None where that is not known.

    Raises:
        BadInputError: it is so.
    """
    if config.equal_training is None:
        return
    whole = training_macs(widths.base_cost.macs, config.num_train, config.recipe.epochs)
    most = config.equal_training * whole
    behind = {
        "found": (search_behind(widths),),
        "guided": () if pattern is None else searches_behind(pattern),
        "winner": (Charge(what="the study behind the winner"),) if winner is None else winner,
        "torch-pruning": (Charge(what="a whole network", macs=whole),),
    }
    for arm in config.chosen:
        try:
            epochs_left(most, behind.get(arm.kind, ()), widths.cost.macs, config.num_train)
        except BadInputError as error:
            raise BadInputError(f"{arm.name}: {error}") from None


def epochs_left(most: float, behind: Iterable[Charge], macs: int, images: int) -> int:
    """For how many whole epochs a network can be trained with what is left of a total.

    Args:
        most: multiply-accumulates of training, forward and backward, that all may take together.
        behind: what had to be trained before.
        macs: of the network, forward, for one image.
        images: of an epoch.

    Raises:
        BadInputError: what was trained before is not known, or leaves less than an epoch.

    Example:
        >>> epochs_left(3000, [Charge(what="a search", macs=1200)], 10, 30)
        2
    """
    charges = tuple(behind)
    spent = total(charges)
    words = ", ".join(str(one) for one in charges) or "nothing"
    if spent is None:
        raise BadInputError(f"--equal-training must know what every arm took, got: {words}.")
    epochs = floor((most - spent) / training_macs(macs, images, 1))
    if epochs < 1:
        raise BadInputError(
            "--equal-training must leave an epoch for the network itself, got "
            f"{spent / most:.2f} of it spent before ({words}). Raise it."
        )
    return epochs
