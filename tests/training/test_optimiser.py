"""AdamW in a recipe is PyTorch's own, in any memory layout, and a checkpoint holds what it keeps."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from nas_prune.data import ImageData, load_data
from nas_prune.errors import BadInputError
from nas_prune.training.checkpoint import read_checkpoint, write_checkpoint
from nas_prune.training.compute import Compute
from nas_prune.training.loop import Training, fit
from nas_prune.training.recipe import Recipe, changed, recipe_named
from nas_prune.training.state import TrainState, start
from tests.training.test_checkpoint import rewritten
from tests.training.test_features import by_hand, difference, network

# eps is large: the biases before norms have gradients of rounding errors alone, which AdamW would make large.
RECIPE = Recipe(
    name="adamw", epochs=1, batch_size=64, learning_rate=0.01, schedule="constant", optimizer="adamw",
    betas=(0.8, 0.95), eps=1e-4, weight_decay=0.1, mirror=False,
)  # fmt: skip


@pytest.fixture(scope="module")
def data() -> ImageData:
    return load_data("digits", max_images=300)


def trained(data: ImageData, recipe: Recipe, compute: Compute | None = None) -> TrainState:
    state = start(network(), recipe)
    fit(state, Training(data, recipe, 0, compute or Compute()))
    return state


@pytest.mark.parametrize("decay_norms", [True, False])
def test_a_step_is_that_of_pytorchs_adamw(data: ImageData, decay_norms: bool) -> None:
    recipe = RECIPE.model_copy(update={"decay_norms": decay_norms})
    optimisers: list[torch.optim.AdamW] = []

    def step(model: nn.Module, images: Tensor, labels: Tensor) -> None:
        if not optimisers:
            groups = [
                {"params": [p], "weight_decay": 0.1 if decay_norms or p.dim() > 1 else 0.0}
                for p in model.parameters()
            ]
            optimisers.append(torch.optim.AdamW(groups, lr=0.01, betas=(0.8, 0.95), eps=1e-4))
        nn.functional.cross_entropy(model(images), labels).backward()
        optimisers[0].step()

    expected = by_hand(data, recipe, step)
    assert difference(trained(data, recipe).model, expected) < 1e-5
    for other in ({"betas": (0.9, 0.95)}, {"betas": (0.8, 0.9)}, {"eps": 0.1}, {"weight_decay": 0.0}):
        assert difference(trained(data, recipe.model_copy(update=other)).model, expected) > 1e-4


def test_channels_last_changes_the_layout_of_both_moments_and_not_the_network(data: ImageData) -> None:
    recipe = RECIPE.model_copy(update={"epochs": 3, "learning_rate": 0.001})
    plain, last = trained(data, recipe), trained(data, recipe, Compute(channels_last=True))
    weight = last.model.get_parameter("3.weight")
    for name in ("exp_avg", "exp_avg_sq"):
        assert last.optimiser.state[weight][name].is_contiguous(memory_format=torch.channels_last)
    assert difference(plain.model, last.model) < 1e-3


def test_a_checkpoint_holds_the_moments_and_the_steps_and_gives_the_same_bits(
    tmp_path: Path, data: ImageData
) -> None:
    whole, recipe = start(network(), RECIPE.with_epochs(2)), RECIPE.with_epochs(2)
    path, compute = tmp_path / "c.safetensors", Compute(channels_last=True)

    def stop(report: object) -> bool:
        write_checkpoint(path, whole)
        return False

    fit(whole, Training(data, recipe, 0, compute), on_epoch=lambda one: one.epoch == 1 and stop(one))
    with safe_open(path, framework="pt") as file:
        kept = {key.partition(".")[0] for key in file.keys()}  # noqa: SIM118
        steps = file.get_tensor("steps.0.weight")
    assert kept == {"model", "mean", "square", "steps"}
    assert steps == len(data.train) // 64
    again = start(network(5), recipe)
    read_checkpoint(path, again)
    fit(again, Training(data, recipe, 0, compute))
    assert difference(again.model, whole.model) == 0
    forgetful = start(network(5), recipe)
    read_checkpoint(path, forgetful)
    forgetful.optimiser.state.clear()
    fit(forgetful, Training(data, recipe, 0, compute))
    assert difference(forgetful.model, whole.model) > 1e-4


CHANGES: dict[str, Callable[[str], bool]] = {
    "a moment of another shape": lambda name: name.startswith("mean."),
    "steps of another shape": lambda name: name.startswith("steps."),
}


@pytest.mark.parametrize("change", [*CHANGES, "a moment gone"])
def test_moments_that_are_none_are_refused(tmp_path: Path, data: ImageData, change: str) -> None:
    path = tmp_path / "c.safetensors"
    write_checkpoint(path, trained(data, RECIPE))

    def spoil(_: object, tensors: dict[str, Tensor]) -> None:
        if change in CHANGES:
            tensors.update({name: torch.zeros(7) for name in tensors if CHANGES[change](name)})
        else:
            del tensors["square.0.weight"]

    rewritten(path, spoil)
    state = start(network(), RECIPE)
    with pytest.raises(BadInputError, match="checkpoint must hold a training's state"):
        read_checkpoint(path, state)
    assert not state.optimiser.state


def test_adamws_defaults_are_pytorchs() -> None:
    given = {"name": "x", "epochs": 1, "batch_size": 8, "learning_rate": 0.001, "schedule": "cosine"}
    recipe = Recipe.model_validate({**given, "optimizer": "adamw"})
    default = torch.optim.AdamW([nn.Parameter(torch.zeros(1))]).defaults
    assert (recipe.betas, recipe.eps, recipe.weight_decay) == tuple(
        default[name] for name in ("betas", "eps", "weight_decay")
    )
    assert Recipe.model_validate(given).weight_decay == 1e-4
    assert Recipe.model_validate({**given, "optimizer": "adamw", "weight_decay": 0.3}).weight_decay == 0.3


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"optimizer": "adamw", "nesterov": True}, "nesterov must come with optimizer: sgd, .* got adamw"),
        ({"optimizer": "adamw", "momentum": 0.8}, "momentum must come with optimizer: sgd"),
        ({"betas": (0.9, 0.99)}, "betas must come with optimizer: adamw, .* got sgd"),
        ({"eps": 1e-3}, "eps must come with optimizer: adamw"),
    ],
)
def test_a_setting_of_the_other_optimiser_is_refused(changes: dict[str, object], why: str) -> None:
    with pytest.raises(BadInputError, match=why):
        changed(recipe_named("paper-cifar"), **changes)  # type: ignore[arg-type]
