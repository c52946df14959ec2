"""What a fit is told, refuses and says: costs, controls, copies, contradictions, and what cannot be known."""

import time
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from nas_prune.errors import GuidelineError, WidthsError
from nas_prune.guideline import fit_guideline
from nas_prune.guideline.doubts import _both
from nas_prune.guideline.models import MODELS, Reference, profile
from nas_prune.guideline.sources import Setting, driver_of, searched_in, sources_in, sources_of
from nas_prune.space.load import load_space
from nas_prune.space.widths import Widths
from tests.guideline.synthetic import cut_to, found, setting, space

VGG = space("vgg16")
PATTERN = np.array([0.4 - 0.2 * group.stage for group in setting(VGG).groups_S])


def runs(count: int = 3, budget: str = "channels<=40%", data: str = "cifar10") -> list[Widths]:
    rng = np.random.default_rng(count)
    return [
        found(
            VGG,
            cut_to(VGG, PATTERN + rng.normal(0, 0.05, len(PATTERN)), budget),
            seed=seed,
            budget=budget,
            data=data,
        )
        for seed in range(count)
    ]


def test_different_costs_are_never_pooled_in_silence() -> None:
    mixed = [*runs(), *runs(2, budget="macs<=30%", data="svhn")]
    with pytest.raises(
        GuidelineError, match=r"driven by one cost, got channels \(3\), macs \(2\).*--cost channels"
    ):
        fit_guideline(mixed)
    one = fit_guideline(mixed, cost="macs")
    assert {source.cost for source in one.sources} == {"macs"}
    assert "3 widths driven by other costs left out." in one.notes
    pooled = fit_guideline(mixed, cost="all")
    assert pooled.cost == "channels and macs"
    assert any(note.startswith("Sources driven by different costs are pooled") for note in pooled.notes)
    with pytest.raises(GuidelineError, match="--cost must be one that drove sources, got params"):
        fit_guideline(mixed, cost="params")


def test_what_weighs_the_channels_is_part_of_the_cost() -> None:
    (weighed,) = [found(VGG, VGG.base_G, budget="channels<=50%", settings={"cost": "macs"})]
    assert driver_of(weighed) == "channels (channels weighted by macs)"
    assert driver_of(found(VGG, VGG.base_G, budget="macs<=50%", settings={"cost": "macs"})) == "macs"


def test_of_bounds_on_channels_and_on_another_cost_the_one_that_is_met_drove() -> None:
    """A bound on channels is on those that were searched: the streams of a residual network are whole."""
    resnet = space("resnet20")
    pattern = np.array([0.5 * group.stage for group in setting(resnet).groups_S])
    for text, driver in (("macs<=60%, channels<=75%", "macs"), ("macs<=90%, channels<=75%", "channels")):
        (source,), _ = sources_of([found(resnet, cut_to(resnet, pattern, text), budget=text)])
        assert source.record.cost == driver


def test_searches_in_several_steps_or_from_other_weights_are_searches_of_their_own() -> None:
    given: list[dict[str, str]] = [{}, {"iterations": "4"}, {"weights": "a.pth"}, {"weights": "b.pth"}]
    vectors = [cut_to(VGG, factor * PATTERN, "channels<=40%") for factor in (1.0, -1.0, 0.5, 0.2)]
    said, _ = sources_of(
        [found(VGG, vector, settings=one) for vector, one in zip(vectors, given, strict=True)]
    )
    assert [one.keys[2] for one in said] == ["slimming", "slimming iterations=4", "slimming", "slimming"]
    assert len({one.keys for one in said}) == 4


def test_a_budget_near_the_whole_network_hardly_counts_in_the_test_for_a_pattern() -> None:
    """Brought to a smaller budget, a channel more or less there is a large log ratio."""
    wavy = np.where(np.arange(len(PATTERN)) % 2 == 0, 1.0, -1.0)
    texts = ("channels<=25%", "channels<=94%")
    widths = [
        found(VGG, cut_to(VGG, own, text), budget=text)
        for text, own in zip(texts, (PATTERN, 0.06 * wavy * PATTERN), strict=True)
    ]
    both, _ = sources_of(widths)
    at = Reference(5, "output", both[0].log_uniform)
    for alone, pooled in zip(profile(both[:1], at), profile(both, at), strict=True):
        assert [pooled[place] for place in alone] == pytest.approx([*alone.values()], abs=0.01)
    assert profile(both[1:], at)[0] != pytest.approx(profile(both[:1], at)[0], abs=0.2)


