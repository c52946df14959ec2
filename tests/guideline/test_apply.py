"""Guidelines on networks: budgets met from below, other depths and families, how far they may be stretched."""

from dataclasses import replace
from math import log

import numpy as np
import pytest

from nas_prune.errors import BudgetError, GuidelineError
from nas_prune.guideline import fit_guideline
from nas_prune.guideline.apply import apply_guideline, guideline_named, sample_widths
from nas_prune.guideline.artefact import Cell, Guideline
from nas_prune.guideline.hand import RULES
from nas_prune.guideline.shape import shape_on
from nas_prune.space.budget import Budget
from tests.guideline.synthetic import PAPER_VGG16, cut_to, found, setting, space, with_mean

VGG19 = space("vgg19", 32, 100)
RESNET = space("resnet56", 16)
PAPER = fit_guideline(with_mean(space(), PAPER_VGG16), model="stage-means")
LAST_HALVED = Guideline(num_stages=5, cells=(Cell(stage=4, log_ratio=log(0.5)), Cell(stage=0, log_ratio=0.0)))


@pytest.mark.parametrize(
    "budget", ["macs<=30%", "params<=10%", "channels<=40%", "activations<=50%", "params<=3.10M"]
)
@pytest.mark.parametrize("pattern", [PAPER, LAST_HALVED, *RULES.values()])
def test_budgets_are_met_from_below_and_nothing_more_fits(pattern: Guideline, budget: str) -> None:
    applied = apply_guideline(pattern, VGG19, budget)
    bound = Budget.parse(budget)
    count, limit = VGG19.cost.kind(bound.kind), VGG19.limit(bound)
    assert int(count(applied.widths_G)) <= limit
    for column, base in enumerate(VGG19.base_G):
        more = [width + (place == column) for place, width in enumerate(applied.widths_G)]
        assert applied.widths_G[column] == base or int(count(more)) > limit


def test_a_guideline_on_its_own_network_gives_back_what_it_was_fitted_to() -> None:
    network = space("vgg16")
    pattern = np.array([0.3 - 0.2 * group.stage for group in network.groups])
    vector = cut_to(network, pattern, "channels<=40%")
    guideline = fit_guideline([found(network, vector, seed=seed) for seed in range(3)], model="stage-role")
    applied = apply_guideline(guideline, network, "channels<=40%")
    assert np.abs(np.array(applied.widths_G) - np.array(vector)).max() <= 6
    assert not applied.is_extrapolated
    assert applied.share == pytest.approx(0.4, abs=0.001)


def test_a_bound_on_another_cost_is_met_where_the_driving_cost_is_that_of_the_sources() -> None:
    """A budget in MACs that leaves 40 % of the channels takes the pattern that was found at 40 % of the channels."""
    network = space("vgg16")
    by_channels = apply_guideline(PAPER, network, "channels<=40%")
    macs = network.cost_at(by_channels.widths_G).macs
    by_macs = apply_guideline(PAPER, network, Budget("macs", absolute=macs))
    assert by_macs.share == pytest.approx(by_channels.share, abs=0.005)
    assert np.abs(np.array(by_macs.widths_G) - np.array(by_channels.widths_G)).max() <= 8


def test_a_pattern_fades_towards_the_whole_network_and_below_the_sources_keeps_its_odds() -> None:
    network = space("vgg16")
    shares = {}
    for percent in (40, 60, 80, 30):
        widths = apply_guideline(PAPER, network, f"channels<={percent}%").widths_G
        shares[percent] = widths[-1] / widths[3] * network.base_G[3] / network.base_G[-1]
    assert shares[30] < shares[40] < shares[60] < shares[80] < 1
    shape = shape_on(PAPER, setting(network))
    at = np.log([(PAPER.covers or (0.4,))[0], 0.3])
    keep = np.exp(at[:, None] + shape.log_ratio_NS(at))[:, [4, 7, 12]]
    odds = keep / (1 - keep)
    assert odds[1] / odds[0] == pytest.approx([0.3 / 0.7 / (0.399148 / 0.600852)] * 3, rel=1e-4)


