"""Arms at equal training, and those that find what they train anew for each seed: real trainings on the digits."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nas_prune.cli import main
from nas_prune.comparison import torch_pruning
from nas_prune.comparison.arms import ARMS, chosen_arms
from nas_prune.comparison.charge import Charge
from nas_prune.comparison.choosing import Wanted
from nas_prune.comparison.config import STUDY_SEED, CompareConfig
from nas_prune.comparison.costs import arm_costs
from nas_prune.comparison.equal_training import epochs_left
from nas_prune.comparison.result import CompareResult
from nas_prune.comparison.run import compare, resume_compare
from nas_prune.comparison.torch_pruning import Way, cut_by_torch_pruning
from nas_prune.data.config import DataConfig
from nas_prune.errors import BadInputError
from nas_prune.search.config import SearchConfig
from nas_prune.search.run import search
from nas_prune.space.budget import Budget
from nas_prune.space.widths import Widths, read_widths
from nas_prune.training.recipe import recipe_named
from nas_prune.training.schedules import training_macs
from tests.networks import known

RECIPE = recipe_named("digits").model_copy(update={"epochs": 4})
DATA = DataConfig(max_images=100)
TOTAL = 6.0
CONFIG = CompareConfig(data=DATA, recipe=RECIPE, seeds=1, threads=1, equal_training=TOTAL)
ARMS_ASKED = ("found", "uniform-macs", "torch-pruning", "study")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> tuple[SearchConfig, Widths]:
    """A search and what it found."""
    config = SearchConfig(
        space="vgg11",
        width_multiplier=0.125,
        data=DATA,
        recipe=RECIPE,
        budgets=("macs<=40%",),
        stop=False,
        threads=1,
    )
    run = search(config, tmp_path_factory.mktemp("found") / "search").run
    return config, read_widths(run / "widths" / "macs-40pct.json")


@pytest.fixture(scope="module")
def done(settings: tuple[SearchConfig, Widths], tmp_path_factory: pytest.TempPathFactory) -> CompareResult:
    """Four arms, a seed each."""
    config, widths = settings
    run = tmp_path_factory.mktemp("done") / "run"
    return compare(CONFIG, widths, run, search=config, wanted=Wanted(ARMS_ASKED))


@pytest.mark.slow
def test_every_training_takes_the_same_with_all_that_came_before(done: CompareResult) -> None:
    assert set(done.arms) == set(ARMS_ASKED)
    whole = training_macs(done.widths.base_cost.macs, done.num_train, RECIPE.epochs)
    costs = arm_costs(done)
    for name, own in done.arms.items():
        assert len(own) == 1
        for one in own:
            epoch = training_macs(one.macs, done.num_train, 1)
            each = costs[name].search
            assert each is not None
            assert TOTAL * whole - 2 * epoch < each + one.epochs * epoch <= TOTAL * whole * 1.001, name
    uniform, peer = (done.arms[name][0].epochs for name in ("uniform-macs", "torch-pruning"))
    assert uniform > peer


@pytest.mark.slow
def test_their_networks_are_within_the_cost_of_those_found(done: CompareResult) -> None:
    most = done.widths.cost.macs
    for own in done.arms.values():
        for one in own:
            assert 0.8 * most < one.macs <= most


@pytest.mark.slow
def test_seeds_of_a_study_are_none_that_it_chose_by(done: CompareResult) -> None:
    assert [one.seed for one in done.arms["study"]] == [STUDY_SEED]
    assert sorted(path.name for path in (done.run / "studies").iterdir()) == ["seed-0", "seed-0-search"]
    assert {name: one.beside for name, one in done.compared().items()} == dict.fromkeys(
        ("uniform-macs", "torch-pruning", "study"), "found"
    )


@pytest.mark.slow
def test_what_is_done_is_kept(done: CompareResult, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(done.run, run)
    lost = run / "arms" / "torch-pruning" / "seed-0"
    shutil.rmtree(lost)
    before = (done.run / "arms" / "torch-pruning" / "seed-0" / "result.json").read_text(encoding="utf-8")
    resume_compare(run)
    again = json.loads((lost / "result.json").read_text(encoding="utf-8"))
    assert {**again, "seconds": 0} == {**json.loads(before), "seconds": 0}


def test_extra_arms_are_trained_only_by_name() -> None:
    usual = chosen_arms((), (), ARMS)
    assert not {"torch-pruning", "study-e", "study-b"} & set(usual)
    assert chosen_arms(("study-e",), (), ARMS) == ("scratch-e", "scratch-b", "study-e")


def test_epochs_are_what_is_left() -> None:
    each = training_macs(10, 30, 1)
    assert epochs_left(10 * each, [], 10, 30) == 10
    assert (
        epochs_left(10 * each, [Charge(what="a", macs=each), Charge(what="b", macs=2 * each + 1)], 10, 30)
        == 6
    )
    with pytest.raises(
        BadInputError, match=r"an epoch for the network itself, got 0.95 of it spent before \(a\)"
    ):
        epochs_left(10 * each, [Charge(what="a", macs=9 * each + each // 2)], 10, 30)
    with pytest.raises(BadInputError, match="must know what every arm took, got: a: not known"):
        epochs_left(10 * each, [Charge(what="a")], 10, 30)


def test_an_arm_without_a_word_of_its_costs_is_refused(
    settings: tuple[SearchConfig, Widths], tmp_path: Path
) -> None:
    config, widths = settings
    unknown = widths.model_copy(update={"epochs": None})
    with pytest.raises(BadInputError, match="must know what every arm took"):
        compare(CONFIG, unknown, tmp_path / "run", search=config, wanted=Wanted(("found",)))


@pytest.mark.parametrize(
    "name", ["resnet20", *(pytest.param(name, marks=pytest.mark.slow) for name in ("densenet40", "vgg11"))]
)
def test_torch_pruning_cuts_to_widths_of_the_space(name: str) -> None:
    space = known(name)
    model = space.build(seed=0).eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    found = cut_by_torch_pruning(model, space, Budget("macs", 0.4))
    macs = space.cost_at(found.widths_G).macs
    whole = space.cost_at(space.base_G).macs
    assert 0.25 * whole < macs <= 0.4 * whole
    assert found.network(torch.zeros(2, 3, 32, 32)).shape == (2, 5)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in found.network.parameters())


@pytest.mark.slow
def test_torch_pruning_cuts_in_one_step_layer_by_layer_or_with_a_cap() -> None:
    space = known("vgg11")
    model, budget = space.build(seed=0), Budget("macs", 0.4)
    whole = space.cost_at(space.base_G).macs
    kept = {}
    for name, way in (
        ("steps", Way(steps=400, is_global=True)),
        ("capped", Way(steps=400, is_global=True, most=0.7)),
        ("once", Way(is_global=True)),
        ("local", Way()),
    ):
        found = cut_by_torch_pruning(model, space, budget, way)
        assert 0.39 * whole < space.cost_at(found.widths_G).macs <= 0.4 * whole, name
        kept[name] = np.array(found.widths_G) / space.base_G
    assert kept["steps"].min() < 0.2  # without a training between them, steps run away
    assert 0.25 < kept["capped"].min() < 0.4
    assert kept["once"].min() > 0.4
    assert np.ptp(kept["local"]) < 0.02
    with pytest.raises(BadInputError, match="must cut .* to macs<=1%, but ends above it"):
        cut_by_torch_pruning(model, space, Budget("macs", 0.01), Way(steps=400, is_global=True, most=0.5))
    with pytest.raises(BadInputError, match="most must come with several steps"):
        Way(most=0.5)


def test_channels_of_small_norm_go_first() -> None:
    space = known("resnet20")
    model = space.build(seed=0)
    layer = model.get_submodule("layer1.0.conv1")
    assert isinstance(layer, nn.Conv2d)
    with torch.no_grad():
        layer.weight[:8] *= 100
    found = cut_by_torch_pruning(model, space, Budget("macs", 0.5))
    kept = found.network.get_submodule("layer1.0.conv1")
    assert isinstance(kept, nn.Conv2d)
    assert (kept.weight.flatten(1).norm(dim=1) > 20).sum() == min(8, len(kept.weight))


def test_a_missing_library_is_named_before_anything_is_trained(
    settings: tuple[SearchConfig, Widths], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, widths = settings
    monkeypatch.setitem(__import__("sys").modules, "torch_pruning", None)
    with pytest.raises(BadInputError, match=r"pip install 'nas-prune\[peers\]'"):
        torch_pruning.torch_pruning()
    with pytest.raises(BadInputError, match="must have Torch-Pruning installed"):
        compare(CONFIG, widths, tmp_path / "run", search=config, wanted=Wanted(("torch-pruning",)))
    assert not (tmp_path / "run").exists()


def test_the_flag_is_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "nowhere", "--equal-training", "0"]) == 2
    assert "--equal-training" in capsys.readouterr().err
