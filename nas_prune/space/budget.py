"""Budgets: upper bounds on a cost, as people write them."""

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from math import floor
from typing import Annotated, Any, TypeAlias

from pydantic import PlainSerializer, PlainValidator

from nas_prune.errors import BudgetError

OWN = "own"
_KINDS = ("macs", "params", "channels", "activations")
_SUFFIXES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}
_EXAMPLES = "'macs<=50%', 'params<=1.2M' or 'channels<=40%', or 'own'"
_SHAPE = re.compile(r"\s*([A-Za-z_]+)\s*(<=|≤|<|>=|>|==|=)\s*([-+]?[0-9.eE]*[0-9.]+)\s*(%|[A-Za-z]*)\s*")


@dataclass(frozen=True, slots=True)
class Budget:
    """An upper bound on one cost; or the method's own choice, whatever that costs.

    Attributes:
        kind: `macs`, `params`, `channels`, `activations`, or `own`.
        share: the bound as a share of the base network's cost, in (0, 1]; None when it is absolute.
        absolute: the bound as a count; None when it is a share.
    """

    kind: str
    share: float | None = None
    absolute: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """Read a budget such as `macs<=50%`, `params<=1.2M` or `channels<=40%`, or `own`.

        Raises:
            BudgetError: it is not of that form, or asks for something that cannot be bounded.

        Example:
            >>> Budget.parse("params<=1.2M")
            Budget(kind='params', share=None, absolute=1200000)
        """
        if text.strip().lower() == OWN:
            return cls(OWN)
        found = _SHAPE.fullmatch(text)
        if found is None:
            raise BudgetError(f"a budget must look like {_EXAMPLES}, got {text!r}.")
        kind, sign, number, unit = found.groups()
        _check_kind(kind.lower(), text)
        if sign not in ("<=", "≤"):
            raise BudgetError(
                f"a budget must be an upper bound written with <=, got {text!r}. Write {kind}<={number}{unit}."
            )
        return cls._of_number(kind.lower(), number, unit.lower(), text)

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
        if unit not in _SUFFIXES:
            raise BudgetError(f"a budget's unit must be %, K, M or G, got {unit!r} in {text!r}.")
        if not 1 <= value * _SUFFIXES[unit] < 2**53:
            raise BudgetError(f"a budget must be at least 1, got {text!r}. Write it like {_EXAMPLES}.")
        return cls(kind, absolute=int(value * _SUFFIXES[unit]))

    @property
    def is_own(self) -> bool:
        """Whether the method decides by itself what goes."""
        return self.kind == OWN

    def __str__(self) -> str:
        if self.is_own:
            return OWN
        if self.share is not None:
            return f"{self.kind}<={self.share * 100:.10g}%"
        assert self.absolute is not None
        return f"{self.kind}<={with_suffix(self.absolute)}"

    def limit(self, base: int) -> int:
        """The largest count allowed, given the base network's count."""
        if self.share is not None:
            return floor(round(self.share * base, 6))
        assert self.absolute is not None
        return self.absolute


def _check_kind(kind: str, text: str) -> None:
    if kind == "flops":
        raise BudgetError(
            f"a budget must name MACs, not FLOPs, got {text!r}. FLOPs are 2 × MACs; write macs<=…."
        )
    if kind == "latency":
        raise BudgetError(
            f"a latency cannot be a budget yet, got {text!r}. Use macs, params, channels or activations."
        )
    if kind not in _KINDS:
        raise BudgetError(f"a budget must bound one of {', '.join(_KINDS)}, got {kind!r} in {text!r}.")


def with_suffix(count: int) -> str:
    """A count in the form budgets are written, exact: 1200000 is 1.2M, 1234567 stays."""
    for suffix, size in (("G", 10**9), ("M", 10**6), ("K", 10**3)):
        if count >= size and count % (size // 1000) == 0:
            return f"{(Decimal(count) / size).normalize():f}{suffix}"
    return str(count)


def _read(written: Any) -> Budget:
    if isinstance(written, Budget):
        return written
    if not isinstance(written, str):
        raise BudgetError(
            f"a budget must be text such as {_EXAMPLES}, got {'nothing' if written is None else repr(written)}."
        )
    return Budget.parse(written)


# As a setting: read from text, checked where it is read, and written as text again.
BudgetSetting: TypeAlias = Annotated[Budget, PlainValidator(_read), PlainSerializer(str)]
