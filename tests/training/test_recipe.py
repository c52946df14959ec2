"""Recipes and the schedules made of them."""

import pytest

from nas_prune.errors import BadInputError
from nas_prune.space import load_space
from nas_prune.training.recipe import RECIPES, changed, recipe_named
from nas_prune.training.schedules import plan_scratch


def test_the_step_schedule_divides_by_ten_at_a_half_and_three_quarters() -> None:
    recipe = RECIPES["paper-cifar"]
    rates = [recipe.rate_at(epoch * 10, 1600, 10) for epoch in range(160)]
    assert rates[0] == rates[79] == 0.1
    assert rates[80] == rates[119] == pytest.approx(0.01)
    assert rates[120] == rates[159] == pytest.approx(0.001)


def test_one_cycle_rises_for_a_fifth_and_falls_to_a_hundredth() -> None:
    recipe = RECIPES["fast"]
    rates = [recipe.rate_at(step, 1000, 10) for step in range(1000)]
    assert max(rates) == pytest.approx(recipe.learning_rate, rel=0.01)
    assert rates.index(max(rates)) in (199, 200)
    assert rates[0] < 0.01 * recipe.learning_rate
    assert rates[-1] == pytest.approx(0.01 * recipe.learning_rate, rel=0.1)


def test_an_unknown_recipe_lists_the_known_ones() -> None:
    with pytest.raises(BadInputError, match="must be one of digits, fast, paper-cifar, got 'slow'"):
        recipe_named("slow")


@pytest.mark.parametrize(("field", "value"), [("epochs", 0), ("batch_size", 1), ("learning_rate", 0.0)])
def test_settings_out_of_range_are_refused_by_their_flag(field: str, value: float) -> None:
    with pytest.raises(BadInputError, match=f"--{field.replace('_', '-')} must be greater than"):
        changed(RECIPES["fast"], **{field: value})


def test_settings_not_given_stay() -> None:
    assert changed(RECIPES["fast"], epochs=3, batch_size=None) == RECIPES["fast"].with_epochs(3)


def test_scratch_e_takes_the_recipes_epochs_and_scratch_b_its_macs() -> None:
    space = load_space("vgg16", (3, 32, 32))
    widths = space.widths([base // 2 for base in space.base_G])
    recipe = RECIPES["paper-cifar"]
    assert plan_scratch(widths, recipe, "scratch-e").recipe.epochs == 160
    plan = plan_scratch(widths, recipe, "scratch-b")
    assert plan.multiplier == widths.base_cost.macs / widths.cost.macs
    assert plan.recipe.epochs == round(160 * plan.multiplier) > 600
    assert plan_scratch(widths, recipe, "scratch-b", cap=2).recipe.epochs == 320


def test_a_cap_below_one_is_refused() -> None:
    space = load_space("vgg11", (1, 8, 8))
    with pytest.raises(BadInputError, match="--cap must be at least 1, got 0.5"):
        plan_scratch(space.widths(space.base_G), RECIPES["digits"], "scratch-b", cap=0.5)
