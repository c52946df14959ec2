"""What bounds widths beside a budget: multiples, a least width, layers that are left whole."""

from collections.abc import Iterable
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from nas_prune.errors import BadInputError

MOST = 2**16  # of a divisor and of a least width
Pattern = Annotated[str, Field(min_length=1, max_length=1000)]


class Limits(BaseModel):
    """What bounds the widths that are chosen, whatever chooses them.

    Attributes:
        divisor: widths are multiples of it, or the base width; None for the network's own, mostly 1.
        min_width: the least width of any group; a narrower group stays whole. None for the network's own, mostly 1.
        keep: layers that are left whole: paths, or patterns with * and ?; a module's path stands for all in it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    divisor: int | None = Field(default=None, ge=1, le=MOST, strict=True)
    min_width: int | None = Field(default=None, ge=1, le=MOST, strict=True)
    keep: tuple[Pattern, ...] = Field(default=(), max_length=1000)

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = handler(self)
        return {name: value for name, value in content.items() if value not in (None, (), [])}

    def __bool__(self) -> bool:
        """Whether anything is bounded."""
        return self != NO_LIMITS

    @property
    def options(self) -> list[str]:
        """As they are typed."""
        numbers = {"--divisor": self.divisor, "--min-width": self.min_width}
        flags = [word for name, value in numbers.items() if value is not None for word in (name, str(value))]
        return [*flags, *(word for pattern in self.keep for word in ("--keep", pattern))]

    @property
    def words(self) -> str:
        """The same in a sentence; empty if nothing is bounded."""
        names, values = self.options[::2], self.options[1::2]
        return ", ".join(f"{name} {value}" for name, value in zip(names, values, strict=True))

    def keeps(self, layers: Iterable[str]) -> bool:
        """Whether one of some layers is to be left whole."""
        return any(_names(pattern, layer) for layer in layers for pattern in self.keep)

    def check_known(self, layers: Iterable[str]) -> None:
        """Refuse a pattern that no layer of a network matches.

        Args:
            layers: paths of all of them.

        Raises:
            BadInputError: it is so.
        """
        known = list(layers)
        for pattern in self.keep:
            if not any(_names(pattern, layer) for layer in known):
                near = get_close_matches(pattern, known, 3, 0.4) or known[:3]
                raise BadInputError(
                    f"--keep must name layers of the network, got {pattern!r}, which none matches. Layers are "
                    f"{', '.join(near)}, …; `nas-prune inspect` lists the channel groups."
                )


NO_LIMITS = Limits()


def _names(pattern: str, layer: str) -> bool:
    """Whether a pattern matches a layer's path, or that of a module around it."""
    parts = layer.split(".")
    return any(fnmatchcase(".".join(parts[:count]), pattern) for count in range(1, len(parts) + 1))
