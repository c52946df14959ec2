"""The best epoch's network is kept where a recipe asks for it, and patience ends a training."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from nas_prune.data import ImageData, load_data
from nas_prune.errors import BadInputError
from nas_prune.runs.directory import read_metrics
from nas_prune.space.load import load_space
from nas_prune.training.config import TrainConfig
from nas_prune.training.evaluation import evaluate
from nas_prune.training.loop import Training
from nas_prune.training.recipe import Recipe, changed, recipe_named
from nas_prune.training.resumable import train_in
from nas_prune.training.run import resume_train, train
from nas_prune.training.state import TrainState, has_stalled, note_epoch, start, take_best

SPACE = load_space("resnet20", (1, 8, 8))
WIDTHS = SPACE.widths([max(1, base // 4) for base in SPACE.base_G])
# The rate is far too large in the end: the last epoch is not the best.
UNSTEADY = changed(recipe_named("digits"), epochs=6, learning_rate=0.4, schedule="constant", keep="best")


@pytest.fixture(scope="module")
def data() -> ImageData:
    return load_data("digits", max_images=300)


def noted(accuracies: list[float], losses: list[float], recipe: Recipe = UNSTEADY) -> TrainState:
    """A state whose only weight is the number of the epoch."""
    model = nn.Linear(1, 1, bias=False)
    state = start(model, recipe)
    for epoch, (accuracy, loss) in enumerate(zip(accuracies, losses, strict=True), 1):
        if has_stalled(state, recipe):
            break
        nn.init.constant_(model.weight, epoch)
        state.epochs_done = epoch
        note_epoch(state, accuracy, loss)
    return state


def number_in(state: TrainState) -> float:
    return float(state.model.get_parameter("weight").detach())


@pytest.mark.parametrize(
    ("accuracies", "losses", "best"),
    [
        ([0.5, 0.9, 0.7], [3, 2, 1], 2),
        ([0.5, 0.9, 0.9], [3, 2, 1], 3),  # of equal ones the smaller loss
        ([0.5, 0.9, 0.9], [3, 2, 2], 2),  # of these the earlier
        ([0.0, 0.0], [1, 2], 1),
    ],
)
def test_the_best_epoch_is_the_most_accurate_then_the_surest_then_the_earliest(
    accuracies: list[float], losses: list[float], best: int
) -> None:
    state = noted(accuracies, losses)
    assert number_in(state) == len(accuracies)
    assert take_best(state) == best
    assert number_in(state) == best


def test_patience_counts_epochs_without_a_higher_accuracy() -> None:
    recipe = changed(UNSTEADY, patience=2)
    state = noted([0.5, 0.6, 0.6, 0.6, 0.9], [5, 4, 3, 2, 1], recipe)
    assert state.epochs_done == 4
    assert take_best(state) == 4
    assert noted([0.5, 0.5, 0.6, 0.6, 0.9], [5, 4, 3, 2, 1], recipe).epochs_done == 5
    assert noted([0.9] * 5, [1] * 5, UNSTEADY).epochs_done == 5


@pytest.mark.slow
def test_the_network_that_is_left_gives_the_accuracy_that_is_reported(
    tmp_path: Path, data: ImageData
) -> None:
    config = TrainConfig(
        data={"name": "digits", "max_images": 300}, recipe=UNSTEADY, schedule="scratch-e", seeds=(0, 1)
    )
    result = train(config, WIDTHS, tmp_path / "run")
    for one in result.seeds:
        lines = read_metrics(result.run / f"seed-{one.seed}")
        accuracies = [line["val_accuracy"] for line in lines]
        assert len(lines) == one.epochs == 6
        assert one.kept_epoch is not None
        assert one.val_accuracy == max(accuracies) == accuracies[one.kept_epoch - 1]
        network = result.network(one.seed)
        assert evaluate(network, data.val, data)[1] == one.val_accuracy
        assert evaluate(network, data.test, data)[1] == one.test_accuracy
    assert any(one.kept_epoch != 6 for one in result.seeds)
    told = json.loads((result.run / "result.json").read_text())["seeds"]
    assert [(one["kept_epoch"], one["epochs_done"]) for one in told] == [
        (one.kept_epoch, 6) for one in result.seeds
    ]
    (result.run / "seed-0" / "result.json").unlink()  # what was kept stands in the network's file, too
    again = resume_train(result.run)
    assert [one.kept_epoch for one in again.seeds] == [one.kept_epoch for one in result.seeds]
    assert [one.test_accuracy for one in again.seeds] == [one.test_accuracy for one in result.seeds]


def test_the_last_epoch_is_kept_by_default(tmp_path: Path) -> None:
    recipe = UNSTEADY.model_copy(update={"keep": "last"})
    config = TrainConfig(data={"name": "digits", "max_images": 300}, recipe=recipe, schedule="scratch-e")
    result = train(config, WIDTHS, tmp_path / "run")
    (one,) = result.seeds
    assert one.kept_epoch is None
    assert one.val_accuracy == read_metrics(result.run / "seed-0")[-1]["val_accuracy"]
    assert "kept_epoch" not in json.loads((result.run / "result.json").read_text())["seeds"][0]


def test_a_training_that_patience_ended_has_a_checkpoint_and_does_not_go_on(
    tmp_path: Path, data: ImageData
) -> None:
    recipe = changed(UNSTEADY, patience=1, epochs=30)
    ends = []
    for _ in range(2):
        state = start(SPACE.build(WIDTHS, seed=0), recipe)
        train_in(tmp_path, state, Training(data, recipe, 0))
        take_best(state)
        ends.append((state.epochs_done, (tmp_path / "checkpoint.safetensors").read_bytes()))
        assert state.best is not None
        assert all(
            torch.equal(tensor, state.best.weights[name]) for name, tensor in state.model.state_dict().items()
        )
    assert ends[0] == ends[1]
    accuracies = [line["val_accuracy"] for line in read_metrics(tmp_path)]
    assert 1 < len(accuracies) == ends[0][0] < 30
    assert accuracies[-1] <= max(accuracies[:-1])
    assert accuracies[:-1] == sorted(set(accuracies[:-1]))  # it rose until then


def test_patience_means_that_the_best_is_kept_and_the_last_cannot_be() -> None:
    assert changed(recipe_named("fast"), patience=5).keep == "best"
    given = {"name": "x", "epochs": 3, "batch_size": 8, "learning_rate": 0.1, "schedule": "cosine"}
    assert Recipe.model_validate({**given, "patience": 2}).keep == "best"
    assert Recipe.model_validate(given).keep == "last"
    assert changed(recipe_named("fast"), patience=5).to_the_end() == recipe_named("fast")
    with pytest.raises(BadInputError, match="patience must come with keep: best, got last"):
        changed(recipe_named("fast"), patience=5, keep="last")
    with pytest.raises(BadInputError, match="--patience must be at least 1, got 0"):
        changed(recipe_named("fast"), patience=0)
