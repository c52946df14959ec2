"""How strongly a search pulls: the penalty's λ where none is given, and which optimisers it goes with."""

from dataclasses import dataclass
from math import exp, expm1

from nas_prune.data import ImageData, num_batches
from nas_prune.errors import BadInputError
from nas_prune.search.methods.contract import WidthMethod
from nas_prune.search.methods.registry import known_methods
from nas_prune.space.search_space import SearchSpace
from nas_prune.training.recipe import Recipe

_MOST_DECOUPLED = 1.0


def check_optimiser(method: WidthMethod, recipe: Recipe) -> None:
    """Refuse an optimiser that the steps of a method's penalty are not made for.

    Raises:
        BadInputError: it is one.
    """
    if method.sparsity is not None and recipe.optimizer not in method.sparsity.optimizers:
        others = known_methods().items()
        fitting = (
            name
            for name, one in others
            if one.sparsity is None or recipe.optimizer in one.sparsity.optimizers
        )
        raise BadInputError(
            f"--method {method.name} must be trained by {' or '.join(method.sparsity.optimizers)}, at whose learning "
            f"rates its penalty takes steps, got optimizer: {recipe.optimizer} in the recipe {recipe.name}. Use "
            f"another recipe, or one of {', '.join(fitting)}."
        )


@dataclass(frozen=True, slots=True)
class Moved:
    """How an optimiser moves parameters over a training.

    Attributes:
        rates: the learning rates of all steps, added.
        momentum: of its steps.
        decay: of weights.
        is_decoupled: whether a penalty takes steps of its own (`PenaltyTarget.is_decoupled`).
    """

    rates: float
    momentum: float
    decay: float
    is_decoupled: bool


def chosen_sparsity(
    method: WidthMethod, recipe: Recipe, data: ImageData, space: SearchSpace, distance: float | None = None
) -> float | None:
    """The strength λ of a method's penalty where none is given, from its recipe; None for a method without one.

    Args:
        method: the width method.
        recipe: how the whole network is trained.
        data: the images.
        space: the network.
        distance: as `strength_for`.
    """
    per_epoch = num_batches(len(data.train), recipe.batch_size)
    steps = per_epoch * recipe.epochs
    moved = Moved(
        sum(recipe.rate_at(step, steps, per_epoch) for step in range(steps)),
        momentum=recipe.momentum,
        decay=recipe.weight_decay if recipe.decay_norms else 0.0,
        is_decoupled=recipe.optimizer == "adamw",
    )
    return strength_for(method, moved, space, distance)


def strength_for(
    method: WidthMethod, moved: Moved, space: SearchSpace, distance: float | None = None
) -> float | None:
    """The strength λ of a method's penalty for a training; None for a method without one.

    It follows from the one that takes an idle parameter to zero by the end of the training. A gradient of λ and a
    weight decay of w move a parameter that nothing else moves from γ to (γ + λ/w) exp(-w S) - λ/w,
    S = Σ learning rates / (1 - momentum). So it is at zero in the end if λ = w γ / (exp(w S) - 1), which is γ / S
    without decay. Decay acts where the recipe's optimiser moves the parameter. γ is where the method's parameters
    start, or the distance given, for a network that starts from other weights. Under AdamW both penalty and decay are
    steps of their own (`PenaltyTarget.is_decoupled`): momentum has no part in them, and the same holds with 0. There
    λ is at most 1, where the penalty takes as much as a gradient that always points the same way gives.
    """
    if method.sparsity is None:
        return None
    momentum = 0.0 if moved.is_decoupled else moved.momentum
    decay = moved.decay
    if method.sparsity.momentum is not None:
        momentum, decay = method.sparsity.momentum, 0.0
    length = moved.rates / (1 - momentum)
    by_length = decay * exp(-decay * length) / -expm1(-decay * length) if decay else 1 / length
    enough = (method.sparsity.distance if distance is None else distance) * by_length
    if moved.is_decoupled:
        enough = min(enough, _MOST_DECOUPLED)
    return method.sparsity.strength(enough, space)
