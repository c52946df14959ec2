"""Dynamic network surgery: the paper's rule written out by hand, and a training to the same bits."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from nas_prune.patterns.cut import cut_weights
from nas_prune.patterns.methods.contract import Setting
from nas_prune.patterns.methods.on_weights import part_on
from nas_prune.patterns.methods.surgery import SURGERY, Cuts, planned
from nas_prune.space.budget import Budget
from nas_prune.training.compute import Compute
from nas_prune.training.loop import fit
from nas_prune.training.masks import count
from nas_prune.training.state import TrainState
from tests.patterns.methods import test_hard_concrete as gates

Arrays = dict[str, NDArray[np.float64]]


def cuts_of(model: nn.Module, setting: Setting) -> dict[str, Cuts]:
    return {layer.name: part_on(model, layer.name)[0] for layer in setting.costs.layers.layers}


def masks_of(model: nn.Module, setting: Setting) -> dict[str, torch.Tensor]:
    return {name: cuts.get_buffer("mask").clone() for name, cuts in cuts_of(model, setting).items()}


class ByHand:
    """The paper's rule in numpy; c by halving until as many weights stay as may."""

    def __init__(self, sizes: Arrays, limit: int) -> None:
        self.limit, self.c = limit, 0.0
        self.mean = {name: size.mean() for name, size in sizes.items()}
        self.deviation = {name: size.std() for name, size in sizes.items()}
        self.masks = {name: np.ones_like(size, dtype=bool) for name, size in sizes.items()}

    def stays(self, sizes: Arrays, c: float) -> dict[str, NDArray[np.bool_]]:
        found = {}
        for name, size in sizes.items():
            t = max(self.mean[name] + c * self.deviation[name], 0)
            mask = self.masks[name].copy()
            mask[size <= 0.9 * t] = False
            mask[size > 1.1 * t] = True
            mask.flat[size.argmax()] = True  # a layer keeps one
            found[name] = mask
        return found

    def kept(self, sizes: Arrays, c: float) -> int:
        return sum(int(mask.sum()) for mask in self.stays(sizes, c).values())

    def find(self, sizes: Arrays) -> None:
        """The middle of all c with which as many stay as may."""
        ends = []
        for most in (self.limit, self.limit - 1):
            low, high = -100.0, 100.0
            for _ in range(60):
                middle = (low + high) / 2
                low, high = (middle, high) if self.kept(sizes, middle) > most else (low, middle)
            ends.append(high)
        self.c = sum(ends) / 2

    def follow(self, sizes: Arrays) -> None:
        self.masks = self.stays(sizes, self.c)


def test_masks_follow_the_rule_of_the_paper_written_out_by_hand() -> None:
    setting = gates.setting_of(SURGERY, recipe=gates.RECIPE.with_epochs(12))
    plan, model = planned(setting), gates.changed(SURGERY, setting)
    after_step = gates.course_of(SURGERY, setting).after_step
    state = TrainState(model, torch.optim.SGD(model.parameters()))
    generator, limit = torch.Generator().manual_seed(0), setting.costs.limit(setting.budget)
    by_hand: ByHand | None = None
    assert after_step is not None
    went = came_back = 0
    for done in range(1, plan.stop + 10):
        sizes: Arrays = {}
        for layer in setting.costs.layers.layers:  # as an optimiser might
            weight = part_on(model, layer.name)[1].data
            weight.add_(0.05 * weight.std() * torch.randn(weight.shape, generator=generator))
            sizes[layer.name] = weight.abs().numpy().astype(np.float64)
        before = masks_of(model, setting)
        after_step(state)
        state.steps_done += 1
        if done == plan.first:
            by_hand = ByHand(sizes, limit)
        if by_hand is not None and done < plan.stop and done in plan.finds | plan.updates:
            if done in plan.finds:
                by_hand.find(sizes)
            by_hand.follow(sizes)
        masks = masks_of(model, setting)
        if by_hand is not None and done < plan.stop:
            wrong = sum(int((mask.numpy() != by_hand.masks[name]).sum()) for name, mask in masks.items())
            assert wrong == 0, done
        else:
            assert count(masks) == (limit if done >= plan.stop else sum(setting.costs.layers.sizes))
        went += sum(int((before[name] & ~mask).sum()) for name, mask in masks.items())
        came_back += sum(int((~before[name] & mask).sum()) for name, mask in masks.items())
    assert went > came_back > 30


