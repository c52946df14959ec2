"""Guidelines fitted to patterns: what was planted is found, what is not in common is not."""

import json
from collections.abc import Callable, Sequence
from functools import cache
from math import log
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nas_prune.errors import GuidelineError
from nas_prune.patterns.fit import densities_of, fit_patterns, log_odds, patterns_in, positions_of
from nas_prune.patterns.guideline import PatternGuideline, kind_of_layer
from nas_prune.patterns.layers import weight_layers
from nas_prune.patterns.pattern import Pattern
from nas_prune.patterns.statistics import pattern_of
from nas_prune.space.load import load_space
from nas_prune.space.search_space import SearchSpace
from tests.networks import known
from tests.patterns.conftest import at_densities, costs_for, planted, sigmoid, small_space

CENTRE = (-0.4, 0.1, -0.4, 0.1, 1.2, 0.1, -0.4, 0.1, -0.4)  # they add up to nothing
BY_STAGE = {0: -0.5, 1: -1.5, 2: -2.5}


def resnet(name: str = "resnet20") -> SearchSpace:
    return known(name, (1, 8, 8))


def odds_of(space: SearchSpace, shift: float = 0.0) -> dict[str, float]:
    """Log odds that fall from stage to stage; those of the first and the last layer are their own."""
    layers = weight_layers(space).layers
    found = {layer.name: BY_STAGE.get(layer.stage, 0.5) + shift for layer in layers}
    return {**found, layers[0].name: 1.0 + shift}


def sources(space: SearchSpace, count: int = 4) -> list[Pattern]:
    return [planted(space, odds_of(space, 0.1 * seed), CENTRE, seed=seed) for seed in range(count)]


def cells(found: PatternGuideline) -> dict[tuple[str, int], float]:
    return {(cell.kind, cell.stage): cell.log_odds for cell in found.densities}


def test_half_a_weight_on_each_side_keeps_log_odds_finite() -> None:
    assert log_odds(0.25, 10**6) == pytest.approx(log(1 / 3), abs=1e-5)
    assert log_odds(0.0, 7) == -log_odds(1.0, 7) == pytest.approx(log(0.5 / 7.5))


def test_stages_are_counted_from_the_last_with_convolutions() -> None:
    space = resnet()
    found = densities_of(planted(space, odds_of(space)))
    assert set(found) == {
        ("first", 0),
        ("linear", 0),
        *(("kernel", n) for n in (0, 1, 2)),
        ("point", 0),
        ("point", 1),
    }
    assert found["kernel", 2] > found["kernel", 1] > found["kernel", 0]


def test_a_classifier_that_stays_dense_changes_no_stage() -> None:
    space = resnet()
    whole, part = (planted(space, odds_of(space), CENTRE, keep=keep) for keep in ((), ("fc",)))
    assert set(densities_of(whole)) - set(densities_of(part)) == {("linear", 0)}
    assert set(positions_of(whole)) == set(positions_of(part))


def test_densities_are_differences_from_all_weights_together() -> None:
    space = small_space()
    costs = costs_for(space)
    masks = at_densities(costs.layers, 0.25)
    pattern = pattern_of(space, costs, masks)
    kept = [int(mask.sum()) for mask in masks.values()]

    def odds(share: int, size: int) -> float:
        return log((share + 0.5) / (size - share + 0.5))

    whole = odds(sum(kept), 402)
    assert densities_of(pattern) == pytest.approx(
        {
            ("first", 0): odds(kept[0], 54) - whole,
            ("kernel", 0): odds(kept[1], 324) - whole,
            ("linear", 0): odds(kept[2], 24) - whole,
        }
    )


def test_positions_are_differences_from_all_weights_of_the_stage_and_few_kernels_say_nothing() -> None:
    space = resnet()
    planted_odds = (0, 0, 0, 0, 3, 0, 0, 0, 0)
    found = positions_of(planted(space, dict.fromkeys(odds_of(space), -2.0), planted_odds))
    shares = sigmoid(-2 + np.array(planted_odds))
    expected = np.log(shares / (1 - shares)) - log(shares.mean() / (1 - shares.mean()))
    for stage in (0, 1, 2):
        own = [found[stage, (3, 3), place] for place in range(9)]
        assert own == pytest.approx(expected, abs=0.2)
    whole = small_space(12)
    all_alike = {
        layer.name: torch.ones(layer.shape, dtype=torch.bool) for layer in weight_layers(whole).layers
    }
    one = pattern_of(whole, costs_for(whole), all_alike)
    assert set(positions_of(one).values()) == {0.0}
    assert positions_of(planted(small_space(), {}, CENTRE)) == {}  # 6 + 36 kernels in two stages


