"""The networks that a study ranks, at a budget on latency: each is measured, and narrowed while it takes too long.

What was measured is kept beside them, so that a ranking that is repeated ranks the same networks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nas_prune.hardware.use import timer_for
from nas_prune.runs.files import saying_why
from nas_prune.runs.progress import Progress
from nas_prune.search.measured import MEASURED, Timer, is_on_latency, measured_cuts
from nas_prune.space.budget import Budget
from nas_prune.space.cut import cut
from nas_prune.space.scores import shares_of
from nas_prune.space.widths import Widths
from nas_prune.study.context import StudyContext
from nas_prune.study.objective import artefact


def in_time(
    chosen: Mapping[str, Sequence[int]],
    context: StudyContext,
    budget: Budget,
    folder: Path,
    progress: Progress,
) -> dict[str, Widths]:
    """The widths of each network that is ranked.

    Args:
        chosen: a width for each searchable group, by the network's name.
        context: the study.
        budget: its bounds.
        folder: where what was measured is kept.
        progress: reports what is measured.
    """
    widths = {name: artefact(context, vector_G, budget) for name, vector_G in chosen.items()}
    time_of = timer_for(context.space, context.config.target, progress) if is_on_latency(budget) else None
    if time_of is None and not (is_on_latency(budget) and (folder / MEASURED).exists()):
        return widths
    timer: Timer | None = None if time_of is None else lambda one: time_of(one.widths_G, one.removed)
    with saying_why(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name, vector_G in chosen.items():
        widths[name] = _measured(name, vector_G, context, budget, folder, timer, progress)
    return widths


def _measured(
    name: str,
    vector_G: Sequence[int],
    context: StudyContext,
    budget: Budget,
    folder: Path,
    timer: Timer | None,
    progress: Progress,
) -> Widths:
    space, columns = context.space, set(context.space.searched(context.config.groups))
    scores = [
        shares_of(space, column, width / space.base_G[column]) if column in columns else None
        for column, width in enumerate(vector_G)
    ]
    first = replace(cut(space, scores, budget), widths_G=tuple(vector_G))
    own = f"{budget}: {' '.join(map(str, vector_G))}"
    (found,) = measured_cuts([first], space, scores, folder, timer, zero=None, progress=progress, names=[own])
    if found.is_over:
        progress.say(f"{name}: {budget} is not met, {found.latency_ms:#.3g} ms were measured.")
    return artefact(context, found.cut.widths_G, budget).measured(found.latency_ms)
