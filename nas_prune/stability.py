"""When the widths of a search no longer change from epoch to epoch, so that the rest of the training can be saved.

You et al., Drawing Early-Bird Tickets (ICLR 2020), look at which channels would be kept; here their number is what is
searched, and so what is compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

WIDTHS = "widths"  # a line of metrics holds {budget: width vector} under it


@dataclass(frozen=True, slots=True)
class Stability:
    """A rule for stopping.

    Attributes:
        tolerance: the share of the searched channels that may still come or go within an epoch, at every budget.
        epochs: for how many epochs in a row.
    """

    tolerance: float
    epochs: int

    def is_reached(self, lines: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the last epochs are stable.

        Args:
            lines: of each epoch its number and its widths, the oldest first.

        Example:
            >>> line = {"epoch": 1, "widths": {"macs<=50%": [4, 8]}}
            >>> Stability(0.01, 1).is_reached([line, {**line, "epoch": 2}])
            True
        """
        last = lines[-self.epochs - 1 :]
        if len(last) <= self.epochs or any(WIDTHS not in line for line in last):
            return False
        pairs = list(pairwise(last))
        in_a_row = all(later["epoch"] == earlier["epoch"] + 1 for earlier, later in pairs)
        return in_a_row and all(
            distance(earlier[WIDTHS][budget], later[WIDTHS][budget]) <= self.tolerance
            for earlier, later in pairs
            for budget in later[WIDTHS]
        )


def distance(first_G: Sequence[int], second_G: Sequence[int]) -> float:
    """Σ |difference| over Σ of the larger widths: 0 for equal vectors, 1 where nothing is left of any group."""
    pairs = list(zip(first_G, second_G, strict=True))
    return sum(abs(one - other) for one, other in pairs) / max(1, sum(max(pair) for pair in pairs))
