"""What the checks find out is a new record; the one that they were given says what it said before."""

from math import isqrt
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_prune.graph.axes import Atom
from nas_prune.graph.check import _Effort, _examined, _Network, checked
from nas_prune.graph.inputs import as_forward
from nas_prune.graph.record import Record
from nas_prune.graph.repair import REPAIRS
from nas_prune.graph.trace import ForwardError, trace
from tests.graph.cases import Net, conv

SHAPE = (3, 8, 8)


def two_at_least(n: Any, x: Tensor) -> Any:
    x = n.a(x)
    if x.shape[1] < 2:
        raise ValueError("too few channels")
    return n.b(x)


def transposed(n: Any, x: Tensor) -> Any:
    x = n.a(x)
    side = isqrt(x.shape[1])
    return n.b(x + x.view(len(x), side, side, 8, 8).transpose(1, 2).reshape(x.shape))


def known(record: Record) -> tuple[object, ...]:
    atoms = [Atom(number) for number in range(len(record.table._sizes))]
    frozen = [record.table.frozen_reason(atom) for atom in atoms]
    return record.least, frozen, [record.table.resolve(((atom,),)) for atom in atoms]


@pytest.mark.parametrize(
    ("forward", "width", "least", "frozen"),
    [
        (two_at_least, 8, 2, None),
        (transposed, 9, 1, "the network's code gives one size to both factors of a product"),
    ],
)
def test_the_record_that_is_examined_is_not_changed(
    forward: Any, width: int, least: int, frozen: str | None
) -> None:
    model = Net(forward, a=conv(3, width), b=conv(width, 4))
    record = trace(model, SHAPE)
    before = known(record)
    learnt, problem = _examined(_Network(model, as_forward(SHAPE)), record)
    assert problem is None
    assert known(record) == before != known(learnt)
    graph = checked(model, SHAPE)
    assert graph.least == learnt.least == least
    assert {group.frozen for group in graph.groups if group.name.startswith("a")} == {frozen}


def test_probes_and_ties_of_one_network_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    effort, record = _Effort(), trace(nn.Sequential(conv(3, 8), conv(8, 4)), SHAPE)
    monkeypatch.setattr("nas_prune.graph.check._MOST_STEPS", 0)
    assert [effort.spend_probes(count, record) for count in (10, 7, 6, 1)] == [True, False, True, False]
    assert effort.probes == 16
    tries = [effort.spend_repair(nn.Linear, REPAIRS[0]) for _ in range(4)]
    assert tries == [True, True, True, False]
    assert effort.spend_repair(nn.Linear, REPAIRS[1])
    assert _Effort().spend_repair(nn.Linear, REPAIRS[0])


class Constant(nn.Module):
    """Adds a tensor that moves with nothing, since it is no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.shift = conv(3, 8), conv(8, 4), torch.ones(1, 8, 1, 1)

    def forward(self, x: Tensor) -> Any:
        return self.b(self.a(x) + self.shift)


def test_an_error_says_whether_it_is_one_of_devices() -> None:
    with pytest.raises(ForwardError, match="register them as buffers") as caught:
        trace(Constant(), SHAPE)
    assert caught.value.is_of_devices
    with pytest.raises(ForwardError, match="Check the sizes of the input") as caught:
        trace(conv(4, 8), SHAPE)
    assert not caught.value.is_of_devices


def test_tensors_that_forward_makes_without_saying_where_are_made_on_meta() -> None:
    model = Net(lambda n, x: n.b(n.a(x) + torch.ones(1, 1, 8, 8)), a=conv(3, 8), b=conv(8, 4))
    assert [group.frozen for group in checked(model, SHAPE).groups] == [None, "the network's output"]
