"""The gradients of single images, against other ways to them; which images and labels they are of."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from nas_prune.data.tasks import task_named
from nas_prune.errors import BadInputError
from nas_prune.patterns.costs import costs_of
from nas_prune.patterns.layers import weight_layers
from nas_prune.patterns.methods import sample_gradients as module
from nas_prune.patterns.methods.contract import Evidence, Scope
from nas_prune.patterns.methods.sample_gradients import sample_gradients
from nas_prune.space.load import load_space
from nas_prune.space.search_space import SearchSpace
from tests.search.methods.evidence import digits


class Sequences(nn.Module):
    """A linear layer on each of the image's 16 places."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 2, stride=2)
        self.each = nn.Linear(4, 6)
        self.last = nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        places: Tensor = self.each(self.stem(x).flatten(2).transpose(1, 2)).relu()
        scores: Tensor = self.last(places.mean(1))
        return scores


class Twice(nn.Module):
    """A convolution that is called two times."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, stride=2)
        self.again = nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.again(self.stem(x).relu()).relu()
        scores: Tensor = self.last(self.again(x).relu().mean((2, 3)))
        return scores


def row(*layers: nn.Module, width: int) -> nn.Module:
    """Layers from one channel to `width`, and a classifier."""
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))


def plain() -> nn.Module:
    return row(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 6, 3), width=6)


def grouped() -> nn.Module:
    return row(nn.Conv2d(1, 8, 3, stride=2), nn.Conv2d(8, 8, 3, groups=4, padding=1), nn.ReLU(), width=8)


def depthwise() -> nn.Module:
    return row(nn.Conv2d(1, 6, 3, stride=2), nn.Conv2d(6, 6, 3, groups=6), nn.ReLU(inplace=True), width=6)


def transposed() -> nn.Module:
    up = nn.ConvTranspose2d(4, 6, 3, stride=2)
    return row(nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(), up, nn.ReLU(), width=6)


NETWORKS = {
    "plain": plain,
    "grouped": grouped,
    "depthwise": depthwise,
    "transposed": transposed,
    "sequences": Sequences,
    "twice": Twice,
}


def evidence_of(model: nn.Module, space: SearchSpace, scope: Scope = "global", seed: int = 0) -> Evidence:
    """Evidence on digits."""
    return Evidence(model, space, costs_of(space, weight_layers(space)), digits(), seed, scope)


def fresh(name: str, scope: Scope = "global", seed: int = 0) -> Evidence:
    """Evidence on a network with random weights."""
    space = load_space(NETWORKS[name], (1, 8, 8))
    return evidence_of(space.build(seed=0), space, scope, seed)


def all_gradients(evidence: Evidence) -> dict[str, Tensor]:
    """N × shape, for all images at once."""
    batches = list(sample_gradients(evidence))
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


def of_each_label(evidence: Evidence, images: Tensor) -> dict[str, Tensor]:
    """N×K × shape: the gradients under each label that could be drawn, by another way."""
    model = evidence.model.eval()

    def losses(weights: dict[str, Tensor], image: Tensor) -> Tensor:
        scores: Tensor = functional_call(model, weights, (image[None],))
        return -scores[0].log_softmax(0)

    found: dict[str, Tensor] = vmap(jacrev(losses), in_dims=(None, 0))(evidence.weights(), images)
    return {name: gradients.detach() for name, gradients in found.items()}


@pytest.fixture
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IMAGES", 40)


@pytest.mark.usefixtures("few_images")
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_those_of_one_image_and_one_label(name: str) -> None:
    evidence = fresh(name)
    found = all_gradients(evidence)
    (images,) = module._images(evidence, 40)
    expected = of_each_label(evidence, images)
    assert found.keys() == expected.keys()
    away_NK = torch.zeros(40, 10)
    for weight, gradients in expected.items():
        distance = (gradients - found[weight][:, None]).flatten(2).norm(dim=2)
        away_NK += distance / gradients.flatten(2).norm(dim=2).clamp(min=1e-6)
    assert float(away_NK.min(1).values.max()) < 1e-3  # of one and the same label for all weights
    assert float(away_NK.sort(1).values[:, 1].min()) > 0.1  # and of no other


def drawn(seed: int) -> Tensor:
    """The labels of images to which a network gives the chances 0.7, 0.2, and 0.0125 for each other class."""
    space = load_space(lambda: nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(128, 10)), (1, 8, 8))
    evidence = evidence_of(space.build(seed=0), space, seed=seed)
    with torch.no_grad():
        evidence.model.get_parameter("0.bias").fill_(1.0)
        evidence.model.get_parameter("0.weight").zero_()
        evidence.model.get_parameter("2.weight").zero_()
        evidence.model.get_parameter("2.bias").copy_(torch.tensor([0.7, 0.2] + [0.0125] * 8).log())
    return all_gradients(evidence)["2.weight"][:, :, 0].argmin(1)  # chance less 1 for the label alone


def test_labels_are_drawn_from_the_networks_scores() -> None:
    counts = torch.bincount(drawn(0), minlength=10)
    assert int(counts.sum()) == 256
    assert abs(int(counts[0]) - 179) < 4 * 7.4  # four deviations of a binomial count
    assert abs(int(counts[1]) - 51) < 4 * 6.4


def test_labels_are_drawn_by_the_seed() -> None:
    first, same, other = (drawn(seed) for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.usefixtures("few_images")
def test_the_seed_alone_says_which_images_and_labels() -> None:
    first, same, other = (all_gradients(fresh("plain", seed=seed)) for seed in (0, 0, 1))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["0.weight"], other["0.weight"])


@pytest.mark.usefixtures("few_images")
def test_a_call_for_one_weight_sees_the_same_images_and_labels() -> None:
    evidence = fresh("grouped")
    alone = torch.cat([batch["1.weight"] for batch in sample_gradients(evidence, ["1.weight"])])
    assert torch.allclose(alone, all_gradients(evidence)["1.weight"], rtol=1e-4, atol=1e-7)


@pytest.mark.usefixtures("few_images")
def test_a_batch_is_as_large_as_its_gradients_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    evidence = fresh("plain")
    weights = sum(evidence.costs.layers.sizes)
    sizes: list[list[int]] = []
    for most in (weights // 2, 3 * weights, 10**9):
        monkeypatch.setattr(module, "_MOST_NUMBERS", most)
        sizes.append([len(batch["0.weight"]) for batch in sample_gradients(evidence)])
    monkeypatch.setattr(module, "_MOST_IMAGES", 16)
    sizes.append([len(batch["0.weight"]) for batch in sample_gradients(evidence)])
    assert sizes == [[1] * 40, [3] * 13 + [1], [40], [16, 16, 8]]


@pytest.mark.usefixtures("few_images")
def test_the_network_is_left_as_it_was() -> None:
    evidence = fresh("plain")
    model = evidence.model.train()
    norm = model.get_submodule("1").eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for _ in sample_gradients(evidence):
        assert model.training
    assert model.training
    assert not norm.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(one.grad is None for one in model.parameters())


@pytest.mark.usefixtures("few_images")
def test_it_is_judged_in_evaluation_mode_even_if_it_was_in_training() -> None:
    evidence = fresh("plain")
    evidence.model.eval()
    expected = all_gradients(evidence)
    evidence.model.train()
    assert torch.equal(all_gradients(evidence)["0.weight"], expected["0.weight"])


@pytest.mark.usefixtures("few_images")
def test_gradients_are_there_without_autograd_and_of_frozen_weights() -> None:
    evidence = fresh("plain")
    expected = all_gradients(evidence)
    evidence.model.requires_grad_(requires_grad=False)
    with torch.no_grad():
        found = all_gradients(evidence)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.usefixtures("few_images")
def test_images_of_more_than_a_class_are_refused_in_the_call() -> None:
    evidence = fresh("plain")
    evidence = replace(evidence, data=replace(evidence.data, task=task_named("multi-label")))
    with pytest.raises(BadInputError, match="got --task multi-label, which has none. Use --method magnitude"):
        sample_gradients(evidence)
