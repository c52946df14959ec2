"""Settings in Python take the words of the command line, and what is wrong with them is said in one line."""

import pytest
import torch

from nas_prune.errors import BadInputError
from nas_prune.search.config import SearchConfig
from nas_prune.space.load import load_space
from nas_prune.training.config import TrainConfig
from nas_prune.training.ranks import ALONE


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


def test_narrower_networks_need_not_take_the_layout_that_was_asked_for() -> None:
    space = load_space("resnet20", num_classes=10)
    narrow = space.build([8] * len(space.base_G), seed=0)  # a 1×1 convolution with a stride reads 8 channels
    asked = TrainConfig(channels_last=True)
    cpu = torch.device("cpu")
    assert asked.compute(cpu, ALONE, space.build(seed=0), (3, 32, 32)).channels_last
    with pytest.raises(
        BadInputError, match="--channels-last must come with a network that takes such images"
    ):
        asked.compute(cpu, ALONE, narrow, (3, 32, 32))
    own = TrainConfig(**asked.of_trainings())
    assert not own.compute(cpu, ALONE, narrow, (3, 32, 32)).channels_last
    assert own.compute(cpu, ALONE, space.build(seed=0), (3, 32, 32)).channels_last
    plain = TrainConfig(**TrainConfig(channels_last=False).of_trainings())
    assert not plain.compute(cpu, ALONE, space.build(seed=0), (3, 32, 32)).channels_last
