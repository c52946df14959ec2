"""Masks drawn after a guideline: densities are those that it says at the budget, for any network."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from nas_prune.data import load_data
from nas_prune.errors import GuidelineError
from nas_prune.patterns.cut import PatternCut, cut_weights
from nas_prune.patterns.fit import fit_patterns
from nas_prune.patterns.guideline import PatternGuideline, read_pattern_guideline
from nas_prune.patterns.layers import WeightLayers
from nas_prune.patterns.methods.contract import Evidence
from nas_prune.patterns.methods.guided import GUIDED, scores_by
from nas_prune.space.budget import Budget
from nas_prune.space.search_space import SearchSpace
from tests.networks import known
from tests.patterns.conftest import costs_for, guideline_of, planted, sigmoid

SIX = guideline_of(
    {
        ("first", 0): 1.0, ("linear", 0): 0.7, ("kernel", 0): -1.0, ("kernel", 1): 0.0, ("kernel", 2): 0.5,
        ("point", 0): 0.3, ("point", 1): 0.6,
    }
)  # fmt: skip
POSITIONS = {(stage, (3, 3)): [-1, 0, -1, 0, 2 + stage, 0, -1, 0, -1.0 - stage] for stage in range(3)}


def resnet() -> SearchSpace:
    return known("resnet20", (1, 8, 8))


def evidence(space: SearchSpace, seed: int = 0, guideline: PatternGuideline | None = None) -> Evidence:
    data = load_data("digits", max_images=50)
    return Evidence(space.build(seed=0), space, costs_for(space), data, seed, guideline=guideline)


def cut(space: SearchSpace, guideline: PatternGuideline, text: str, seed: int = 0) -> PatternCut:
    own = evidence(space, seed)
    return cut_weights(own.costs, scores_by(own, guideline), Budget.parse(text))


def logit(share: float) -> float:
    return float(np.log(share / (1 - share)))


def seen_by(
    layers: WeightLayers, masks: Mapping[str, Tensor], guideline: PatternGuideline
) -> list[tuple[int, float, float]]:
    """For each layer and position, how many kernels there are, in which share it stays, and what the guideline says."""
    found, last = [], max(layer.stage for layer in layers.layers if layer.kind == "conv")
    for number, layer in enumerate(layers.layers):
        kind = (
            "first"
            if not number
            else "linear"
            if layer.kind == "linear"
            else "kernel"
            if layer.kernel[0] > 1
            else "point"
        )
        stage = 0 if kind in ("first", "linear") else last - layer.stage
        (odds,) = [one.log_odds for one in guideline.densities if (one.kind, one.stage) == (kind, stage)]
        by_place = {(cell.stage, cell.shape): cell.log_odds for cell in guideline.positions}
        flat = masks[layer.name].reshape(layer.shape[0] * layer.shape[1], -1).double()
        own = by_place.get((last - layer.stage, layer.shape[2:]), (0.0,) * flat.shape[1])
        for place, shift in enumerate(own):
            found.append((len(flat), float(flat[:, place].mean()), odds + shift))
    return found


def differ(seen: list[tuple[int, float, float]]) -> float:
    """By how many weights densities differ, at most, from those at the x of the one that says most of it."""
    _, share, odds = max(seen, key=lambda one: one[0] * one[1] * (1 - one[1]))
    x = logit(share) - odds
    return max(kernels * abs(share - float(sigmoid(x + odds))) for kernels, share, odds in seen)


@pytest.mark.parametrize("text", ["nonzero<=10%", "nonzero<=60%", "macs<=20%", "size<=30%, macs<=50%"])
@pytest.mark.parametrize("with_positions", [False, True])
def test_densities_are_those_that_the_guideline_says_at_one_x(text: str, with_positions: bool) -> None:
    found = SIX
    if with_positions:
        found = guideline_of({(c.kind, c.stage): c.log_odds for c in SIX.densities}, POSITIONS)
    one = cut(resnet(), found, text)
    seen = seen_by(costs_for(resnet()).layers, one.masks, found)
    assert len(seen) > 20
    # Single weights that cost less fill up what is left of a budget of MACs.
    assert differ(seen) < (5 if "macs" in text else 1.5)
    assert one.gap < 0.001


def test_a_guideline_holds_for_other_budgets_seeds_and_networks() -> None:
    one, again, other = (cut(resnet(), SIX, "nonzero<=20%", seed) for seed in (0, 0, 1))
    assert all(torch.equal(one.masks[name], again.masks[name]) for name in one.masks)
    assert not torch.equal(one.masks["layer2.1.conv1.weight"], other.masks["layer2.1.conv1.weight"])
    sums = [{name: int(mask.sum()) for name, mask in found.masks.items()} for found in (one, other)]
    assert max(abs(sums[0][name] - sums[1][name]) for name in sums[0]) <= 1
    deep = cut(known("resnet32", (1, 8, 8)), SIX, "nonzero<=20%")
    assert deep.gap < 0.001
    layers = costs_for(known("resnet32", (1, 8, 8))).layers
    assert differ(seen_by(layers, deep.masks, SIX)) < 1.5


def test_stages_that_no_source_has_are_as_the_nearest_that_one_has() -> None:
    found = guideline_of({("kernel", 1): 2.0, ("kernel", 3): -2.0, ("linear", 0): 0.5})
    assert [found.density_odds("kernel", stage) for stage in (0, 1, 3, 9)] == [2, 2, -2, -2]
    assert found.density_odds("point", 3) == -2  # no other is known
    assert found.density_odds("linear", 0) == 0.5
    assert guideline_of({("linear", 0): 0.5}).density_odds("kernel", 0) == 0
    positions = guideline_of({}, POSITIONS)
    assert positions.position_odds((3, 3), 7) == tuple(POSITIONS[2, (3, 3)])
    assert positions.position_odds((5, 5), 0) is None
    assert positions.position_odds((), 0) is None


def test_what_was_not_found_is_not_applied() -> None:
    found = guideline_of({("kernel", 0): 3.0, ("first", 0): -3.0}, POSITIONS, is_found=False)
    one = cut(resnet(), found, "nonzero<=30%")
    for mask in one.masks.values():
        flat = mask.reshape(mask.shape[0] * mask.shape[1], -1).double().mean(0)
        assert float((flat - 0.3).abs().max()) <= 2 / (mask.shape[0] * mask.shape[1]) + 1e-3


def test_what_was_fitted_is_drawn_again() -> None:
    space = resnet()
    odds = {layer.name: -0.8 * layer.stage for layer in costs_for(space).layers.layers}
    patterns = [planted(space, odds, (0, 0, 0, 0, 1.0, 0, 0, 0, 0), seed=seed) for seed in range(3)]
    one = cut(space, fit_patterns(patterns), f"nonzero<={patterns[0].cost.nonzero}")
    for layer in patterns[0].layers:
        if layer.size > 2000:
            assert float(one.masks[layer.name].double().mean()) == pytest.approx(layer.density, abs=0.03)
    centre = one.masks["layer3.1.conv1.weight"].double().mean((0, 1))
    assert float(centre[1, 1]) > 1.5 * float(centre[0, 0])


def test_strong_positions_make_no_layer_denser_than_it_was_found() -> None:
    space = resnet()
    odds = dict.fromkeys((layer.name for layer in costs_for(space).layers.layers), -3.0)
    pattern = planted(space, odds, (0, 0, 0, 0, 4.0, 0, 0, 0, 0))
    one = cut(space, fit_patterns([pattern]), f"nonzero<={pattern.cost.nonzero}")
    for kernel in ((3, 3), (1, 1)):
        layers = [layer for layer in pattern.layers if layer.shape[2:] == kernel and not layer.is_first]
        found, size = sum(layer.nonzero for layer in layers), sum(layer.size for layer in layers)
        drawn = sum(int(one.masks[layer.name].sum()) for layer in layers)
        assert drawn / size == pytest.approx(found / size, rel=0.05)


def test_the_method_draws_from_the_guideline_it_is_given() -> None:
    own = evidence(resnet(), 3, SIX)
    found, expected = GUIDED.scores(own), scores_by(own, SIX)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)


# Files


def test_a_guideline_reads_back_as_it_was_written(tmp_path: Path) -> None:
    found = guideline_of({("kernel", 0): -1.25, ("first", 0): 2.0}, POSITIONS)
    found.write(tmp_path / "g.yaml")
    assert read_pattern_guideline(tmp_path / "g.yaml") == found


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("log_odds: -1.25", "log_odds: .nan", "densities.0.log_odds"),
        ("log_odds: -1.25", "log_odds: 21", "densities.0.log_odds: it must be at most 20, got 21"),
        ("log_odds: -1.25", "weights: [1]", "densities.0.weights: there is no such setting"),
        ("kind: kernel", "kind: norm", "kind: it must be one of first, kernel, point, linear"),
        ("guideline/1", "guideline/2", "got 'nas-prune/pattern-guideline/2' .* Update nas-prune"),
        ("guideline/1", "guideline/x", "must be of schema nas-prune/pattern-guideline/1, got"),
        ("- 3\n  - 3", "- 3\n  - 2", r"log_odds must have one for each position of \(3, 2\), got 9"),
        ("confidence: 0.9", "confidence: 1.0", "confidence: it must be below 1, got 1"),
        ("schema:", "- schema:", "must be whole YAML"),
    ],
)
def test_a_guideline_that_is_not_what_it_claims_is_refused(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    path = tmp_path / "g.yaml"
    guideline_of({("kernel", 0): -1.25, ("first", 0): 2.0}, {(0, (3, 3)): [0.0] * 9}).write(path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(GuidelineError, match=said) as caught:
        read_pattern_guideline(path)
    assert "\n" not in str(caught.value)


def test_what_is_no_guideline_is_refused_in_a_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "list.yaml").write_text("[1, 2]")
    (tmp_path / "other.yaml").write_text(yaml.safe_dump({"schema": "other"}))
    for name, said in (
        ("pipe", "must be whole YAML"),
        ("", "must be whole YAML"),
        ("list.yaml", "must hold a mapping"),
        ("other.yaml", "must be of schema nas-prune/pattern-guideline/1, got 'other'"),
        ("nothing", "must exist, got .*nothing. nas-prune guide writes one"),
    ):
        with pytest.raises(GuidelineError, match=said) as caught:
            read_pattern_guideline(tmp_path / name)
        assert "\n" not in str(caught.value)
