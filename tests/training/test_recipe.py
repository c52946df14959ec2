"""Recipes and the schedules made of them."""

import re
from pathlib import Path

import pytest

import nas_prune
from nas_prune.errors import BadInputError
from nas_prune.space.load import load_space
from nas_prune.training.recipe import Recipe, changed, recipe_named
from nas_prune.training.schedules import SCHEDULES, plan_training


def test_the_step_schedule_divides_by_ten_at_a_half_and_three_quarters() -> None:
    recipe = recipe_named("paper-cifar")
    rates = [recipe.rate_at(epoch * 10, 1600, 10) for epoch in range(160)]
    assert rates[0] == rates[79] == 0.1
    assert rates[80] == rates[119] == pytest.approx(0.01)
    assert rates[120] == rates[159] == pytest.approx(0.001)


def test_one_cycle_rises_for_a_fifth_and_falls_to_a_hundredth() -> None:
    recipe = recipe_named("fast")
    rates = [recipe.rate_at(step, 1000, 10) for step in range(1000)]
    assert max(rates) == pytest.approx(recipe.learning_rate, rel=0.01)
    assert rates.index(max(rates)) in (199, 200)
    assert rates[0] < 0.01 * recipe.learning_rate
    assert rates[-1] == pytest.approx(0.01 * recipe.learning_rate, rel=0.1)


def test_an_unknown_recipe_lists_the_known_ones() -> None:
    with pytest.raises(
        BadInputError,
        match=r"one of digits, fast, paper-cifar, quick, tas-cifar, or a \.yaml file, got 'slow'",
    ):
        recipe_named("slow")


@pytest.mark.parametrize(("field", "value"), [("epochs", 0), ("batch_size", 1), ("learning_rate", 0.0)])
def test_settings_out_of_range_are_refused_by_their_flag(field: str, value: float) -> None:
    with pytest.raises(BadInputError, match=f"--{field.replace('_', '-')} must be (at least|above)"):
        changed(recipe_named("fast"), **{field: value})


def test_settings_not_given_stay() -> None:
    assert changed(recipe_named("fast"), epochs=3, batch_size=None) == recipe_named("fast").with_epochs(3)


def test_scratch_e_takes_the_recipes_epochs_and_scratch_b_its_macs() -> None:
    space = load_space("vgg16", (3, 32, 32))
    widths = space.widths([base // 2 for base in space.base_G])
    recipe = recipe_named("paper-cifar")
    assert plan_training(widths, recipe, "scratch-e").recipe.epochs == 160
    plan = plan_training(widths, recipe, "scratch-b")
    assert plan.multiplier == widths.base_cost.macs / widths.cost.macs
    assert plan.recipe.epochs == round(160 * plan.multiplier) > 600
    assert plan_training(widths, recipe, "scratch-b", cap=2).recipe.epochs == 320


def test_a_cap_below_one_is_refused() -> None:
    space = load_space("vgg11", (1, 8, 8))
    with pytest.raises(BadInputError, match="--cap must be at least 1, got 0.5"):
        plan_training(space.widths(space.base_G), recipe_named("digits"), "scratch-b", cap=0.5)


def test_cosine_falls_from_the_top_to_nothing_after_a_rise() -> None:
    recipe = recipe_named("tas-cifar")
    rates = [recipe.rate_at(step, 3000, 10) for step in range(3000)]
    assert rates[0] == pytest.approx(0.1 / 50, rel=1e-3)
    assert rates[24] == pytest.approx(0.05, rel=1e-2)
    assert max(rates) == pytest.approx(0.1, rel=1e-2)
    assert rates.index(max(rates)) == 49
    assert rates[1500] == pytest.approx(0.05)
    assert rates[-1] < 1e-6


def test_a_single_epoch_of_steps_is_at_the_full_rate() -> None:
    recipe = recipe_named("paper-cifar")
    assert {recipe.rate_at(step, 10, 10) for step in range(10)} == {0.1}


def test_a_constant_rate_stays() -> None:
    recipe = recipe_named("digits").model_copy(update={"schedule": "constant"})
    assert {recipe.rate_at(step, 100, 10) for step in range(100)} == {0.1}


def test_recipes_are_read_from_files_of_your_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "epochs: 7\nbatch_size: 32\nlearning_rate: 0.05\nschedule: cosine\nlabel_smoothing: 0.1\n"
    )
    recipe = recipe_named(str(path))
    assert (recipe.name, recipe.epochs, recipe.label_smoothing, recipe.momentum) == ("mine", 7, 0.1, 0.9)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("epochs: 1\nepochs: 2", "must be YAML, .*epochs stands twice"),
        ("!!map foo", "must be YAML, .*expected a mapping node"),
        ("epochs: 7", "the recipe .* cannot be used: batch_size: it must be given"),
        (
            "epochs: 0\nbatch_size: 32\nlearning_rate: 0.05\nschedule: cosine",
            "cannot be used: epochs: it must be at least 1, got 0",
        ),
        (
            "epochs: 3\nbatch_size: 32\nlearning_rate: .inf\nschedule: cosine",
            "cannot be used: learning_rate: ",
        ),
        (
            "epochs: 3\nbatch_sise: 32\nlearning_rate: 1\nschedule: cosine",
            "cannot be used: batch_sise: there is no such setting",
        ),
        ("- 1", "one setting a line"),
        ("a: [", "must be YAML"),
    ],
)
def test_files_that_hold_no_recipe_are_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(BadInputError, match=why):
        recipe_named(str(tmp_path / "mine.yaml"))
    with pytest.raises(BadInputError, match="none.yaml, which does not exist"):
        recipe_named(str(tmp_path / "none.yaml"))


def test_inherited_weights_are_tuned_for_a_quarter_at_a_hundredth_or_the_recipe_is_repeated() -> None:
    space = load_space("vgg11", (1, 8, 8))
    widths = space.widths([base // 2 for base in space.base_G])
    recipe = recipe_named("paper-cifar")
    tuned = plan_training(widths, recipe, "fine-tune")
    assert (tuned.recipe.epochs, tuned.recipe.schedule) == (40, "constant")
    assert tuned.recipe.rate_at(0, 400, 10) == pytest.approx(0.001)
    assert plan_training(widths, recipe, "rewind").recipe == recipe
    assert [name for name, terms in SCHEDULES.items() if terms.inherits] == ["fine-tune", "rewind"]


def test_the_recipe_to_copy_in_the_readme_is_one_and_its_table_names_every_setting(tmp_path: Path) -> None:
    text = (Path(nas_prune.__file__).parent / "training" / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(# modern\.yaml\n.*?)```", text, re.S)
    (tmp_path / "modern.yaml").write_text(example, encoding="utf-8")
    recipe = recipe_named(str(tmp_path / "modern.yaml"))
    assert (recipe.optimizer, recipe.keep, recipe.mixup) == ("adamw", "best", 0.2)
    table = text.partition("| setting |")[2].partition("\n\n")[0]
    named = {name for line in table.splitlines() for name in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert named == set(Recipe.model_fields) - {"name"}
