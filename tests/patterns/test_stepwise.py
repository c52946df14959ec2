"""Weights that go while a network trains: after which steps, down to which bounds, and compared as the scope says."""

from collections.abc import Mapping
from functools import cache

import pytest
import torch
from torch import Tensor

from nas_prune.data.config import DataConfig
from nas_prune.patterns.config import SparsifyConfig, resolve
from nas_prune.patterns.cut import cut_weights
from nas_prune.patterns.methods.contract import Scope, Setting
from nas_prune.patterns.prepared import PreparedPatterns, prepared_patterns
from nas_prune.patterns.stepwise import gradually, held_in, in_steps, most_steps
from nas_prune.runs.progress import SILENT
from nas_prune.space.budget import Budget
from nas_prune.training.masks import Masks
from tests.patterns.conftest import costs_for, small_space


def setting(budget: str = "nonzero<=40", epochs: int = 10, steps: int = 10) -> Setting:
    """A training of the network of 402 weights."""
    space = small_space()
    return Setting(space, costs_for(space), Budget.parse(budget), "global", epochs, steps, num_images=steps)


def test_the_cubic_schedule_is_that_of_the_paper_by_hand() -> None:
    found = gradually(setting())
    # 40 + 362 (1 - u / 60)³ after 10 + 65 u / 60 of 100 steps.
    by_hand = {
        1: (11, 384),
        12: (23, 225),
        15: (26, 193),
        24: (36, 118),
        36: (49, 63),
        48: (62, 43),
        60: (75, 40),
    }
    for step, left in by_hand.values():
        assert found[step] == Budget("nonzero", absolute=left), step
    assert (min(found), max(found), len(found)) == (11, 75, 60)
    bounds = [bound.absolute for bound in found.values()]
    assert bounds == sorted(bounds, key=lambda one: -(one or 0))


def test_a_short_training_removes_at_most_once_after_a_step_and_ends_at_the_budget() -> None:
    found = gradually(setting(epochs=2, steps=4))
    assert list(found) == [1, 2, 3, 4, 5, 6]
    assert found[6] == Budget("nonzero", absolute=40)


def test_several_costs_fall_together() -> None:
    costs = costs_for(small_space())
    found = gradually(setting("nonzero<=40, macs<=50%"))[75]
    assert found == Budget("nonzero", absolute=40, more=(Budget("macs", absolute=costs.whole.macs // 2),))


def test_weights_go_by_equal_factors_between_two_and_four_fifths_of_the_training() -> None:
    # 402 · (40 / 402)^(step / 3): 186.28, 86.32, 40
    expected = {40: 186, 60: 86, 80: 40}
    assert in_steps(setting(), 3) == {
        step: Budget("nonzero", absolute=left) for step, left in expected.items()
    }
    assert in_steps(setting(), 1) == {40: Budget("nonzero", absolute=40)}
    assert most_steps(setting()) == len(in_steps(setting(), 41)) == 41


@cache
def stage_of(method: str, scope: Scope) -> PreparedPatterns:
    config = SparsifyConfig(
        space="vgg11",
        width_multiplier=0.0625,
        data=DataConfig(name="digits", max_images=128),
        epochs=10,
        method=method,
        scope=scope,
        budgets=("nonzero<=20%",),
        iterations=2 if method == "magnitude" else None,
    )
    return prepared_patterns(resolve(config), SILENT)


def check_scope(weights: Mapping[str, Tensor], masks: Masks, scope: Scope) -> None:
    """That what stays is what stays by the scope, worked out in another way than the methods do."""
    total = sum(mask.numel() for mask in masks.values())
    left = sum(int(mask.sum()) for mask in masks.values())
    if scope == "local":
        for name, mask in masks.items():
            assert abs(int(mask.sum()) - mask.numel() * left / total) <= 1, name
            sizes = weights[name].abs()
            assert sizes[mask].min() >= sizes[~mask].max()
        return
    deviations = {name: float(weights[name].var(correction=0)) ** 0.5 for name in masks}
    scores = torch.cat([(weights[name].abs().double() / deviations[name]).flatten() for name in masks])
    there = torch.cat([mask.flatten() for mask in masks.values()])
    assert scores[there].min() >= scores[~there].max() * (1 - 1e-6)


@pytest.mark.parametrize("scope", ["local", "deviation"])
@pytest.mark.parametrize("method", ["magnitude", "gradual"])
def test_a_search_compares_weights_as_its_scope_says(method: str, scope: Scope) -> None:
    stage = stage_of(method, scope)
    course = stage.course
    assert course is not None
    assert course.after_step is not None
    state = stage.first_state(course)
    weights = {name: one.detach().clone() for name, one in state.model.named_parameters()}
    found = in_steps(stage.setting, 2) if method == "magnitude" else gradually(stage.setting)
    state.epochs_done, state.steps_done = divmod(max(found) - 1, stage.setting.steps_per_epoch)
    course.after_step(state)
    held = held_in(state.model).masks()
    assert sum(int(mask.sum()) for mask in held.values()) == stage.costs.limit(stage.config.budgets[0])
    check_scope(weights, held, scope)
    scores = stage.scores(stage.first_network())
    check_scope(weights, cut_weights(stage.costs, scores, stage.config.budgets[0]).masks, scope)
