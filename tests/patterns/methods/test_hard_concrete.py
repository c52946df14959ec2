"""L0 regularisation on weights: what is drawn, what is expected of it, its steps, and a training to the same bits."""

import copy
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nas_prune.data import ImageData, load_data, num_batches
from nas_prune.patterns.costs import costs_of
from nas_prune.patterns.cut import cut_weights
from nas_prune.patterns.layers import weight_layers
from nas_prune.patterns.methods import hard_concrete as module
from nas_prune.patterns.methods.contract import Course, Evidence, PatternMethod, Setting
from nas_prune.patterns.methods.hard_concrete import L0, chance_of_open, draw, stretched
from nas_prune.patterns.methods.on_weights import Learned, part_on
from nas_prune.space.budget import Budget
from nas_prune.space.load import load_space
from nas_prune.space.search_space import SearchSpace
from nas_prune.training.compute import Compute
from nas_prune.training.loop import Training, fit
from nas_prune.training.recipe import Recipe, recipe_named
from nas_prune.training.resumable import train_in
from nas_prune.training.state import TrainState, start
from tests.training.test_resumable import files, stopping_at

RECIPE = recipe_named("digits").model_copy(update={"epochs": 3, "average": 0.9, "clip_norm": 1.0})


def of_all_kinds() -> nn.Module:
    """Strided, padded, grouped and depthwise convolutions, norms, a linear layer."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, stride=2, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=4),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8, padding=1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


def weight_of(model: nn.Module, path: str) -> Tensor:
    """The weight that a layer uses now."""
    weight = model.get_submodule(path).weight
    assert isinstance(weight, Tensor)
    return weight


class Unread(nn.Module):
    """The last four of its twelve hidden units are read by nobody."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.hidden, self.out = nn.Linear(64, 16), nn.Linear(16, 12), nn.Linear(12, 10)
        self.reads = nn.Buffer(torch.cat([torch.ones(8), torch.zeros(4)]))

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.out(self.hidden(self.first(x.flatten(1)).relu()).relu() * self.reads)
        return scores


class Tied(nn.Module):
    """Two layers of one weight, behind two that may be narrowed, which a search space must have."""

    def __init__(self) -> None:
        super().__init__()
        self.start, self.narrow = nn.Linear(64, 20), nn.Linear(20, 16)
        self.first, self.second, self.out = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 10)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.narrow(self.start(x.flatten(1)).relu()).relu()
        scores: Tensor = self.out(self.second(self.first(x).relu()).relu())
        return scores


NETWORKS = {"all kinds": of_all_kinds, "unread": Unread, "tied": Tied}


@cache
def space_of(name: str = "all kinds") -> SearchSpace:
    return load_space(NETWORKS[name], (1, 8, 8))


@cache
def digits() -> ImageData:
    return load_data("digits", max_images=400)


def setting_of(
    method: PatternMethod, name: str = "all kinds", budget: str = "nonzero<=30%", recipe: Recipe = RECIPE
) -> Setting:
    space = space_of(name)
    steps = num_batches(len(digits().train), recipe.batch_size)
    costs = costs_of(space, weight_layers(space))
    strength = None if method.strength is None else 0.02
    return Setting(space, costs, Budget.parse(budget), "global", recipe.epochs, steps, 64 * steps, strength)


def course_of(method: PatternMethod, setting: Setting) -> Course:
    assert method.course is not None
    return method.course(setting)


def changed(method: PatternMethod, setting: Setting) -> nn.Module:
    """A network that a method has prepared."""
    model = setting.space.build(seed=0)
    course_of(method, setting).prepare(model)
    return model


def begun(method: PatternMethod, setting: Setting, recipe: Recipe = RECIPE) -> TrainState:
    return start(changed(method, setting), recipe)


def training_of(method: PatternMethod, setting: Setting, recipe: Recipe = RECIPE) -> Training:
    course = course_of(method, setting)
    return Training(digits(), recipe, 3, penalise=course.penalise, after_step=course.after_step)


def evidence_of(model: nn.Module, setting: Setting) -> Evidence:
    return Evidence(model, setting.space, setting.costs, digits())


