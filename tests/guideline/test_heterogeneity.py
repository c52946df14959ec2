"""Networks, data sets and methods that differ by more than their runs: found, and named with the stages."""

import numpy as np
import pytest

from nas_prune.guideline import fit_guideline
from nas_prune.guideline.heterogeneity import differences
from nas_prune.guideline.sources import Source, sources_in
from tests.guideline.synthetic import cut_to, found, setting, space
from tests.guideline.test_pooling import keys


def family(first: tuple[float, ...], rng: np.random.Generator, seeds: int = 3) -> list[Source]:
    """Three networks of a family, whose stage 1 has these log ratios."""
    sources = []
    for name, level in zip(("vgg11", "vgg16", "vgg19"), first, strict=True):
        network, place = space(name), setting(space(name))
        pattern = np.array([level if group.stage == 1 else 0.1 * group.stage for group in place.groups_S])
        for seed in range(seeds):
            vector = cut_to(network, pattern + rng.normal(0, 0.05, len(pattern)), "channels<=45%")
            sources += sources_in(place, [found(network, vector, seed=seed, budget="channels<=45%")])
    return sources


def test_networks_that_disagree_are_not_averaged_in_silence() -> None:
    notes = fit_guideline(family((-0.4, 0.0, 0.4), np.random.default_rng(0))).notes
    (note,) = [note for note in notes if "differ by more than" in note]
    assert note.startswith("The networks differ by more than their runs (p = ")
    assert "stage 1 (inner) keeps " in note
    assert "in vgg11 and " in note
    assert "in vgg19" in note
    alike = fit_guideline(family((0.2, 0.2, 0.2), np.random.default_rng(0))).notes
    assert not any("differ by more than" in note for note in alike)


def test_what_changes_with_the_budget_is_no_width_in_a_note() -> None:
    """All networks have the same stages at one budget; how stage 1 changes with the budget differs between them."""
    rng = np.random.default_rng(0)
    sources = []
    for name, change in (("vgg11", -0.9), ("vgg16", 0.0), ("vgg19", 0.3)):
        network, place = space(name), setting(space(name))
        stage = np.array([group.stage for group in place.groups_S])
        for seed in range(3):
            noise = rng.normal(0, 0.05, len(stage))
            for budget, scale in (("macs<=50%", 0.5), ("macs<=25%", 1.0)):
                own = np.where((stage == 1) & (scale == 1), change, 0.0)
                vector = cut_to(network, (0.1 * stage + own + noise) * scale, budget)
                sources += sources_in(place, [found(network, vector, seed=seed, budget=budget)])
    notes = fit_guideline(sources, model="stage-role").notes
    (note,) = [note for note in notes if "differ by more than" in note]
    assert "stage 1 (inner) keeps 0.39 in vgg11 and 0.59 in vgg19" in note
    assert note.count("stage 1 (inner)") == 1


def test_a_level_is_held_against_the_next_one_that_repeats() -> None:
    rng = np.random.default_rng(0)
    names = keys(*(f"{net}{data}M{seed}" for net in "AB" for data in "DE" for seed in "012"))
    shift = np.array([[1.0, -1.0, 0, 0, 0] if name[1] == "D" else [0.0] * 5 for name in names])
    tests = differences(rng.normal(0, 0.1, (12, 5)) + shift, names)
    assert [(one.level, one.below) for one in tests] == [("network", "data"), ("data", "seed")]
    assert tests[0].p_value > 0.05
    assert tests[1].p_value < 0.001
    assert set(tests[1].cells) >= {0, 1}
    assert tests[1].means["A", "D"][0] == pytest.approx(1, abs=0.2)


def test_without_anything_below_that_repeats_there_is_no_test() -> None:
    values = np.random.default_rng(0).normal(0, 1, (3, 4))
    assert differences(values, keys("ADM0", "BDM0", "CDM0")) == []
    assert differences(values, keys("ADM0", "ADM1", "ADM2")) == []


def test_what_does_not_vary_at_all_is_no_division_by_zero() -> None:
    same = np.tile([1.0, 2.0, 3.0], (4, 1))
    names = keys("ADM0", "ADM1", "BDM0", "BDM1")
    assert differences(same, names)[0].p_value == 1
    assert differences(same + [[0], [0], [1], [1]] * np.array([1, 0, 0]), names)[0].p_value == 0


@pytest.mark.slow
@pytest.mark.parametrize("sd", [(0.1,) * 5, (0.3, 0.06, 0.06, 0.06, 0.06), (0.05, 0.2, 0.1, 0.05, 0.2)])
@pytest.mark.parametrize(("networks", "seeds"), [(2, 2), (2, 5), (3, 3)])
def test_networks_that_do_not_differ_are_seldom_said_to(
    sd: tuple[float, ...], networks: int, seeds: int
) -> None:
    """5 % of 2000 tries, three standard errors of which are 1.5 %."""
    rng = np.random.default_rng(1)
    names = keys(*(f"{net}DM{seed}" for net in "ABC"[:networks] for seed in range(seeds)))
    p_values = [differences(rng.normal(0, sd, (len(names), 5)), names)[0].p_value for _ in range(2000)]
    assert np.mean(np.array(p_values) < 0.05) <= 0.065
