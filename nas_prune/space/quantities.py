"""The costs that a budget can bound, in which units people write them, and how they are printed.

Within nas-prune a cost is a whole number: latency in nanoseconds, memory and size in bytes, all others counts.
"""

import shlex
from collections.abc import Sequence
from decimal import Decimal
from types import MappingProxyType

COUNTED = ("macs", "params", "channels", "activations")
MEASURED = ("latency", "memory", "size")
NONZERO = "nonzero"  # single weights that are there, of a pattern
KINDS = (*COUNTED, *MEASURED, NONZERO)

_COUNTS = MappingProxyType({"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9})
_TIMES = MappingProxyType({"s": 10**9, "ms": 10**6, "us": 10**3, "µs": 10**3, "μs": 10**3, "ns": 1})
_BYTES = MappingProxyType(
    {
        "b": 1,
        "bytes": 1,
        "kib": 2**10,
        "mib": 2**20,
        "gib": 2**30,
        "kb": 10**3,
        "mb": 10**6,
        "gb": 10**9,
    }
)
_UNITS = {
    **dict.fromkeys((*COUNTED, NONZERO), _COUNTS),
    "latency": _TIMES,
    "memory": _BYTES,
    "size": _BYTES,
}
_WORDS = {
    **dict.fromkeys((*COUNTED, NONZERO), "%, K, M or G"),
    "latency": "%, ms, us, ns or s",
    "memory": "%, KiB, MiB, KB, MB or B",
    "size": "%, KiB, MiB, KB, MB or B",
}
_PRINTED = {
    **dict.fromkeys((*COUNTED, NONZERO), (("G", 10**9), ("M", 10**6), ("K", 10**3), ("", 1))),
    "latency": (("s", 10**9), ("ms", 10**6), ("us", 10**3), ("ns", 1)),
    **dict.fromkeys(("memory", "size"), (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10), ("B", 1))),
}
_PLACES = 3


def factor_of(kind: str, unit: str) -> int | None:
    """How many of a cost's own units one of a written unit is; None if the cost is not written so.

    Example:
        >>> factor_of("latency", "ms"), factor_of("macs", "ms")
        (1000000, None)
    """
    return _UNITS[kind].get(unit.lower())


def units_of(kind: str) -> str:
    """The units that a bound on a cost may have, in words."""
    return _WORDS[kind]


def written(kind: str, count: int) -> str:
    """A cost in the form budgets are written, exact.

    Example:
        >>> written("macs", 1200000), written("params", 1234567), written("latency", 2500000), written("memory", 262144)
        ('1.2M', '1234.567K', '2.5ms', '256KiB')
    """
    for unit, size in _PRINTED[kind]:
        value = Decimal(count) / size
        if count >= size and value == round(value, _PLACES):
            return f"{value.normalize():f}{unit}"
    return str(count)


def shown(kind: str, count: float) -> str:
    """A cost for people: three digits and a unit where it has one, else the whole number and what is counted.

    Example:
        >>> shown("latency", 2512345), shown("memory", 300000), shown("macs", 1234)
        ('2.51 ms', '293 KiB', '1,234 macs')
    """
    if kind in (*COUNTED, NONZERO):
        return f"{count:,.0f} {kind}"
    unit, size = next((one for one in _PRINTED[kind] if count >= one[1]), _PRINTED[kind][-1])
    value = count / size
    return f"{value:.0f} {unit}" if value >= 100 or size == 1 else f"{value:#.3g} {unit}"


def unknown_cost(kind: str, network: str, options: Sequence[str], target: str | None) -> str:
    """Why a cost cannot be bounded, and what to do, in a line."""
    if kind == NONZERO:
        return "nonzero counts single weights, which nas-prune sparsify leaves out. Of widths, bound params."
    on = f"target {target}" if target else "no --target"
    how = (
        "Measure it, and use --target my-machine: "
        f"nas-prune measure {shlex.join(options)} --target cpu-onnxruntime --out my-machine"
        if kind == "latency"
        else "Use a target that has it."
    )
    return f"{kind} of {network} must be known to be bounded, got {on}. {how}"