def check_stops_and_goes_on(method: PatternMethod, folder: Path, *, channels_last: bool) -> None:
    """A training that is stopped within and between epochs ends with the same bytes as one that is not."""
    setting = setting_of(method)
    training = replace(training_of(method, setting), compute=Compute(channels_last=channels_last))
    for name in ("whole", "stopped"):
        (folder / name).mkdir()
    train_in(folder / "whole", begun(method, setting), training)
    for step in (4, 5, 11):
        with pytest.raises(KeyboardInterrupt, match="stopped"):
            train_in(folder / "stopped", begun(method, setting), training, stopping_at(step))
    train_in(folder / "stopped", begun(method, setting), training)
    assert files(folder / "stopped") == files(folder / "whole")


def check_is_plain(method: PatternMethod, setting: Setting, model: nn.Module) -> nn.Module:
    """What a course leaves is a network of the space, with the same outputs in evaluation."""
    images = torch.rand(5, 1, 8, 8)
    with torch.no_grad():
        before = model.eval()(images)
        plain = course_of(method, setting).plain(model)
        assert torch.allclose(plain.eval()(images), before, atol=1e-6)
    assert list(plain.state_dict()) == list(setting.space.build(seed=0).state_dict())
    return plain


def check_copy_is_independent(method: PatternMethod, setting: Setting) -> None:
    """A deep copy gives the same, and something else once its own numbers are moved; the first stays as it was."""
    model, images = changed(method, setting), torch.rand(4, 1, 8, 8)
    twin = copy.deepcopy(model)

    def drawn(network: nn.Module) -> Tensor:
        torch.manual_seed(0)
        with torch.no_grad():
            found: Tensor = network.train()(images)
        return found

    before = drawn(model)
    assert torch.equal(drawn(twin), before)
    own = [part for part in twin.modules() if isinstance(part, Learned) or hasattr(part, "mask")]
    assert own
    with torch.no_grad():
        for part in own:
            if isinstance(part, Learned):
                part.values.add_(2.0)
            else:
                part.get_buffer("mask").zero_()
    assert not torch.equal(drawn(twin), before)
    assert torch.equal(drawn(model), before)


@pytest.mark.parametrize("log_alpha", [-4.0, -1.0, 0.0, 2.2, 4.0])
def test_gates_are_open_as_often_and_as_wide_as_expected(log_alpha: float) -> None:
    gates = module._Gates(torch.empty(400_000))
    gates.values.data.fill_(log_alpha)
    torch.manual_seed(0)
    draw(nn.Sequential(gates), None)
    drawn = gates(torch.ones(400_000)).detach()
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    expected = chance_of_open(torch.tensor(log_alpha)).item()
    assert (drawn > 0).float().mean().item() == pytest.approx(expected, abs=0.004)
    u = (torch.arange(1_000_000, dtype=torch.float64) + 0.5) / 1_000_000
    s = 1 / (1 + (-(u.log() - (1 - u).log() + log_alpha) / (2 / 3)).exp())
    mean = (s * 1.2 - 0.1).clamp(0, 1).mean().item()
    assert drawn.mean().item() == pytest.approx(mean, abs=0.004)


def test_gates_are_drawn_once_a_pass_in_training_and_not_at_all_in_evaluation() -> None:
    model = changed(L0, setting_of(L0))
    (gates, dense), images = part_on(model, "0.weight"), torch.rand(2, 1, 8, 8)
    torch.manual_seed(0)
    model.train()(images)
    first = weight_of(model, "0").clone()
    assert torch.equal(first, weight_of(model, "0"))
    model(images)
    assert not torch.equal(first, weight_of(model, "0"))
    model.eval()
    before = gates.chance.clone()
    model(images)
    assert torch.equal(gates.chance, before)
    assert torch.equal(weight_of(model, "0"), dense * stretched(gates.values))


def test_the_penalty_is_the_expected_number_of_open_gates_for_each_image() -> None:
    setting = replace(setting_of(L0), strength=0.7)
    model = changed(L0, setting)
    gates = part_on(model, "3.weight")[0]
    gates.values.data.uniform_(-3, 3)
    values = gates.values.detach().clone().requires_grad_()
    expected = 0.7 * torch.sigmoid(values - 2 / 3 * torch.tensor(0.1 / 1.1).log()).sum()
    (slope,) = torch.autograd.grad(expected / (setting.steps_per_epoch * 64), values)
    given = torch.rand_like(slope) * 1e-5
    gates.values.grad = given.clone()
    penalise = course_of(L0, setting).penalise
    assert penalise is not None
    penalise(model, 0.1)
    assert torch.allclose(gates.get_buffer("mean"), 0.1 * (slope + given), rtol=1e-3, atol=1e-9)
    assert gates.values.grad is None


