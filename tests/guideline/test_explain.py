"""Guidelines in sentences."""

from math import log

import numpy as np
import pytest

from nas_prune.guideline import fit_guideline
from nas_prune.guideline.artefact import Cell, Evidence, Guideline
from nas_prune.guideline.explain import sentences
from nas_prune.guideline.hand import RULES
from tests.guideline.synthetic import cut_to, found, space


def at(keep: float, stage: int, **given: object) -> Cell:
    return Cell(stage=stage, log_ratio=log(keep / 0.4), **given)


def test_stages_that_are_alike_share_a_sentence_with_runs_and_interval() -> None:
    cells = [
        *(at(1.0, stage, low=log(0.98 / 0.4), high=log(1.1 / 0.4), up=5, of=5) for stage in range(3)),
        at(0.5, 3, low=log(0.42 / 0.4), high=log(0.56 / 0.4), up=4, of=5),
        at(0.25, 4, low=log(0.22 / 0.4), high=log(0.31 / 0.4), up=0, of=5),
    ]
    said = sentences(
        Guideline(
            model="stage-role",
            cost="channels",
            num_stages=5,
            uniform_keep=0.4,
            covers=(0.4, 0.4),
            covers_share=(0.4, 0.4),
            cells=tuple(cells),
        )
    )
    assert said == [
        "With 40 % of the channels left, where uniform scaling would keep 40 % of every width:",
        "Keep stages 0 to 2 whole. Wider than uniform in 5 of 5 runs. 90 % interval 0.98 to 1.00.",
        "Halve stage 3. Wider than uniform in 4 of 5 runs. 90 % interval 0.42 to 0.56.",
        "Quarter stage 4. Narrower than uniform in 5 of 5 runs. 90 % interval 0.22 to 0.31.",
    ]


def test_what_is_not_known_to_hold_is_said() -> None:
    sure = at(1.0, 0, low=log(0.98 / 0.4), high=log(1.1 / 0.4), up=5, of=5)
    unsure = [at(keep, stage, up=2, of=3) for stage, keep in ((1, 1.0), (2, 0.5))]
    _, mixed, unknown = sentences(Guideline(num_stages=3, uniform_keep=0.4, cells=(sure, *unsure)))
    assert mixed.endswith(
        "Wider than uniform in 2 of 3 runs. 90 % interval 0.98 to 1.00, not known for stage 1."
    )
    assert unknown == "Halve stage 2. Wider than uniform in 2 of 3 runs. How sure that is, is not known."


def test_what_rounding_makes_is_on_no_side_of_uniform() -> None:
    cells = (at(0.41, 0, up=4, of=5), at(0.41, 1, up=5, of=5), at(0.8, 2, up=5, of=5))
    _, rounded, wider = sentences(Guideline(num_stages=3, uniform_keep=0.4, cells=cells))
    assert rounded.startswith("Keep 40 % of stages 0 and 1. As wide as uniform, but for at most 5 %.")
    assert wider.startswith("Keep 80 % of stage 2. Wider than uniform in 5 of 5 runs.")


@pytest.mark.parametrize(
    ("keep", "sentence"),
    [
        (0.93, "Keep stage 1 nearly whole."),
        (0.81, "Keep 80 % of stage 1."),
        (0.34, "Cut stage 1 to a third."),
        (0.66, "Cut stage 1 to two thirds."),
        (0.04, "Keep 4 % of stage 1."),
    ],
)
def test_other_keep_ratios_have_words_too(keep: float, sentence: str) -> None:
    guideline = Guideline(num_stages=2, uniform_keep=0.4, cells=(at(keep, 1),))
    assert sentences(guideline)[1] == sentence


def test_no_pattern_is_said_and_how_sure_that_is() -> None:
    rng = np.random.default_rng(1)
    network = space("vgg16")
    noise = [cut_to(network, rng.normal(0, 0.05, 13), "channels<=40%") for _ in range(4)]
    guideline = fit_guideline([found(network, vector, seed=seed) for seed, vector in enumerate(noise)])
    assert guideline.model == "uniform"
    assert sentences(guideline)[1].startswith(
        "No pattern: use uniform widths. Sources with nothing in common would"
    )


def test_a_slope_and_a_role_are_said() -> None:
    cells = (at(0.4, 0, role="stem"), at(0.4, 0, role="inner", slope=-1.0))
    said = sentences(Guideline(num_stages=1, uniform_keep=0.4, cells=cells))
    assert said[1] == "Keep 40 % of stage 0 (stem) and stage 0 (inner)."
    assert said[2] == "From the beginning of stage 0 (inner) to its end: 66 %, 24 % of the width."
    shape = ((0.0, 0.3), (0.5, -0.4), (1.0, 0.1))
    bent = Guideline(num_stages=1, uniform_keep=0.4, cells=(at(0.4, 0, shape=shape),))
    assert sentences(bent)[2] == "From the beginning of stage 0 to its end: 54 %, 27 %, 44 % of the width."


def test_a_guideline_without_a_budget_speaks_of_uniform() -> None:
    cells = (Cell(stage=0, log_ratio=0.0), Cell(stage=1, log_ratio=log(2)))
    assert sentences(Guideline(num_stages=2, cells=cells)) == [
        "At any budget, beside the uniform network of the same cost:",
        "Make stage 0 as wide.",
        "Make stage 1 2 times as wide.",
    ]


def test_every_rule_is_a_sentence_with_its_source() -> None:
    for rule in RULES.values():
        (sentence,) = sentences(rule)
        assert rule.citation in sentence


def test_the_global_test_is_not_repeated_where_nobody_made_it() -> None:
    assert sentences(Guideline(uniform_keep=0.5)) == [
        "Where uniform scaling would keep 50 % of every width:",
        "No pattern: use uniform widths.",
    ]
    tested = Guideline(uniform_keep=0.5, pattern=Evidence(is_found=False, p_value=0.42))
    assert "in 42 % of cases" in sentences(tested)[1]
    useless = Guideline(uniform_keep=0.5, pattern=Evidence(is_found=True, p_value=0.02))
    assert sentences(useless)[1].startswith(
        "The runs have something in common, but it predicts one that is left out"
    )
