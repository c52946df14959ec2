"""Each rule on a small network of its own: what may be narrowed, exact costs, and dead channels that go unnoticed."""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_prune.errors import BadInputError
from nas_prune.graph.channels import channel_graph
from nas_prune.graph.check import failure
from nas_prune.graph.resize import resized
from nas_prune.space.load import load_space
from tests.graph.cases import CASES, Net, conv
from tests.restricted import restricted_outputs
from tests.space.test_cost import count_by_pytorch
from tests.surgery import images_of, kill, lively, outputs, random_halves


@pytest.mark.parametrize("case", CASES)
def test_what_may_be_narrowed(case: str) -> None:
    model, expected = CASES[case]
    if not expected:
        with pytest.raises(BadInputError, match="must have something to narrow"):
            load_space(model, (3, 8, 8))
    else:
        assert {group.name for group in load_space(model, (3, 8, 8)).groups} == expected


@pytest.mark.parametrize("case", [case for case, (_, expected) in CASES.items() if expected])
def test_costs_are_exact_and_dead_channels_go_unnoticed(case: str) -> None:
    space = load_space(CASES[case][0], (3, 8, 8))
    rng = np.random.default_rng(0)
    for _ in range(4):
        widths = rng.integers(1, np.array(space.base_G) + 1).tolist()
        cost = space.cost_at(widths)
        assert count_by_pytorch(space, widths) == (cost.params, cost.macs)
        assert failure(space.template, space.graph, (3, 8, 8), widths) is None
    model, kept = lively(space), random_halves(space)
    before = outputs(model, space)
    if case != "a fixed slice":  # what may be narrowed there is what no layer reads
        assert (outputs(space.narrow(model, kept), space) - before).abs().max() > 1e-6
    kill(model, space, kept)
    expected, _ = restricted_outputs(model, space, kept, images_of(space))
    assert (outputs(space.narrow(model, kept), space) - expected).abs().max() < 1e-10


def test_an_addition_of_unequal_shapes_is_no_residual() -> None:
    def forward(n: Any, x: Tensor) -> Any:
        x = n.a(x)
        return n.b(x + x.mean((2, 3), keepdim=True))

    groups = load_space(Net(forward, a=conv(3, 8), c=conv(8, 8), b=conv(8, 4)), (3, 8, 8)).graph.groups
    assert {group.name: group.role for group in groups}["a"] == "stem"


def test_channels_beside_an_empty_tensor_are_no_growth() -> None:
    def forward(n: Any, x: Tensor) -> Any:
        x = n.a(x)
        return n.b(torch.cat([x, x.new_zeros(len(x), 0, *x.shape[2:])], 1))

    assert load_space(Net(forward, a=conv(3, 8), b=conv(8, 4)), (3, 8, 8)).groups[0].role == "stem"


def beside(n: Any, x: Tensor, made: Callable[..., Tensor]) -> Tensor:
    """Rows that are made from nothing, below what the norm gives."""
    return torch.cat([n.bn(n.a(x)), made(len(x), n.bn.num_features, 1, 8, device=x.device)], 2)


def weighed(n: Any, x: Tensor, of: Callable[[Tensor], Tensor] = lambda x: x) -> Tensor:
    """Squeeze and excitation of what the norm gives."""
    x = n.bn(n.a(x))
    return of(x) * torch.sigmoid(n.c(x.mean((2, 3), keepdim=True)))


def written(x: Tensor, write: Callable[[Tensor], Tensor]) -> Tensor:
    """What a view of some rows is changed to lies in the whole."""
    write(x[:, :, 0])
    return x


