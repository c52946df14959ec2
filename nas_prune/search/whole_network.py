"""The settings of a training of the whole network by which something is searched: widths, or single weights."""

from math import ceil

from pydantic import Field

from nas_prune.training.config import NetworkConfig
from nas_prune.training.event_log import LogName
from nas_prune.training.recipe import MOST_EPOCHS, Recipe, default_recipe

_SHARE_FROM_WEIGHTS = 0.25  # of the recipe's epochs: finds the widths of a whole search (search/README.md)


class SearchingConfig(NetworkConfig):
    """What searches for widths and for patterns have in common.

    Attributes:
        recipe: how the whole network is trained; the data set's own by default.
        epochs: epochs of the search; the recipe's if None, a quarter of them from given weights. Trainings of what was
            found still take the recipe's.
        weights: what the network starts from instead of random weights: a file of weights, or `as-built` for those that
            a function of one's own gives it. A run's `config.yaml` has the name alone; the weights are in the run.
        seed: fixes the validation split, the first weights, the order of the images, and what is drawn.
        keep_checkpoints: whether those of the finished training stay.
        log: what is written of each epoch beside `metrics.jsonl`: `tensorboard`, or None for nothing.
    """

    recipe: Recipe = Field(default_factory=lambda known: default_recipe(known["data"].name))
    epochs: int | None = Field(default=None, ge=1, le=MOST_EPOCHS)
    weights: str | None = Field(default=None, max_length=4096)
    seed: int = Field(default=0, ge=0, lt=2**31)
    keep_checkpoints: bool = False
    log: LogName | None = None

    @property
    def search_recipe(self) -> Recipe:
        """How the whole network is trained in this search."""
        if self.epochs is None and self.weights is not None:
            return self.recipe.with_epochs(ceil(self.recipe.epochs * _SHARE_FROM_WEIGHTS))
        return self.recipe if self.epochs is None else self.recipe.with_epochs(self.epochs)

    @property
    def options_of_training(self) -> tuple[str, ...]:
        """The options given that a method without training has no use for."""
        given = {
            "--epochs": self.epochs is not None,
            "--weights": self.weights is not None,
            "--keep-checkpoints": self.keep_checkpoints,
            "--log": self.log is not None,
        }
        return tuple(option for option, is_given in given.items() if is_given)
