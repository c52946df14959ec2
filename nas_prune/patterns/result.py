"""What a search for patterns found, and the files it leaves in its directory."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas_prune.data.guessing import guesses
from nas_prune.data.metric import Metric, named_metric
from nas_prune.patterns.config import SparsifyConfig
from nas_prune.patterns.costs import PatternCosts
from nas_prune.patterns.pattern import PATTERNS, Pattern
from nas_prune.runs.directory import RESULT, published
from nas_prune.runs.files import saying_why, write_whole
from nas_prune.space.search_space import SearchSpace
from nas_prune.training.masks import Masks, write_masks

PICTURE = "patterns.png"
DENSE_KERNELS = (
    "Dense kernels multiply zeros, too: a masked network is as fast as a whole one where no kernel for sparse weights "
    "runs. Its MACs count the weights that are there."
)


@dataclass(frozen=True, slots=True)
class FoundPattern:
    """What was found at one budget.

    Attributes:
        pattern: the artefact.
        masks: the masks themselves.
        path: where the pattern is written.
        gap: the share of the budget that is left.
        val_score_cut: validation score of the trained network with these weights alone, before any more training; None
            where no network was trained.
        at_floor: names of layers that would keep nothing without a floor.
    """

    pattern: Pattern
    masks: Masks
    path: Path
    gap: float
    val_score_cut: float | None
    at_floor: tuple[str, ...] = ()

    @property
    def mask_path(self) -> Path:
        """Where the masks are written."""
        return self.path.with_suffix(".safetensors")


@dataclass(frozen=True, slots=True)
class SparsifyResult:
    """What a search for patterns found.

    Attributes:
        run: its directory.
        config: its settings.
        space: the network.
        costs: of its patterns.
        epochs_done: how many were trained, over all rounds.
        metric: what the scores are of.
        val_score: of the network that was trained, before the cut; None where none was.
        guess: the accuracy below which it is no better than guessing may be; None where that says nothing.
        found: one for each budget, in the order asked for.
        seconds: of the training and the scoring.
    """

    run: Path
    config: SparsifyConfig
    space: SearchSpace
    costs: PatternCosts
    epochs_done: int
    metric: Metric
    val_score: float | None
    guess: float | None
    found: tuple[FoundPattern, ...]
    seconds: float


def write_result(result: SparsifyResult) -> None:
    """Write the patterns with their masks, the picture and `result.json`."""
    # Here, because matplotlib takes half a second to load.
    from nas_prune.patterns.figure import draw_patterns

    folder = result.run / PATTERNS
    with saying_why(folder):
        folder.mkdir(exist_ok=True)
    for found in result.found:
        write_masks(found.mask_path, found.masks)
        found.pattern.write(found.path)
    draw_patterns([found.pattern for found in result.found], result.run / PICTURE)
    write_whole(result.run / RESULT, json.dumps(summary(result), indent=1) + "\n")


def summary(result: SparsifyResult) -> dict[str, Any]:
    """The result as plain JSON, for `--format json` and `result.json`; no paths but relative ones."""
    metric = result.metric

    def value(score: float | None) -> float | None:
        return None if score is None else metric.score(score)

    return {
        "space": result.config.space,
        "method": result.config.method,
        "data": published(result.config.data.name),
        "epochs": result.epochs_done,
        "seed": result.config.seed,
        **named_metric(metric),
        "base": {
            **asdict(result.costs.whole),
            metric.key("val"): value(result.val_score),
            "guess": result.guess,
        },
        "dense": list(result.costs.layers.dense),
        "patterns": [
            {
                "budget": found.pattern.budget,
                **found.pattern.cost.model_dump(),
                "density": found.pattern.density,
                "density_by_layer": {layer.name: layer.density for layer in found.pattern.layers},
                "whole_channels": sum(group.unread + group.constant for group in found.pattern.groups),
                "gap": found.gap,
                "held_at_floor": list(found.at_floor),
                f"{metric.key('val')}_cut": value(found.val_score_cut),
                "file": f"{PATTERNS}/{found.path.name}",
            }
            for found in result.found
        ],
    }


def warnings_of(result: SparsifyResult) -> list[str]:
    """What a person should know before using what was found."""
    said = []
    at_floor = {found.pattern.budget: found.at_floor for found in result.found if found.at_floor}
    if at_floor:
        hint = " --scope local leaves the same share of every layer." * (result.config.scope == "global")
        budget, names = max(at_floor.items(), key=lambda item: len(item[1]))
        said.append(
            f"{result.config.method} leaves no weight of some layers at {budget}; one of each was kept: "
            f"{', '.join(names)}.{hint}"
        )
    if result.costs.layers.dense:
        said.append(f"These stay dense: {', '.join(result.costs.layers.dense)}.")
    if result.val_score is not None and guesses(result.val_score, result.guess):
        said.append(
            f"The whole network gets {100 * result.val_score:.1f} % right, no more than guessing the largest of "
            f"{result.space.reference.num_classes} classes may: which of its weights stay says little. Train for more "
            f"epochs{', or with a smaller --strength' * (result.config.strength is not None)}."
        )
    return said