@pytest.mark.parametrize(
    ("forward", "is_gated"),
    [
        (lambda n, x: n.b(F.relu(n.bn(n.a(x)))), True),
        (lambda n, x: n.b(F.hardtanh(n.bn(n.a(x)))), True),
        (lambda n, x: n.b(F.hardtanh(n.bn(n.a(x)), 0.5, 2.0)), False),
        (lambda n, x: n.b(n.bn(n.a(x)).clamp(-1, 1)), True),
        (lambda n, x: n.b(n.bn(n.a(x)).clamp(min=0.5)), False),
        (lambda n, x: n.b(n.bn(n.a(x)).clamp_max(-0.5)), False),
        (lambda n, x: n.b(n.bn(n.a(x)).clamp_min(0)), True),
        (lambda n, x: n.b(n.bn(n.a(x)) ** 2), True),
        (lambda n, x: n.b(2 ** n.bn(n.a(x))), False),
        (lambda n, x: n.b(torch.sin(n.bn(n.a(x)))), True),
        (lambda n, x: n.b(written(n.bn(n.a(x)), lambda part: part.mul_(2))), True),
        (lambda n, x: n.b(written(n.bn(n.a(x)), lambda part: part.add_(1))), False),
        (lambda n, x: n.b(written(n.bn(n.a(x)), lambda part: part.fill_(1))), False),
        (lambda n, x: n.b(F.avg_pool2d(n.bn(n.a(x)), 2) * 3), True),
        (lambda n, x: n.b(torch.sigmoid(n.bn(n.a(x)))), False),
        (lambda n, x: n.b(n.bn(n.a(x)) + 1), False),
        (lambda n, x: n.b(n.bn(n.a(x)) - n.bn(n.a(x)).mean()), False),
        (lambda n, x: n.b(n.bn(n.a(x)) - n.bn(n.a(x)).mean((2, 3), keepdim=True)), True),
        (lambda n, x: n.b(n.bn(n.a(x))) + n.b(n.a(x)), False),
        (lambda n, x: n.b(n.bn(n.a(x)) + n.a(x)), False),
        (lambda n, x: n.b(weighed(n, x)), True),
        (lambda n, x: n.b(weighed(n, x) + n.bn(n.a(x))), True),
        (lambda n, x: n.b(weighed(n, x).mul_(n.c(n.bn(n.a(x))))), True),
        (lambda n, x: n.b(weighed(n, x, torch.cos)), False),
        (lambda n, x: n.b(n.bn(n.a(x)) * torch.sigmoid(n.bn(n.a(x)))), True),
        (lambda n, x: n.b(n.a(x) * torch.sigmoid(n.bn(n.a(x)))), False),
        (lambda n, x: n.b(weighed(n, x, torch.cos) / n.bn(n.a(x))), False),
        (lambda n, x: n.b(F.pad(n.bn(n.a(x)), (1, 1, 1, 1))), True),
        (lambda n, x: n.b(F.pad(n.bn(n.a(x)), (1, 1, 1, 1), value=0.5)), False),
        (lambda n, x: n.b(beside(n, x, torch.zeros)), True),
        (lambda n, x: n.b(beside(n, x, torch.ones)), False),
        (lambda n, x: n.b(torch.cat([n.bn(n.a(x)), n.bn.weight.view(1, -1, 1, 1).expand(len(x), -1, 1, 8)], 2)), False),
    ],
)  # fmt: skip
def test_a_group_is_gated_when_its_norms_silence_it(forward: Callable[..., Any], is_gated: bool) -> None:
    model = Net(forward, a=conv(3, 8), bn=nn.BatchNorm2d(8), b=conv(8, 4), c=conv(8, 8))
    space = load_space(model, (3, 8, 8))
    assert space.groups[0].is_gated is is_gated
    trained, kept = lively(space), random_halves(space)
    dead = np.setdiff1d(np.arange(8), kept[0])
    with torch.no_grad():
        trained.bn.weight[dead] = trained.bn.bias[dead] = 0  # type: ignore[operator, union-attr]
    change = (outputs(space.narrow(trained, kept), space) - outputs(trained, space)).abs().max()
    assert change < 1e-10 or not is_gated


class Standardised(nn.Conv2d):
    """A convolution whose weights are normed row by row, as one batch norm over all rows does it."""

    def forward(self, x: Tensor) -> Tensor:
        rows = self.weight.reshape(1, self.out_channels, -1)
        weight = F.batch_norm(rows, None, None, training=True, momentum=0.0).reshape_as(self.weight)
        return F.conv2d(x, weight, self.bias)


class Attention(nn.Module):
    """PyTorch's own attention, or the same by hand."""

    def __init__(self, *, by_hand: bool, scale: float | None = None) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = conv(3, 24), conv(3, 24), conv(3, 12), nn.Linear(12, 5)
        self.by_hand, self.factor = by_hand, scale

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (one(x).flatten(2).transpose(1, 2) for one in (self.q, self.k, self.v))
        if self.by_hand:
            mixed = (q * (q.shape[-1] ** -0.5) @ k.transpose(1, 2)).softmax(-1) @ v
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, scale=self.factor)
        return torch.as_tensor(self.o(mixed.mean(1)))


