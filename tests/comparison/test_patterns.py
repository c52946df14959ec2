"""Comparisons of patterns: which arms, which seeds, what is compared, and that a stopped one goes on."""

import json
import shutil
from pathlib import Path
from statistics import fmean

import pytest
import torch
from torch import nn

from nas_prune.comparison.pattern_arms import ARMS, arms_named
from nas_prune.comparison.pattern_config import FIRST_TRAINING, PatternCompareConfig
from nas_prune.comparison.pattern_result import PatternComparison, read_pattern_comparison, summary
from nas_prune.comparison.pattern_run import compare_patterns, resume_compare_patterns
from nas_prune.comparison.pattern_work import arm_folder, shuffled, trainings_of
from nas_prune.errors import BadInputError
from nas_prune.patterns.config import SparsifyConfig
from nas_prune.patterns.fit import fit_patterns, patterns_in
from nas_prune.runs.progress import Progress
from nas_prune.runs.typed import Typed
from nas_prune.space.budget import Budget
from nas_prune.training.recipe import recipe_named
from nas_prune.training.result import Trained
from tools.kept import exchange

SEARCH = SparsifyConfig(space="vgg11", width_multiplier=0.0625, data="digits")
RECIPE = recipe_named("digits").with_epochs(2)
TEN = Budget.parse("nonzero<=10%")


def settings(*arms: str, seeds: int = 2, guideline: str | None = None) -> PatternCompareConfig:
    names = arms or tuple(name for name in ARMS if name != "guided" or guideline)
    return PatternCompareConfig(
        data="digits",
        search=SEARCH.model_copy(update={"recipe": RECIPE}),
        recipe=RECIPE,
        budgets=("nonzero<=10%", "nonzero<=30%"),
        arms=names,
        seeds=seeds,
        guideline=guideline,
    )


def test_an_arm_brings_the_one_it_is_compared_with() -> None:
    assert [arm.name for arm in arms_named(("ticket",), has_guideline=False)] == ["scratch-e", "ticket"]
    assert [arm.name for arm in arms_named(("guided",), has_guideline=True)] == ["guided", "uniform"]
    assert "guided" not in {arm.name for arm in arms_named((), has_guideline=False)}
    assert all(arm.beside in ARMS for arm in ARMS.values() if arm.beside is not None)
    with pytest.raises(BadInputError, match="got 'tickets'. Did you mean ticket?"):
        arms_named(("tickets",), has_guideline=False)
    with pytest.raises(BadInputError, match="must come with --guideline FILE"):
        arms_named(("guided",), has_guideline=False)


def test_the_whole_network_is_trained_once_for_all_budgets() -> None:
    config = settings(seeds=5)
    wholes = [unit for unit in trainings_of(config) if unit.arm is not None and unit.arm.kind == "whole"]
    assert len(wholes) == 5


def test_shuffling_keeps_the_number_of_weights_of_each_layer_and_nothing_else() -> None:
    generator = torch.Generator().manual_seed(3)
    masks = {
        name: torch.rand(16, 8, 3, 3, generator=generator) < share for name, share in (("a", 0.1), ("b", 0.5))
    }
    found = shuffled(masks, 1)
    assert {name: int(mask.sum()) for name, mask in found.items()} == {
        name: int(mask.sum()) for name, mask in masks.items()
    }
    assert all(not torch.equal(found[name], masks[name]) for name in masks)
    assert all(torch.equal(shuffled(masks, 1)[name], found[name]) for name in masks)
    assert not torch.equal(shuffled(masks, 2)["b"], found["b"])


def test_arms_that_inherit_need_a_search_that_trains() -> None:
    found = {arm.name for arm in arms_named((), has_guideline=False, is_trained=False)}
    assert not found & {"fine-tuned", "rewound", "ticket"}
    with pytest.raises(BadInputError, match="--arm rewound must come with a search that trains a network"):
        arms_named(("rewound",), has_guideline=False, is_trained=False)


def planted(scores: dict[str, list[float]]) -> PatternComparison:
    trained = {
        (str(TEN), arm): {seed: Trained(seed, 0.5, score, 2, 10, 10, 0.0) for seed, score in enumerate(own)}
        for arm, own in scores.items()
    }
    config = settings(*scores, seeds=5).model_copy(update={"budgets": (TEN,)})
    return PatternComparison(Path(), config, trained, {str(TEN): ()})


def test_arms_are_compared_seed_by_seed_and_corrected_together() -> None:
    base = [0.50, 0.60, 0.70, 0.80, 0.90]  # seeds differ by more than arms do
    better = [score + 0.05 + 0.001 * number for number, score in enumerate(base)]
    result = planted({"scratch-e": base, "ticket": better, "shuffled": [0.51, 0.59, 0.71, 0.79, 0.90]})
    found = result.compared(TEN)
    assert set(found) == {"ticket", "shuffled"}
    assert found["ticket"].contrast.difference == pytest.approx(0.052)
    assert found["ticket"].contrast.n == 5
    assert found["ticket"].verdict == "better"
    assert found["ticket"].holm == pytest.approx(2 * found["ticket"].contrast.p_value)
    assert found["shuffled"].verdict == "no detectable difference"
    assert result.notes(TEN) == []
    assert (
        planted({"scratch-e": [0.1] * 5, "ticket": [0.9] * 5}).notes(TEN) == []
    )  # of how many classes is not known
    arms = summary(result)["budgets"][0]["arms"]
    assert arms["ticket"]["beside"]["arm"] == "scratch-e"
    assert "beside" not in arms["scratch-e"]


