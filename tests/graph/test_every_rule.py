"""Every rule is tried, and a rule that is broken on purpose is found out."""

from collections.abc import Callable
from functools import cache

import pytest
from torch import nn

from nas_prune.errors import NasPruneError
from nas_prune.graph import rules
from nas_prune.graph.axes import constant
from nas_prune.graph.call import Axes, Call
from nas_prune.graph.table import AxisConflictError
from nas_prune.graph.trace import trace
from nas_prune.space.load import load_space
from tests.graph.cases import CASES, Net, conv
from tests.graph.operations import OPERATIONS
from tests.properties import check_costs, check_dead_channels, random_widths

ALL: dict[str, tuple[nn.Module, set[str]]] = CASES | {
    f"aten.{name}": (
        Net(lambda n, x, operation=operation: n.b(operation(n.a(x))), a=conv(3, 8), b=conv(8, 4)),
        {"a"},
    )
    for name, operation in OPERATIONS.items()
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_channels_pass_through_an_operation(name: str) -> None:
    space = load_space(ALL[f"aten.{name}"][0], (3, 8, 8))
    assert {group.name for group in space.groups} == {"a"}
    check_costs(space, random_widths(space, 2))


@cache
def users() -> dict[str, list[str]]:
    """For each operation the small networks that make it."""
    found: dict[str, list[str]] = {}
    for case, (model, _) in ALL.items():
        for operation in {step.operation for step in trace(model, (3, 8, 8)).steps}:
            found.setdefault(operation.removeprefix("aten."), []).append(case)
    return found


def test_every_rule_is_made_use_of() -> None:
    assert set(rules.RULES) - set(users()) <= OTHER_VERSIONS | ELSEWHERE


# What other versions of PyTorch make of a batch norm.
OTHER_VERSIONS = {"_native_batch_norm_legit", "_native_batch_norm_legit_no_training"}


# tests/space/test_foreign.py: a row of zeros has no direction, and dead channels change a singular value.
ELSEWHERE = {"_weight_norm_interface", "mv", "dot", "vdot"}


HARMLESS = {"arange", "linspace"}  # they have no inputs, and constants are what their rule says


def forgets(_: Call) -> list[Axes]:
    """A rule that gives up."""
    raise AxisConflictError


def says_nothing(call: Call) -> list[Axes]:
    """A rule that takes everything for constants and ties nothing."""
    return [tuple(map(constant, tensor.shape)) for tensor in call.outputs]


def is_found_out(case: str) -> bool:
    model, expected = ALL[case]
    try:
        space = load_space(model, (3, 8, 8))
        if {group.name for group in space.groups} != expected:
            return True
        check_costs(space, random_widths(space, 2))
        check_dead_channels(space)
    except (NasPruneError, AssertionError, RuntimeError):
        return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("broken", [forgets, says_nothing])
@pytest.mark.parametrize("name", sorted(set(rules.RULES) - OTHER_VERSIONS - HARMLESS - ELSEWHERE))
def test_a_rule_broken_on_purpose_is_found_out(
    name: str, broken: Callable[[Call], list[Axes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = users().get(name, [])
    monkeypatch.setitem(rules.RULES, name, broken)
    assert any(map(is_found_out, cases))
