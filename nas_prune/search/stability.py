"""When the widths of a search no longer change from epoch to epoch, so that the rest of the training can be saved.

You et al., Drawing Early-Bird Tickets (ICLR 2020), look at which channels would be kept. Here the share of each stage's
channels is looked at: what a search finds is a pattern over the depth, and single layers keep changing places with
their neighbours long after it is stable.

A pattern that has not begun to form does not change either: while every scale is near where it began, the shares follow
chance and may stay alike for epochs. So nothing counts as stable before the learning rates spent so far have taken an
idle channel part of its way to zero.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

KEPT = "kept"  # a line of metrics holds {budget: share of each stage's searched channels} under it


@dataclass(frozen=True, slots=True)
class Stability:
    """A rule for stopping.

    Attributes:
        tolerance: by how much the share that a stage keeps may change within an epoch, at every budget.
        epochs: for how many epochs in a row.
        spent: the share of the training's learning rates, summed over its steps, that must be spent before; by default
            λ takes an idle channel to zero at 1. Nothing in runs of before, which stopped without.
    """

    tolerance: float
    epochs: int
    spent: float = 0.0

    def is_reached(self, lines: Sequence[Mapping[str, Any]], spent: float = 1.0) -> bool:
        """Whether the last epochs are stable.

        Args:
            lines: of each epoch its number and the shares kept, the oldest first.
            spent: the share of the learning rates after the last of them.

        Example:
            >>> line = {"epoch": 1, "kept": {"macs<=50%": [1.0, 0.25]}}
            >>> Stability(0.01, 1).is_reached([line, {**line, "epoch": 2}])
            True
        """
        last = lines[-self.epochs - 1 :]
        if spent < self.spent - 1e-9 or len(last) <= self.epochs or any(KEPT not in line for line in last):
            return False
        return all(
            later["epoch"] == earlier["epoch"] + 1
            and distance(earlier[KEPT], later[KEPT]) <= self.tolerance + 1e-9
            for earlier, later in pairwise(last)
        )


def distance(earlier: Mapping[str, Sequence[float]], later: Mapping[str, Sequence[float]]) -> float:
    """The largest change of a stage's share, over stages and budgets."""
    pairs = [pair for budget in later for pair in zip(earlier[budget], later[budget], strict=True)]
    return max(abs(one - other) for one, other in pairs)