def test_the_stop_cuts_to_the_budget_whatever_is_left_and_then_nothing_moves() -> None:
    setting = replace(gates.setting_of(SURGERY), epochs=400, steps_per_epoch=10)
    plan, model = planned(setting), gates.changed(SURGERY, setting)
    after_step = gates.course_of(SURGERY, setting).after_step
    assert after_step is not None
    limit, kept = setting.costs.limit(setting.budget), []
    between = min(plan.updates - plan.finds)
    for done in (plan.first, between, plan.stop, plan.stop + 1):
        state = TrainState(model, torch.optim.SGD(model.parameters()), epochs_done=0, steps_done=done - 1)
        after_step(state)
        kept.append(count(masks_of(model, setting)))
        for layer in setting.costs.layers.layers:
            part_on(model, layer.name)[1].data.mul_(1.5)
    assert kept[0] == kept[2] == kept[3] == limit
    assert kept[1] > 1.1 * limit


def test_a_weight_comes_back_when_the_value_behind_it_has_grown() -> None:
    weight = torch.tensor([1.0, -1.0, 2.0, -4.0])  # |w|: mean 2, deviation √1.5
    cuts = Cuts(weight)
    cuts.freeze(weight)
    cuts.aim(0.0)
    for moved, stays in (
        ([1.0, -1.0, 2.0, -4.0], [False, False, True, True]),
        ([2.1, -2.3, 1.9, -4.0], [False, True, True, True]),  # back above 2.2 only
        ([2.2, -1.9, 1.7, -4.0], [False, True, False, True]),  # away below 1.8 only
        ([2.3, -1.7, 2.1, -0.1], [True, False, False, False]),
        ([1.7, -1.6, 1.6, -0.1], [True, False, False, False]),  # the largest stays
    ):
        cuts.follow(torch.tensor(moved))
        assert cuts.get_buffer("mask").tolist() == stays
        acting = cuts(torch.tensor(moved))
        assert torch.equal(acting, torch.tensor(moved) * torch.tensor(stays))
    cuts.aim(1.0)
    assert cuts.get_buffer("threshold").item() == pytest.approx(2 + 1.5**0.5)
    cuts.aim(-9.0)
    assert cuts.get_buffer("threshold").item() == 0.0


def test_weights_that_are_left_out_learn_by_the_slope_of_what_acts() -> None:
    setting = gates.setting_of(SURGERY)
    model = gates.changed(SURGERY, setting)
    for cuts in cuts_of(model, setting).values():
        mask = cuts.get_buffer("mask")
        mask.copy_(torch.rand(mask.shape, generator=torch.Generator().manual_seed(1)) < 0.5)
    plain = setting.space.build(seed=0)
    with torch.no_grad():
        for name, cuts in cuts_of(model, setting).items():
            plain.get_parameter(name).mul_(cuts.get_buffer("mask"))
    images = torch.rand(6, 1, 8, 8)
    for network in (model, plain):
        network.train()(images).square().sum().backward()
    for name, cuts in cuts_of(model, setting).items():
        expected, found = plain.get_parameter(name).grad, part_on(model, name)[1].grad
        assert expected is not None
        assert found is not None
        assert torch.equal(found, expected)
        assert found[~cuts.get_buffer("mask")].any()