def test_what_was_planted_is_found_from_several_sources() -> None:
    space = resnet()
    patterns = sources(space)
    found = fit_patterns(patterns)
    assert found.of_densities.is_found
    assert found.of_positions.is_found
    assert found.level == "seed"
    assert found.of_densities.test.endswith(
        "of kinds of layers and stages within each source, by log odds and by ranks"
    )
    assert found.of_positions.test.endswith(
        "shuffles of positions within each source, by log odds and by ranks"
    )
    expected = {
        key: np.mean([densities_of(one)[key] for one in patterns]) for key in densities_of(patterns[0])
    }
    assert cells(found) == pytest.approx(expected, abs=0.05)
    known_odds = {1: BY_STAGE[1] - BY_STAGE[2], 2: BY_STAGE[0] - BY_STAGE[2]}
    for stage, difference in known_odds.items():
        assert cells(found)["kernel", stage] - cells(found)["kernel", 0] == pytest.approx(difference, abs=0.1)
    for cell in found.positions:
        assert cell.log_odds == pytest.approx(CENTRE, abs=0.2)
        assert cell.half_width is not None
        assert cell.of == 4
    for density in found.densities:
        assert density.low is not None
        assert density.high is not None
        assert density.low < density.log_odds < density.high


def test_networks_of_other_depths_are_pooled_by_stage() -> None:
    found = fit_patterns(
        [*sources(resnet(), 2), *sources(resnet("resnet32"), 2), *sources(known("vgg11", (1, 16, 16)), 2)]
    )
    assert found.level == "network"
    assert any("different numbers of stages" in note for note in found.notes)
    of = {(cell.kind, cell.stage): cell.of for cell in found.densities}
    assert of["kernel", 0] == 6
    assert of["point", 0] == 4
    assert of["first", 0] == of["kernel", 2] == 6


def test_sources_that_have_nothing_in_common_are_not_applied() -> None:
    # The positions of each are alike in all stages: taken for so many agreements they would seem to be in common.
    space, rng = resnet(), np.random.default_rng(0)

    def one(seed: int) -> Pattern:
        odds = dict.fromkeys(odds_of(space), 0.0)
        own = dict(zip(odds, rng.normal(-1, 1, len(odds)), strict=True))
        return planted(space, own, rng.normal(0, 0.5, 9).tolist(), seed=seed)

    found = fit_patterns([one(seed) for seed in range(4)])
    assert not found.of_densities.is_found
    assert not found.of_positions.is_found
    assert found.density_odds("kernel", 0) == 0
    assert found.position_odds((3, 3), 0) is None


@cache
def without_positions() -> SearchSpace:
    return load_space(
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 5)),
        (1, 8, 8),
        num_classes=5,
    )


