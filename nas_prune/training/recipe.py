"""Recipes: how a network is trained, by name."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nas_prune.errors import BadInputError

MOST_EPOCHS = 100_000


class Recipe(BaseModel):
    """How one network is trained; SGD throughout.

    Attributes:
        name: what `--recipe` takes.
        epochs: passes over the training part.
        batch_size: images in a step.
        learning_rate: its largest value.
        schedule: `steps` divides by 10 at 1/2 and 3/4 of the epochs; `one-cycle` rises linearly for the first
            fifth of the steps and falls linearly to a hundredth.
        momentum, nesterov, weight_decay: as in `torch.optim.SGD`; the decay acts on every parameter.
        crop_share: random crops after padding by this share of the image size.
        mirror: whether images are mirrored at random where the data set allows it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    epochs: int = Field(ge=1, le=MOST_EPOCHS)
    batch_size: int = Field(ge=2)
    learning_rate: float = Field(gt=0)
    schedule: Literal["steps", "one-cycle"]
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(default=1e-4, ge=0)
    crop_share: float = Field(default=0.125, ge=0, le=0.5)
    mirror: bool = True

    def rate_at(self, step: int, steps: int, steps_per_epoch: int) -> float:
        """The learning rate of one step out of `steps`."""
        if self.schedule == "one-cycle":
            return self.learning_rate * _one_cycle((step + 0.5) / steps)
        epoch, epochs = step // steps_per_epoch, steps // steps_per_epoch
        return self.learning_rate * 0.1 ** ((epoch >= int(0.5 * epochs)) + (epoch >= int(0.75 * epochs)))

    def with_epochs(self, epochs: int) -> "Recipe":
        """The same recipe over another number of epochs."""
        return self.model_copy(update={"epochs": epochs})


def _one_cycle(progress: float, peak: float = 0.2, last: float = 0.01) -> float:
    if progress < peak:
        return progress / peak
    return 1 - (1 - last) * (progress - peak) / (1 - peak)


RECIPES: dict[str, Recipe] = {
    "digits": Recipe(
        name="digits",
        epochs=20,
        batch_size=64,
        learning_rate=0.1,
        schedule="one-cycle",
        nesterov=True,
        mirror=False,
    ),
    "fast": Recipe(
        name="fast",
        epochs=30,
        batch_size=128,
        learning_rate=0.2,
        schedule="one-cycle",
        nesterov=True,
        weight_decay=5e-4,
    ),
    "paper-cifar": Recipe(name="paper-cifar", epochs=160, batch_size=64, learning_rate=0.1, schedule="steps"),
}


def recipe_named(name: str) -> Recipe:
    """A recipe by name.

    Raises:
        BadInputError: no such recipe; the message lists the known ones.
    """
    if name not in RECIPES:
        raise BadInputError(f"--recipe must be one of {', '.join(RECIPES)}, got {name!r}.")
    return RECIPES[name]


def default_recipe(data_name: str) -> Recipe:
    """The recipe for a data set when none is asked for."""
    return RECIPES["digits" if data_name == "digits" else "fast"]


def changed(recipe: Recipe, **changes: float | None) -> Recipe:
    """The recipe with the settings that are not None replaced.

    Raises:
        BadInputError: a setting out of its range.
    """
    update = {field: value for field, value in changes.items() if value is not None}
    try:
        return Recipe.model_validate({**recipe.model_dump(), **update})
    except ValidationError as error:
        problem = error.errors()[0]
        field = str(problem["loc"][0])
        message = problem["msg"].removeprefix("Input should be ")
        raise BadInputError(f"--{field.replace('_', '-')} must be {message}, got {update[field]}.") from None
