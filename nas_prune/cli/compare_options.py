"""What `nas-prune compare` is asked for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """What is compared with what."""

    named: Path | None
    budget: str | None
    widths_file: Path | None
    source: Path | None
    weights: str | None
    guideline: str | None
    study: Path | None
    arms: tuple[str, ...]
    seeds: int
    searches: int
    cap: float | None
    equal_training: float | None
    test: Literal["moderated", "t", "wilcoxon", "sign-flip"]
    target: str | None
    space: str | None

    @property
    def is_file(self) -> bool:
        """Whether a comparison file holds every setting."""
        return self.named is not None and self.named.suffix in (".yaml", ".yml")
