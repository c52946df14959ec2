"""What a search found, and the files it leaves in its directory."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas_prune.data.guessing import guesses
from nas_prune.data.metric import Metric, named_metric
from nas_prune.runs.directory import RESULT, published
from nas_prune.runs.files import saying_why, write_whole
from nas_prune.search.config import SearchConfig
from nas_prune.search.methods.contract import WidthMethod
from nas_prune.space.budget import Budget
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.widths import Widths, stage_means


@dataclass(frozen=True, slots=True)
class FoundWidths:
    """What a search found at one budget.

    Attributes:
        widths: the artefact.
        path: where it was written.
        gap: the share of the budget that is left, where no further channel fits.
        val_score_cut: validation score of the trained network cut to these widths, before any more training;
            None where no network was trained.
        at_floor: names of groups that would have no channel left without a floor.
        tied_at_zero: how many channels (or blocks) with score zero are kept while others with score zero are removed.
        is_slow: its network was measured, and takes longer than the budget allows.
    """

    widths: Widths
    path: Path
    gap: float
    val_score_cut: float | None
    at_floor: tuple[str, ...] = ()
    tied_at_zero: int = 0
    is_slow: bool = False


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found.

    Attributes:
        run: the run's directory.
        config: its settings.
        space: the network.
        method: the width method.
        sparsity: the strength of the penalty that was used; None for methods without.
        epochs_done: how many epochs were trained, fewer than asked for if the widths were stable before.
        metric: what the scores are of; more of a score is better.
        val_score: validation score of the whole network after that; None where none was trained.
        guess: the accuracy below which it is no better than guessing may be; None where none is trained, where
            classes were evened out and it tells them apart, or where an image is not of one class.
        found: one for each budget, in the order asked for.
        columns: which groups were searched, by place, or lie in blocks that were.
        unscored: names of groups that were left whole because the method cannot score them.
        seconds: time the training took, and the scoring.
    """

    run: Path
    config: SearchConfig
    space: SearchSpace
    method: WidthMethod
    sparsity: float | None
    epochs_done: int
    metric: Metric
    val_score: float | None
    guess: float | None
    found: tuple[FoundWidths, ...]
    columns: tuple[int, ...]
    unscored: tuple[str, ...]
    seconds: float


def write_result(result: SearchResult, whole: Widths) -> None:
    """Write the widths, their picture and `result.json`.

    Args:
        result: what was found.
        whole: the artefact of the whole network.
    """
    # Here, because matplotlib takes half a second to load and training, which reads results, draws nothing.
    from nas_prune.space.widths_figure import draw_widths

    folder = result.run / "widths"
    with saying_why(folder):
        folder.mkdir(exist_ok=True)
    whole.write(folder / "whole.json")
    for found in result.found:
        found.widths.write(found.path)
    draw_widths(
        [found.widths for found in result.found], result.run / "widths.png", searched=result.columns or None
    )
    write_whole(result.run / RESULT, json.dumps(summary(result), indent=1) + "\n")


def warnings_of(result: SearchResult) -> list[str]:
    """What a person should know before using what was found."""
    said = []
    name = result.method.name
    at_floor = {found.widths.budget: found.at_floor for found in result.found if found.at_floor}
    if at_floor:
        budget, names = max(at_floor.items(), key=lambda item: len(item[1]))
        said.append(
            f"{name} leaves no channel of {len(names)} groups at {budget}; their floor was kept: {', '.join(names)}."
        )
    tied_at_zero = {found.widths.budget: found.tied_at_zero for found in result.found if found.tied_at_zero}
    if tied_at_zero:
        what, order = (
            ("channels", "as uniform widths take them")
            if result.method.of == "channels"
            else ("blocks", "in the order of their places")
        )
        counts = ", ".join(f"{count} at {budget}" for budget, count in tied_at_zero.items())
        said.append(
            f"{name} gives kept {what} the same score, zero, as removed ones ({counts}): they were chosen "
            f"{order}. A smaller --sparsity separates them better."
        )
    said += [
        f"{found.widths.budget} is not met: {found.widths.target.measured_ms:#.3g} ms were measured, of the "
        "fastest widths that were tried. The table may be of other conditions; measure it again."
        for found in result.found
        if found.is_slow and found.widths.target is not None
    ]
    if result.val_score is not None and guesses(result.val_score, result.guess):
        said.append(
            f"The whole network gets {100 * result.val_score:.1f} % right, no more than guessing the largest of "
            f"{result.space.reference.num_classes} classes may: widths found by it say little. Train for more "
            "epochs, or with a smaller --sparsity."
        )
    return said


def file_stem(budget: Budget) -> str:
    """What the file of a budget's widths is called."""
    return str(budget).replace("<=", "-").replace("%", "pct").replace(", ", "-")


def _on_target(widths: Widths) -> dict[str, Any]:
    return {} if widths.target is None else {"target": widths.target.model_dump(exclude_none=True)}


def _value(result: SearchResult, score: float | None) -> float | None:
    return None if score is None else result.metric.score(score)


def summary(result: SearchResult) -> dict[str, Any]:
    """A search's result as plain JSON, for `--format json` and `result.json`; no paths but relative ones."""
    base = result.space.cost_at(result.space.base_G)
    return {
        "space": result.config.space,
        "method": result.config.method,
        "kind": result.method.kind(result.config.scope),
        "data": published(result.config.data.name),
        "epochs": result.epochs_done,
        "epochs_asked": result.config.search_recipe.epochs if result.method.trains else 0,
        "sparsity": result.sparsity,
        "seed": result.config.seed,
        **named_metric(result.metric),
        "base": {
            **asdict(base),
            result.metric.key("val"): _value(result, result.val_score),
            "guess": result.guess,
        },
        "unscored": list(result.unscored),
        "budgets": [
            {
                "budget": found.widths.budget,
                "widths": {group.name: group.width for group in found.widths.groups},
                "removed_blocks": list(found.widths.removed_blocks),
                "keep_by_stage": {
                    str(stage): share for stage, share in stage_means(found.widths, result.columns).items()
                },
                **found.widths.cost.model_dump(),
                **_on_target(found.widths),
                "gap": found.gap,
                "held_at_floor": list(found.at_floor),
                "kept_at_zero": found.tied_at_zero,
                f"{result.metric.key('val')}_cut": _value(result, found.val_score_cut),
                "file": f"widths/{found.path.name}",
            }
            for found in result.found
        ],
    }
