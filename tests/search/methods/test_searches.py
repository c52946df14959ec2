"""Whole searches by every kind of method: what they write, refuse and say."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nas_prune.cli import main
from nas_prune.data import load_data, num_batches
from nas_prune.data.config import DataConfig
from nas_prune.data.images import ImageData, ImageSet
from nas_prune.errors import BadInputError
from nas_prune.runs.progress import Progress
from nas_prune.runs.settings import read_config
from nas_prune.search.config import SearchConfig, resolve
from nas_prune.search.methods.registry import METHODS
from nas_prune.search.result import warnings_of
from nas_prune.search.run import resume_search, search
from nas_prune.search.sparsity import chosen_sparsity
from nas_prune.space.load import load_space
from nas_prune.training.recipe import recipe_named
from nas_prune.training.starts import inherited
from tests.conftest import WriteDigits
from tests.runs.test_resume import contents
from tests.training.test_resumable import stopping_at

CONFIG = SearchConfig(
    space="resnet20", data=DataConfig(max_images=200), epochs=1, budgets=("macs<=50%",), threads=1
)


def slow(*names: str) -> list[object]:
    """Parameters for the long run alone."""
    return [pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"method": "taylor", "sparsity": 0.1},
            "--sparsity must come with a method that uses it, got taylor",
        ),
        ({"method": "slimming", "cost": "macs"}, "--cost must come with a method .* Those do: cost-aware"),
        ({"method": "uniform", "scope": "local", "epochs": None}, "--scope must come with"),
        ({"method": "random", "epochs": 3}, "--epochs must come with"),
        ({"method": "random", "epochs": None, "log": "tensorboard"}, "--log must come with"),
        ({"method": "random", "epochs": None, "keep_checkpoints": True}, "--keep-checkpoints must come with"),
    ],
)
def test_settings_that_a_method_would_ignore_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        resolve(CONFIG.model_copy(update=changes))


@pytest.mark.slow
def test_a_method_that_finds_nothing_says_what_it_needs_and_which_would_work(
    capsys: pytest.CaptureFixture[str], in_empty_directory: Path
) -> None:
    arguments = ["search", "--space", "torchvision:vgg11", "--image-size", "32", "--max-images", "50"]
    assert main(arguments) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "--method slimming must find norms with a scale" in message
    assert "These find channels there: sss, l0, variational-dropout, random-weights, taylor" in message
    assert list(in_empty_directory.iterdir()) == []


@pytest.mark.parametrize(
    "method", ["sss", "taylor", *slow("random-weights", "variational-dropout", "soft-filter")]
)
def test_the_network_that_is_left_is_the_spaces_own(method: str, tmp_path: Path) -> None:
    result = search(CONFIG.model_copy(update={"method": method}), tmp_path / "run")
    make = inherited(tmp_path / "run", result.found[0].widths)
    model = make()
    assert sum(parameter.numel() for parameter in model.parameters()) == result.found[0].widths.cost.params
    assert not any("width_gates" in name for name, _ in model.named_parameters())


@pytest.mark.parametrize("method", ["soft-filter", *slow("variational-dropout")])
def test_a_search_stopped_at_any_step_goes_on_to_the_same_bits(method: str, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"method": method, "epochs": 2})
    search(config, tmp_path / "whole")
    run = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt, match="stopped: 0 of 2 epochs are done, and 2 steps of the next"):
        search(config, run, progress=stopping_at(2))
    with pytest.raises(KeyboardInterrupt, match="stopped: 0 of 2 epochs are done, and 3 steps of the next"):
        resume_search(run, progress=stopping_at(3))  # the last of the epoch
    resume_search(run)
    assert contents(run) == contents(tmp_path / "whole")


def test_a_control_trains_nothing(capsys: pytest.CaptureFixture[str], in_empty_directory: Path) -> None:
    assert main(["search", "--method", "uniform", "--out", "run", "--max-images", "100"]) == 0
    out = capsys.readouterr().out
    assert "resnet20, uniform (control) on digits, no training" in out
    assert "–" in out
    written = {path.name for path in Path("run").rglob("*")}
    assert not {"checkpoint.safetensors", "kept.json"} & written
    facts = json.loads(Path("run/widths/macs-50pct.json").read_text())
    assert facts["method"] == {"name": "uniform", "is_automatic": False, "settings": {"groups": "inner"}}
    assert facts["epochs"] == 0
    assert (
        main(["train", "--widths", "run/widths/macs-50pct.json", "--epochs", "1", "--max-images", "100"]) == 0
    )


@pytest.mark.slow
def test_scope_decides_whether_widths_are_searched(tmp_path: Path) -> None:
    local = search(CONFIG.model_copy(update={"method": "l1-norm"}), tmp_path / "local")
    wide = search(CONFIG.model_copy(update={"method": "l1-norm", "scope": "global"}), tmp_path / "global")
    uniform = search(CONFIG.model_copy(update={"method": "uniform", "epochs": None}), tmp_path / "uniform")
    assert local.found[0].widths.vector == uniform.found[0].widths.vector
    assert wide.found[0].widths.vector != uniform.found[0].widths.vector
    assert local.found[0].widths.method is not None
    assert wide.found[0].widths.method is not None
    assert not local.found[0].widths.method.is_automatic
    assert wide.found[0].widths.method.is_automatic


def test_the_cost_that_drives_is_that_of_the_first_budget(tmp_path: Path) -> None:
    config = resolve(CONFIG.model_copy(update={"method": "cost-aware", "budgets": ("params<=50%",)}))
    assert config.cost == "params"
    assert resolve(config.model_copy(update={"budgets": ("channels<=50%",), "cost": None})).cost == "macs"


def test_layers_that_the_pull_would_empty_are_named_once(tmp_path: Path) -> None:
    said: list[str] = []
    config = CONFIG.model_copy(update={"sparsity": 5.0, "epochs": 3, "budgets": ("macs<=50%", "macs<=30%")})
    result = search(config, tmp_path / "run", progress=Progress(say=said.append))
    at_floor = [text for text in said if "their floor was kept" in text]
    assert bool(at_floor) == any(found.at_floor for found in result.found)
    assert len(at_floor) <= 1


@pytest.mark.parametrize("method", ["sss", *slow("l0", "variational-dropout")])
def test_networks_that_learned_with_factors_teach_and_are_tuned(
    method: str, tmp_path: Path, write_digits: WriteDigits, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_digits("train", {"0": 20, "1": 20, "2": 20}, size=8)
    write_digits("test", {"0": 5, "1": 5, "2": 5}, size=8)
    run, images = tmp_path / "run", f"folder:{data}"
    search_arguments = ["search", "--method", method, "--data", images, "--image-size", "8", "--epochs", "1"]
    assert main([*search_arguments, "--out", str(run), "--budget", "macs<=50%"]) == 0
    train_arguments = [
        "train",
        "--widths",
        str(run / "widths" / "macs-50pct.json"),
        "--data",
        images,
        "--epochs",
        "1",
    ]
    tuned = [
        *train_arguments,
        "--schedule",
        "fine-tune",
        "--from",
        str(run),
        "--out",
        str(tmp_path / "tuned"),
    ]
    assert main(tuned) == 0, capsys.readouterr().err
    taught = [
        *train_arguments,
        "--schedule",
        "scratch-e",
        "--teacher",
        str(run),
        "--out",
        str(tmp_path / "taught"),
    ]
    assert main(taught) == 0, capsys.readouterr().err


def test_a_strength_that_kills_everything_is_said_and_spreads_what_is_left(tmp_path: Path) -> None:
    said: list[str] = []
    config = CONFIG.model_copy(update={"method": "sss", "sparsity": 50.0, "epochs": 4})
    result = search(config, tmp_path / "run", progress=Progress(say=said.append))
    (warning,) = [text for text in said if "their floor was kept" in text]
    assert "leaves no channel of 9 groups" in warning
    (undecided,) = [text for text in said if "the same score, zero" in text]
    assert f"({result.found[0].tied_at_zero} at macs<=50%)" in undecided
    guessing = [replace(result, val_score=accuracy) for accuracy in (0.11, 0.5)]
    assert ["no more than guessing" in warnings_of(one)[-1] for one in guessing] == [True, False]
    assert result.epochs_done == 4
    shares = [group.keep_ratio for group in result.found[0].widths.groups if group.role != "stream"]
    assert max(shares) - min(shares) < 0.1


def test_the_pull_goes_by_the_momentum_of_its_own_steps() -> None:
    """Factors step with a momentum of 0.9, whatever that of the recipe is; scales of norms with the recipe's."""
    data, space = load_data("digits", max_images=200), load_space("resnet20", (1, 8, 8))
    for method, factor in (("sss", 1.0), ("slimming", 5.0)):
        recipes = [
            CONFIG.recipe.model_copy(update={"momentum": momentum, "weight_decay": 0.0})
            for momentum in (0.9, 0.5)
        ]
        found = [chosen_sparsity(METHODS[method], recipe, data, space) for recipe in recipes]
        assert found[0] is not None
        assert found[1] == pytest.approx(found[0] * factor)


