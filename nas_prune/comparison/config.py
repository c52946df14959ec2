"""The settings of a comparison, with its arms."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from nas_prune.comparison.arms import (
    ARMS,
    SEEDS_OF_A_SEARCH,
    Arm,
    Kind,
    equal_arms,
    path_of,
    transfer_arms,
)
from nas_prune.comparison.charge import Charge
from nas_prune.comparison.statistics import TestName
from nas_prune.search.config import SearchConfig
from nas_prune.space.widths import read_widths
from nas_prune.training.config import RunConfig
from nas_prune.training.recipe import Recipe, default_recipe

MOST_SEARCHES = 100
STUDY_SEED = (
    20_000  # the first seed of the trainings of what studies of the comparison found, none of their own
)


class CompareConfig(RunConfig):
    """Every setting of a comparison; what `config.yaml` holds.

    Attributes:
        command: `compare`, or `transfer` for a guideline on new images.
        recipe: how the whole network is trained; its epochs are the reference of all schedules.
        cap: bound on Scratch-B's multiplier; None for none.
        seeds: how many trainings of each arm (of each search's widths): 0, 1, …
        searches: how many searches found widths; those after the first are made for the comparison.
        search: the settings of the first; None where it is not known, or nothing was searched.
        arms: their names.
        left_out: arms that cannot be trained here, and why.
        data_seed: fixes the validation split, the same for all.
        source: the search whose kind of training the inherited weights come from; None where there is none. Each seed
            has a whole network of its own, trained as that search trains, to the end.
        num_train: images of the training part.
        test: of the differences.
        winner_seed: the first seed of the winner's trainings, none of those by which its study chose it.
        winner_charges: what the study of the winner took; None where that is not known.
        schedule: of a transfer.
        equal_training: what each training of an arm may take together with all that had to be trained for it, in
            trainings of the whole network by the recipe; None for schedules of their own.
        notes: what was guessed, in words.
        target: what the widths are meant for; None for no device in particular.
    """

    command: Literal["compare", "transfer"] = "compare"
    recipe: Recipe = Field(default_factory=lambda known: default_recipe(known["data"].name))
    cap: float | None = None
    seeds: int = Field(default=5, ge=1, le=SEEDS_OF_A_SEARCH)
    searches: int = Field(default=1, ge=1, le=MOST_SEARCHES)
    search: SearchConfig | None = None
    arms: tuple[str, ...] = ()
    left_out: dict[str, str] = Field(default_factory=dict)
    data_seed: int = Field(default=0, ge=0, lt=2**31)
    source: SearchConfig | None = None
    num_train: int = 0
    test: TestName = "moderated"
    winner_seed: int = Field(default=0, ge=0, lt=2**31)
    winner_charges: tuple[Charge, ...] | None = None
    schedule: Literal["scratch-e", "scratch-b"] = "scratch-e"
    equal_training: float | None = Field(default=None, gt=0, le=10_000)
    notes: tuple[str, ...] = ()
    target: str | None = Field(default=None, min_length=1, max_length=4096)

    def network_in(self, run: Path) -> str:
        """As `RunConfig`: that of the widths it is about."""
        return read_widths(path_of(run, self.about, 0)).space.name

    def relative_to(self, run: Path) -> Self:
        """As `RunConfig`; the search looks at the same images."""
        moved = super().relative_to(run)
        searches = {"source": moved.source, "search": moved.search}
        return moved.model_copy(
            update={
                name: one.model_copy(update={"data": moved.data, "target": moved.target})
                for name, one in searches.items()
                if one is not None
            }
        )

    def resolved_from(self, run: Path, data_name: str | None) -> Self:
        """As `RunConfig`; its searches have the same target."""
        here = super().resolved_from(run, data_name)
        searches = {"source": here.source, "search": here.search}
        return here.model_copy(
            update={
                name: one.model_copy(update={"target": here.target})
                for name, one in searches.items()
                if one is not None
            }
        )

    @property
    def about(self) -> Kind:
        """Which widths it is about: those found, or a guideline's."""
        return "found" if self.command == "compare" else "guided"

    @model_validator(mode="after")
    def _known_arms(self) -> "CompareConfig":
        unknown = [name for name in self.arms if name not in self.known]
        if unknown:
            raise ValueError(f"an arm must be one of {', '.join(self.known)}, got {unknown[0]}")
        return self

    @property
    def known(self) -> dict[str, Arm]:
        """All arms that such a comparison may have."""
        if self.command == "transfer":
            return transfer_arms(self.schedule)
        return ARMS if self.equal_training is None else equal_arms()

    @property
    def chosen(self) -> tuple[Arm, ...]:
        """Those that it has."""
        return tuple(self.known[name] for name in self.arms)

    def seeds_of(self, arm: Arm) -> tuple[tuple[int, ...], ...]:
        """The seeds of an arm's trainings, by search; all together where its widths are of no search, or of one."""
        own = range(self.seeds)
        if arm.kind == "winner":
            return (tuple(self.winner_seed + number for number in own),)
        if arm.kind == "study":
            return (tuple(STUDY_SEED + number for number in own),)
        searches = self.searches if arm.kind == "found" else 1
        return tuple(
            tuple(SEEDS_OF_A_SEARCH * search + number for number in own) for search in range(searches)
        )
