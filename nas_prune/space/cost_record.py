"""What widths cost, as a widths file has it."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from nas_prune.space.cost import Cost

# Of a layer, a block, a data set: what a page or a picture of widths could show.
Name = Annotated[str, Field(max_length=1000)]


class Strict(BaseModel):
    """A part of a widths file: no other fields, no numbers without end."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class CostRecord(Strict):
    """Exact costs: MACs of one image, parameters, and numbers put out by all layers."""

    macs: int = Field(ge=0)
    params: int = Field(ge=0)
    activations: int = Field(ge=0)

    @classmethod
    def of(cls, cost: Cost) -> "CostRecord":
        """As it was worked out."""
        return cls(macs=cost.macs, params=cost.params, activations=cost.activations)


class TargetCosts(Strict):
    """What widths cost on a target; None where it does not say."""

    latency_ms: float | None = Field(default=None, ge=0, le=10**9)
    memory_bytes: int | None = Field(default=None, ge=0)
    size_bytes: int | None = Field(default=None, ge=0)

    @classmethod
    def of(cls, counts: Mapping[str, int]) -> "TargetCosts":
        """From costs by their names in budgets, in nanoseconds and bytes."""
        latency = counts.get("latency")
        return cls(
            latency_ms=None if latency is None else latency / 10**6,
            memory_bytes=counts.get("memory"),
            size_bytes=counts.get("size"),
        )

    @property
    def counts(self) -> dict[str, int]:
        """By their names in budgets, in nanoseconds and bytes; those that are known."""
        latency = None if self.latency_ms is None else round(self.latency_ms * 10**6)
        found = {"latency": latency, "memory": self.memory_bytes, "size": self.size_bytes}
        return {kind: count for kind, count in found.items() if count is not None}


class TargetRecord(Strict):
    """What widths are meant for, and what they cost there.

    Attributes:
        name: of the target; None for no device in particular, where numbers have four bytes.
        cost: of the widths: latency as predicted from the target's table.
        base_cost: of the whole network.
        measured_ms: latency of the network of these widths, measured whole; None where it was not.
    """

    name: Name | None = None
    cost: TargetCosts
    base_cost: TargetCosts
    measured_ms: float | None = Field(default=None, ge=0, le=10**9)

    @model_validator(mode="after")
    def _of_the_same(self) -> "TargetRecord":
        if self.cost.counts.keys() != self.base_cost.counts.keys():
            own, whole = (", ".join(one.counts) or "none" for one in (self.cost, self.base_cost))
            raise ValueError(f"cost and base_cost of a target must be of the same, got {own} and {whole}")
        return self
