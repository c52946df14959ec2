"""Width methods: algorithms that turn data and a network into channel scores.

A method is a file of its own; what it hands on are scores, never weights.
"""

from nas_prune.errors import BadInputError
from nas_prune.methods.contract import WidthMethod
from nas_prune.methods.slimming import SLIMMING
from nas_prune.space import Groups, SearchSpace

METHODS: dict[str, WidthMethod] = {"slimming": SLIMMING}


def method_named(name: str) -> WidthMethod:
    """A width method by name.

    Raises:
        BadInputError: no such method; the message lists the known ones.
    """
    if name not in METHODS:
        raise BadInputError(f"--method must be one of {', '.join(METHODS)}, got {name!r}.")
    return METHODS[name]


def scorable(space: SearchSpace, method: WidthMethod, groups: Groups) -> tuple[int, ...]:
    """Columns of the groups that are wanted and that the method can score."""
    return tuple(column for column in space.searched(groups) if method.can_score(space, column))


__all__ = ["METHODS", "WidthMethod", "method_named", "scorable"]
