"""Comparisons of patterns on disk: what a training gets, and what goes on after a stop, elsewhere, or not at all."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nas_prune.comparison.pattern_arms import ARMS
from nas_prune.comparison.pattern_config import PatternCompareConfig
from nas_prune.comparison.pattern_result import PatternComparison, read_pattern_comparison, summary
from nas_prune.comparison.pattern_run import compare_patterns, resume_compare_patterns
from nas_prune.comparison.pattern_widths import search_widths, why_no_widths
from nas_prune.comparison.pattern_work import Unit, Worker, arm_folder, search_folder
from nas_prune.data.config import DataConfig
from nas_prune.errors import BadInputError, DamagedError
from nas_prune.hardware.target import target_named
from nas_prune.patterns.config import SparsifyConfig
from nas_prune.patterns.pattern import PATTERNS, read_pattern
from nas_prune.patterns.run import pruned, trained_network
from nas_prune.report.patterns import part_of_pattern_comparison
from nas_prune.runs.progress import SILENT
from nas_prune.runs.typed import Typed
from nas_prune.search.result import file_stem
from nas_prune.space.budget import Budget
from nas_prune.training.masks import read_masks, write_masks
from nas_prune.training.recipe import recipe_named
from tests.conftest import WriteDigits

pytestmark = pytest.mark.slow
SHORT = recipe_named("digits").with_epochs(1)
TEN = Budget.parse("nonzero<=10%")
FEW = DataConfig(name="digits", max_images=200)
PLAIN = "tests.comparison.test_patterns:Plain"


def settings(*arms: str, method: str = "erk", **changes: object) -> PatternCompareConfig:
    data = changes.pop("data", FEW)
    search = SparsifyConfig(space="vgg11", width_multiplier=0.0625, data=data, method=method, recipe=SHORT)
    config = PatternCompareConfig(
        data=data, search=search, recipe=SHORT, budgets=("nonzero<=10%",), arms=arms, seeds=1
    )
    searching: dict[str, object] = {
        name: changes.pop(name) for name in ("space", "target") if name in changes
    }
    if "space" in searching:
        searching["width_multiplier"] = 1.0
    return config.searching(**searching).model_copy(update=changes)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> PatternComparison:
    arms = ("whole", "fine-tuned", "scratch-e", "shuffled", "drawn", "uniform")
    return compare_patterns(settings(*arms, method="magnitude"), tmp_path_factory.mktemp("found") / "run")


def test_trainings_have_the_seeds_the_masks_and_the_weights_that_they_should(
    found: PatternComparison,
) -> None:
    worker = Worker(found.run, found.config, None)
    stage, folder = worker.stage(0), search_folder(found.run, 0)
    pattern = read_pattern(folder / PATTERNS / f"{file_stem(TEN)}.json")
    assert pattern.mask is not None
    own = read_masks(folder / PATTERNS / pattern.mask.file)
    trained = trained_network(stage, folder).state_dict()
    first = stage.first_network().state_dict()
    for arm in ARMS.values():
        if arm.is_masked and arm.name != "guided":
            config, _, inputs = worker.inputs(Unit(0, arm, TEN), arm, TEN, stage)
            assert config.seeds == (10_000,)
            assert config.data_seed == 0
            assert inputs.masks is not None
            masks = inputs.masks.of(10_000)
            counts = {name: int(mask.sum()) for name, mask in masks.items()}
            is_same = all(torch.equal(masks[name], own[name]) for name in own)
            assert is_same is (arm.kind == "found"), arm.name
            if arm.kind in ("found", "shuffled", "drawn"):
                assert counts == {name: int(mask.sum()) for name, mask in own.items()}, arm.name
            assert sum(counts.values()) <= TEN.limit(pattern.base_cost.nonzero)
            if arm.kind == "uniform":
                densities = [count / masks[name].numel() for name, count in counts.items()]
                assert max(densities) - min(densities) < 0.02
            assert (inputs.begin is None) is (arm.start == "random"), arm.name
            if inputs.begin is not None:
                given = inputs.begin().state_dict()
                wanted = (
                    first
                    if arm.start == "early"
                    else pruned(stage, stage.first_network(), masks).state_dict()
                )
                if arm.start == "trained":
                    wanted = pruned(stage, trained_network(stage, folder), masks).state_dict()
                    assert any(not torch.equal(trained[name], first[name]) for name in own)
                assert all(torch.equal(given[name], wanted[name]) for name in own), arm.name


def test_masks_of_another_search_are_refused(found: PatternComparison, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(found.run, run)
    path = next((search_folder(run, 0) / PATTERNS).glob("*.safetensors"))
    write_masks(path, {name: ~mask for name, mask in read_masks(path).items()})
    worker, arm = Worker(run, found.config, None), ARMS["scratch-e"]
    with pytest.raises(DamagedError, match="must hold the masks of its pattern, got others"):
        worker.inputs(Unit(0, arm, TEN), arm, TEN, worker.stage(0))


def test_the_report_has_costs_under_their_headings(found: PatternComparison) -> None:
    part = part_of_pattern_comparison(found.run, "p")
    (table,) = part.sections[1].tables
    cost = found.cost_of(TEN, "scratch-e")
    assert cost is not None
    (row,) = (row for row in table.rows if row[0] == "scratch-e")
    cells = dict(zip(table.headings, row, strict=True))
    assert float(cells["MACs (10⁶)"]) == pytest.approx(cost[0] / 1e6, abs=0.01)
    assert cells["KiB"] == f"{cost[1] / 1024:,.0f}"
    assert cells["what it is"] == ARMS["scratch-e"].words
    left = replace(found, left_out={(str(TEN), "slimming-macs"): "nothing is so small"})
    assert left.notes(TEN)[0] == "slimming-macs was left out: nothing is so small"
    assert any("hardly better than guessing" in note for note in part.sections[1].sentences)  # after an epoch


def test_seeds_are_added_to_a_network_of_ones_own(tmp_path: Path) -> None:
    compare_patterns(settings("scratch-e", space=Typed(PLAIN)), tmp_path / "run", space=Typed(PLAIN))
    more = resume_compare_patterns(tmp_path / "run", seeds=2, space=Typed(PLAIN))
    assert sorted(more.of(TEN, "scratch-e")) == [0, 1]
    with pytest.raises(BadInputError, match="--space"):
        resume_compare_patterns(tmp_path / "run", seeds=3)


def test_seeds_are_not_added_on_other_images(write_digits: WriteDigits, tmp_path: Path) -> None:
    home = write_digits("digits/train", {"0": 40, "1": 40})
    write_digits("digits/test", {"0": 10, "1": 10})
    data = DataConfig(name=f"folder:{home / 'digits'}", image_size=8)
    compare_patterns(settings("scratch-e", data=data), tmp_path / "run")
    for path in sorted((home / "digits" / "train").rglob("*.png"))[::2]:
        path.unlink()
    assert resume_compare_patterns(tmp_path / "run").is_finished  # nothing is left to train
    before = (tmp_path / "run" / "config.yaml").read_bytes()
    with pytest.raises(BadInputError, match="must name the images that the run was begun with"):
        resume_compare_patterns(tmp_path / "run", seeds=2)
    assert (tmp_path / "run" / "config.yaml").read_bytes() == before  # what is refused changes nothing


def test_seeds_are_added_where_images_are_brought_to_a_networks_channels(tmp_path: Path) -> None:
    data = DataConfig(name="digits", max_images=200, image_size=32)
    config = settings("scratch-e", data=data, space="torchvision:squeezenet1_1")
    compare_patterns(config, tmp_path / "run")
    assert sorted(resume_compare_patterns(tmp_path / "run", seeds=2).of(TEN, "scratch-e")) == [0, 1]


def test_arms_of_one_seed_are_of_one_search(found: PatternComparison, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(found.run, run)
    shutil.rmtree(arm_folder(run, "shuffled", TEN))
    assert resume_compare_patterns(run).is_finished
    shutil.rmtree(arm_folder(run, "shuffled", TEN))
    noted = arm_folder(run, "drawn", TEN) / "seed-10000" / "cost.json"
    content = json.loads(noted.read_text(encoding="utf-8"))
    assert content["found_masks"] == found.patterns[str(TEN)][0].mask.blake2b  # type: ignore[union-attr]
    noted.write_text(json.dumps({**content, "found_masks": "others"}), encoding="utf-8")
    result = resume_compare_patterns(run)
    ((_, why),) = result.failed
    assert "and drawn at nonzero<=10% was trained with other masks than its search has now" in why


def test_the_target_of_the_search_comes_along(tmp_path: Path) -> None:
    target_named("ethos-u").write(tmp_path / "own")
    compare_patterns(settings("scratch-e", target=str(tmp_path / "own")), tmp_path / "run")
    shutil.rmtree(tmp_path / "own")
    assert str(tmp_path) not in (tmp_path / "run" / "config.yaml").read_text(encoding="utf-8")
    (tmp_path / "run").rename(tmp_path / "moved")
    assert sorted(resume_compare_patterns(tmp_path / "moved", seeds=2).of(TEN, "scratch-e")) == [0, 1]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_diverges_does_not_end_the_rest(workers: int, tmp_path: Path) -> None:
    config = settings("scratch-e", "uniform", recipe=SHORT.model_copy(update={"learning_rate": 1e6}))
    result = compare_patterns(config, tmp_path / "run", workers=workers)
    assert [name.split(" at ")[0] for name, _ in result.failed] == ["scratch-e", "uniform"]
    assert not result.is_finished
    assert [one["training"] for one in summary(result)["failed"]] == [name for name, _ in result.failed]


def test_a_search_that_fails_leaves_its_arms_for_later(tmp_path: Path) -> None:
    broken = SHORT.model_copy(update={"learning_rate": 1e6})
    config = settings("scratch-e", method="magnitude").searching(recipe=broken)
    result = compare_patterns(config, tmp_path / "run")
    assert [name for name, _ in result.failed] == ["search 0"]
    assert not result.left_out
    assert read_pattern_comparison(result.run).still_to_train == 1


def test_a_device_that_is_not_there_is_no_reason_to_leave_widths_out(
    found: PatternComparison, tmp_path: Path
) -> None:
    if torch.cuda.is_available():
        pytest.skip("it is there")
    config = found.config.search_of(0).model_copy(update={"device": "cuda"})
    patterns = {str(TEN): found.patterns[str(TEN)][0]}
    with pytest.raises(BadInputError, match="CUDA"):
        search_widths(config, patterns, tmp_path / "widths", None, SILENT)
    assert why_no_widths(tmp_path / "widths") is None
