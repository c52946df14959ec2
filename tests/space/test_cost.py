"""Costs: hand arithmetic, an independent counter, goldens."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nas_prune.errors import BadInputError, WidthsError
from nas_prune.graph.channels import ChannelGraph
from nas_prune.graph.resize import resized
from nas_prune.graph.rules import RULES
from nas_prune.space.cost import CostModel, Polynomial, cost_model
from nas_prune.space.load import _loaded_once, load_space
from nas_prune.space.names import known_spaces
from nas_prune.space.search_space import SearchSpace
from tests.networks import CASES, FAMILIES, NAMES, known

# Mean widths of VGG-16 on CIFAR-10, 60 % of the channels removed by slimming (Liu et al. 2019, appendix).
PAPER_VGG16 = (39.0, 64.0, 127.8, 128.0, 255.0, 250.5, 226.0, 217.3, 120.0, 63.0, 47.8, 62.0, 88.8)


# The default run tries a dozen; all families come in the slow one.
ALL = [*FAMILIES, *((name, (3, 32, 32)) for name in known_spaces() if name not in NAMES)]


def count_by_pytorch(space: SearchSpace, widths: list[int]) -> tuple[int, int]:
    """Parameters by `numel` and MACs as half of PyTorch's count, of a network rebuilt on meta tensors."""
    model = resized(space.template, space.graph, widths).to("meta").eval().requires_grad_(requires_grad=False)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        space.forward.run(model, space.forward.blank(model, 1))
    assert counter.get_total_flops() % 2 == 0
    return sum(parameter.numel() for parameter in model.parameters()), counter.get_total_flops() // 2


def check_against_pytorch(name: str, shape: tuple[int, int, int], vectors: int) -> None:
    space = known(name, shape)
    rng = np.random.default_rng(0)
    widths_NG = rng.integers(1, np.array(space.base_G) + 1, (vectors, len(space.groups)))
    params, macs = space.cost.params(widths_NG), space.cost.macs(widths_NG)
    for number, widths in enumerate(widths_NG.tolist()):
        assert count_by_pytorch(space, widths) == (params[number], macs[number])


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_parameters_and_macs_are_exact(name: str, shape: tuple[int, int, int]) -> None:
    check_against_pytorch(name, shape, vectors=3)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "shape"), ALL, ids=[name for name, _ in ALL])
def test_parameters_and_macs_are_exact_on_200_random_vectors(name: str, shape: tuple[int, int, int]) -> None:
    check_against_pytorch(name, shape, vectors=200)


def test_a_small_network_costs_what_arithmetic_says() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 16, 5)
    )
    space = load_space(model, (3, 8, 8))
    cost = space.cost_at([6])
    assert cost.macs == 3 * 6 * 9 * 64 + 6 * 16 * 5
    assert cost.params == 3 * 6 * 9 + 6 + 2 * 6 + 6 * 16 * 5 + 5
    assert cost.activations == 6 * 64 + 6 * 64 + 5


def test_widths_of_the_paper_cost_what_the_paper_prints() -> None:
    space = load_space("vgg16", (3, 32, 32))
    slimmed = space.cost_at([round(width) for width in PAPER_VGG16])
    assert f"{slimmed.params / 1e6:.2f} {slimmed.macs / 1e6:.0f}" == "2.47 181"
    uniform = space.cost_at([round(0.4 * width) for width in space.base_G])
    assert f"{uniform.params / 1e6:.2f} {uniform.macs / 1e6:.1f}" == "2.36 50.6"


@pytest.mark.parametrize(
    ("name", "shape", "params", "macs"),
    [
        ("torchvision:resnet18", (3, 224, 224), 11_689_512, 1_814_073_344),
        ("torchvision:resnet50", (3, 224, 224), 25_557_032, 4_089_184_256),
        ("torchvision:mobilenet_v2", (3, 224, 224), 3_504_872, 300_774_272),
        ("vgg16", (3, 32, 32), 14_724_042, 313_201_664),
        ("lenet300", (1, 28, 28), 266_610, 266_200),
        ("lenet5", (1, 8, 8), 131_080, 537_000),
        pytest.param("resnet110", (3, 32, 32), 1_730_714, 253_149_824, marks=pytest.mark.slow),
        pytest.param("preresnet164", (3, 32, 32), 1_703_258, 247_646_720, marks=pytest.mark.slow),
        ("densenet40", (3, 32, 32), 1_059_298, 282_917_328),
    ],
)
def test_whole_networks_cost_what_they_always_did(
    name: str, shape: tuple[int, int, int], params: int, macs: int
) -> None:
    space = load_space(name, shape)
    cost = space.cost_at(space.base_G)
    assert (cost.params, cost.macs) == (params, macs)


def test_a_vector_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(WidthsError, match="must have 8 numbers, got 3"):
        load_space("vgg11").cost_at([1, 2, 3])


def test_a_polynomial_of_degree_three_is_exact_and_many_vectors_are_each_their_own() -> None:
    polynomial = Polynomial.of({(): 5, (0,): 2, (0, 1): 3, (1, 1): 1, (0, 1, 1): 7}, num_groups=2)
    expected = [5 + 2 * a + 3 * a * b + b * b + 7 * a * b * b for a, b in ((1, 1), (2, 3))]
    assert polynomial([[1, 1], [2, 3]]).tolist() == expected
    assert int(polynomial([2, 3])) == expected[1]


def test_a_cost_that_cannot_be_held_exactly_is_refused() -> None:
    with pytest.raises(OverflowError, match=r"below 2\^53"):
        Polynomial.of({(0, 0): 1}, num_groups=1)([2**27])


def test_what_no_rule_prices_is_counted_as_a_constant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(RULES, "baddbmm")

    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Conv2d(3, 8, 1)
            self.b = nn.Conv2d(8, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.a(x).flatten(2)
            x = torch.baddbmm(x, x, x.new_zeros(x.shape[0], x.shape[2], x.shape[2]))
            result: torch.Tensor = self.b(x.unflatten(2, (8, 8)))
            return result

    model = nn.Sequential(nn.Conv2d(3, 3, 1), Product())
    space = load_space(model, (3, 8, 8))
    assert [group.name for group in space.groups] == ["0"]
    assert count_by_pytorch(space, [2]) == (space.cost_at([2]).params, space.cost_at([2]).macs)


def test_a_network_that_is_not_priced_exactly_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(graph: ChannelGraph, names: list[str]) -> CostModel:
        right = cost_model(graph, names)
        return dataclasses.replace(right, macs=right.params)

    monkeypatch.setattr("nas_prune.space.load.cost_model", wrong)
    _loaded_once.cache_clear()
    with pytest.raises(BadInputError, match="priced exactly, got 9,227,210 where PyTorch counts 37,790,720"):
        load_space("vgg11", (1, 8, 8))
