"""What every method that finds patterns keeps to."""

from collections.abc import Mapping
from typing import TypeAlias

import pytest
import torch
from torch import Tensor, nn

from nas_prune.data import ImageData
from nas_prune.data.config import DataConfig, load_images
from nas_prune.patterns.costs import PatternCosts, costs_of
from nas_prune.patterns.cut import cut_weights
from nas_prune.patterns.fit import fit_patterns
from nas_prune.patterns.guideline import PatternGuideline
from nas_prune.patterns.layers import weight_layers
from nas_prune.patterns.methods.contract import Course, Evidence, PatternMethod, Setting
from nas_prune.patterns.methods.registry import METHODS
from nas_prune.patterns.statistics import pattern_of
from nas_prune.runs.progress import SILENT
from nas_prune.space.budget import Budget
from nas_prune.space.load import load_space
from nas_prune.space.search_space import SearchSpace
from nas_prune.training.loop import Training, fit
from nas_prune.training.recipe import recipe_named
from nas_prune.training.state import start

BUDGET = Budget.parse("nonzero<=20%")
RECIPE = recipe_named("digits").with_epochs(8)
# Those that go by size alone find no weight that nothing moves: it stays as large as it was drawn.
BY_SIZE = ("magnitude", "gradual", "lottery", "surgery")
FINDS_DEAD = [name for name, method in METHODS.items() if method.trains and name not in BY_SIZE]
Found: TypeAlias = "tuple[PatternMethod, nn.Module, Course, Evidence]"


class Dead(nn.Module):
    """Half of the hidden units have no reader: weights into them are worth nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.hidden, self.out = nn.Conv2d(1, 4, 3, stride=2), nn.Linear(36, 16), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.hidden(self.first(x).relu().flatten(1)).relu()
        scores: Tensor = self.out(hidden[:, :8])
        return scores


@pytest.fixture(scope="module")
def data() -> ImageData:
    return load_images(DataConfig(name="digits", max_images=320), 0, SILENT)


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return load_space(Dead, (1, 8, 8))


@pytest.fixture(scope="module")
def costs(space: SearchSpace) -> PatternCosts:
    return costs_of(space, weight_layers(space))


@pytest.fixture(scope="module")
def guideline(space: SearchSpace, costs: PatternCosts) -> PatternGuideline:
    """Of one pattern: what `guided` draws from."""
    network = space.build(seed=3)
    scores = {layer.name: network.get_parameter(layer.name).abs() for layer in costs.layers.layers}
    return fit_patterns([pattern_of(space, costs, cut_weights(costs, scores, BUDGET).masks)])


def course_of(method: PatternMethod, setting: Setting) -> Course:
    return Course(lambda _: None) if method.course is None else method.course(setting)


def trained(
    method: PatternMethod, space: SearchSpace, costs: PatternCosts, data: ImageData
) -> tuple[nn.Module, Course]:
    """A network as the method's training leaves it, and its course."""
    per_epoch = -(-len(data.train) // RECIPE.batch_size)
    setting = Setting(
        space, costs, BUDGET, "global", RECIPE.epochs, per_epoch, len(data.train), method.strength
    )
    course = course_of(method, setting)
    network = space.build(seed=1)
    if not method.trains:
        return network, course
    course.prepare(network)
    state = start(network, RECIPE)
    fit(state, Training(data, RECIPE, 1, penalise=course.penalise, after_step=course.after_step))
    return state.trained, course


@pytest.fixture(scope="module", params=list(METHODS))
def found(
    request: pytest.FixtureRequest,
    space: SearchSpace,
    costs: PatternCosts,
    data: ImageData,
    guideline: PatternGuideline,
) -> Found:
    """A method, the network that it trained, and what it judges by."""
    method = METHODS[request.param]
    network, course = trained(method, space, costs, data)
    scope = method.scopes[0] if method.scopes else "global"
    return method, network, course, Evidence(network, space, costs, data, 5, scope, guideline)


def copied(network: nn.Module) -> Mapping[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


class TestContract:
    """For all methods alike."""

    def test_each_weight_has_a_score_that_is_a_number(self, found: Found) -> None:
        method, _, _, evidence = found
        scores = method.scores(evidence)
        assert {name: tuple(values.shape) for name, values in scores.items()} == {
            layer.name: layer.shape for layer in evidence.costs.layers.layers
        }
        assert not any(bool(values.isnan().any()) for values in scores.values())

    def test_scoring_twice_gives_the_same_and_changes_nothing(self, found: Found) -> None:
        method, network, _, evidence = found
        before = copied(network)
        scores, was_training = [], network.training
        for seed, is_training in enumerate((True, False)):
            torch.manual_seed(seed)
            network.train(is_training)
            scores.append(method.scores(evidence))
            assert {part.training for part in network.modules()} == {is_training}
        network.train(was_training)
        first, again = scores
        assert all(torch.equal(first[name], again[name]) for name in first)
        after = network.state_dict()
        assert all(torch.equal(before[name], after[name]) for name in before)

    def test_every_budget_is_met_to_the_weight(self, found: Found) -> None:
        method, _, _, evidence = found
        scores = method.scores(evidence)
        for text in ("nonzero<=20%", "macs<=15%", "size<=60%"):
            cut = cut_weights(evidence.costs, scores, Budget.parse(text))
            assert cut.count <= cut.limit
            kept = [int(mask.sum()) for mask in cut.masks.values()]
            assert evidence.costs.at(kept) == cut.cost
            for number, layer in enumerate(evidence.costs.layers.layers):
                if kept[number] < layer.size:
                    more = [count + (place == number) for place, count in enumerate(kept)]
                    assert evidence.costs.at(more).of(cut.budget.kind) > cut.limit

    def test_what_is_left_is_a_network_of_the_space(self, found: Found) -> None:
        method, network, course, evidence = found
        if not method.trains:
            return
        own = evidence.space.build(seed=0)
        inputs = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
        network.eval()
        with torch.no_grad():
            before = network(inputs)
            plain = course.plain(network).eval()
            after = plain(inputs)
        assert list(plain.state_dict()) == list(own.state_dict())
        assert torch.allclose(before, after, atol=1e-5)


@pytest.mark.parametrize("name", FINDS_DEAD)
def test_planted_dead_weights_score_lowest(
    name: str, space: SearchSpace, costs: PatternCosts, data: ImageData
) -> None:
    method = METHODS[name]
    network, _ = trained(method, space, costs, data)
    scores = method.scores(Evidence(network, space, costs, data, 5))["hidden.weight"].double()
    alive, dead = scores[:8], scores[8:]
    assert dead.mean() < alive.mean()
    assert (alive > dead.max()).double().mean() > 0.1
