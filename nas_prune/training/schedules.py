"""How long and at which rate found widths are trained: from random weights, or from what a search left.

Scratch-E and Scratch-B are those of Liu et al. 2019, section 3; fine-tuning goes by their code (a quarter of the epochs
at a hundredth of the learning rate); rewinding the learning rate (Renda et al. 2020) repeats the recipe from inherited
weights. The training is the same in all: what differs is in `SCHEDULES`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import floor, inf
from typing import Any, Literal, TypeAlias

from pydantic import ValidationError

from nas_prune.errors import BadInputError, NasPruneError, WidthsError
from nas_prune.runs.problems import first_problem
from nas_prune.space.widths import Widths
from nas_prune.training.recipe import Recipe

Schedule: TypeAlias = Literal["scratch-e", "scratch-b", "fine-tune", "rewind"]


@dataclass(frozen=True, slots=True)
class Terms:
    """How a schedule changes a recipe.

    Attributes:
        inherits: it starts from the trained weights of the channels that were kept.
        by_macs: epochs are multiplied by MACs of the whole network over MACs of the widths.
        epochs_share: factor on the epochs.
        rate_share: factor on the learning rate.
        is_constant: the learning rate stays as it is.
    """

    inherits: bool = False
    by_macs: bool = False
    epochs_share: float = 1
    rate_share: float = 1
    is_constant: bool = False


SCHEDULES: dict[Schedule, Terms] = {
    "scratch-e": Terms(),
    "scratch-b": Terms(by_macs=True),
    "fine-tune": Terms(inherits=True, epochs_share=0.25, rate_share=0.01, is_constant=True),
    "rewind": Terms(inherits=True),
}


@dataclass(frozen=True, slots=True)
class TrainPlan:
    """How long one network of found widths is trained.

    Attributes:
        schedule: which of `SCHEDULES`.
        multiplier: MACs of the whole network over MACs of the widths for Scratch-B; otherwise the factor on the epochs.
        cap: the largest multiplier allowed; None for no cap.
        recipe: the recipe with its epochs and learning rate set.
    """

    schedule: Schedule
    multiplier: float
    cap: float | None
    recipe: Recipe


def recipe_of(widths: Widths) -> Recipe | None:
    """The recipe recorded in a widths file, with its full number of epochs; None if there is none.

    Raises:
        WidthsError: what the file holds is no recipe.
    """
    return recorded_recipe(widths.recipe, "the widths file", WidthsError)


def recorded_recipe(
    content: Mapping[str, Any] | None, where: str, error: Callable[[str], NasPruneError] = BadInputError
) -> Recipe | None:
    """A recipe that a file records; None if there is none.

    Args:
        content: as the file has it.
        where: which file, in words.
        error: what is raised where it is none.
    """
    if content is None:
        return None
    try:
        return Recipe.model_validate(content)
    except ValidationError as problem:
        raise error(f"the recipe in {where} cannot be used: {first_problem(problem, Recipe)}.") from None


def plan_training(
    widths: Widths,
    recipe: Recipe,
    schedule: Schedule,
    *,
    cap: float | None = None,
    macs: int | None = None,
) -> TrainPlan:
    """The number of epochs and the learning rate for found widths.

    Args:
        widths: what is trained; its costs are at the training image size.
        recipe: the recipe of the whole network, with its full number of epochs.
        schedule: `scratch-e`; `scratch-b` for round(epochs × MACs_base / MACs_widths); `fine-tune`; `rewind`.
        cap: bound on that multiplier (2 in the paper's ImageNet runs); None for no bound.
        macs: what a network costs that is masked, with the weights that are there; None for that of the widths.

    Example:
        Half the MACs of a network that is trained for 160 epochs are trained for 320 with Scratch-B.
    """
    if cap is not None and not 1 <= cap < inf:
        raise BadInputError(f"--cap must be at least 1, got {cap:g}.")
    terms = SCHEDULES[schedule]
    multiplier = terms.epochs_share * (
        widths.base_cost.macs / (macs or widths.cost.macs) if terms.by_macs else 1
    )
    epochs = max(1, floor(recipe.epochs * (multiplier if cap is None else min(cap, multiplier)) + 0.5))
    changes = {"epochs": epochs, "learning_rate": recipe.learning_rate * terms.rate_share}
    rate = {"schedule": "constant", "warmup_epochs": 0.0} if terms.is_constant else {}
    return TrainPlan(schedule, multiplier, cap, recipe.model_copy(update=changes | rate))


def training_macs(macs: int, images: int, epochs: int) -> int:
    """Multiply-accumulates of a training: forward, and twice that backward."""
    return 3 * macs * images * epochs


def macs_of_search(widths: Widths) -> int | None:
    """Multiply-accumulates of the training by which a search found some widths; None if the file does not tell.

    All epochs of the whole network over all its training images. A search that trains no network took none; of one that
    started from given weights, what these took is not known.
    """
    if widths.method is not None and widths.method.settings.get("weights"):
        return None
    if widths.data is None or widths.epochs is None or widths.method is None or widths.method.name == "study":
        return None
    return training_macs(widths.base_cost.macs, widths.data.num_train, widths.epochs)
