"""What a comparison of patterns gave, whether it is finished or not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from nas_prune.comparison.pattern_arms import PatternArm
from nas_prune.comparison.pattern_config import PatternCompareConfig
from nas_prune.comparison.pattern_work import (
    read_cost,
    read_unit,
    search_folder,
    trainings_of,
    why_left_out,
)
from nas_prune.comparison.sentences import guessing_arms
from nas_prune.comparison.statistics import LEVEL, Contrast, holm, paired
from nas_prune.data.metric import ACCURACY, Metric, named_metric
from nas_prune.patterns.pattern import PATTERNS, Pattern, read_pattern
from nas_prune.runs.directory import published
from nas_prune.runs.settings import read_config
from nas_prune.search.result import file_stem
from nas_prune.space.budget import Budget
from nas_prune.training.result import Trained


@dataclass(frozen=True, slots=True)
class PatternDifference:
    """An arm and the one it is compared with, seed by seed.

    Attributes:
        contrast: of their test scores.
        holm: the p value after Holm's correction over the arms of the budget; NaN where nothing could be tested.
    """

    contrast: Contrast
    holm: float

    @property
    def verdict(self) -> str:
        """In words."""
        if self.holm != self.holm:
            return "not tested"
        if self.holm > LEVEL:
            return "no detectable difference"
        return "better" if self.contrast.difference > 0 else "worse"


@dataclass(frozen=True, slots=True)
class PatternComparison:
    """What a comparison of patterns gave.

    Attributes:
        run: its directory.
        config: its settings.
        trained: by budget and arm, the trainings that are done, by seed of their search.
        patterns: by budget, those that the searches found.
        failed: units that did not finish in the last try, and why.
        costs: by budget and arm, the MACs of the weights that are there and bytes, of each training.
        left_out: by budget and arm, why it cannot be trained.
        still_to_train: how many trainings are neither done nor left out.
    """

    run: Path
    config: PatternCompareConfig
    trained: Mapping[tuple[str, str], Mapping[int, Trained]]
    patterns: Mapping[str, tuple[Pattern, ...]]
    failed: tuple[tuple[str, str], ...] = ()
    costs: Mapping[tuple[str, str], Sequence[tuple[int, int]]] = field(default_factory=dict)
    left_out: Mapping[tuple[str, str], str] = field(default_factory=dict)
    still_to_train: int = 0

    def cost_of(self, budget: Budget, arm: str) -> tuple[float, float] | None:
        """Mean MACs of the weights that are there, and mean bytes, of an arm; None where that is not known."""
        first = self.config.budgets[0] if arm == "whole" else budget
        own = self.costs.get((str(first), arm), ())
        return (fmean(one[0] for one in own), fmean(one[1] for one in own)) if own else None

    @property
    def is_finished(self) -> bool:
        """Whether every training is done, or left out."""
        return self.still_to_train == 0

    @property
    def metric(self) -> Metric:
        """What networks are compared by; accuracy where none is trained yet."""
        return next((one.metric for own in self.trained.values() for one in own.values()), ACCURACY)

    def notes(self, budget: Budget) -> list[str]:
        """What there is to know beside the numbers of a budget: arms that were left out, and those that guess."""
        left = [f"{arm} was left out: {why}" for (at, arm), why in self.left_out.items() if at == str(budget)]
        own = {arm.name: list(self.of(budget, arm.name).values()) for arm in self.config.chosen}
        classes = next((one.space.num_classes for one in self.patterns[str(budget)]), None)
        return left + guessing_arms(own, classes)

    def of(self, budget: Budget, arm: str) -> Mapping[int, Trained]:
        """The trainings of an arm at a budget; the whole network's are the same at all."""
        first = self.config.budgets[0] if arm == "whole" else budget
        return self.trained.get((str(first), arm), {})

    def compared(self, budget: Budget) -> dict[str, PatternDifference]:
        """Each arm compared with its other arm, where they have seeds in common."""
        found: dict[str, Contrast] = {}
        names = {arm.name for arm in self.config.chosen}
        others = [arm for arm in self.config.chosen if arm.beside in names]
        for arm in others:
            own, beside = self.of(budget, arm.name), self.of(budget, arm.beside or "")
            both = sorted(set(own) & set(beside))
            if both:
                pairs = [own[seed].test_score for seed in both], [beside[seed].test_score for seed in both]
                found[arm.name] = paired(*pairs)
        corrected = holm([one.p_value for one in found.values()], len(others))
        return {
            name: PatternDifference(one, p) for (name, one), p in zip(found.items(), corrected, strict=True)
        }


