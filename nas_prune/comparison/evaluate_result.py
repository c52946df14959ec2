"""The settings and the result of evaluating a guideline."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from nas_prune.comparison.populations import PopulationDifference, compared
from nas_prune.data.metric import ACCURACY, Metric, named_metric
from nas_prune.runs.directory import published
from nas_prune.space.budget import BudgetSetting
from nas_prune.training.config import NetworkConfig
from nas_prune.training.recipe import Recipe, default_recipe
from nas_prune.training.result import Trained, guessing

GUIDED, DIRECT = "guided", "direct"
AXES = {"params": "parameters", "macs": "MACs"}
CONTROLS = ("uniform", "random")


class EvaluateConfig(NetworkConfig):
    """Every setting of an evaluation; what `config.yaml` holds.

    Attributes:
        guideline: the name of a rule, or of the file that was copied into the run.
        budget: the bound on the networks drawn.
        networks: how many of each population.
        recipe: how each is trained, briefly, from random weights.
        direct: how many widths found on the same data are trained too.
        seed: fixes what is drawn, the validation split, and the first weights of each network.
    """

    command: Literal["evaluate"] = "evaluate"
    guideline: str
    budget: BudgetSetting
    networks: int = Field(default=10, ge=2, le=1000)
    recipe: Recipe = Field(default_factory=lambda known: default_recipe(known["data"].name))
    direct: int = Field(default=0, ge=0)
    seed: int = Field(default=0, ge=0, lt=2**31)


@dataclass(frozen=True, slots=True)
class EvaluateResult:
    """The result of an evaluation.

    Attributes:
        run: the run's directory.
        config: its settings.
        populations: the networks of each.
        failed: which networks were not trained to their end, and why.
        notes: what the guideline had to guess on this network.
    """

    run: Path
    config: EvaluateConfig
    populations: Mapping[str, tuple[Trained, ...]]
    failed: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]

    def compared(self) -> dict[str, dict[str, PopulationDifference]]:
        """Guided networks compared with every other population: {axis, or `direct`: {population: comparison}}."""
        guided = self._errors(GUIDED)
        found: dict[str, dict[str, PopulationDifference]] = {}
        for axis in AXES:
            for control in CONTROLS:
                others = self._errors(control_name(control, axis))
                found.setdefault(axis, {})[control] = compared(guided, others)
        if self.populations.get(DIRECT):
            found[DIRECT] = {DIRECT: compared(guided, self._errors(DIRECT))}
        return found

    def panels(self) -> dict[str, dict[str, list[float]]]:
        """The errors to show side by side: {heading: {population: errors}}."""
        extra = {GUIDED: GUIDED, DIRECT: DIRECT}
        return {
            f"at matched {words}": {
                name: errors
                for name, population in {
                    **extra,
                    **{control: control_name(control, axis) for control in CONTROLS},
                }.items()
                if (errors := self._errors(population))
            }
            for axis, words in AXES.items()
        }

    @property
    def metric(self) -> Metric:
        """What networks are measured by."""
        return next((one.metric for own in self.populations.values() for one in own), ACCURACY)

    def _errors(self, population: str) -> list[float]:
        """What is to be small of each network of a population, on the test images."""
        return [one.metric.error(one.test_score) for one in self.populations.get(population, ())]


def control_name(control: str, axis: str) -> str:
    """The name of a control population with the same cost as the guided one on one axis."""
    return f"{control}-{axis}"


def title(config: EvaluateConfig) -> str:
    """What is evaluated, in one line."""
    factor = "" if config.width_multiplier == 1 else f" ×{config.width_multiplier:g}"
    return f"{config.space}{factor} on {published(config.data.name)}, guided at {config.budget}"


def guessing_words(result: EvaluateResult) -> list[str]:
    """A warning where populations have learned next to nothing."""
    named = guessing(result.populations)
    if not named:
        return []
    said = (
        f"Hardly better than guessing the largest class: {', '.join(named)}. What is compared says little; train for "
        "more epochs."
    )
    return [said]


def summary(result: EvaluateResult) -> dict[str, Any]:
    """An evaluation as plain JSON, for `--format json` and `result.json`."""
    config = result.config
    return {
        "space": config.space,
        "width_multiplier": config.width_multiplier,
        "data": published(config.data.name),
        "budget": str(config.budget),
        "guideline": config.guideline,
        "networks": config.networks,
        "epochs": config.recipe.epochs,
        "seed": config.seed,
        **named_metric(result.metric),
        "notes": [*result.notes, *guessing_words(result)],
        "comparisons": {
            axis: {name: {**asdict(one), "verdict": one.verdict} for name, one in found.items()}
            for axis, found in result.compared().items()
        },
        "populations": {
            name: [_row(number, one) for number, one in enumerate(own)]
            for name, own in result.populations.items()
        },
        "failed": [{"network": name, "why": why} for name, why in result.failed],
    }


def _row(number: int, one: Trained) -> dict[str, Any]:
    return {
        "number": number,
        "macs": one.macs,
        "params": one.params,
        one.metric.key("val"): one.metric.score(one.val_score),
        one.metric.key("test"): one.metric.score(one.test_score),
        "seconds": one.seconds,
    }