def test_beyond_what_the_sources_cover_is_marked_and_beyond_twice_that_refused() -> None:
    network = space("vgg16")
    assert not apply_guideline(PAPER, network, "channels<=40%").is_extrapolated
    near = apply_guideline(PAPER, network, "channels<=25%")
    assert near.is_extrapolated
    assert (
        near.notes[-1]
        == "Extrapolated: this keeps 25 % of the channels, and the guideline's sources kept 39.9 %."
    )
    for budget in ("channels<=15%", "channels<=90%"):
        with pytest.raises(
            GuidelineError, match=f"within a factor of two .*, got {budget}, which keeps .* kept 39.9 %"
        ):
            apply_guideline(PAPER, network, budget)


def test_stages_are_counted_from_the_output_or_from_the_input() -> None:
    """ResNet-56 has three stages: from the output they are the last three of five, from the input the first three."""
    steps = tuple(Cell(stage=stage, log_ratio=-0.3 * stage) for stage in range(5))
    by_output = apply_guideline(Guideline(num_stages=5, cells=steps), RESNET, "macs<=30%")
    first = Guideline(num_stages=5, match="input", cells=steps)
    by_input = apply_guideline(first, RESNET, "macs<=30%")
    assert by_output.notes == ("The network has 3 stages, the guideline 5: counted from the output.",)
    assert by_input.notes == ("The network has 3 stages, the guideline 5: counted from the input.",)
    # The steps from stage to stage are the same, so that the widths are.
    assert by_output.widths_G == by_input.widths_G
    halves = tuple(Cell(stage=stage, log_ratio=log(0.5) if stage == 4 else 0.0) for stage in range(5))
    last = apply_guideline(Guideline(num_stages=5, cells=halves), RESNET, "macs<=30%")
    none = apply_guideline(Guideline(num_stages=5, match="input", cells=halves), RESNET, "macs<=30%")
    keep = [group.keep_ratio for group in RESNET.widths(last.widths_G).groups if group.role == "inner"]
    assert keep[-1] == pytest.approx(keep[0] / 2, abs=0.05)
    assert none.widths_G == apply_guideline(RULES["uniform"], RESNET, "macs<=30%").widths_G


def test_a_role_that_the_sources_do_not_have_is_taken_from_its_stage_with_a_note() -> None:
    cells = (Cell(stage=0, role="inner", log_ratio=0.0), Cell(stage=2, role="growth", log_ratio=-0.5))
    fitted = Guideline(model="stage-role", num_stages=3, cells=cells)
    applied = apply_guideline(fitted, RESNET, "macs<=50%")
    assert any(
        "Stage 1 has no counterpart: taken like the guideline's stage 0" in note for note in applied.notes
    )
    assert any(
        "Nothing is known of role inner in stage 2: taken like growth" in note for note in applied.notes
    )


def test_what_a_hand_does_not_name_is_as_uniform() -> None:
    """Without a number of stages those of the network are meant."""
    written = Guideline(cells=(Cell(stage=0, role="inner", log_ratio=log(0.5)),))
    applied = apply_guideline(written, RESNET, "macs<=50%")
    keep = {
        group.stage: group.keep_ratio
        for group in RESNET.widths(applied.widths_G).groups
        if group.role == "inner"
    }
    assert keep[0] == pytest.approx(keep[1] / 2, abs=0.05)
    assert keep[1] == pytest.approx(keep[2], abs=0.05)
    assert applied.notes == tuple(
        f"The guideline does not name stage {stage}: as wide as uniform." for stage in (1, 2)
    )
    beyond = Guideline(cells=(*written.cells, Cell(stage=3, log_ratio=0.5)))
    assert (
        "The network has no stage 3, which the guideline names."
        in apply_guideline(beyond, RESNET, "macs<=50%").notes
    )


