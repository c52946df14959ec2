"""Settings in Python take the words of the command line, and what is wrong with them is said in one line."""

import pytest

from nas_prune.errors import BadInputError
from nas_prune.search.config import SearchConfig
from nas_prune.training.config import TrainConfig


def test_names_stand_for_images_and_recipes_and_epochs_are_the_recipes() -> None:
    config = TrainConfig(data="folder:x", epochs=3)
    assert (config.data.name, config.recipe.name, config.recipe.epochs, config.epochs) == (
        "folder:x",
        "fast",
        3,
        0,
    )
    assert TrainConfig(epochs=2).recipe.name == "digits"
    searched = SearchConfig(space="resnet20", data="folder:x", recipe="paper-cifar")
    assert (searched.data.name, searched.recipe.epochs) == ("folder:x", 160)


def test_what_stands_in_a_file_is_what_came_out() -> None:
    config = TrainConfig.model_validate({"epochs": 40, "recipe": TrainConfig().recipe.model_dump()})
    assert (config.epochs, config.recipe.epochs) == (40, 20)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"epochs": 0}, "epochs"),
        ({"seeds": ()}, "seeds: it must have at least 1 entries, got an empty list"),
        ({"trails": 3}, "trails: there is no such setting"),
        ({"recipe": "nope"}, "--recipe must be one of"),
        ({"data": 3}, "data: it must be settings, each a name and a value, got 3"),
    ],
)
def test_what_cannot_be_used_is_an_error_of_ours(settings: dict[str, object], why: str) -> None:
    with pytest.raises(BadInputError, match=why):
        TrainConfig(**settings)
