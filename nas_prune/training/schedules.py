"""Scratch-E and Scratch-B: how long found widths are trained from random weights (Liu et al. 2019, section 3)."""

from dataclasses import dataclass
from math import floor, inf
from typing import Literal, TypeAlias

from pydantic import ValidationError

from nas_prune.errors import BadInputError, WidthsError
from nas_prune.training.recipe import Recipe
from nas_prune.widths import Widths, first_problem

Schedule: TypeAlias = Literal["scratch-e", "scratch-b"]


@dataclass(frozen=True, slots=True)
class ScratchPlan:
    """How long one network of found widths is trained.

    Attributes:
        schedule: `scratch-e` (the recipe's epochs) or `scratch-b` (the recipe's total MACs).
        multiplier: MACs of the whole network over MACs of the widths; 1 for Scratch-E.
        cap: the largest multiplier allowed; None for no cap.
        recipe: the recipe with its epochs set.
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
    if widths.recipe is None:
        return None
    try:
        return Recipe.model_validate(widths.recipe)
    except ValidationError as error:
        raise WidthsError(f"the recipe in the widths file cannot be used: {first_problem(error)}.") from None


def plan_scratch(
    widths: Widths, recipe: Recipe, schedule: Schedule, *, cap: float | None = None
) -> ScratchPlan:
    """The number of epochs for found widths.

    Args:
        widths: what is trained; its costs are at the training image size.
        recipe: the recipe of the whole network, with its full number of epochs.
        schedule: `scratch-e`, or `scratch-b` for round(epochs × MACs_base / MACs_widths).
        cap: bound on that multiplier (2 in the paper's ImageNet runs); None for no bound.

    Example:
        Half the MACs of a network that is trained for 160 epochs are trained for 320.
    """
    if cap is not None and not 1 <= cap < inf:
        raise BadInputError(f"--cap must be at least 1, got {cap:g}.")
    multiplier = 1.0 if schedule == "scratch-e" else widths.base_cost.macs / widths.cost.macs
    epochs = floor(recipe.epochs * (multiplier if cap is None else min(cap, multiplier)) + 0.5)
    return ScratchPlan(schedule, multiplier, cap, recipe.with_epochs(epochs))