def test_floors_divisors_and_groups_are_kept() -> None:
    stepped = replace(VGG19, divisor=8, floor=16)
    widths = apply_guideline(PAPER, stepped, "params<=10%").widths_G
    assert all(width % 8 == 0 and width >= 16 for width in widths)
    inner = apply_guideline(RULES["erk"], RESNET, "macs<=60%")
    everything = apply_guideline(RULES["erk"], RESNET, "macs<=60%", groups="all")
    streams = [column for column, group in enumerate(RESNET.groups) if group.role == "stream"]
    assert all(inner.widths_G[column] == RESNET.base_G[column] for column in streams)
    assert any(everything.widths_G[column] < RESNET.base_G[column] for column in streams)
    assert set(inner.left_whole) == {RESNET.groups[column].name for column in streams}
    assert everything.left_whole == ()


def test_budgets_that_cannot_be_met_or_are_none_are_refused() -> None:
    with pytest.raises(BudgetError, match="are feasible"):
        apply_guideline(RULES["uniform"], RESNET, "macs<=1%")
    with pytest.raises(GuidelineError, match="must bound a cost, got own"):
        apply_guideline(RULES["uniform"], RESNET, "own")
    with pytest.raises(GuidelineError, match="--budget must be given"):
        apply_guideline(LAST_HALVED, RESNET)
    with pytest.raises(
        GuidelineError, match="a file or one of uniform, smart-ratio, erk, bottleneck-first, got 'ekr'"
    ):
        guideline_named("ekr")


@pytest.mark.slow
def test_draws_meet_the_budget_differ_and_lie_around_the_guideline() -> None:
    network = space("vgg16")
    runs = with_mean(network, PAPER_VGG16)
    guideline = fit_guideline(runs, model="stage-role").model_copy(update={"layer_spread": 0.1})

    def draw(seed: int) -> list[tuple[int, ...]]:
        rng = np.random.default_rng(seed)
        return sample_widths(guideline, network, "channels<=40%", count=15, rng=rng)

    drawn = draw(0)
    assert drawn == draw(0)
    assert drawn != draw(1)
    assert len(set(drawn)) == 15
    limit = network.limit(Budget.parse("channels<=40%"))
    assert all(sum(widths) <= limit for widths in drawn)
    centre = np.array(apply_guideline(guideline, network, "channels<=40%").widths_G)
    apart = np.log(np.array(drawn) / centre)
    assert np.abs(apart.mean(0)).max() < 0.15
    assert 0.04 < apart.std(0).max() < 0.3


def test_hand_rules_do_what_they_say() -> None:
    keep = {
        name: np.array(apply_guideline(rule, VGG19, "params<=30%").widths_G) / np.array(VGG19.base_G)
        for name, rule in RULES.items()
    }
    assert np.ptp(keep["uniform"]) < 0.02
    assert (np.diff(keep["smart-ratio"]) < 0.01).all()
    # ERK: few weights, many of them kept; the widest layers least.
    assert keep["erk"][0] == 1
    assert keep["erk"][-1] == min(keep["erk"])
    assert keep["bottleneck-first"][:2] == pytest.approx(keep["bottleneck-first"][2] / 2, abs=0.05)
    # (L - l + 1)² + (L - l + 1), the root of that: the first of 17 layers beside the last but one.
    ratio = keep["smart-ratio"][4] / keep["smart-ratio"][15]
    assert ratio == pytest.approx((13**2 + 13) ** 0.5 / (2**2 + 2) ** 0.5, rel=0.05)


def test_of_several_bounds_the_tightest_decides_how_a_pattern_is_placed() -> None:
    place = setting(space("vgg16"))
    zeros_NS = np.zeros((1, len(place.columns)))
    both = place.within(Budget.parse("macs<=50%, params<=10%"), zeros_NS)
    alone = [place.within(Budget.parse(text), zeros_NS) for text in ("macs<=50%", "params<=10%")]
    assert both == min(alone)
    assert alone[0] != alone[1]
