"""Numbers that a constructor worked out from the sizes of a layer (its fan-in, mostly), and keeps as they are.

Scaled standardised convolutions hold γ / √fan-in, layers with an equalised learning rate √2 / √fan-in, averages 1/n.
Nothing says so but the numbers themselves: among layers of one type they follow one power of one size, whatever the
factor; and a number like 0.27216552726 is √2 over the root of 27 for no other reason.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isclose, isfinite, nan, sqrt
from typing import NamedTuple

from torch import Tensor, nn

from nas_prune.graph.axes import Axis
from nas_prune.graph.inputs import is_within
from nas_prune.graph.record import Record

EXACT = 1e-9  # of numbers of Python
SINGLE = 1e-6  # of numbers in a tensor
_POWERS = (-0.5, 0.5, -1.0, 1.0)
_PLAIN = (1.0, sqrt(2))  # factors for which two layers tell as much as three do otherwise, and one may do
_MOST_LAYERS = 65  # below so many layers, one over the root of their number is as likely
_DIGITS, _DIGITS_OF_EVEN = 4, 2  # no more has what a person writes down; 1/16 for 16 channels has three


@dataclass(frozen=True, slots=True)
class Held:
    """A number, and what it may follow from.

    Attributes:
        value: the number, not 0.
        sizes: by name, the sizes it may come from.
        which: by name, what these are the sizes of: what is equal changes alike.
        accuracy: how far from the law it may be, as a part of it.
    """

    value: float
    sizes: Mapping[str, int]
    which: Mapping[str, Hashable]
    accuracy: float = EXACT

    def factor(self, size: str, power: float) -> float:
        """What is left of the number beside a power of a size; no number where the size is 0."""
        return self.value / float(self.sizes[size] ** power) if self.sizes[size] else nan

    def is_short(self, digits: int) -> bool:
        """Whether somebody may have written the number down, with so many digits."""
        written = float(f"{self.value:.{digits}g}")
        return self.accuracy <= SINGLE and isclose(self.value, written, rel_tol=self.accuracy)


class Law(NamedTuple):
    """A number is factor × size ** power."""

    size: str
    factor: float
    power: float


def laws(layers: Sequence[Held]) -> list[tuple[Law, ...]]:
    """The laws by which each of some layers' numbers may come about; none where nothing tells, several if they agree.

    Args:
        layers: of one type, and their numbers of one name.
    """
    common = _common(layers)
    return [common or _own(one) for one in layers]


def _common(layers: Sequence[Held]) -> tuple[Law, ...]:
    """The laws that all numbers follow. Three that were written down follow some by chance, as strides double."""
    distinct = _distinct(layers)
    if distinct < 2:
        return ()
    are_short = all(one.is_short(_DIGITS) for one in layers)
    best = min(layers, key=lambda one: one.accuracy)
    names = [name for name in best.sizes if all(name in one.sizes for one in layers)]
    found: dict[tuple[Hashable, ...], Law] = {}
    for size in names:
        for power in _POWERS:
            factor = best.factor(size, power)
            if all(
                isclose(one.factor(size, power), factor, rel_tol=one.accuracy + best.accuracy)
                for one in layers
            ) and ((_is_plain(factor, best) and abs(power) < 1) or (distinct > 2 and not are_short)):
                found.setdefault((*(one.which[size] for one in layers), power), Law(size, factor, power))
    return tuple(found.values())


def _distinct(layers: Sequence[Held]) -> int:
    """How many of the numbers are told apart from the next smaller one that is."""
    count, last = 0, None
    for one in sorted(layers, key=lambda one: one.value):
        if last is None or not isclose(one.value, last.value, rel_tol=one.accuracy + last.accuracy):
            count, last = count + 1, one
    return count


def _own(one: Held) -> tuple[Law, ...]:
    """What one number tells by itself: nobody writes down so many digits, but 1/√2, or 1/√12 for twelve layers."""
    if one.accuracy > SINGLE or (_is_whole(one.value**-2) and one.value**-2 < _MOST_LAYERS):
        return ()
    found: dict[Hashable, Law] = {}
    for size, power in ((size, power) for size in one.sizes for power in (-0.5, -1.0)):
        digits = _DIGITS if power > -1 else _DIGITS_OF_EVEN
        factor = one.factor(size, power)
        is_even = size == OWN and isclose(factor, 1, rel_tol=one.accuracy)
        if (is_even if power == -1 else _is_plain(factor, one)) and not one.is_short(digits):
            found.setdefault(one.which[size], Law(size, factor, power))
    return tuple(found.values())


def _is_whole(number: float) -> bool:
    return isclose(number, round(number), rel_tol=SINGLE)


def _is_plain(factor: float, one: Held) -> bool:
    return one.accuracy <= SINGLE and any(isclose(factor, plain, rel_tol=one.accuracy) for plain in _PLAIN)


OWN = "own"  # the number of places of a tensor that holds the number everywhere


def fan_numbers(model: nn.Module, record: Record) -> dict[tuple[str, str], Axis]:
    """Which numbers of which layers follow from sizes that may change.

    Returns:
        {(module path, "NAME*FACTOR**POWER"): the axis whose length, to that power and times the factor, it is}.
    """
    by_type: dict[tuple[type[nn.Module], str], list[tuple[str, Mapping[str, Axis], Held]]] = defaultdict(list)
    for path, module in model.named_modules():
        if is_within(path, record.root):
            for name, axes, held in _held_by(path, module, record):
                by_type[type(module), name].append((path, axes, held))
    found: dict[tuple[str, str], Axis] = {}
    for (_, name), layers in by_type.items():
        for (path, axes, _), possible in zip(layers, laws([held for *_, held in layers]), strict=True):
            law = possible[0] if len(possible) == 1 else None
            if law is not None and not record.table.is_constant(axes[law.size]):
                found[path, f"{name}*{law.factor!r}**{law.power!r}"] = axes[law.size]
    return found


def _held_by(path: str, module: nn.Module, record: Record) -> Iterator[tuple[str, Mapping[str, Axis], Held]]:
    """The numbers that a module holds, each with its name and the axes that it may come from."""
    weight: Mapping[str, Axis] | None = None
    for name, value, accuracy in _numbers(module):
        weight = _sizes_of_weight(path, record) if weight is None else weight
        own = record.parameters.get(f"{path}.{name}" if path else name, ())
        axes = {**weight, OWN: record.table.product(own)} if own else weight
        if axes:
            sizes = {size: record.table.length(axis) for size, axis in axes.items()}
            which = {size: _without_kernel(axis) for size, axis in axes.items()}
            yield name, axes, Held(value, sizes, which, accuracy)


def _without_kernel(axis: Axis) -> Axis:
    """An axis without constant factors: channels × height × width of a kernel change as the channels do."""
    return tuple(tuple(factor for factor in term if not isinstance(factor, int)) for term in axis)


def _numbers(module: nn.Module) -> Iterator[tuple[str, float, float]]:
    """Numbers among a module's own attributes, and in its buffers that hold one everywhere; and how exact they are."""
    for name, value in vars(module).items():
        if isinstance(value, float) and not name.startswith("_") and value and isfinite(value):
            yield name, value, EXACT
    for name, buffer in module._buffers.items():  # noqa: SLF001
        value = None if buffer is None else even_value(buffer)
        if value:
            yield name, value, SINGLE


def even_value(tensor: Tensor) -> float | None:
    """The one number that a tensor of floats holds everywhere; None if it holds several, or that is not known."""
    if tensor.is_meta or not tensor.is_floating_point() or not tensor.numel():
        return None
    first = tensor.detach().reshape(-1)[0]
    return float(first) if isfinite(first) and bool((tensor == first).all()) else None


def _sizes_of_weight(path: str, record: Record) -> dict[str, Axis]:
    """The sizes of a layer's weight, or of the only one in the layers below it."""
    prefix = f"{path}." if path else ""
    axes = record.parameters.get(f"{prefix}weight", ())
    if not axes:
        below = [
            axes
            for name, axes in record.parameters.items()
            if name.startswith(prefix) and name.endswith(".weight") and len(axes) > 1
        ]
        axes = below[0] if len(below) == 1 else ()
    if len(axes) < 2:
        return {}
    product = record.table.product
    return {
        "fan-in": product(axes[1:]),
        "fan-out": product([axes[0], *axes[2:]]),
        "in": record.table.resolve(axes[1]),
        "out": record.table.resolve(axes[0]),
    }
