"""The settings of a comparison of patterns."""

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field

from nas_prune.comparison.pattern_arms import PatternArm, arms_named
from nas_prune.patterns.config import SparsifyConfig
from nas_prune.patterns.methods.registry import method_named
from nas_prune.runs.directory import TARGET
from nas_prune.space.budget import BudgetSetting
from nas_prune.space.names import check_trusted
from nas_prune.training.config import RunConfig
from nas_prune.training.recipe import Recipe, default_recipe

FIRST_TRAINING = 10_000  # seeds of trainings: none by which a mask was found


class PatternCompareConfig(RunConfig):
    """Every setting of a comparison of patterns; what `config.yaml` holds.

    Attributes:
        search: the search of each seed, but for its seed.
        recipe: how the whole network is trained; its epochs are the reference of all schedules.
        budgets: at which patterns are compared.
        arms: their names.
        seeds: how many; each has a search of its own.
        cap: bound on Scratch-B's multiplier; None for none.
        guideline: of patterns of other searches, for the arm that draws from it.
    """

    path_fields: ClassVar[tuple[str, ...]] = ("guideline",)

    command: Literal["compare-patterns"] = "compare-patterns"
    search: SparsifyConfig
    recipe: Recipe = Field(default_factory=lambda known: default_recipe(known["data"].name))
    budgets: tuple[BudgetSetting, ...] = Field(min_length=1)
    arms: tuple[str, ...] = Field(min_length=1)
    seeds: int = Field(default=5, ge=1, le=1000)
    cap: float | None = Field(default=4.0, ge=1)
    guideline: str | None = Field(default=None, min_length=1, max_length=4096)

    def network_in(self, run: Path) -> str:  # noqa: ARG002
        """As `RunConfig`."""
        return self.search.space

    def vouched(self, run: Path, typed: str | None) -> Self:
        """As `RunConfig`; the searches may load the same network."""
        known = super().vouched(run, typed)
        return known.searching(space=check_trusted(self.search.space, typed, str(run)), data=known.data)

    def relative_to(self, run: Path) -> Self:
        """As `RunConfig`; the searches look at the same images, and at the target that the comparison has."""
        moved = super().relative_to(run)
        return moved.searching(data=moved.data, **self.search.target_at(TARGET))

    def resolved_from(self, run: Path, data_name: str | None) -> Self:
        """As `RunConfig`; the searches look at the same images, and at the target that the comparison has."""
        here = super().resolved_from(run, data_name)
        return here.searching(data=here.data, **self.search.target_at(str(run / TARGET)))

    def searching(self, **changes: Any) -> Self:
        """The same with other settings of the searches."""
        return self.model_copy(update={"search": self.search.model_copy(update=changes)})

    @property
    def chosen(self) -> tuple[PatternArm, ...]:
        """The arms."""
        is_trained = method_named(self.search.method).trains
        return arms_named(self.arms, has_guideline=self.guideline is not None, is_trained=is_trained)

    def search_of(self, seed: int) -> SparsifyConfig:
        """The search of one seed."""
        return self.search.model_copy(
            update={
                "seed": seed,
                "budgets": self.budgets,
                "device": self.device,
                "threads": self.threads,
                "precision": self.precision,
                "channels_last": self.channels_last,
                "compiles": self.compiles,
            }
        )
