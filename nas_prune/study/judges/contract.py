"""What every judge does."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a judge says of some widths.

    Attributes:
        accuracy: of validation images, a share in [0, 1]; of what looks at no image any number, of which larger is
            better.
        macs: multiply-accumulates that it took, in those of trainings (`training_macs`).
    """

    accuracy: float
    macs: int


class Judge(Protocol):
    """Says how good widths are, of which nothing is trained."""

    def judged(self, vector_G: Sequence[int]) -> Judgement:
        """What it says of a width for each searchable group."""
