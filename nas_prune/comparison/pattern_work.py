"""The trainings of a comparison of patterns: a search for each seed, and the arms that follow from it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from nas_prune.comparison.pattern_arms import PatternArm
from nas_prune.comparison.pattern_config import FIRST_TRAINING, PatternCompareConfig
from nas_prune.comparison.pattern_widths import (
    COSTS,
    bound_by,
    search_widths,
    why_no_widths,
    widths_beside,
)
from nas_prune.data import epoch_seed
from nas_prune.data.guessing import guess_share
from nas_prune.errors import BadInputError, BudgetError, DamagedError
from nas_prune.patterns.config import SparsifyConfig
from nas_prune.patterns.cut import cut_weights
from nas_prune.patterns.draw import drawn_masks
from nas_prune.patterns.guideline import read_pattern_guideline
from nas_prune.patterns.methods.contract import Evidence
from nas_prune.patterns.methods.guided import scores_by
from nas_prune.patterns.methods.registry import method_named
from nas_prune.patterns.pattern import PATTERNS, Pattern, read_pattern
from nas_prune.patterns.prepared import PreparedPatterns, prepared_patterns
from nas_prune.patterns.rounds import early_network
from nas_prune.patterns.run import pruned, resume_sparsify, sparsify, trained_network
from nas_prune.runs.directory import RESULT
from nas_prune.runs.files import write_whole
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.runs.reading import read_json
from nas_prune.runs.settings import CONFIG, read_config
from nas_prune.search.result import file_stem
from nas_prune.space.budget import Budget
from nas_prune.space.cut import matched
from nas_prune.space.widths import Widths
from nas_prune.training.config import TrainConfig
from nas_prune.training.evaluation import evaluate
from nas_prune.training.given_weights import START
from nas_prune.training.job import Inputs
from nas_prune.training.masks import GivenMasks, Masks, identity_of_masks, read_masks
from nas_prune.training.result import Trained, read_trained, write_trained
from nas_prune.training.run import train_member

# In the directory of a comparison: what the guided arm draws from, and what a guided search does.
GUIDELINE, SEARCHED_BY = "guideline.yaml", "search-guideline.yaml"
_COST, _LEFT_OUT = "cost.json", "left-out.json"
_FOUND = "found_masks"


@dataclass(frozen=True, slots=True)
class Unit:
    """One training: an arm at a budget, with a seed; or a search for a pattern or for widths, where there is no arm."""

    seed: int
    arm: PatternArm | None = None
    budget: Budget | None = None
    finds: Literal["pattern", "widths"] = "pattern"

    @property
    def follows(self) -> tuple["Unit", ...]:
        """The searches that must be done before."""
        pattern, widths = Unit(self.seed), Unit(self.seed, finds="widths")
        if self.arm is None:
            return (pattern,) if self.finds == "widths" else ()
        return (pattern, widths) if self.arm.widths_from == "found" else (pattern,)

    @property
    def name(self) -> str:
        """For people."""
        if self.arm is not None:
            return f"{self.arm.name} at {self.budget}, seed {self.seed}"
        return f"search {self.seed}" if self.finds == "pattern" else f"search for widths {self.seed}"


def search_folder(run: Path, seed: int) -> Path:
    """Where the search of a seed is."""
    return run / "searches" / f"seed-{seed}"


def width_search_folder(run: Path, seed: int) -> Path:
    """Where the search for widths of a seed is."""
    return run / "width-searches" / f"seed-{seed}"


def arm_folder(run: Path, arm: str, budget: Budget) -> Path:
    """Where an arm's trainings at a budget are; that of the whole network is the same for all."""
    return run / "arms" / ("whole" if arm == "whole" else f"{file_stem(budget)}/{arm}")


def result_file(run: Path, unit: Unit) -> Path:
    """What a unit leaves at its end."""
    if unit.arm is None or unit.budget is None:
        folder = search_folder if unit.finds == "pattern" else width_search_folder
        return folder(run, unit.seed) / RESULT
    return arm_folder(run, unit.arm.name, unit.budget) / f"seed-{FIRST_TRAINING + unit.seed}" / RESULT


def searches_of(config: PatternCompareConfig) -> list[Unit]:
    """The searches."""
    return [Unit(seed) for seed in range(config.seeds)]