def test_widths_that_nothing_found_are_left_out_by_name() -> None:
    useless = [
        found(VGG, cut_to(VGG, 0 * PATTERN, "channels<=40%"), method="uniform"),
        found(VGG, cut_to(VGG, PATTERN, "channels<=40%"), method="random"),
        found(VGG, VGG.base_G),
    ]
    local = found(VGG, cut_to(VGG, 0 * PATTERN, "channels<=40%"), method="l1-norm")
    assert local.method is not None
    local = local.model_copy(update={"method": local.method.model_copy(update={"is_automatic": False})})
    with pytest.raises(
        GuidelineError, match="at least one source, got 1 of 4 widths left out: uniform widths are a control"
    ):
        fit_guideline([*useless, local])
    guideline = fit_guideline([*runs(), *useless, local])
    assert len(guideline.sources) == 3
    assert sum("left out" in note for note in guideline.notes) == 4


def test_a_file_given_twice_counts_once() -> None:
    guideline = fit_guideline([*runs(), *runs()])
    assert len(guideline.sources) == 3
    assert "3 of 6 widths left out: it is given twice." in guideline.notes
    once = fit_guideline(runs())
    assert [cell.low for cell in guideline.cells] == [cell.low for cell in once.cells]


def test_one_network_is_fitted_and_what_that_cannot_tell_is_said() -> None:
    notes = fit_guideline(runs()).notes
    assert notes == (
        "All sources are of one network (vgg16): how other networks differ is not known.",
        "All sources are of one data set (cifar10 10): how other data sets differ is not known.",
        "All sources are of one method (slimming): how other methods differ is not known.",
    )


def test_one_run_alone_gives_no_interval_and_says_so() -> None:
    guideline = fit_guideline(runs(1))
    assert guideline.model == "stage-role"
    assert all(cell.low is None for cell in guideline.cells)
    assert guideline.pattern is not None
    assert guideline.pattern.p_value is None
    assert "One search alone: whether another seed would find the same is not known." in guideline.notes


def test_several_searches_of_one_layer_are_not_called_one() -> None:
    layers = [layer for width in (3, 8) for layer in (nn.Conv2d(width, 8, 3, padding=1), nn.ReLU())]
    network = load_space(nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * 64, 4)), (3, 8, 8))
    inner = (column for column, group in enumerate(network.groups) if group.role == "inner")
    place = Setting(network, tuple(inner)[:1])
    assert {(group.stage, group.role) for group in place.groups_S} == {(0, "inner")}
    vectors = [[8, 4], [8, 5], [8, 3]]
    widths = [found(network, vector, seed=seed) for seed, vector in enumerate(vectors)]
    guideline = fit_guideline(sources_in(place, widths))
    assert guideline.pattern is not None
    assert guideline.pattern.p_value is None
    assert "no two sources speak of the same two" in guideline.pattern.test
    assert not any(note.startswith("One search alone") for note in guideline.notes)
    assert any(note.startswith("Whether the searches agree is not tested") for note in guideline.notes)


def test_searches_of_several_budgets_and_of_other_networks_are_pooled_with_what_they_say() -> None:
    """What is left when one of them is left out may say nothing of a stage, or of a trend."""
    resnet = space("resnet20", factor=2.0)
    other = found(resnet, cut_to(resnet, np.linspace(0.3, -0.3, 9), "channels<=40%"))
    path = [
        found(VGG, cut_to(VGG, PATTERN, budget), seed=9, budget=budget)
        for budget in ("channels<=60%", "channels<=30%")
    ]
    for sources in ([*runs(1), other], [*path, *runs(1)], [*path, other], [*path, *runs(2), other]):
        guideline = fit_guideline(sources)
        assert set(guideline.errors) == set(MODELS)
        assert len(guideline.sources) == len(sources)


def test_a_layer_that_one_run_kills_does_not_drown_what_all_agree_on() -> None:
    sources = []
    for number, run in enumerate(runs(6)):
        killed = {1: 0, 2: 2}.get(number)
        vector = [1 if place == killed else width for place, width in enumerate(run.vector)]
        sources.append(found(VGG, vector, seed=number))
    guideline = fit_guideline(sources, model="stage-role")
    assert guideline.pattern is not None
    assert guideline.pattern.is_found
    sure = next(cell for cell in guideline.cells if cell.stage == 4)
    assert sure.low is not None
    assert sure.high is not None
    assert sure.low < sure.log_ratio < sure.high < 0


def test_networks_that_agree_with_themselves_only_show_no_pattern() -> None:
    """However sure the seeds of each are: another network would do something else again."""
    rng = np.random.default_rng(4)
    sources = []
    for name, factor in (("vgg16", 1.0), ("vgg11", 1.0)):
        network = space(name, factor=factor)
        count = len(network.searched("inner"))
        own = np.array(
            [{0: 0.3, 1: -0.4, 2: 0.1, 3: 0.4, 4: -0.2}[g.stage] for g in setting(network).groups_S]
        )
        own = own if name == "vgg16" else own[::-1]
        for seed in range(3):
            vector = cut_to(network, own + rng.normal(0, 0.02, count), "channels<=40%")
            sources.append(found(network, vector, seed=seed))
    guideline = fit_guideline(sources)
    assert guideline.pattern is not None
    assert (guideline.pattern.level, guideline.model) == ("network", "uniform")
    alone = fit_guideline(sources[:3])
    assert alone.pattern is not None
    assert alone.pattern.is_found


