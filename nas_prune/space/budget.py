"""Budgets: upper bounds on costs, as people write them."""

import re
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from math import floor
from typing import Annotated, Any, TypeAlias

from pydantic import PlainSerializer, PlainValidator

from nas_prune.errors import BudgetError
from nas_prune.space.quantities import KINDS, factor_of, units_of, written

OWN = "own"
_DIGITS = 10  # of a share
_EXAMPLES = "'macs<=50%', 'params<=1.2M', 'latency<=3ms' or 'memory<=256KiB', or 'own'"
_SHAPE = re.compile(r"\s*([A-Za-z_]+)\s*(<=|≤|<|>=|>|==|=)\s*([-+]?[0-9.eE]*[0-9.]+)\s*(%|[A-Za-zµμ]*)\s*")


@dataclass(frozen=True, slots=True)
class Budget:
    """Upper bounds on one or more costs, which hold together; or the method's own choice, whatever that costs.

    Attributes:
        kind: the cost of the first bound: `macs`, `params`, `channels`, `activations`, `latency`, `memory`, `size`, or
            `own`.
        share: the bound as a share of the base network's cost, in (0, 1]; None when it is absolute. It has the ten
            digits with which it is written, so that it is the same when it is read again.
        absolute: the bound in the cost's own unit, a count, nanoseconds or bytes; None when it is a share.
        more: further bounds, each on another cost.
    """

    kind: str
    share: float | None = None
    absolute: int | None = None
    more: "tuple[Budget, ...]" = ()

    def __post_init__(self) -> None:
        if self.share is not None:
            object.__setattr__(self, "share", float(_percent(self.share) / 100))

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """Read a budget such as `macs<=50%`, `params<=1.2M`, `latency<=3ms, params<=500K`, or `own`.

        Raises:
            BudgetError: it is not of that form, or asks for something that cannot be bounded.

        Example:
            >>> Budget.parse("params<=1.2M")
            Budget(kind='params', share=None, absolute=1200000, more=())
        """
        if text.strip().lower() == OWN:
            return cls(OWN)
        first, *others = (cls._bound(part, text) for part in text.split(","))
        kinds = [bound.kind for bound in (first, *others)]
        twice = next((kind for kind in kinds if kinds.count(kind) > 1), None)
        if twice is not None:
            raise BudgetError(
                f"a budget must bound each cost once, got {twice} twice in {text!r}. Several budgets stand in --budget "
                "options of their own, in a file in lines of their own."
            )
        return replace(first, more=tuple(others))

    @classmethod
    def _bound(cls, part: str, text: str) -> "Budget":
        found = _SHAPE.fullmatch(part)
        if found is None:
            raise BudgetError(f"a budget must look like {_EXAMPLES}, got {text!r}.")
        kind, sign, number, unit = found.groups()
        _check_kind(kind.lower(), text)
        if sign not in ("<=", "≤"):
            raise BudgetError(
                f"a budget must be an upper bound written with <=, got {text!r}. Write {kind}<={number}{unit}."
            )
        return cls._of_number(kind.lower(), number, unit, text)

    @classmethod
    def _of_number(cls, kind: str, number: str, unit: str, text: str) -> "Budget":
        try:
            value = Decimal(number)
        except InvalidOperation:
            raise BudgetError(
                f"a budget must hold a number, got {text!r}. Write it like {_EXAMPLES}."
            ) from None
        if unit == "%":
            if not 0 < value <= 100:
                raise BudgetError(f"a share must be above 0 % and at most 100 %, got {text!r}.")
            return cls(kind, share=float(value / 100))
        factor = factor_of(kind, unit)
        if factor is None:
            raise BudgetError(f"a budget's unit must be {units_of(kind)}, got {unit.lower()!r} in {text!r}.")
        if not Decimal(1) / factor <= value < Decimal(2**53) / factor:
            bound = "at least 1" if value < 1 else "below 2^53"
            raise BudgetError(f"a budget must be {bound}, got {text!r}. Write it like {_EXAMPLES}.")
        return cls(kind, absolute=int(value * factor))

    @property
    def is_own(self) -> bool:
        """Whether the method decides by itself what goes."""
        return self.kind == OWN

    @property
    def bounds(self) -> "tuple[Budget, ...]":
        """Each bound by itself, in the order written."""
        return (replace(self, more=()), *self.more)

    def __str__(self) -> str:
        if self.is_own:
            return OWN
        return ", ".join(bound._text for bound in self.bounds)  # noqa: SLF001

    @property
    def _text(self) -> str:
        if self.share is not None:
            return f"{self.kind}<={_percent(self.share):f}%"
        assert self.absolute is not None
        return f"{self.kind}<={written(self.kind, self.absolute)}"

    def limit(self, base: int) -> int:
        """The most that the first bound allows, given the base network's cost."""
        if self.share is not None:
            return floor(round(self.share * base, 6))
        assert self.absolute is not None
        return self.absolute


def _percent(share: float) -> Decimal:
    return Decimal(f"{share * 100:.{_DIGITS}g}")


def _check_kind(kind: str, text: str) -> None:
    if kind == "flops":
        raise BudgetError(
            f"a budget must name MACs, not FLOPs, got {text!r}. FLOPs are 2 × MACs; write macs<=…."
        )
    if kind == OWN:
        raise BudgetError(f"own must stand alone, got {text!r}.")
    if kind not in KINDS:
        raise BudgetError(f"a budget must bound one of {', '.join(KINDS)}, got {kind!r} in {text!r}.")


def _read(given: Any) -> Budget:
    if isinstance(given, Budget):
        return given
    if not isinstance(given, str):
        raise BudgetError(
            f"a budget must be text such as {_EXAMPLES}, got {'nothing' if given is None else repr(given)}."
        )
    return Budget.parse(given)


# As a setting: read from text, checked where it is read, and written as text again.
BudgetSetting: TypeAlias = Annotated[Budget, PlainValidator(_read), PlainSerializer(str)]
