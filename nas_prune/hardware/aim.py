"""Aiming a search space at a target: the widths it wants, and what widths cost on it."""

from collections.abc import Mapping

from nas_prune.hardware.alignment import alignment
from nas_prune.hardware.latency import latency_cost
from nas_prune.hardware.memory import Memory
from nas_prune.hardware.size import Size
from nas_prune.hardware.target import Target
from nas_prune.space.cost import CostFunction
from nas_prune.space.search_space import SearchSpace


def aim(space: SearchSpace, target: Target) -> SearchSpace:
    """The same network, its widths multiples of what a target wants, or whole; its costs those on the target.

    Nothing is run for a cost before it is asked for.

    Raises:
        BadInputError: the target's table cannot be used, or is of another network.
    """
    wanted = alignment(space, target)
    costs: dict[str, CostFunction] = {
        "memory": Memory(space, target.bytes_per_activation),
        "size": Size(space, target.bytes_per_weight),
    }
    if target.table is not None:
        costs["latency"] = latency_cost(space, target.table)
    return space.aimed(target.name, wanted.steps_G, costs, wanted.least_G)


def default_costs(space: SearchSpace) -> Mapping[str, CostFunction]:
    """What widths cost on no device in particular, at 4 bytes a number; nothing is run before one is asked for."""
    return {"memory": Memory(space), "size": Size(space)}