def read_pattern_comparison(run: Path, failed: tuple[tuple[str, str], ...] = ()) -> PatternComparison:
    """What a comparison of patterns holds by now; nothing is trained.

    Raises:
        BadInputError: the directory is not that of one.
    """
    config = read_config(run, PatternCompareConfig)
    trained: dict[tuple[str, str], dict[int, Trained]] = {}
    costs: dict[tuple[str, str], list[tuple[int, int]]] = {}
    left_out: dict[tuple[str, str], str] = {}
    still = 0
    for unit in trainings_of(config):
        assert unit.arm is not None
        key, one, cost = (str(unit.budget), unit.arm.name), read_unit(run, unit), read_cost(run, unit)
        if one is not None:
            trained.setdefault(key, {})[unit.seed] = one
        if one is not None and cost is not None:
            costs.setdefault(key, []).append(cost)
        why = why_left_out(run, unit) if one is None else None
        if why is not None:
            left_out[key] = why
        still += one is None and why is None
    patterns = {
        str(budget): tuple(
            read_pattern(path)
            for seed in range(config.seeds)
            if (path := search_folder(run, seed) / PATTERNS / f"{file_stem(budget)}.json").exists()
        )
        for budget in config.budgets
    }
    return PatternComparison(run, config, trained, patterns, failed, costs, left_out, still)


def mean_and_spread(values: list[float]) -> tuple[float, float | None]:
    """Mean and standard deviation; None for the latter of one value."""
    return fmean(values), stdev(values) if len(values) > 1 else None


def summary(result: PatternComparison) -> dict[str, Any]:
    """The result as plain JSON, for `--format json` and `result.json`."""
    config, metric = result.config, result.metric
    return {
        "space": config.search.space,
        "method": config.search.method,
        "data": published(config.data.name),
        "seeds": config.seeds,
        "failed": [{"training": name, "why": why} for name, why in result.failed],
        **named_metric(metric),
        "budgets": [
            {
                "budget": str(budget),
                "patterns": [one.cost.model_dump() for one in result.patterns[str(budget)]],
                "base": [one.base_cost.model_dump() for one in result.patterns[str(budget)]][:1],
                "arms": _arms(result, budget),
                "notes": result.notes(budget),
                "left_out": {arm: why for (at, arm), why in result.left_out.items() if at == str(budget)},
            }
            for budget in config.budgets
        ],
    }


def _arms(result: PatternComparison, budget: Budget) -> dict[str, Any]:
    differences, found = result.compared(budget), {}
    for arm in result.config.chosen:
        own = result.of(budget, arm.name)
        if own:
            costs = result.cost_of(budget, arm.name)
            known = {} if costs is None else {"macs": costs[0], "size_bytes": costs[1]}
            found[arm.name] = {**_arm(result, arm, own, differences.get(arm.name)), **known}
    return found


def _arm(
    result: PatternComparison,
    arm: PatternArm,
    own: Mapping[int, Trained],
    difference: PatternDifference | None,
) -> dict[str, Any]:
    metric = result.metric
    values = [metric.score(own[seed].test_score) for seed in sorted(own)]
    mean, deviation = mean_and_spread(values)
    content: dict[str, Any] = {
        "words": arm.words,
        "n": len(values),
        metric.key("test"): values,
        "mean": mean,
        "deviation": deviation,
        "epochs": [own[seed].epochs for seed in sorted(own)],
    }
    if difference is not None:
        one = difference.contrast
        content["beside"] = {
            "arm": arm.beside,
            "difference": one.difference,
            "low": _known(one.low),
            "high": _known(one.high),
            "n": one.n,
            "p_value": _known(one.p_value),
            "p_holm": _known(difference.holm),
            "verdict": difference.verdict,
        }
    return content


def _known(value: float) -> float | None:
    return None if value != value else value  # noqa: PLR0124  (NaN)
