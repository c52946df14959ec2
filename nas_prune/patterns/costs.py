"""What a network costs of which only some weights are there, as functions of how many each layer keeps.

These are costs of storage and of arithmetic that a sparse kernel would do: dense kernels multiply zeros as well, and
take as long as before.

Shape suffix: L layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_prune.errors import BudgetError
from nas_prune.hardware.memory import FLOAT32
from nas_prune.patterns.layers import WeightLayers
from nas_prune.space.budget import Budget
from nas_prune.space.cut import least_share
from nas_prune.space.search_space import SearchSpace

KINDS = ("nonzero", "macs", "size")  # that a budget of a pattern may bound


@dataclass(frozen=True, slots=True)
class PatternCost:
    """The costs of one pattern.

    Attributes:
        nonzero: how many of the weights that may go are there.
        macs: multiply-accumulates of one image with the weights that are there.
        size_bytes: of the weights that are there, a bit for each that may be, and all other parameters; a layer that is
            smaller without such bits counts without them.
    """

    nonzero: int
    macs: int
    size_bytes: int

    def of(self, kind: str) -> int:
        """By its name in a budget."""
        return self.size_bytes if kind == "size" else int(getattr(self, kind))


@dataclass(frozen=True, slots=True)
class PatternCosts:
    """The costs of all patterns of one network.

    Attributes:
        layers: its weights.
        weight_bytes: of a parameter, on the target.
    """

    layers: WeightLayers
    weight_bytes: int = FLOAT32

    def at(self, kept_L: "Sequence[int] | NDArray[np.int64]") -> PatternCost:
        """The costs where each layer keeps so many of its weights."""
        kept = [int(number) for number in kept_L]
        layers = self.layers
        macs = layers.dense_macs + sum(
            layer.uses * number for layer, number in zip(layers.layers, kept, strict=True)
        )
        own = sum(self._bytes(layer.size, number) for layer, number in zip(layers.layers, kept, strict=True))
        return PatternCost(sum(kept), macs, own + layers.dense_params * self.weight_bytes)

    @property
    def whole(self) -> PatternCost:
        """The costs of the network with all its weights."""
        return self.at(self.layers.sizes)

    @property
    def least(self) -> PatternCost:
        """The costs where each layer keeps one weight."""
        return self.at([1] * len(self.layers.layers))

    def limit(self, budget: Budget) -> int:
        """The most that a bound allows; a share is of the whole network's cost."""
        return budget.limit(self.whole.of(budget.kind))

    def _bytes(self, size: int, kept: int) -> int:
        return min(size * self.weight_bytes, kept * self.weight_bytes + -(-size // 8))

    def check(self, budget: Budget) -> None:
        """Refuse a budget that no pattern meets, or on a cost that patterns do not have.

        Raises:
            BudgetError: with the least that is feasible.
        """
        if budget.is_own:
            return
        for bound in budget.bounds:
            if bound.kind not in KINDS:
                raise BudgetError(
                    f"a budget of single weights must bound {', '.join(KINDS)}, got {bound}. Bound others with "
                    "nas-prune search, which narrows layers."
                )
            least, most = self.least.of(bound.kind), self.limit(bound)
            if most < least:
                share = least_share(least, self.whole.of(bound.kind))
                raise BudgetError(
                    f"budget {budget} must leave each layer a weight, which takes {least:,} ({bound.kind}; "
                    f"{share}), got {most:,}. Ask for more."
                )


def costs_of(space: SearchSpace, layers: WeightLayers) -> PatternCosts:
    """The costs of a network's patterns, in the bytes of its target."""
    size = space.target_costs.get("size")
    return PatternCosts(layers, getattr(size, "weight_bytes", FLOAT32))