def width_searches_of(config: PatternCompareConfig) -> list[Unit]:
    """The searches for widths that cost as much as the patterns, where an arm trains such networks."""
    needs = any(arm.widths_from == "found" for arm in config.chosen)
    return [Unit(seed, finds="widths") for seed in range(config.seeds)] if needs else []


def trainings_of(config: PatternCompareConfig) -> list[Unit]:
    """The trainings of all arms, seed by seed; the whole network once for all budgets."""
    return [
        Unit(seed, arm, budget)
        for seed in range(config.seeds)
        for number, budget in enumerate(config.budgets)
        for arm in config.chosen
        if arm.kind != "whole" or number == 0
    ]


@dataclass(frozen=True, slots=True)
class Worker:
    """What one process needs; what is loaded is kept for the next unit of the same seed."""

    run: Path
    config: PatternCompareConfig
    typed: str | None
    loaded: dict[int, PreparedPatterns] = field(default_factory=dict)

    def __call__(self, unit: Unit, progress: Progress) -> None:
        """Do one unit, or go on with it; what is done is left alone, what is damaged is done again."""
        if is_done(self.run, unit):
            return
        result_file(self.run, unit).unlink(missing_ok=True)
        progress = progress.under(unit.name)
        if unit.arm is None and unit.finds == "widths":
            self._search_widths(unit, progress)
        elif unit.arm is None:
            self._search(unit, progress)
        else:
            self._train(unit, unit.arm, progress)

    def _search(self, unit: Unit, progress: Progress) -> None:
        folder = search_folder(self.run, unit.seed)
        if (folder / CONFIG).exists():
            resume_sparsify(folder, data_name=self.config.data.name, space=self.typed, progress=progress)
        else:
            folder.parent.mkdir(parents=True, exist_ok=True)
            config = self.config.search_of(unit.seed)
            if config.weights is not None:  # they are in the comparison
                config = config.model_copy(update={"weights": str(self.run / START)})
            if config.guideline is not None:
                config = config.model_copy(update={"guideline": str(self.run / SEARCHED_BY)})
            sparsify(config, folder, progress=progress.without_words())

    def _search_widths(self, unit: Unit, progress: Progress) -> None:
        folder = search_folder(self.run, unit.seed)
        found = read_config(folder, SparsifyConfig).vouched(folder, self.typed)
        here = found.resolved_from(folder, self.config.data.name)
        if here.weights is not None:
            here = here.model_copy(update={"weights": str(self.run / START)})
        patterns = {str(budget): self._pattern(unit.seed, budget) for budget in self.config.budgets}
        place = width_search_folder(self.run, unit.seed)
        search_widths(here, patterns, place, self.typed, progress)

    def _train(self, unit: Unit, arm: PatternArm, progress: Progress) -> None:
        assert unit.budget is not None
        stage = self.stage(unit.seed)
        result = result_file(self.run, unit)
        result.parent.mkdir(parents=True, exist_ok=True)
        found = self._check_found(unit, unit.budget)
        if arm.kind == "whole" and self._has_whole(stage):
            whole = stage.costs.whole
            content = {"macs": whole.macs, "size_bytes": whole.size_bytes, _FOUND: found}
            write_whole(result.parent / _COST, json.dumps(content) + "\n")
            write_trained(result, self._as_searched(unit, stage))
            return
        try:
            config, widths, inputs = self.inputs(unit, arm, unit.budget, stage)
        except BudgetError as error:  # no widths cost as little as the pattern
            write_whole(result.parent / _LEFT_OUT, json.dumps({"why": str(error)}) + "\n")
            return
        macs, size = self._cost(config, widths, inputs, stage)
        content = {"macs": macs, "size_bytes": size, _FOUND: found}
        write_whole(result.parent / _COST, json.dumps(content) + "\n")
        train_member(config, widths, result.parent.parent, inputs, result=result, progress=progress)

    def _check_found(self, unit: Unit, budget: Budget) -> str | None:
        """What tells the masks of a unit's search from others; None where it has no file of them.

        Raises:
            BadInputError: other arms of its seed were trained with other masks: a seed that was kept in part was
                searched again on another machine, say.
        """
        mask = self._pattern(unit.seed, budget).mask
        found = None if mask is None else mask.blake2b
        for arm in self.config.chosen:
            # The whole network is noted beside the first budget's masks.
            if arm.kind == "whole" and budget != self.config.budgets[0]:
                continue
            other = replace(unit, arm=arm)
            noted = _content_of_cost(self.run, other).get(_FOUND) if read_unit(self.run, other) else None
            if noted is not None and noted != found:
                place = result_file(self.run, other).parent
                raise BadInputError(
                    f"all arms of seed {unit.seed} must be of one search, and {arm.name} at {budget} was trained with "
                    f"other masks than its search has now. Remove {place.parent}, or go on where it was begun."
                )
        return found

    def stage(self, seed: int) -> PreparedPatterns:
        """The search of a seed with everything loaded."""
        if seed not in self.loaded:
            self.loaded.clear()
            folder = search_folder(self.run, seed)
            config = read_config(folder, SparsifyConfig).vouched(folder, self.typed)
            here = config.resolved_from(folder, self.config.data.name)
            self.loaded[seed] = prepared_patterns(here, SILENT, folder)
        return self.loaded[seed]

    def _cost(
        self, config: TrainConfig, widths: Widths, inputs: Inputs, stage: PreparedPatterns
    ) -> tuple[int, int]:
        """MACs of the weights that are there, and bytes, of what an arm trains."""
        if inputs.masks is None:
            size = stage.space.cost_function("size")(widths.vector)
            return widths.cost.macs, int(size)
        masks = inputs.masks.of(config.seeds[0])
        cost = stage.costs.at([int(masks[layer.name].sum()) for layer in stage.costs.layers.layers])
        return cost.macs, cost.size_bytes

    def _has_whole(self, stage: PreparedPatterns) -> bool:
        """Whether a search trains the whole network, by the recipe of all arms."""
        is_usual = (
            stage.method.trains and stage.course is None and not stage.method.rounds and not stage.given
        )
        return (
            is_usual and stage.config.search_recipe == self.config.recipe.to_the_end() == self.config.recipe
        )

    def _as_searched(self, unit: Unit, stage: PreparedPatterns) -> Trained:
        """The network that the search trained is a whole one, trained by the recipe."""
        network = trained_network(stage, search_folder(self.run, unit.seed))
        data, cost = stage.data, stage.space.cost_at(stage.space.base_G)
        return Trained(
            unit.seed,  # by which the search trained it
            evaluate(network, data.val, data, stage.compute)[1],
            evaluate(network, data.test, data, stage.compute)[1],
            stage.config.search_recipe.epochs,
            cost.macs,
            cost.params,
            0.0,
            guess=guess_share(data.test.labels, data.num_classes) if data.task.is_classification else None,
            metric=data.task.metric,
        )

    def inputs(
        self, unit: Unit, arm: PatternArm, budget: Budget, stage: PreparedPatterns
    ) -> tuple[TrainConfig, Widths, Inputs]:
        """How an arm is trained, which network, and from which weights with which masks."""
        pattern = self._pattern(unit.seed, budget)
        widths = _widths_for(arm, pattern, stage, width_search_folder(self.run, unit.seed))
        masks = self._masks(unit, arm, budget, pattern, stage) if arm.is_masked else None
        macs = None
        if masks is not None:
            macs = stage.costs.at([int(masks[layer.name].sum()) for layer in stage.costs.layers.layers]).macs
        config = TrainConfig(
            **self.config.of_trainings() | {"data": stage.config.data, "images": ""},  # a split for each seed
            recipe=self.config.recipe,
            schedule=arm.schedule,
            cap=self.config.cap,
            seeds=(FIRST_TRAINING + unit.seed,),
            data_seed=unit.seed,
        )
        config = config.model_copy(
            update={"pattern": None if masks is None else arm.name, "pattern_macs": macs}
        )
        begin = None if arm.start == "random" else partial(self._network, unit, arm, masks, stage)
        given = None if masks is None else GivenMasks(arm.name, shared=masks)
        return config, widths, Inputs(stage.data, stage.space, begin, masks=given)

    def _network(
        self, unit: Unit, arm: PatternArm, masks: Masks | None, stage: PreparedPatterns
    ) -> nn.Module:
        """What an arm that does not begin at random begins with; its masks are put on it afterwards."""
        folder = search_folder(self.run, unit.seed)
        if arm.start == "early":
            return early_network(stage, folder) if stage.method.rounds else stage.first_network()
        assert masks is not None
        if not stage.method.trains:
            return stage.first_network()
        return pruned(stage, trained_network(stage, folder), masks)

    def _pattern(self, seed: int, budget: Budget) -> Pattern:
        return read_pattern(search_folder(self.run, seed) / PATTERNS / f"{file_stem(budget)}.json")

    def _masks(
        self, unit: Unit, arm: PatternArm, budget: Budget, pattern: Pattern, stage: PreparedPatterns
    ) -> Masks:
        """Which weights are there, in an arm that leaves some out."""
        assert pattern.mask is not None
        seed = epoch_seed(unit.seed, 0, f"masks of {arm.name}")
        if arm.kind in ("found", "shuffled"):
            path = search_folder(self.run, unit.seed) / PATTERNS / pattern.mask.file
            found = read_masks(path)
            if identity_of_masks(found) != pattern.mask.blake2b:
                raise DamagedError(f"{path} must hold the masks of its pattern, got others.")
            return found if arm.kind == "found" else shuffled(found, seed)
        if arm.kind == "drawn":
            return drawn_masks(pattern, stage.costs.layers, seed)
        if budget.is_own:  # what the search left is what others may
            budget = Budget("nonzero", absolute=pattern.cost.nonzero)
        evidence = Evidence(stage.space.template, stage.space, stage.costs, stage.data, seed)
        if arm.kind == "guided":
            guideline = read_pattern_guideline(self.run / GUIDELINE)
            return cut_weights(stage.costs, scores_by(evidence, guideline), budget).masks
        return cut_weights(stage.costs, method_named(arm.kind).scores(evidence), budget).masks