@pytest.mark.parametrize(("decay", "epochs"), [(0.0, 20), (5e-4, 20), (1e-3, 40), (1e-2, 20)])
def test_the_strength_takes_an_idle_scale_to_zero_with_the_recipes_decay(decay: float, epochs: int) -> None:
    """Stepped by PyTorch's own SGD; a rule that forgot the decay would be 17 times too strong on the last."""
    data, space = load_data("digits", max_images=2000), load_space("resnet20", (1, 8, 8))
    recipe = CONFIG.recipe.model_copy(update={"weight_decay": decay, "epochs": epochs, "nesterov": False})
    strength = chosen_sparsity(METHODS["slimming"], recipe, data, space)
    assert strength is not None
    scale = torch.tensor([0.5], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.SGD([scale], lr=1.0, momentum=recipe.momentum, weight_decay=decay)
    per_epoch = num_batches(len(data.train), recipe.batch_size)
    steps = per_epoch * epochs
    crossed = steps
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = recipe.rate_at(step, steps, per_epoch)
        scale.grad = torch.full((1,), strength, dtype=torch.float64)
        optimiser.step()
        if scale.item() <= 0.005:
            crossed = min(crossed, step)
    assert abs(scale.item()) < 0.015
    assert crossed > 0.5 * steps


@pytest.mark.slow
def test_the_papers_recipe_has_the_papers_strength() -> None:
    many, recipe = _as_many_images_as_the_paper(), recipe_named("paper-cifar")
    for method in ("slimming", "cost-aware"):
        found = {
            name: chosen_sparsity(METHODS[method], recipe, many, load_space(name, (1, 8, 8)))
            for name in ("vgg16", "resnet20", "densenet40")
        }
        assert found == {"vgg16": 1e-4, "resnet20": 1e-5, "densenet40": 1e-5}


@pytest.mark.parametrize(("name", "least"), [("vgg16", 1e-4), ("resnet20", 1e-5)])
def test_no_training_is_so_long_that_decay_replaces_the_penalty(name: str, least: float) -> None:
    """Decay takes more of the way the longer it goes on; what is left for λ alone would be 1.4e-7 at 159 epochs."""
    many, space = _as_many_images_as_the_paper(), load_space(name, (1, 8, 8))
    found = {}
    for epochs in (2, 5, 10, 20, 159, 160, 161):
        recipe = recipe_named("paper-cifar").with_epochs(epochs)
        strength = chosen_sparsity(METHODS["slimming"], recipe, many, space)
        assert strength is not None
        found[epochs] = strength
    values = list(found.values())
    assert values == sorted(values, reverse=True)
    assert [found[epochs] for epochs in (159, 160, 161)] == [least] * 3
    assert found[5] == pytest.approx(max(least, 3.1e-4), rel=0.01)
    assert (found[10] > least, found[20] > least) == (True, name != "vgg16")
    others = recipe_named("paper-cifar").model_copy(update={"name": "mine", "epochs": 90, "batch_size": 65})
    assert chosen_sparsity(METHODS["slimming"], others, many, space) == least
    decaying = others.model_copy(update={"weight_decay": 0.1})  # e to the 5,000th is no number of a machine
    assert chosen_sparsity(METHODS["slimming"], decaying, many, space) == least


def _as_many_images_as_the_paper() -> ImageData:
    """Some digits again and again: 45,000 to train on."""
    data = load_data("digits", max_images=200)
    part = data.train
    assert isinstance(part, ImageSet)
    places = torch.arange(45_000) % len(part)
    return replace(data, train=ImageSet(part.images[places], part.labels[places]))


def test_a_control_without_a_penalty_is_one(tmp_path: Path) -> None:
    """λ = 0 is no λ left out, which would be chosen."""
    config = CONFIG.model_copy(update={"sparsity": 0.0})
    result = search(config, tmp_path / "run")
    assert result.sparsity == 0.0
    assert read_config(tmp_path / "run", SearchConfig).sparsity == 0.0
    method = result.found[0].widths.method
    assert method is not None
    assert method.settings["sparsity"] == 0.0


def test_factors_that_are_zero_are_so_in_the_average_too(tmp_path: Path) -> None:
    """The moving average of a factor is never quite zero, so that nothing would ever go."""
    recipe = CONFIG.recipe.model_copy(update={"average": 0.99})
    changes = {"method": "sss", "sparsity": 5.0, "epochs": 3, "budgets": ("own",), "recipe": recipe}
    result = search(CONFIG.model_copy(update=changes), tmp_path / "run")
    widths = result.found[0].widths
    assert widths.cost.macs < widths.base_cost.macs