@pytest.mark.parametrize(
    ("model", "group", "is_reduced"),
    [
        (nn.Sequential(conv(3, 8), Standardised(8, 6, 3), conv(6, 4)), "0", True),
        (nn.Sequential(conv(3, 8), Standardised(8, 6, 3), conv(6, 4)), "1", False),
        (nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), conv(8, 4)), "0", False),
        (Attention(by_hand=False), "q", True),
        (Attention(by_hand=False), "v", False),
        (Attention(by_hand=False, scale=0.3), "q", False),
        (Attention(by_hand=True), "q", True),
        (Attention(by_hand=True), "v", False),
    ],
)
def test_channels_that_are_reduced_over_have_a_say_even_when_they_are_dead(
    model: nn.Module, group: str, is_reduced: bool
) -> None:
    found = {one.name: one.is_reduced for one in load_space(model, (3, 8, 8)).groups}
    assert found[group] is is_reduced


@dataclass
class Held:
    """What a network may put its outputs in."""

    maps: Any


class Slotted:
    """The same, without a dictionary."""

    __slots__ = ("maps",)

    def __init__(self, maps: Any) -> None:
        self.maps = maps


@pytest.mark.parametrize(
    "hold",
    [
        Held,
        Slotted,
        lambda x: Held([{"one": Slotted(x)}]),
        lambda x: {"a": (x,)},
        lambda x: SimpleNamespace(a=x),
    ],
)
def test_an_output_keeps_its_width_whatever_it_is_in(hold: Callable[[Tensor], Any]) -> None:
    def forward(n: Any, x: Tensor) -> Any:
        inner = n.a(x)
        return n.c(n.b(inner)).mean((2, 3)), hold(inner)

    graph = load_space(Net(forward, a=conv(3, 8), b=conv(8, 6), c=conv(6, 5)), (3, 8, 8)).graph
    frozen = {group.name: group.frozen for group in graph.groups}
    assert frozen["a"] == "the network's output"


def test_a_buffer_with_values_of_its_own_freezes_its_channels() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = conv(3, 8), conv(8, 6), conv(6, 4)
            self.register_buffer("scale", torch.linspace(1, 2, 8).view(1, 8, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.c(self.b(self.a(x) * self.scale))
            return result

    space = load_space(Scaled(), (3, 8, 8))
    reasons = {group.name: group.frozen for group in space.graph.groups}
    assert reasons["a"] == "buffer scale holds values of its own for them"
    assert [group.name for group in space.groups] == ["b"]
    assert torch.equal(space.build([3], seed=0).get_buffer("scale"), Scaled().get_buffer("scale"))


def test_modules_of_transposed_convolutions_know_their_sizes() -> None:
    model = nn.Sequential(conv(3, 8), conv(8, 10), nn.ConvTranspose2d(10, 6, 2), conv(6, 4))
    graph = channel_graph(model, (3, 8, 8))
    transposed = resized(model, graph, [5, 7, 3])[2]  # type: ignore[index]
    assert isinstance(transposed, nn.ConvTranspose2d)
    assert (transposed.in_channels, transposed.out_channels) == (7, 3)


def test_a_network_that_fails_below_some_width_is_frozen() -> None:
    def forward(n: Any, x: Tensor) -> Any:
        x = n.a(x)
        assert x.shape[1] >= 8, "too narrow"
        return n.b(n.c(x))

    space = load_space(Net(forward, a=conv(3, 32), c=conv(32, 8), b=conv(8, 4)), (3, 8, 8))
    assert [group.name for group in space.groups] == ["c"]


def test_a_fault_in_a_rule_freezes_what_it_touches_and_says_whose_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from nas_prune.graph import rules

    def broken(_: object) -> None:
        raise ZeroDivisionError("our own mistake")

    monkeypatch.setitem(rules.RULES, "convolution", broken)
    graph = channel_graph(nn.Sequential(conv(3, 8), conv(8, 4)), (3, 8, 8))
    said = "the rule for aten.convolution failed in 0 (ZeroDivisionError: our own mistake)"
    assert {group.frozen for group in graph.groups} == {said, said.replace("in 0", "in 1")}


def test_a_function_that_makes_a_network_keeps_its_first_weights() -> None:
    def make() -> nn.Module:
        model = nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), conv(8, 4))
        nn.init.constant_(model[1].weight, 0.25)  # type: ignore[arg-type]
        return model

    assert load_space(make, (3, 8, 8)).build([5], seed=0).get_parameter("1.weight").tolist() == [0.25] * 5