@cache
def of_large_kernels() -> SearchSpace:
    return load_space(
        lambda: nn.Sequential(
            nn.Conv2d(1, 12, 5, padding=2),
            nn.ReLU(),
            nn.Conv2d(12, 12, 5, padding=2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(12, 5),
        ),
        (1, 8, 8),
        num_classes=5,
    )


@pytest.mark.parametrize(("count", "other"), [(3, without_positions), (1, of_large_kernels)])
def test_a_source_that_says_nothing_of_positions_has_no_part_in_whether_others_agree(
    count: int, other: Callable[[], SearchSpace]
) -> None:
    several = sources(resnet())
    alone = fit_patterns(several)
    found = fit_patterns([*several, *(planted(other(), {}, seed=seed) for seed in range(count))])
    assert alone.of_positions.p_value == pytest.approx(0.0005, rel=0.1)
    assert found.of_positions.is_found
    assert found.of_positions.p_value == pytest.approx(0.0005, rel=0.1)
    assert found.level == "network"
    assert found.notes[0] == "Independent for kernel positions: each seed of those that say anything of them."
    for stage in (0, 1, 2):
        assert found.position_odds((3, 3), stage) == pytest.approx(
            alone.position_odds((3, 3), stage), abs=0.02
        )


@pytest.mark.parametrize("other", [without_positions, of_large_kernels])
def test_positions_of_which_one_source_alone_says_anything_are_taken_as_they_are(
    other: Callable[[], SearchSpace],
) -> None:
    one = planted(resnet(), odds_of(resnet()), CENTRE)
    found = fit_patterns([one, planted(other(), {})])
    assert (found.of_positions.is_found, found.of_positions.p_value) == (True, None)
    assert found.position_odds((3, 3), 0) == pytest.approx(
        [positions_of(one)[0, (3, 3), place] for place in range(9)], abs=1e-4
    )


def test_one_source_alone_is_taken_as_it_is() -> None:
    pattern = planted(resnet(), odds_of(resnet()), CENTRE)
    found = fit_patterns([pattern])
    assert (found.of_densities.is_found, found.of_densities.p_value) == (True, None)
    assert cells(found) == pytest.approx(densities_of(pattern), abs=1e-4)
    assert {(cell.low, cell.high) for cell in found.densities} == {(None, None)}
    assert all(cell.half_width is None for cell in found.positions)
    assert "One source alone" in found.notes[0]


def test_budgets_of_one_search_are_one_source() -> None:
    space = resnet()
    budgets = [planted(space, odds_of(space, shift), CENTRE) for shift in (-1.0, 0.0, 1.0)]
    found = fit_patterns(budgets)
    assert found.of_densities.p_value is None
    assert len(found.sources) == 3
    assert found.covers == (budgets[0].density, budgets[2].density)
    means = {key: np.mean([densities_of(one)[key] for one in budgets]) for key in densities_of(budgets[0])}
    assert cells(found) == pytest.approx(means, abs=1e-4)


def test_controls_among_the_sources_are_noted() -> None:
    space = resnet()
    found = fit_patterns([planted(space, odds_of(space), seed=seed, method="erk") for seed in (0, 1)])
    assert any("controls" in note for note in found.notes)


def test_a_very_sparse_source_keeps_its_density() -> None:
    space = small_space()
    pattern = pattern_of(space, costs_for(space), at_densities(costs_for(space).layers, 0))
    rare = pattern.model_copy(update={"base_cost": pattern.base_cost.model_copy(update={"nonzero": 10**8})})
    assert fit_patterns([rare]).sources[0].density == pytest.approx(3e-8)


@pytest.mark.parametrize(
    ("patterns", "confidence", "said"), [([], 0.9, "got none"), ([1], 1.0, "between 0 and 1, got 1")]
)
def test_nothing_to_fit_is_refused(patterns: Sequence[int], confidence: float, said: str) -> None:
    given = [planted(small_space(), {}) for _ in patterns]
    with pytest.raises(GuidelineError, match=said):
        fit_patterns(given, confidence=confidence)


def test_patterns_are_read_from_files_and_from_searches(tmp_path: Path) -> None:
    (tmp_path / "run" / "patterns").mkdir(parents=True)
    for seed, name in ((1, "b"), (0, "a")):
        planted(small_space(), {}, seed=seed).write(tmp_path / "run" / "patterns" / f"{name}.json")
    found, notes = patterns_in([tmp_path / "run", tmp_path / "run" / "patterns" / "b.json"])
    assert ([one.seed for one in found], notes) == ([0, 1], [])  # each once
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        GuidelineError, match="must be a finished search for patterns, got .*empty, without any"
    ):
        patterns_in([tmp_path / "empty"])


def test_patterns_of_a_network_that_guesses_are_left_out_unless_they_are_asked_for(tmp_path: Path) -> None:
    runs = [tmp_path / "good", tmp_path / "bad"]
    for seed, (run, accuracy) in enumerate(zip(runs, (0.5, 0.1), strict=True)):
        (run / "patterns").mkdir(parents=True)
        planted(small_space(), {}, seed=seed).write(run / "patterns" / "a.json")
        (run / "result.json").write_text(json.dumps({"base": {"val_accuracy": accuracy, "guess": 0.16}}))
    found, notes = patterns_in(runs)
    assert [one.seed for one in found] == [0]
    assert fit_patterns(found, notes=notes).notes[0].startswith("1 of 2 patterns left out")
    assert len(patterns_in(runs, with_guesses=True)[0]) == 2
    with pytest.raises(GuidelineError, match="better than guessing, got 1 by ones that are not"):
        patterns_in(runs[1:])


@pytest.mark.parametrize(
    ("kind", "shape", "is_first", "expected"),
    [
        ("conv", (8, 3, 3, 3), True, "first"),
        ("linear", (8, 3), True, "first"),
        ("conv", (8, 3, 1, 1), False, "point"),
        ("conv", (8, 3, 1, 3), False, "kernel"),
        ("conv", (8, 3, 5), False, "kernel"),
        ("linear", (8, 3), False, "linear"),
    ],
)
def test_kinds_of_layers(kind: str, shape: tuple[int, ...], is_first: bool, expected: str) -> None:
    assert kind_of_layer(kind, shape, is_first=is_first) == expected
