"""What is written how: bits as asked for, budgets kept to the byte, the numbers of a network put in their places."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import nn

from nas_prune.coding.file import content_of, header_bytes
from nas_prune.coding.tensor import CodedTensor, PlainTensor, Tensors
from nas_prune.compression.config import CompressConfig
from nas_prune.compression.plan import (
    arrays_of,
    check_bits,
    planned,
    planned_within,
    rewritten,
    shared_layers,
    weights_of,
)
from nas_prune.errors import BadInputError, BudgetError


class Tied(nn.Module):
    """Two layers of one weight, a norm, and a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3)
        self.norm = nn.BatchNorm2d(16)
        self.one, self.two = nn.Linear(40, 40), nn.Linear(40, 40)
        self.two.weight = self.one.weight


def network(density: float = 0.3) -> Tied:
    torch.manual_seed(0)
    own = Tied()
    with torch.no_grad():
        own.one.weight *= torch.rand_like(own.one.weight) < density
    return own


def coded(tensors: Tensors, name: str) -> CodedTensor:
    found = tensors[name]
    assert isinstance(found, CodedTensor)
    return found


def size_of(tensors: Tensors) -> int:
    return len(content_of(tensors, {}))


def within(limit: int, curvatures: Mapping[str, float] | None = None) -> Tensors:
    weights = weights_of(network())
    known = dict.fromkeys(weights.kinds, 1.0) if curvatures is None else curvatures
    return planned_within(weights, limit, lambda own: header_bytes(own, {}), known, "size<=X")


def test_weights_of_two_dimensions_share_values_and_the_rest_is_plain() -> None:
    weights = weights_of(network())
    assert dict(weights.kinds) == {"conv.weight": "conv", "one.weight": "linear"}
    assert dict(weights.same_as) == {"two.weight": "one.weight"}
    plan = planned(weights, lambda _, kind: 4 if kind == "conv" else 3)
    assert len(coded(plan, "conv.weight").shared.values_K) == 16
    assert len(coded(plan, "one.weight").shared.values_K) == 8
    assert plan["two.weight"] == "one.weight"
    assert isinstance(plan["norm.running_var"], PlainTensor)
    assert [*plan] == [*network().state_dict()]


def test_a_layer_that_shared_values_make_larger_is_plain() -> None:
    own = nn.Linear(3, 2)
    assert isinstance(planned(weights_of(own), lambda *_: 8)["weight"], PlainTensor)


def test_a_layer_without_weights_is_refused() -> None:
    own = network()
    nn.init.zeros_(own.conv.weight)
    with pytest.raises(BadInputError, match=r"got none in conv\.weight"):
        weights_of(own)


@pytest.mark.parametrize(
    ("bits", "says"),
    [
        ({"all": 10}, None),
        (
            {"conv": 10, "one": 5},
            r"10 for conv\.weight, whose weights have 432 without zero\. Use --bits one=5,conv=9",
        ),
        ({"conv.weight": 10}, r"Use --bits conv\.weight=9"),
        ({"one": 10}, None),
        ({"elsewhere": 3}, "got 'elsewhere'. Layers: conv, one"),
    ],
)
def test_bits_that_no_layer_can_use_are_refused(bits: dict[str, int], says: str | None) -> None:
    own = network(1.0)
    config = CompressConfig(bits=bits)
    if says is None:
        check_bits(config, weights_of(own))
    else:
        with pytest.raises(BadInputError, match=says):
            check_bits(config, weights_of(own))


def test_what_is_advised_is_taken() -> None:
    own = weights_of(network())
    with pytest.raises(BadInputError, match="Use --bits (.*).") as refused:
        check_bits(CompressConfig(bits="conv=10,linear=4"), own)
    advised = str(refused.value).rpartition("--bits ")[2].rstrip(".")
    assert advised == "linear=4,conv=9"
    check_bits(CompressConfig(bits=advised), own)


