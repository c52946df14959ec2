"""The ways to find a pattern, by name."""

from nas_prune.errors import BadInputError
from nas_prune.patterns.methods.contract import PatternMethod
from nas_prune.patterns.methods.controls import ERK, RANDOM, UNIFORM
from nas_prune.patterns.methods.gradual import GRADUAL
from nas_prune.patterns.methods.guided import GUIDED
from nas_prune.patterns.methods.hard_concrete import L0
from nas_prune.patterns.methods.lottery import LOTTERY
from nas_prune.patterns.methods.magnitude import MAGNITUDE
from nas_prune.patterns.methods.obd import OBD
from nas_prune.patterns.methods.obs import OBS
from nas_prune.patterns.methods.surgery import SURGERY
from nas_prune.patterns.methods.variational_dropout import VARIATIONAL_DROPOUT

METHODS: dict[str, PatternMethod] = {
    method.name: method
    for method in (
        MAGNITUDE,
        GRADUAL,
        SURGERY,
        OBD,
        OBS,
        VARIATIONAL_DROPOUT,
        L0,
        LOTTERY,
        GUIDED,
        UNIFORM,
        RANDOM,
        ERK,
    )
}


def method_named(name: str) -> PatternMethod:
    """A method by its name.

    Raises:
        BadInputError: it is none of ours.
    """
    if name not in METHODS:
        raise BadInputError(f"--method must be one of {', '.join(METHODS)}, got {name!r}.")
    return METHODS[name]
