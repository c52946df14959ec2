"""Width methods: algorithms that turn data and a network into channel scores.

A method is a file of its own; what it hands on are scores, never weights.
"""

from nas_prune.errors import BadInputError
from nas_prune.methods.contract import WidthMethod
from nas_prune.methods.slimming import SLIMMING

METHODS: dict[str, WidthMethod] = {"slimming": SLIMMING}


def method_named(name: str) -> WidthMethod:
    """A width method by name.

    Raises:
        BadInputError: no such method; the message lists the known ones.
    """
    if name not in METHODS:
        raise BadInputError(f"--method must be one of {', '.join(METHODS)}, got {name!r}.")
    return METHODS[name]


__all__ = ["METHODS", "WidthMethod", "method_named"]
