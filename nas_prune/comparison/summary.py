"""A comparison as plain JSON, and its file."""

import json
from dataclasses import asdict
from math import isnan
from typing import Any

from nas_prune.comparison.arms import Arm
from nas_prune.comparison.costs import ArmCost, arm_costs
from nas_prune.comparison.differences import Difference
from nas_prune.comparison.result import CompareResult, search_macs
from nas_prune.comparison.sentences import sentences
from nas_prune.data.metric import named_metric
from nas_prune.runs.directory import RESULT, published
from nas_prune.runs.files import write_whole
from nas_prune.training.result import mean_and_deviation


def summary(result: CompareResult) -> dict[str, Any]:
    """A comparison as plain JSON, for `--format json` and `result.json`."""
    config, widths, costs = result.config, result.widths, arm_costs(result)
    return {
        "command": config.command,
        "space": widths.space.name,
        "width_multiplier": widths.space.width_multiplier,
        "data": published(config.data.name),
        "image_size": widths.space.input_shape[1],
        "num_train": result.num_train,
        "budget": widths.budget,
        "method": None if widths.method is None else widths.method.name,
        "epochs": config.recipe.epochs,
        "cap": config.cap,
        **named_metric(result.metric),
        "seeds": config.seeds,
        "test": config.test,
        "searches": config.searches,
        "arms": [_arm(arm, result, costs[arm.name]) for arm in config.chosen],
        "comparisons": [_comparison(name, one) for name, one in result.compared().items()],
        "sentences": sentences(result),
        "training_macs": result.training_macs(),
        "search_macs": search_macs(result),
        "left_out": config.left_out,
        "notes": list(config.notes),
        "failed": [{"training": name, "why": why} for name, why in result.failed],
    }


def _number(value: float) -> float | None:
    return None if isnan(value) else value


def _comparison(name: str, one: Difference) -> dict[str, Any]:
    return {
        "arm": name,
        "beside": one.beside,
        "test": one.test,
        **{key: _number(value) for key, value in asdict(one.contrast).items()},
        "p_holm": _number(one.holm),
        "detectable": _number(one.detectable),
        "verdict": one.verdict,
    }


def _arm(arm: Arm, result: CompareResult, cost: ArmCost) -> dict[str, Any]:
    own = result.arms.get(arm.name, ())
    row: dict[str, Any] = {"arm": arm.name, "what": arm.words, "schedule": arm.schedule, "start": arm.start}
    if own:
        metric = result.metric
        for part in ("val", "test"):
            values = [metric.score(getattr(one, f"{part}_score")) for one in own]
            row[f"{metric.key(part)}_mean"], row[f"{metric.key(part)}_std"] = mean_and_deviation(values)
    spent = {
        "training_macs": cost.training,
        "search_macs": cost.search,
        "behind": [one.model_dump() for one in cost.behind],
    }
    return {**row, **spent, "trained": [one.content() for one in own]}


def write_comparison(result: CompareResult) -> None:
    """Write `result.json`."""
    write_whole(result.run / RESULT, json.dumps(summary(result), indent=1) + "\n")
