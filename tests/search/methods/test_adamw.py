"""What a penalty means under AdamW: a step of its own for slimming, and a refusal where it is made for SGD."""

from pathlib import Path

import pytest
import torch
from torch import nn

from nas_prune.errors import BadInputError
from nas_prune.runs.progress import Progress
from nas_prune.search.config import SearchConfig
from nas_prune.search.methods.contract import PenaltyTarget
from nas_prune.search.methods.registry import METHODS, method_named
from nas_prune.search.methods.slimming import SLIMMING, penalty
from nas_prune.search.prepared import LoadedInputs, prepared_search
from nas_prune.search.run import check_search, search
from nas_prune.search.sparsity import chosen_sparsity
from nas_prune.space.budget import Budget
from nas_prune.space.load import load_space
from nas_prune.training.ranks import ALONE
from nas_prune.training.recipe import Recipe, changed, recipe_named
from nas_prune.training.state import start

ADAMW = Recipe(
    name="adamw", epochs=4, batch_size=64, learning_rate=0.003, schedule="cosine", optimizer="adamw", mirror=False
)  # fmt: skip
SPACE = load_space("resnet20", (1, 8, 8))
NORM = "layer1.0.bn1.weight"
COLUMN = next(number for number, group in enumerate(SPACE.groups) if group.name == "layer1.0.conv1")


def scale_with(values: list[float]) -> tuple[nn.Module, nn.Parameter]:
    model = SPACE.build(seed=0)
    scale = model.get_parameter(NORM)
    with torch.no_grad():
        scale[: len(values)] = torch.tensor(values)
    scale.grad = torch.ones_like(scale)
    return model, scale


def test_slimming_pulls_by_rate_times_strength_and_not_beyond_zero() -> None:
    model, scale = scale_with([0.5, -0.5, 0.001, 0.0])
    penalty(PenaltyTarget(SPACE, (COLUMN,), 0.2, is_decoupled=True))(model, 0.1)
    assert scale.detach()[:4].tolist() == pytest.approx([0.48, -0.48, 0.0, 0.0])
    assert scale.grad is not None
    assert (scale.grad == 1).all()  # AdamW's own step is that of the loss alone
    model, scale = scale_with([0.5, -0.5, 0.001, 0.0])
    penalty(PenaltyTarget(SPACE, (COLUMN,), 0.2))(model, 0.1)
    assert scale.detach()[:3].tolist() == pytest.approx([0.5, -0.5, 0.001])
    assert scale.grad is not None
    assert scale.grad[:4].tolist() == pytest.approx([1.2, 0.8, 1.2, 1.0])


@pytest.mark.parametrize("decay_norms", [True, False])
def test_the_chosen_strength_takes_an_idle_scale_to_zero_at_the_end(decay_norms: bool) -> None:
    recipe = ADAMW.model_copy(
        update={"epochs": 40, "learning_rate": 0.01, "weight_decay": 0.3, "decay_norms": decay_norms}
    )
    config = SearchConfig(space="resnet20", recipe=recipe, data={"name": "digits", "max_images": 300})
    stage = prepared_search(config, ALONE, Progress())
    assert stage.sparsity is not None
    assert stage.sparsity < 1
    pull = penalty(PenaltyTarget(SPACE, (COLUMN,), stage.sparsity, is_decoupled=True))
    model, scale = scale_with([])
    nn.init.constant_(scale, 0.5)
    optimiser, steps = start(model, recipe).optimiser, 4 * recipe.epochs
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate_at(step, steps, 4)
        scale.grad = torch.zeros_like(scale)
        pull(model, recipe.rate_at(step, steps, 4))
        optimiser.step()
        if step == int(0.6 * steps):
            assert float(scale.detach().min()) > 0.02
    assert float(scale.detach().abs().max()) < 0.003


def test_a_strength_that_no_gradient_could_hold_is_not_chosen() -> None:
    config = SearchConfig(
        space="resnet20", recipe=ADAMW.with_epochs(1), data={"name": "digits", "max_images": 300}
    )
    stage = prepared_search(config, ALONE, Progress())
    assert stage.sparsity == 1
    sgd = changed(recipe_named("digits"), epochs=1)
    assert (chosen_sparsity(SLIMMING, sgd, stage.data, SPACE) or 0) > 0.01


@pytest.mark.parametrize("name", METHODS)
def test_methods_take_the_optimisers_that_they_are_right_for(name: str) -> None:
    method = method_named(name)
    config = SearchConfig(
        space="resnet20",
        method=name,
        recipe=ADAMW,
        budgets=("macs<=60%",),
        groups="inner",
        data={"name": "digits", "max_images": 200},
    )
    takes = method.sparsity is None or name in ("slimming", "random-weights")
    if name == "sss-groups":  # nothing to search in this network
        return
    if takes:
        check_search(config, LoadedInputs())
    else:
        with pytest.raises(
            BadInputError, match=f"--method {name} must be trained by sgd.*slimming, random-weights"
        ):
            check_search(config, LoadedInputs())


@pytest.mark.parametrize(
    ("method", "iterations"),
    [("slimming", 1), pytest.param("taylor", 2, marks=pytest.mark.slow), ("soft-filter", 1)],
)
def test_a_search_by_adamw_learns_and_finds_widths(tmp_path: Path, method: str, iterations: int) -> None:
    config = SearchConfig(
        space="resnet20",
        method=method,
        recipe=ADAMW,
        iterations=iterations,
        budgets=(Budget.parse("macs<=60%"),),
        data={"name": "digits", "max_images": 500},
        stop=False if method == "slimming" else None,
    )
    result = search(config, tmp_path / "run")
    lines = (result.run / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 4
    assert result.found[0].widths.cost.macs <= 0.6 * result.found[0].widths.base_cost.macs


def test_a_search_trains_to_its_end_whatever_the_recipe_keeps(tmp_path: Path) -> None:
    told: list[str] = []
    given = {"space": "resnet20", "data": {"name": "digits", "max_images": 200}, "stop": False}
    recipe = changed(recipe_named("digits"), epochs=4)
    patient = changed(recipe, patience=1)
    for name, one in (("plain", recipe), ("patient", patient)):
        search(SearchConfig(**given, recipe=one), tmp_path / name, progress=Progress(say=told.append))
    files = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("plain", "patient")]
    assert files[0] == files[1]
    said = [one for one in told if one.startswith("The recipe's")]
    assert len(said) == 1
    assert said[0].endswith("; the search takes these from its last epoch.")


@pytest.mark.parametrize(("recipe", "is_decoupled"), [(ADAMW, True), (recipe_named("digits"), False)])
def test_a_search_pulls_as_its_optimiser_needs_it(recipe: Recipe, is_decoupled: bool) -> None:
    config = SearchConfig(
        space="resnet20", recipe=changed(recipe, patience=1), data={"name": "digits", "max_images": 200}
    )
    training = prepared_search(config, ALONE, Progress()).training()
    assert training.penalise is not None
    model, scale = scale_with([0.5])
    training.penalise(model, 0.1)
    assert (float(scale.detach()[0]) < 0.5) is is_decoupled
    assert scale.grad is not None
    assert (float(scale.grad[0]) > 1) is not is_decoupled
    assert (training.recipe.keep, training.recipe.patience) == ("last", None)