def test_updates_get_rarer_and_end_at_three_quarters() -> None:
    setting = replace(gates.setting_of(SURGERY), epochs=400, steps_per_epoch=10)
    plan = planned(setting)
    assert (plan.first, plan.stop) == (1000, 3000)
    assert plan == planned(setting)
    assert min(plan.updates) >= plan.first
    assert max(plan.updates) < plan.stop
    assert len(plan.finds) == 60
    assert min(plan.finds) == plan.first
    for start, chance in ((1000, 1 / 1.07), (1900, 1 / 1.7), (2800, 1 / 2.33)):
        drawn = [step in plan.updates for step in range(start, start + 200)]
        assert np.mean(drawn) == pytest.approx(chance, abs=0.1)


@pytest.mark.parametrize("epochs", [1, 2])
def test_the_shortest_training_is_cut_too(epochs: int) -> None:
    setting = replace(gates.setting_of(SURGERY), epochs=epochs, steps_per_epoch=1)
    plan = planned(setting)
    assert 1 <= plan.first <= plan.stop <= epochs


@pytest.mark.parametrize("budget", ["nonzero<=30%", "macs<=40%", "size<=40%, macs<=60%"])
def test_a_training_ends_at_its_budget_and_its_scores_say_the_same(budget: str) -> None:
    setting = gates.setting_of(SURGERY, budget=budget)
    state = gates.begun(SURGERY, setting)
    fit(state, gates.training_of(SURGERY, setting))
    assert state.average is not None
    masks = masks_of(state.model, setting)
    assert all(torch.equal(mask, masks_of(state.average, setting)[name]) for name, mask in masks.items())
    cost = setting.costs.at([int(mask.sum()) for mask in masks.values()])
    for bound in setting.budget.bounds:
        assert cost.of(bound.kind) <= setting.costs.limit(bound)
    plain = gates.check_is_plain(SURGERY, setting, state.average)
    found = cut_weights(setting.costs, SURGERY.scores(gates.evidence_of(plain, setting)), setting.budget)
    assert found.gap < 0.01
    for name, mask in found.masks.items():
        assert torch.equal(mask, masks[name])
        assert torch.equal(plain.get_parameter(name) != 0, masks[name])


def test_own_keeps_what_surgery_keeps() -> None:
    setting = gates.setting_of(SURGERY, budget="own")
    state = gates.begun(SURGERY, setting)
    fit(state, gates.training_of(SURGERY, setting))
    scores = SURGERY.scores(gates.evidence_of(state.model, setting))
    own = cut_weights(setting.costs, scores, Budget.parse("own"), SURGERY.zero)
    masks = masks_of(state.model, setting)
    assert all(torch.equal(mask, masks[name]) for name, mask in own.masks.items())
    assert 0.02 < own.cost.nonzero / setting.costs.whole.nonzero < 0.5


def test_layers_that_share_a_weight_share_its_mask() -> None:
    setting = gates.setting_of(SURGERY, "tied")
    state = gates.begun(SURGERY, setting)
    fit(state, gates.training_of(SURGERY, setting))
    first = gates.weight_of(state.model, "first")
    assert torch.equal(first, gates.weight_of(state.model, "second"))
    assert not first.all()
    gates.check_is_plain(SURGERY, setting, state.model)


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_training_that_is_stopped_goes_on_to_the_same_bits(tmp_path: Path, channels_last: bool) -> None:
    gates.check_stops_and_goes_on(SURGERY, tmp_path, channels_last=channels_last)


def test_a_copy_of_the_network_has_masks_of_its_own() -> None:
    gates.check_copy_is_independent(SURGERY, gates.setting_of(SURGERY))


def test_a_network_in_bfloat16_is_trained_too() -> None:
    setting = gates.setting_of(SURGERY)
    state = gates.begun(SURGERY, setting)
    fit(state, replace(gates.training_of(SURGERY, setting), compute=Compute(precision="bf16")))
    assert count(masks_of(state.model, setting)) == setting.costs.limit(setting.budget)
