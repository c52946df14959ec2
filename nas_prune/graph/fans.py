"""Numbers that a constructor worked out from the size of a layer's weight (its fan-in, mostly), and keeps as they are.

Scaled standardised convolutions hold γ / √fan-in, layers with an equalised learning rate √2 / √fan-in. Nothing says so
but the numbers themselves: among layers of one type they follow one power of one size, whatever the factor.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isclose, isfinite, sqrt

from torch import nn

from nas_prune.graph.axes import Axis
from nas_prune.graph.inputs import is_within
from nas_prune.graph.record import Record

_POWERS = (-0.5, 0.5, -1.0, 1.0)
_PLAIN = (1.0, sqrt(2))  # factors for which two layers tell as much as three do otherwise
_EXACT = 1e-9


@dataclass(frozen=True, slots=True)
class _Held:
    """A number that a layer holds, and the sizes of its weight that it may come from, by what these are."""

    path: str
    value: float
    sizes: Mapping[str, Axis]


def fan_numbers(model: nn.Module, record: Record) -> dict[tuple[str, str], Axis]:
    """Which numbers of which layers follow from sizes that may change.

    Returns:
        {(module path, "NAME*FACTOR**POWER"): the axis whose length, to that power and times the factor, it is}.
    """
    by_type: dict[tuple[type[nn.Module], str], list[_Held]] = defaultdict(list)
    for path, module in model.named_modules():
        if is_within(path, record.root):
            for name, held in _held_by(path, module, record):
                by_type[type(module), name].append(held)
    found: dict[tuple[str, str], Axis] = {}
    for (_, name), layers in by_type.items():
        law = _law(layers, record)
        if law is not None:
            size, factor, power = law
            found.update(
                ((one.path, f"{name}*{factor!r}**{power!r}"), one.sizes[size])
                for one in layers
                if not record.table.is_constant(one.sizes[size])
            )
    return found


def _held_by(path: str, module: nn.Module, record: Record) -> Iterator[tuple[str, _Held]]:
    numbers = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, float) and not name.startswith("_") and value and isfinite(value)
    }
    axes = record.parameters.get(f"{path}.weight" if path else "weight", ()) if numbers else ()
    if len(axes) > 1:
        product = record.table.product
        sizes = {
            "fan-in": product(axes[1:]),
            "fan-out": product([axes[0], *axes[2:]]),
            "in": record.table.resolve(axes[1]),
            "out": record.table.resolve(axes[0]),
        }
        yield from ((name, _Held(path, value, sizes)) for name, value in numbers.items())


def _law(layers: list[_Held], record: Record) -> tuple[str, float, float] | None:
    """The size, the factor and the power by which all of some layers' numbers come about; None if that is not clear."""
    distinct = len({one.value for one in layers})
    if distinct < 2:
        return None
    length = record.table.length
    found: dict[tuple[Axis, ...], tuple[str, float, float]] = {}
    for size in layers[0].sizes:
        for power in _POWERS:
            factors = [one.value / length(one.sizes[size]) ** power for one in layers]
            if all(isclose(factor, factors[0], rel_tol=_EXACT) for factor in factors):
                is_plain = any(isclose(factors[0], plain, rel_tol=_EXACT) for plain in _PLAIN)
                if distinct > 2 or (is_plain and abs(power) < 1):
                    found[tuple(one.sizes[size] for one in layers)] = (size, factors[0], power)
    return next(iter(found.values())) if len(found) == 1 else None
