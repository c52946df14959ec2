"""What `nas-prune train` is asked for."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas_prune.training.event_log import LogName
    from nas_prune.training.schedules import Schedule


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What is trained, from what, and how often."""

    named: Path | None
    widths_file: Path | None
    budget: str | None
    space: str | None
    schedule: "Schedule"
    source: Path | None
    weights: str | None
    teacher: Path | None
    cap: float | None
    draws: bool
    seeds: int
    keep_checkpoints: bool
    log: "LogName | None"
