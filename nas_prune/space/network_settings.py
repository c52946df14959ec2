"""Which network is narrowed, and how: what settings of every kind say of it in the same words."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from nas_prune.runs.typed import NetworkName
from nas_prune.space.limits import MOST, Limits, Pattern
from nas_prune.space.search_space import Groups


class NetworkSettings(BaseModel):
    """The settings of whatever chooses widths of a network.

    Attributes:
        space, width_multiplier: the network.
        groups: `inner` leaves residual streams whole, `all` narrows them too, `selections` lets each of their readers
            select its channels.
        divisor, min_width, keep: as in `Limits`; a single pattern may stand for itself.
        target: what the widths are meant for: the name of a shipped target, or the file or directory of another; None
            for no device in particular.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    space: NetworkName
    width_multiplier: float = 1.0
    groups: Groups = "inner"
    divisor: int | None = Field(default=None, ge=1, le=MOST)
    min_width: int | None = Field(default=None, ge=1, le=MOST)
    keep: tuple[Pattern, ...] = Field(default=(), max_length=1000)
    target: str | None = Field(default=None, min_length=1, max_length=4096)

    @field_validator("keep", mode="before")
    @classmethod
    def _one_or_several(cls, keep: Any) -> Any:
        return (keep,) if isinstance(keep, str) else keep

    @property
    def limits(self) -> Limits:
        """What bounds the widths beside a budget."""
        return Limits(divisor=self.divisor, min_width=self.min_width, keep=self.keep)

    def network_settings(self) -> dict[str, Any]:
        """These settings alone, to be handed on to others."""
        return {name: getattr(self, name) for name in NetworkSettings.model_fields}
