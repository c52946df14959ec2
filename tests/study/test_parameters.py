"""Parameters of trials: the guideline and uniform widths among them, every draw within the budget."""

from math import log

import numpy as np
import pytest

from nas_prune.guideline import fit_guideline
from nas_prune.guideline.apply import Pattern, apply_guideline
from nas_prune.guideline.artefact import Cell, Guideline
from nas_prune.guideline.hand import RULES
from nas_prune.space.budget import Budget
from nas_prune.space.search_space import Groups
from nas_prune.study.parameters import REACH, SHAPE, parametrisation
from nas_prune.study.short_numbers import shortest
from tests.guideline.synthetic import PAPER_VGG16, space, with_mean

VGG = space("vgg16")
SHAPED = fit_guideline(with_mean(VGG, PAPER_VGG16), model="stage-role-shape")
BUDGET = Budget.parse("macs<=50%")


@pytest.mark.parametrize(
    "pattern", [SHAPED, RULES["erk"], None, Guideline(cells=(Cell(stage=1, log_ratio=log(3)),))]
)
@pytest.mark.parametrize("name", ["vgg16", "resnet20"])
def test_the_guideline_and_uniform_are_trials_like_others(pattern: Pattern | None, name: str) -> None:
    network = space(name)
    own = parametrisation(pattern, network, BUDGET)
    uniform = apply_guideline(RULES["uniform"], network, BUDGET).widths_G
    centre = uniform if pattern is None else apply_guideline(pattern, network, BUDGET).widths_G
    assert own.widths_G(own.guideline) == centre
    for parameters in (own.guideline, own.uniform):
        assert parameters.keys() == own.ranges.keys()
        assert all(low <= parameters[at] <= high for at, (low, high) in own.ranges.items())
    assert np.abs(np.array(own.widths_G(own.uniform)) - uniform).max() <= 1


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("vgg16", "all"),
        pytest.param("densenet40", "all", marks=pytest.mark.slow),
        pytest.param("torchvision:mobilenet_v2", "inner", marks=pytest.mark.slow),
    ],
)
def test_uniform_is_uniform_around_every_rule(rule: str, name: str, groups: Groups) -> None:
    network, budget = space(name), Budget.parse("macs<=40%")
    alone, own = (parametrisation(pattern, network, budget, groups=groups) for pattern in (None, RULES[rule]))
    assert own.widths_G(shortest(own, own.uniform)) == alone.widths_G(alone.uniform)
    assert (
        own.widths_G(own.guideline) == apply_guideline(RULES[rule], network, budget, groups=groups).widths_G
    )
    assert (SHAPE in own.ranges) == (rule in {"erk", "smart-ratio"})


@pytest.mark.slow
def test_every_draw_costs_what_the_budget_allows_and_no_two_are_alike() -> None:
    own = parametrisation(SHAPED, VGG, BUDGET)
    rng = np.random.default_rng(0)
    draws = [{at: rng.uniform(*ends) for at, ends in own.ranges.items()} for _ in range(30)]
    limit = VGG.limit(BUDGET)
    costs = [int(VGG.cost.macs(own.widths_G(draw))) for draw in draws]
    assert max(costs) <= limit
    assert min(costs) > 0.98 * limit
    assert len({own.widths_G(draw) for draw in draws}) == 30


def test_a_parameter_moves_its_own_groups() -> None:
    own = parametrisation(SHAPED, VGG, BUDGET)
    for name in own.ranges:
        if name == SHAPE:
            continue
        _, role, stage = name.split(" ")
        moved_S = own.log_ratio_S({**own.guideline, name: REACH}) - own.log_ratio_S(own.guideline)
        for group, move in zip(own.setting.groups_S, moved_S, strict=True):
            if (group.role, str(group.stage)) != (role, stage):
                assert move == 0
        assert np.abs(moved_S).max() > 0.25
    flat = own.log_ratio_S({**own.guideline, SHAPE: 0.0})
    assert np.abs(flat - own.log_ratio_S(own.guideline) + own.bend_S).max() < 1e-12
    assert own.bend_S.any()


def test_ranges_are_as_wide_as_a_guideline_is_unsure() -> None:
    sure = Guideline(cells=(Cell(stage=1, log_ratio=0.0, spread=0.02),))
    unsure = Guideline(cells=(Cell(stage=1, log_ratio=0.0, spread=0.3),))
    units = [
        {cell.name: cell.unit for cell in parametrisation(pattern, VGG, BUDGET).cells}["inner 1"]
        for pattern in (sure, unsure)
    ]
    assert units == [0.1, 0.3]
