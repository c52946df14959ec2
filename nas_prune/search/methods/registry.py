"""The width methods by name."""

from nas_prune.errors import BadInputError
from nas_prune.search.methods.contract import WidthMethod
from nas_prune.search.methods.controls import RANDOM, UNIFORM
from nas_prune.search.methods.filters import FPGM, L1_NORM
from nas_prune.search.methods.hard_concrete import L0
from nas_prune.search.methods.learned_gates import RANDOM_WEIGHTS, SSS, SSS_BLOCKS, SSS_GROUPS
from nas_prune.search.methods.reconstruction import OBS, REGRESSION, THINET
from nas_prune.search.methods.slimming import COST_AWARE, SLIMMING
from nas_prune.search.methods.slopes import OBD, TAYLOR
from nas_prune.search.methods.soft_filters import SOFT_FILTER
from nas_prune.search.methods.variational_dropout import VARIATIONAL_DROPOUT
from nas_prune.space.search_space import Groups, SearchSpace

METHODS: dict[str, WidthMethod] = {
    method.name: method
    for method in (
        SLIMMING,
        COST_AWARE,
        SSS,
        SSS_GROUPS,
        SSS_BLOCKS,
        L0,
        VARIATIONAL_DROPOUT,
        RANDOM_WEIGHTS,
        TAYLOR,
        OBD,
        OBS,
        L1_NORM,
        FPGM,
        SOFT_FILTER,
        THINET,
        REGRESSION,
        UNIFORM,
        RANDOM,
    )
}


def method_named(name: str) -> WidthMethod:
    """A width method by name.

    Raises:
        BadInputError: no such method; the message lists the known ones.
    """
    if name not in METHODS:
        raise BadInputError(f"--method must be one of {', '.join(METHODS)}, got {name!r}.")
    return METHODS[name]


def scorable(space: SearchSpace, method: WidthMethod, groups: Groups) -> tuple[int, ...]:
    """Columns of the groups that are wanted and that the method can score; for a method of blocks, those of blocks."""
    count = len(space.groups)
    wanted = space.searched(groups) if method.of == "channels" else range(count, count + len(space.blocks))
    return tuple(column for column in wanted if method.can_score(space, column))