def test_steps_are_adams_with_a_size_that_falls_to_zero() -> None:
    part, total = Learned(torch.empty(5), -1.0), 7
    expected = nn.Parameter(torch.full((5,), -1.0))
    adam = torch.optim.Adam([expected])
    generator = torch.Generator().manual_seed(0)
    for step in range(total):
        slope = torch.randn(5, generator=generator)
        expected.grad = slope.clone()
        adam.param_groups[0]["lr"] = 2 * 30 / total * (1 - step / total)
        adam.step()
        with torch.no_grad():
            part.move(slope, total, -1e9, 1e9)
    assert torch.allclose(part.values, expected, rtol=1e-4)
    with torch.no_grad():
        part.move(torch.tensor([1e3, -1e3, 0, 0, 0]), total, -2.0, 3.0)
    assert part.values.min() >= -2.0
    assert part.values.max() <= 3.0


def test_the_plain_network_has_the_gates_in_its_weights() -> None:
    setting = setting_of(L0)
    state = begun(L0, setting)
    fit(state, training_of(L0, setting))
    dense, gates = part_on(state.model, "3.weight")[1].detach().clone(), part_on(state.model, "3.weight")[0]
    with torch.no_grad():
        gates.values[:4] = -3.0  # closed
    before = L0.scores(evidence_of(state.model, setting))
    plain = check_is_plain(L0, setting, state.model)
    weight = plain.get_parameter("3.weight")
    assert not weight[:4].any()
    assert torch.equal(weight[4:], (dense * stretched(gates.values))[4:])
    after = L0.scores(evidence_of(plain, setting))
    assert all(torch.equal(before[name], after[name]) for name in before)
    own = cut_weights(setting.costs, after, Budget.parse("own"), L0.zero)
    assert not own.masks["3.weight"][:4].any()


def test_layers_that_share_a_weight_share_its_gates() -> None:
    setting = setting_of(L0, "tied")
    state = begun(L0, setting)
    fit(state, training_of(L0, setting))
    assert torch.equal(weight_of(state.model, "first"), weight_of(state.model, "second"))
    assert len([part for part in state.model.modules() if isinstance(part, Learned)]) == 4
    plain = check_is_plain(L0, setting, state.model)
    assert torch.equal(weight_of(plain, "first"), weight_of(plain, "second"))


def test_weights_into_units_that_nobody_reads_close_first() -> None:
    recipe = RECIPE.with_epochs(12)
    setting = setting_of(L0, "unread", recipe=recipe)
    state = begun(L0, setting, recipe)
    fit(state, training_of(L0, setting, recipe))
    scores = L0.scores(evidence_of(state.model, setting))["hidden.weight"]
    assert not scores[8:].any()
    assert (scores[:8] > 0).float().mean() > 0.2


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_training_that_is_stopped_goes_on_to_the_same_bits(tmp_path: Path, channels_last: bool) -> None:
    check_stops_and_goes_on(L0, tmp_path, channels_last=channels_last)


def test_a_copy_of_the_network_has_gates_of_its_own() -> None:
    check_copy_is_independent(L0, setting_of(L0))


def test_neither_clipping_nor_the_average_nor_decay_touches_the_gates() -> None:
    setting = setting_of(L0)
    found = []
    for clip_norm, decay in ((None, 0.0), (1e9, 0.0), (None, 0.01)):
        recipe = RECIPE.model_copy(update={"clip_norm": clip_norm, "weight_decay": decay, "epochs": 1})
        state = begun(L0, setting, recipe)
        fit(state, training_of(L0, setting, recipe))
        assert state.average is not None
        gates, means = part_on(state.model, "7.weight"), part_on(state.average, "7.weight")
        assert torch.equal(gates[0].values, means[0].values)
        assert not torch.equal(gates[1], means[1])
        assert not any(parameter is gates[0].values for parameter in state.optimiser.state)
        found.append(gates[0].values)
    assert torch.equal(found[0], found[1])
