"""How the whole networks that arms inherit from are trained."""

import pytest

from nas_prune.comparison.config import CompareConfig
from nas_prune.comparison.file import CompareFile
from nas_prune.comparison.parents import source_for
from nas_prune.search.config import SearchConfig
from nas_prune.training.recipe import recipe_named

FOUND = SearchConfig(space="resnet20", budgets=("macs<=50%",), sparsity=0.01)


@pytest.mark.parametrize(("sparsity", "expected"), [(0.01, None), (None, None), (0.0, 0.0)])
def test_a_strength_is_chosen_again_for_another_recipe_but_none_stays_none(
    sparsity: float | None, expected: float | None
) -> None:
    """A control without a penalty must not inherit from networks that were trained with one."""
    found = FOUND.model_copy(update={"sparsity": sparsity})
    other = found.search_recipe.with_epochs(7)
    assert source_for(found, CompareConfig(), other).sparsity == expected
    assert source_for(found, CompareConfig(), found.search_recipe).sparsity == sparsity


def test_whole_networks_from_given_weights_keep_the_strength_of_a_search_from_the_same() -> None:
    found = FOUND.model_copy(update={"weights": "w.pth"})
    parents = source_for(found, CompareConfig(), found.recipe)
    assert (parents.weights, parents.search_recipe.epochs, parents.sparsity) == ("w.pth", 5, 0.01)
    assert source_for(found, CompareConfig(), found.recipe, other_weights=True).sparsity is None
    assert source_for(FOUND, CompareConfig(), found.recipe).search_recipe.epochs == 20


def test_whole_networks_lose_no_channels_in_steps() -> None:
    found = FOUND.model_copy(update={"method": "taylor", "sparsity": None, "iterations": 3})
    assert source_for(found, CompareConfig(), found.search_recipe).iterations == 1


def test_a_comparison_file_takes_steps_and_a_control_without_penalty() -> None:
    common = {"name": "steps", "space": "resnet20", "budget": "macs<=50%", "recipe": recipe_named("digits")}
    stepwise = CompareFile.model_validate({**common, "method": "taylor", "iterations": 3})
    assert stepwise.search({}).iterations == 3
    control = CompareFile.model_validate({**common, "method": "slimming", "sparsity": 0})
    assert control.search({}).sparsity == 0