class Plain(nn.Sequential):
    """Without norms, whose factors slimming would look at."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes),
        )  # fmt: skip


@pytest.mark.slow
def test_arms_that_slimming_cannot_make_are_left_out_with_the_reason(tmp_path: Path) -> None:
    name = f"{__name__}:Plain"
    search = SparsifyConfig(space=Typed(name), data="digits", recipe=RECIPE)
    config = settings("slimming-size", seeds=1).model_copy(update={"search": search})
    result = compare_patterns(config, tmp_path / "run", space=Typed(name))
    assert set(result.left_out) == {(str(budget), "slimming-size") for budget in config.budgets}
    assert all("slimming" in why for why in result.left_out.values())
    assert result.is_finished
    assert sorted(result.of(TEN, "scratch-e")) == [0]


@pytest.mark.slow
def test_dense_networks_are_trained_that_do_not_take_the_layout_of_the_whole_one(tmp_path: Path) -> None:
    short = RECIPE.with_epochs(1)
    search = SparsifyConfig(space="resnet20", data="digits", recipe=short)
    config = settings("widths-macs", seeds=1).model_copy(update={"search": search, "recipe": short})
    result = compare_patterns(config, tmp_path / "run")
    assert result.config.channels_last  # the whole network takes it; streams of fewer than 16 channels do not
    assert sorted(result.of(TEN, "widths-macs")) == [0]


@pytest.mark.slow
def test_a_seed_whose_arms_are_trained_is_not_searched_again(tmp_path: Path) -> None:
    first = compare_patterns(settings("scratch-e", seeds=1), tmp_path / "first")
    lines = tmp_path / "kept.jsonl"
    assert exchange(first.run, lines, ["config.yaml", "arms/**/*.json"]) == (
        5,
        0,
    )  # results and costs at two budgets
    exchange(tmp_path / "elsewhere", lines, [])
    more = resume_compare_patterns(tmp_path / "elsewhere", seeds=2)
    assert exchange(more.run, lines, ["arms/**/*.json"], ["config.yaml"])[0] == 5
    assert [path.name for path in (more.run / "searches").iterdir()] == ["seed-1"]
    assert more.of(TEN, "scratch-e")[0] == first.of(TEN, "scratch-e")[0]
    assert sorted(more.of(TEN, "scratch-e")) == [0, 1]
    assert summary(more)["budgets"][0]["arms"]["scratch-e"]["n"] == 2


@pytest.mark.slow
def test_every_arm_is_trained_with_the_weights_that_it_should_have(tmp_path: Path) -> None:
    first = compare_patterns(settings("scratch-e", seeds=2), tmp_path / "first")
    guideline = tmp_path / "guideline.yaml"
    fit_patterns(patterns_in(sorted((first.run / "searches").glob("seed-*")), with_guesses=True)[0]).write(
        guideline
    )
    said: list[str] = []
    result = compare_patterns(
        settings(guideline=str(guideline)), tmp_path / "run", workers=2, progress=Progress(say=said.append)
    )
    assert any("with seeds that are compared, too (0, 1)" in line for line in said)
    assert result.failed == ()
    for budget in result.config.budgets:
        for pattern in result.patterns[str(budget)]:
            assert pattern.density <= budget.limit(10**6) / 10**6
        for arm in result.config.chosen:
            trained = result.of(budget, arm.name)
            assert sorted(trained) == [0, 1], arm.name
            least, most = {"fine-tune": (1, 1), "scratch-b": (3, 8)}.get(arm.schedule, (2, 2))
            assert least <= trained[0].epochs <= most, arm.name
            assert result.cost_of(budget, arm.name) is not None
        for arm_name, at in (("widths", 0), ("slimming", 0), ("widths", 1), ("slimming", 1)):
            limit = fmean((one.cost.macs, one.cost.size_bytes)[at] for one in result.patterns[str(budget)])
            cost = result.cost_of(budget, f"{arm_name}-{('macs', 'size')[at]}")
            assert cost is not None
            assert 0.8 * limit < cost[at] <= limit
    assert result.is_finished
    damaged = arm_folder(result.run, "scratch-b", TEN) / f"seed-{FIRST_TRAINING}" / "result.json"
    before = (tmp_path / "run" / "result.json").read_bytes()
    damaged.write_text("{", encoding="utf-8")
    assert sorted(read_pattern_comparison(result.run).of(TEN, "scratch-b")) == [1]
    assert not read_pattern_comparison(result.run).is_finished
    shutil.rmtree(result.run / "width-searches" / "seed-1" / "widths")
    (result.run / "width-searches" / "seed-1" / "result.json").unlink()
    gone = arm_folder(result.run, "ticket", TEN) / f"seed-{FIRST_TRAINING + 1}"
    shutil.rmtree(gone)
    assert resume_compare_patterns(result.run).failed == ()
    assert (tmp_path / "run" / "result.json").read_bytes() == before
    more = resume_compare_patterns(result.run, seeds=3, workers=2)
    assert sorted(more.of(TEN, "guided")) == [0, 1, 2]
    assert json.loads(before)["budgets"][0]["arms"]["ticket"]["n"] == 2
    assert read_pattern_comparison(result.run).config.seeds == 3
    with pytest.raises(BadInputError, match="--seeds must be at least the 3 that the run has"):
        resume_compare_patterns(result.run, seeds=2)
