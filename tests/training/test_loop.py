"""The loop on real digits: it learns, it is repeatable, and a checkpoint goes on as if nothing had been."""

from pathlib import Path

import pytest
import torch
from torch import nn

from nas_prune.data import ImageData, load_data
from nas_prune.errors import BadInputError, NasPruneError
from nas_prune.space.load import load_space
from nas_prune.space.search_space import SearchSpace
from nas_prune.training.checkpoint import read_checkpoint, write_checkpoint
from nas_prune.training.evaluation import evaluate
from nas_prune.training.loop import EpochReport, Training, fit
from nas_prune.training.recipe import recipe_named
from nas_prune.training.state import TrainState, start

RECIPE = recipe_named("digits").with_epochs(3)


@pytest.fixture(scope="module")
def data() -> ImageData:
    return load_data("digits", max_images=900)


@pytest.fixture(scope="module")
def few() -> ImageData:
    return load_data("digits", max_images=200)


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return load_space("resnet20", (1, 8, 8))


def trained(space: SearchSpace, data: ImageData, *, seed: int) -> TrainState:
    state = start(space.build(seed=0), RECIPE)
    fit(state, Training(data, RECIPE, seed))
    return state


def equal(left: nn.Module, right: nn.Module) -> bool:
    pairs = zip(left.state_dict().values(), right.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_three_epochs_learn_the_digits(space: SearchSpace, data: ImageData) -> None:
    reports: list[EpochReport] = []
    state = start(space.build(seed=0), RECIPE)
    before = evaluate(state.model, data.test, data)[1]
    fit(state, Training(data, RECIPE, 0), on_epoch=reports.append)
    after = evaluate(state.model, data.test, data)[1]
    assert before < 0.3
    assert after > 0.6
    assert [report.epoch for report in reports] == [1, 2, 3]
    assert reports[-1].train_loss < reports[0].train_loss
    assert reports[-1].val_score == evaluate(state.model, data.val, data)[1]


def test_the_same_seed_gives_the_same_network_and_another_does_not(
    space: SearchSpace, few: ImageData
) -> None:
    one, again, other = (trained(space, few, seed=seed).model for seed in (0, 0, 1))
    assert equal(one, again)
    assert not equal(one, other)


def test_a_checkpoint_after_each_epoch_goes_on_to_the_same_bits(
    tmp_path: Path, space: SearchSpace, few: ImageData
) -> None:
    def save(report: EpochReport) -> None:
        write_checkpoint(tmp_path / f"{report.epoch}.safetensors", whole)

    whole = start(space.build(seed=0), RECIPE)
    fit(whole, Training(few, RECIPE, 7), on_epoch=save)
    for epoch in (1, 2):
        state = start(space.build(seed=99), RECIPE)
        read_checkpoint(tmp_path / f"{epoch}.safetensors", state)
        assert state.epochs_done == epoch
        assert not equal(state.model, whole.model)
        fit(state, Training(few, RECIPE, 7))
        assert equal(state.model, whole.model)
        write_checkpoint(tmp_path / "again.safetensors", state)
        assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "3.safetensors").read_bytes()


def test_dropout_is_repeated_too(few: ImageData) -> None:
    space = load_space(
        nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Dropout(0.5), nn.Linear(32, 10)), (1, 8, 8)
    )
    assert len(space.groups) == 1
    states = [start(space.build(seed=0), RECIPE) for _ in range(2)]
    for state in states:
        torch.rand(3)  # the global state must not matter
        fit(state, Training(few, RECIPE, 0))
    assert equal(states[0].model, states[1].model)


def test_a_penalty_changes_the_result(space: SearchSpace, few: ImageData) -> None:
    def decay(model: nn.Module, _: float) -> None:
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad.add_(parameter.detach(), alpha=0.1)

    state = start(space.build(seed=0), RECIPE)
    fit(state, Training(few, RECIPE, 0, penalise=decay))
    assert not equal(state.model, trained(space, few, seed=0).model)


def test_a_loss_that_is_no_number_stops_with_epoch_and_rate(space: SearchSpace, few: ImageData) -> None:
    recipe = RECIPE.model_copy(update={"learning_rate": 1e20})
    with pytest.raises(NasPruneError, match=r"got one that is not in step \d+ of epoch 1 at learning rate"):
        fit(start(space.build(seed=0), recipe), Training(few, recipe, 0))


def test_a_truncated_checkpoint_is_refused_by_name(tmp_path: Path, space: SearchSpace) -> None:
    state = start(space.build(seed=0), RECIPE)
    write_checkpoint(tmp_path / "c.safetensors", state)
    raw = (tmp_path / "c.safetensors").read_bytes()
    (tmp_path / "c.safetensors").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(BadInputError, match=r"checkpoint must be whole, got c\.safetensors"):
        read_checkpoint(tmp_path / "c.safetensors", state)


def test_a_checkpoint_of_another_network_names_the_first_difference(
    tmp_path: Path, space: SearchSpace
) -> None:
    write_checkpoint(tmp_path / "c.safetensors", start(space.build(seed=0), RECIPE))
    narrow = start(space.build([base // 2 for base in space.base_G], seed=0), RECIPE)
    with pytest.raises(BadInputError, match=r"where bn1.bias is \[16\], not \[8\]"):
        read_checkpoint(tmp_path / "c.safetensors", narrow)