def test_every_budget_is_kept_and_more_bytes_are_never_worse() -> None:
    errors = []
    for limit in (1000, 1200, 1400, 1600, 2000, 3000):
        plan = within(limit)
        assert size_of(plan) <= limit
        assert limit > 1600 or size_of(plan) > 0.93 * limit
        errors.append(sum(layer.shared.squared_error for layer in shared_layers(plan).values()))
    assert errors == sorted(errors, reverse=True)


def test_bytes_go_to_the_layer_whose_weights_matter() -> None:
    plans = [
        within(1300, {"conv.weight": conv, "one.weight": one}) for conv, one in ((1e-3, 1.0), (1.0, 1e-3))
    ]
    convs, ones = (
        [len(coded(plan, name).shared.values_K) for plan in plans] for name in ("conv.weight", "one.weight")
    )
    assert convs[0] < convs[1]
    assert ones[0] > ones[1]


def test_the_least_size_is_printed_and_is_one_that_there_is() -> None:
    with pytest.raises(BudgetError, match=r"at least size<=(\d+)B, which is what two values") as refused:
        within(100)
    advised = CompressConfig(budget=str(refused.value).partition("at least ")[2].partition(",")[0])
    least = advised.limit(10**6) or 0
    assert size_of(within(least)) == least
    with pytest.raises(BudgetError):
        within(least - 1)


def test_the_numbers_of_a_network_go_where_they_were_planned() -> None:
    own = network()
    plan = planned(weights_of(own), lambda *_: 3)
    own.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in arrays_of(plan).items()})
    with torch.no_grad():
        own.conv.weight *= 2
        nn.init.constant_(own.norm.bias, 1 / 3)
    found = arrays_of(rewritten(plan, own))
    state = own.state_dict()
    for name, array in found.items():
        assert array == pytest.approx(state[name].numpy(), rel=1e-3, abs=1e-6), name
    assert np.array_equal(found["two.weight"], found["one.weight"])
    assert len(np.unique(found["conv.weight"])) == 8


def test_a_budget_of_the_bytes_of_eight_bits_gives_eight_bits() -> None:
    """k-means loses clusters of long tails: fewer values than bits can tell are no reason to stop."""
    own = network()
    with torch.no_grad():
        own.one.weight[0, 0] = 40.0
    weights = weights_of(own)
    whole = planned(weights, lambda *_: 8)
    limit = size_of(whole) + 20
    plan = planned_within(
        weights, limit, lambda one: header_bytes(one, {}), dict.fromkeys(weights.kinds, 1.0), "size<=X"
    )
    errors = [
        sum(layer.shared.squared_error for layer in shared_layers(one).values()) for one in (plan, whole)
    ]
    assert size_of(plan) <= limit
    assert errors[0] <= 1.01 * errors[1]


def test_frozen_zeros_and_constants_are_written_as_they_are() -> None:
    own = network()
    own.register_buffer("grid", torch.arange(5000.0))
    own.still = nn.Parameter(torch.zeros(4, 4), requires_grad=False)
    weights = weights_of(own)
    assert "still" not in weights.kinds
    plan = planned(weights, lambda *_: 4)
    assert np.array_equal(arrays_of(plan)["grid"], np.arange(5000.0))
    assert not arrays_of(plan)["still"].any()


def test_numbers_that_no_file_can_hold_are_refused_at_once() -> None:
    own = network()
    own.register_buffer("phase", torch.zeros(3, dtype=torch.complex64))
    with pytest.raises(
        BadInputError, match="must hold real numbers to be compressed, got complex64 in phase"
    ):
        weights_of(own)


def test_bits_of_a_kind_that_is_not_there_are_refused() -> None:
    weights = weights_of(nn.Linear(40, 40))
    with pytest.raises(BadInputError, match="got conv, of which the network has none"):
        check_bits(CompressConfig(bits="conv=3"), weights)
