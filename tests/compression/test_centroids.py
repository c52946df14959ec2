"""Weights that share a value have one gradient, take one step and stay equal to the bit; zeros stay zeros."""

import pytest
import torch
from torch import nn

from nas_prune.compression.centroids import Centroids
from nas_prune.compression.plan import arrays_of, planned, shared_layers, weights_of
from nas_prune.training.recipe import recipe_named
from nas_prune.training.state import TrainState, start


class Small(nn.Module):
    """A convolution and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 8, 3), nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.linear(self.conv(x).flatten(1)))


def shared_network(bits: int = 2) -> tuple[Small, Centroids]:
    torch.manual_seed(0)
    network = Small()
    with torch.no_grad():
        network.conv.weight *= torch.rand_like(network.conv.weight) < 0.5
    plan = planned(weights_of(network), lambda *_: bits)
    network.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in arrays_of(plan).items()})
    return network, Centroids(shared_layers(plan), torch.device("cpu"))


def backward(network: nn.Module) -> None:
    network.zero_grad()
    network(torch.randn(4, 3, 3, 3)).square().sum().backward()


def test_the_gradient_of_a_value_is_that_of_the_loss_by_it_over_its_weights() -> None:
    """The chain rule: by one number that all weights of a value are set to."""
    network, centroids = shared_network()
    weight = network.conv.weight
    value = weight[weight != 0].unique()[1]
    of_value = weight == value
    images = torch.randn(4, 3, 3, 3)
    step = torch.zeros((), requires_grad=True)
    moved = torch.where(of_value, weight.detach() + step, weight.detach())
    scores = torch.func.functional_call(network, {"conv.weight": moved}, (images,))
    scores.square().sum().backward()
    network.zero_grad()
    network(images).square().sum().backward()
    centroids.gather(network)
    assert weight.grad is not None
    assert step.grad is not None
    assert weight.grad[of_value].unique().numel() == 1
    assert float(weight.grad[of_value][0]) * int(of_value.sum()) == pytest.approx(float(step.grad), rel=1e-4)
    assert not weight.grad[weight == 0].any()


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_weights_of_a_value_stay_equal_and_zeros_stay_zero(optimizer: str) -> None:
    network, centroids = shared_network()
    recipe = recipe_named("digits").model_copy(
        update={"optimizer": optimizer, "learning_rate": 0.01, "average": 0.9}
    )
    state: TrainState = start(network, recipe)
    before = {name: one.detach().clone() for name, one in network.named_parameters()}
    for _ in range(5):
        backward(network)
        centroids.gather(network)
        state.optimiser.step()
        centroids.settle(state)
    for name, one in network.named_parameters():
        assert not torch.equal(one, before[name])
        if one.dim() > 1:
            assert ((one == 0) == (before[name] == 0)).all()
            for value in before[name][before[name] != 0].unique():
                assert one[before[name] == value].unique().numel() == 1


def test_without_settling_a_network_that_has_drifted_stays_so() -> None:
    network, centroids = shared_network()
    state = start(network, recipe_named("digits"))
    with torch.no_grad():
        network.conv.weight += 1e-6 * torch.randn_like(network.conv.weight)
    assert network.conv.weight.unique().numel() > 6
    centroids.settle(state)
    assert network.conv.weight.unique().numel() <= 5


def test_what_tells_plans_from_each_other() -> None:
    assert shared_network()[1].identity == shared_network()[1].identity
    assert shared_network()[1].identity != shared_network(3)[1].identity
