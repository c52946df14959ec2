"""Aiming: what a target's costs are, and that none is worked out before it is asked for."""

import numpy as np
import pytest

from nas_prune.hardware import memory
from nas_prune.hardware.aim import aim, default_costs
from nas_prune.hardware.memory import Memory
from nas_prune.hardware.operations import Operations, operations_of
from nas_prune.hardware.size import Size
from nas_prune.hardware.target import target_named
from nas_prune.space.search_space import SearchSpace
from tests.networks import known


def test_size_is_the_parameters_at_the_targets_bytes() -> None:
    space = known("resnet20", (3, 32, 32), 10)
    rng = np.random.default_rng(0)
    widths = rng.integers(1, np.array(space.base_G) + 1).tolist()
    numbers = sum(parameter.numel() for parameter in space.build(widths, seed=0).parameters())
    assert [int(Size(space, each)(widths)) for each in (4, 2, 1)] == [4 * numbers, 2 * numbers, numbers]
    assert float(Size(space).real(widths)) == 4 * numbers
    there = [1] * len(space.blocks)
    there[0] = 0
    gone = space.build(widths, seed=0, removed=[space.blocks[0].path])
    left = sum(parameter.numel() for parameter in gone.parameters())
    assert int(Size(space)([*widths, *there])) == 4 * left
    assert float(Size(space).real([*widths, *there])) == 4 * left


def test_a_targets_costs_are_those_of_its_precision() -> None:
    space = known("resnet20", (3, 32, 32), 10)
    plain = {name: int(cost(space.base_G)) for name, cost in default_costs(space).items()}
    assert plain == {"memory": 4 * 3 * 16 * 32 * 32, "size": 4 * space.cost_at(space.base_G).params}
    for name, factor in (("tensorrt-fp16", 2), ("ethos-u", 4), ("cpu-onnxruntime", 1)):
        costs = aim(space, target_named(name)).target_costs
        assert {one: factor * int(cost(space.base_G)) for one, cost in costs.items()} == plain


def test_nothing_is_run_before_a_cost_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    space = known("resnet20", (3, 32, 32), 10)
    runs = list[SearchSpace]()

    def watched(one: SearchSpace) -> Operations:
        runs.append(one)
        return operations_of(one)

    monkeypatch.setattr(memory, "operations_of", watched)
    aimed, plain = aim(space, target_named("ethos-u")), default_costs(space)
    _ = int(plain["size"](space.base_G))
    assert runs == []
    for _ in range(2):
        assert int(aimed.target_costs["memory"](space.base_G)) == int(Memory(space, 1)(space.base_G))
    assert len(runs) == 3  # once for the target's, and for each of the two that it is compared with
