"""What trains the networks of a study: nas-prune on its images, or a function of somebody's own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import optuna

from nas_prune.runs.progress import SILENT, Progress
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.widths import Widths
from nas_prune.study.config import StudyConfig
from nas_prune.training.schedules import Schedule

Length: TypeAlias = Literal["short", "full"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A training that is asked for, or several of one network with seeds in a row.

    Attributes:
        config: of the study.
        space: its network.
        widths: what is trained.
        seed: of the first training.
        folder: where it is kept.
        progress: reports how far the work is.
    """

    config: StudyConfig
    space: SearchSpace
    widths: Widths
    seed: int
    folder: Path
    progress: Progress = SILENT


@dataclass(frozen=True, slots=True)
class Told:
    """What the trainings of a trial gave.

    Attributes:
        score: the mean over seeds, of which more is better.
        epochs: of all of them together.
        is_stopped: whether it fell behind and was ended.
        curve: the first one step by step, as a table.
        result: what is written beside it.
        attributes: what the trial's record says of it, too.
    """

    score: float
    epochs: int
    is_stopped: bool
    curve: str
    result: Mapping[str, Any]
    attributes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Again:
    """What one training of a finalist gave.

    Attributes:
        score: by what trials are compared, of which more is better.
        test: what had no part in any choice; None where there is no such thing.
        epochs: how many it had; 0 where earlier versions have not noted it.
    """

    score: float
    test: float | None
    epochs: int


class Trainer(Protocol):
    """Trains networks from random weights, and says how good they are."""

    @property
    def identity(self) -> str:
        """What tells what it trains on from something else."""

    @property
    def guess(self) -> float | None:
        """The score below which a network is hardly better than guessing; None where that is not known."""

    def macs(self, macs: int, epochs: int) -> int:
        """Multiply-accumulates of a training.

        Args:
            macs: of one forward pass.
            epochs: how many it has.
        """

    def epochs(self, config: StudyConfig, widths: Widths, length: Literal["short"] | Schedule) -> int:
        """How many epochs a training has."""

    def trial(self, asked: Asked, trial: optuna.Trial) -> Told:
        """Train the network of a trial, with as many seeds as the study has.

        Raises:
            NasPruneError: the trial has failed.
        """

    def tidy(self, folder: Path) -> None:
        """Remove what nobody needs any more of the trainings of a trial, which has ended."""

    def again(self, asked: Asked, length: Literal["short"] | Schedule) -> None:
        """Train a finalist once, and leave what `found` reads.

        Raises:
            NasPruneError: it did not finish.
        """

    def found(self, folder: Path) -> Again | None:
        """What the training of a folder gave; None if it has not finished."""