def _widths_for(arm: PatternArm, pattern: Pattern, stage: PreparedPatterns, searched: Path) -> Widths:
    """The whole width; or widths that cost as much as a pattern, uniform ones or those that a search found."""
    space = stage.space
    if arm.widths_from == "found":
        return widths_beside(pattern, COSTS[arm.kind], searched)
    if arm.widths_from is None:
        return space.widths(space.base_G)
    budget = bound_by(pattern, arm.kind.removeprefix("widths-"))
    return space.widths(matched(space, space.searched("all"), budget).widths_G, budget=str(budget))


def shuffled(masks: Masks, seed: int) -> dict[str, torch.Tensor]:
    """Masks with as many weights in each layer, at other places."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: mask.reshape(-1)[torch.randperm(mask.numel(), generator=generator)].reshape(mask.shape)
        for name, mask in sorted(masks.items())
    }


def prepared_worker(
    run: Path, config: PatternCompareConfig, typed: str | None
) -> Callable[[Unit, Progress], None]:
    """What one process does with a unit."""
    return Worker(run, config, typed)


def is_done(run: Path, unit: Unit) -> bool:
    """Whether there is nothing left to do of a unit."""
    if unit.arm is not None:
        return read_unit(run, unit) is not None or why_left_out(run, unit) is not None
    if unit.finds == "widths" and why_no_widths(width_search_folder(run, unit.seed)) is not None:
        return True
    try:
        return isinstance(read_json(result_file(run, unit)), dict)
    except (OSError, ValueError):
        return False


def why_left_out(run: Path, unit: Unit) -> str | None:
    """Why an arm cannot be trained; None if it can."""
    try:
        return str(read_json(result_file(run, unit).parent / _LEFT_OUT)["why"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_cost(run: Path, unit: Unit) -> tuple[int, int] | None:
    """MACs of the weights that are there, and bytes, of what a unit trained; None where that is not known."""
    content = _content_of_cost(run, unit)
    try:
        return int(content["macs"]), int(content["size_bytes"])
    except (ValueError, KeyError, TypeError):
        return None


def _content_of_cost(run: Path, unit: Unit) -> dict[str, Any]:
    """What is noted beside a training; empty where nothing is that can be read."""
    try:
        content = read_json(result_file(run, unit).parent / _COST)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def read_unit(run: Path, unit: Unit) -> Trained | None:
    """What a training has left; None if it is not done."""
    return read_trained(result_file(run, unit))