def test_sources_that_contradict_each_other_are_named_and_give_uniform() -> None:
    rng = np.random.default_rng(0)
    against = [
        found(
            VGG,
            cut_to(VGG, sign * PATTERN + rng.normal(0, 0.03, len(PATTERN)), "channels<=40%"),
            seed=seed,
            data=data,
        )
        for data, sign in (("cifar10", 1), ("svhn", -1))
        for seed in range(2)
    ]
    guideline = fit_guideline(against)
    assert guideline.model == "uniform"
    assert any("data sets cifar10 and svhn contradict each other" in note for note in guideline.notes)
    differing = [note for note in guideline.notes if "differ by more than" in note]
    assert differing  # and uniform widths are no mean of theirs
    assert not any("their mean" in note for note in differing)


def test_one_data_set_at_two_sizes_is_not_called_by_one_name() -> None:
    assert (
        _both("digits 10 (1, 8, 8)", "digits 10 (1, 16, 16)")
        == "digits 10 (1, 8, 8) and digits 10 (1, 16, 16)"
    )


def test_networks_of_other_depths_meet_at_the_output_or_at_the_input() -> None:
    rng = np.random.default_rng(0)
    resnet = space("resnet20", factor=2.0)
    more = [
        found(resnet, cut_to(resnet, rng.normal(0, 0.1, 9), "channels<=40%"), seed=seed) for seed in range(2)
    ]
    for match, stages in (("output", {2, 3, 4}), ("input", {0, 1, 2})):
        guideline = fit_guideline([*runs(), *more], match=match, model="stage-means")  # type: ignore[arg-type]
        assert guideline.num_stages == 5
        assert {cell.stage for cell in guideline.cells if cell.of == 5} == stages


def test_groups_that_were_not_searched_are_no_evidence() -> None:
    """A stream that was left whole was not found to be needed."""
    resnet = space("resnet20", factor=2.0)
    inner = found(resnet, cut_to(resnet, np.zeros(9), "channels<=40%"))
    assert searched_in(resnet, inner) == resnet.searched("inner")
    said = inner.model_copy(update={"left_whole": ("conv1", "layer1.0.conv1")})
    names = [resnet.groups[column].name for column in searched_in(resnet, said)]
    assert "layer1.0.conv1" not in names
    assert "layer2.0.conv2" in names
    (source,), _ = sources_of([inner])
    assert {group.role for group in source.setting.groups_S} == {"inner"}


def test_runs_are_directories_and_a_run_without_widths_is_refused(tmp_path: Path) -> None:
    for seed, widths in enumerate(runs()):
        folder = tmp_path / f"run-{seed}" / "widths"
        folder.mkdir(parents=True)
        widths.write(folder / "channels-40pct.json")
        found(VGG, VGG.base_G, seed=seed).write(folder / "whole.json")
    guideline = fit_guideline([tmp_path / f"run-{seed}" for seed in range(3)])
    assert len(guideline.sources) == 3
    (tmp_path / "empty").mkdir()
    with pytest.raises(GuidelineError, match="a run must hold widths/"):
        fit_guideline([tmp_path / "empty"])
    with pytest.raises(WidthsError, match="must exist"):
        fit_guideline([tmp_path / "nowhere"])
    with pytest.raises(GuidelineError, match="at least one source, got none"):
        fit_guideline([])


def test_a_network_of_ones_own_is_not_imported_because_a_file_names_it(tmp_path: Path) -> None:
    mine = runs(1)[0]
    own = mine.model_copy(update={"space": mine.space.model_copy(update={"name": "my_module:net"})})
    own.write(tmp_path / "own.json")
    with pytest.raises(ValueError, match="my_module:net"):
        fit_guideline([tmp_path / "own.json"])


@pytest.mark.slow
def test_a_thousand_files_are_fitted_in_five_seconds(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for seed in range(1000):
        vector = cut_to(VGG, PATTERN + rng.normal(0, 0.2, len(PATTERN)), "channels<=40%")
        found(VGG, vector, seed=seed).write(tmp_path / f"{seed}.json")
    fit_guideline(runs())  # what is loaded once
    started = time.process_time()
    guideline = fit_guideline(sorted(tmp_path.glob("*.json")))
    assert time.process_time() - started < 5
    assert len(guideline.sources) == 1000
