"""What `tools/compare_methods.py` searches and trains, and where it keeps it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from nas_prune.data.config import DataConfig
from nas_prune.runs.directory import RESULT
from nas_prune.search.result import file_stem
from nas_prune.space.budget import Budget
from nas_prune.space.widths import Widths, read_widths
from nas_prune.training.recipe import Recipe, recipe_named

WHOLE, FIRST = "whole", "uniform"
STUDY = "study"  # the key of an arm's settings where it is a study, and its directory below the arm's


class Network(BaseModel):
    """A network of the plan."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    space: str
    width_multiplier: float = 1.0

    @property
    def name(self) -> str:
        """What its directory is called."""
        return self.space if self.width_multiplier == 1 else f"{self.space}-{self.width_multiplier:g}"


class Plan(BaseModel):
    """What is searched and trained; `studies/width-methods/plan.yaml` explains each field.

    An arm is a width method, or a study (`study: {...}`, its settings), whose winner counts as what was found.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    question: str
    networks: tuple[Network, ...]
    image_size: int
    max_images: int
    recipe: str
    epochs: int
    budget: str
    searches: int
    trainings: int
    arms: Mapping[str, Mapping[str, Any]]
    contrasts: tuple[tuple[str, str], ...] = ()

    @property
    def schedule(self) -> Recipe:
        """How every network is trained."""
        return recipe_named(self.recipe).with_epochs(self.epochs)

    def data(self, name: str) -> DataConfig:
        """The images."""
        return DataConfig(name=name, image_size=self.image_size, max_images=self.max_images)

    def seeds(self, number: int) -> range:
        """Of the trainings of what one search found: none that those of another have."""
        return range(number * self.trainings, (number + 1) * self.trainings)


@dataclass(frozen=True)
class Unit:
    """One search of every arm on one network, and the trainings of what they found."""

    plan: Plan
    network: Network
    number: int
    data: str
    folder: Path

    def found_in(self, arm: str) -> Path:
        """The directory of a search."""
        return self.folder / "search" / arm.replace(" ", "-")

    def widths_of(self, arm: str) -> Widths | None:
        """What an arm's search found; None where it has not been searched."""
        searched = self.found_in(FIRST if arm == WHOLE else arm)
        stem = "whole" if arm == WHOLE else file_stem(Budget.parse(self.plan.budget))
        path = searched / "widths" / f"{stem}.json"
        return read_widths(path) if (searched / RESULT).exists() else None

    def trained_in(self, arm: str, seed: int) -> Path:
        """The file of a training's result."""
        return self.folder / "train" / arm.replace(" ", "-") / str(seed) / RESULT


def first_alike(unit: Unit, arm: str) -> str:
    """The first arm of the plan that found the same network, whose trainings stand for both."""
    own = unit.widths_of(arm)
    assert own is not None
    for other in unit.plan.arms:
        widths = unit.widths_of(other)
        if widths is not None and (widths.vector, widths.removed_blocks) == (own.vector, own.removed_blocks):
            return other
    return arm
