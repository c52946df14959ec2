"""First values that follow from sizes which a constructor wrote down as numbers.

`weight.data.normal_(0, sqrt(2 / n))` is replayed with the number that n gave at the base width. Where the layers of one
type show one law of n, or the number can have come from nothing else, it is worked out anew for every width.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isclose, prod

from torch import nn

from nas_prune.graph.fans import EXACT, OWN, Held, Law, laws


@dataclass(frozen=True, slots=True)
class Follows:
    """By what a number changes that followed from the size of a parameter.

    Attributes:
        laws: of sizes of the parameter; where there are several, they must say the same.
        parameter: whose sizes these are.
        base: those sizes, by name, where the number was what it was.
    """

    laws: tuple[Law, ...]
    parameter: str
    base: Mapping[str, int]

    def ratio(self, model: nn.Module) -> float:
        """The number's new value over the old one, in a network of other widths; 1 where laws do not agree."""
        sizes = _all_sizes(model, self.parameter)
        first, *others = (
            1.0
            if sizes[law.size] == self.base[law.size]
            else (sizes[law.size] / self.base[law.size]) ** law.power
            for law in self.laws
        )
        return float(first) if all(isclose(first, other, rel_tol=EXACT) for other in others) else 1.0


@dataclass(frozen=True, slots=True)
class Number:
    """A number by which a parameter got its first values.

    Attributes:
        parameter: the parameter's name.
        kind: how it was used; numbers of one kind are compared.
        value: the number, not 0.
        accuracy: how exactly it is known, as a part of it.
    """

    parameter: str
    kind: str
    value: float
    accuracy: float


def followed(model: nn.Module, numbers: Sequence[Number]) -> dict[str, Follows]:
    """Which parameters' numbers follow from which sizes.

    Args:
        model: the network at its base widths.
        numbers: one for each parameter, at most.

    Returns:
        {parameter name: the law its number follows}; without those that follow none.
    """
    shapes = {name: tuple(one.shape) for name, one in model.named_parameters()}
    by_type: dict[tuple[type[nn.Module], str, str], list[tuple[Number, str]]] = defaultdict(list)
    for number in numbers:
        path, _, own = number.parameter.rpartition(".")
        by_type[type(model.get_submodule(path)), own, number.kind].append(
            (number, _sized_by(number.parameter, shapes))
        )
    found: dict[str, Follows] = {}
    for layers in by_type.values():
        held = [_held(number, _sizes(model, sized_by)) for number, sized_by in layers]
        for (number, sized_by), one, possible in zip(layers, held, laws(held), strict=True):
            if possible:
                found[number.parameter] = Follows(possible, sized_by, one.sizes)
    return found


def _sized_by(parameter: str, shapes: Mapping[str, Sequence[int]]) -> str:
    """The parameter whose sizes its layer computes with: its own if it is a matrix, else the layer's weight."""
    path, _, _ = parameter.rpartition(".")
    weight = f"{path}.weight" if path else "weight"
    return weight if len(shapes[parameter]) < 2 <= len(shapes.get(weight, ())) else parameter


_SIDES = {
    "fan-in": "in",
    "fan-out": "out",
    "fan-out of a group": "out of a group",
    "in": "in",
    "out": "out",
    "both": "both",
    OWN: OWN,
}


def _held(number: Number, sizes: Mapping[str, int]) -> Held:
    # What is the same size in layers without groups is the same there; a layer with groups tells them apart.
    is_grouped = sizes.get("fan-out") != sizes.get("fan-out of a group")
    which = _SIDES if is_grouped else {**_SIDES, "fan-out of a group": "out"}
    return Held(number.value, sizes, which, number.accuracy)


def _sizes(model: nn.Module, parameter: str) -> dict[str, int]:
    """The sizes that a parameter's first values may follow; of what is a mere row of numbers, how many those are."""
    found = _all_sizes(model, parameter)
    path, _, own = parameter.rpartition(".")
    is_row = sum(size != 1 for size in getattr(model.get_submodule(path), own).shape) < 2
    return {name: size for name, size in found.items() if (name == OWN) == is_row}


def _all_sizes(model: nn.Module, parameter: str) -> dict[str, int]:
    """The sizes of a parameter by name; a convolution's weight has shape (out, in of a group, height, width)."""
    path, _, own = parameter.rpartition(".")
    module = model.get_submodule(path)
    shape, groups = getattr(module, own).shape, getattr(module, "groups", 1)
    if len(shape) < 2:
        return {OWN: prod(shape)}
    outer, inner, kernel = shape[0], shape[1], prod(shape[2:])
    sizes = {
        OWN: prod(shape),
        "fan-in": inner * kernel,
        "fan-out": outer * kernel,
        "in": inner,
        "out": outer,
        "both": (outer + inner) * kernel,
    }
    is_grouped = isinstance(groups, int) and groups > 1 and outer % groups == 0
    return {**sizes, "fan-out of a group": outer // groups * kernel if is_grouped else outer * kernel}
