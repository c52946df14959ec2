"""Optimal Brain Damage, against squared gradients and measured rises of a loss where no two weights meet."""

import pytest
import torch
from torch import Tensor, nn

from nas_prune.data import ImageData
from nas_prune.data.images import ImageSet
from nas_prune.patterns.costs import costs_of
from nas_prune.patterns.layers import weight_layers
from nas_prune.patterns.methods import sample_gradients as module
from nas_prune.patterns.methods.contract import Evidence, Scope
from nas_prune.patterns.methods.obd import OBD, second_derivatives
from nas_prune.space.load import load_space
from tests.patterns.methods.test_sample_gradients import all_gradients, fresh

PIXELS = 16


def of_one_pixel() -> ImageData:
    """Images of which only one pixel is not 0, so that no two pixels' weights meet in one loss."""
    images = torch.zeros(256, 1, PIXELS, dtype=torch.uint8)
    for number, image in enumerate(images):
        image[0, number % PIXELS] = 51 * (1 + number % 5)
    part = ImageSet(images.reshape(-1, 1, 4, 4), torch.zeros(256, dtype=torch.int64))
    return ImageData("pixels", part, part, part, ("a", "b"), flip=False, mean=(0.0,), std=(1.0,))


def separable(scope: Scope = "global") -> Evidence:
    """Two classes by one weight a pixel each; a second channel is nothing, so that nothing depends on its readers."""
    space = load_space(
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 1, bias=False), nn.Flatten(), nn.Linear(2 * PIXELS, 2, bias=False)
        ),
        (1, 4, 4),
        num_classes=2,
    )
    model = space.build(seed=0)
    with torch.no_grad():
        model.get_parameter("0.weight").copy_(torch.tensor([1.0, 0.0]).view(2, 1, 1, 1))
        model.get_parameter("2.weight").uniform_(0.01, 0.03, generator=torch.Generator().manual_seed(0))
    return Evidence(model, space, costs_of(space, weight_layers(space)), of_one_pixel(), 0, scope)


def rise_without(evidence: Evidence, places: list[int]) -> float:
    """Of the loss under the network's own scores, which is least as the network is, without weights of class 1."""
    images = evidence.data.train.sample().double().flatten(1) / 255
    whole = evidence.model.get_parameter("2.weight").detach().double()[:, :PIXELS]
    left = whole.clone()
    left[1, places] = 0
    own, other = (images @ whole.T).log_softmax(1), (images @ left.T).log_softmax(1)
    return float((own.exp() * (own - other)).sum(1).mean())


def test_h_is_the_mean_of_squared_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IMAGES", 40)
    evidence = fresh("grouped")
    whole = all_gradients(evidence)
    a_batch = 7 * sum(evidence.costs.layers.sizes)  # so that there is one of 5 images at last
    monkeypatch.setattr(module, "_MOST_NUMBERS", a_batch)
    found = second_derivatives(evidence)
    for name, gradients in whole.items():
        expected = sum(gradient.double().numpy() ** 2 for gradient in gradients) / 40
        assert found[name].numpy() == pytest.approx(expected, rel=1e-4, abs=1e-12)


def test_a_score_is_the_rise_of_the_loss() -> None:
    evidence = separable()
    scores = OBD.scores(evidence)["2.weight"][1, :PIXELS]
    measured = [rise_without(evidence, [place]) for place in range(PIXELS)]
    assert scores.tolist() == pytest.approx(measured, rel=0.03)
    assert max(measured) > 4 * min(measured)


def test_scores_of_weights_that_do_not_meet_add_up() -> None:
    evidence = separable()
    scores = OBD.scores(evidence)["2.weight"][1, :PIXELS]
    assert float(scores[3:11].sum()) == pytest.approx(rise_without(evidence, list(range(3, 11))), rel=0.03)


@pytest.mark.parametrize("scope", ["global", "local"])
def test_weights_of_no_consequence_score_lowest_and_those_that_have_gone_lower(scope: Scope) -> None:
    scores = OBD.scores(separable(scope))
    alive, dead = scores["2.weight"][:, :PIXELS], scores["2.weight"][:, PIXELS:]
    gone = scores["0.weight"][1]
    assert float(alive.min()) > float(dead.max())
    assert float(dead.min()) > float(gone.max())


def test_local_scores_have_the_same_order_within_a_layer() -> None:
    found, other = (OBD.scores(separable(scope))["2.weight"] for scope in ("global", "local"))
    assert order(found[:, :PIXELS]) == order(other[:, :PIXELS])
    assert not torch.allclose(found, other)


def order(values: Tensor) -> list[int]:
    places: list[int] = values.flatten().argsort().tolist()
    return places
