"""Fitting a guideline: from any number of widths files to what they have in common.

Shape suffixes: U searches (one network, data set, method and seed; widths at one budget or at several),
C coefficients.
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from nas_prune.errors import GuidelineError
from nas_prune.guideline.artefact import Evidence, Guideline, Match
from nas_prune.guideline.cells import Estimates, Fit, short
from nas_prune.guideline.models import MODELS, Reference
from nas_prune.guideline.pooling import LEVELS
from nas_prune.guideline.sources import Source, read_sources, sources_of
from nas_prune.guideline.validation import best_model, evidence_of, layer_spread, prediction_errors
from nas_prune.space.widths import Widths

Floats: TypeAlias = "NDArray[np.float64]"
Choice: TypeAlias = Literal[
    "auto", "uniform", "stage-means", "stage-role", "stage-role-slope", "stage-role-shape"
]

ALL_COSTS = "all"
_HARDLY_CUT = 0.95  # uniform keep ratio; differences above it are mostly rounding, and would be enlarged
_CONTRARY = -0.3
_FAINT = 0.1  # standard deviation of log ratios below which a pattern is too faint to contradict another
_MOST_COMPARED = 20  # networks, data sets or methods; nobody reads notes on the pairs of more


def fit_guideline(
    sources: Sequence[Path | Widths | Source],
    *,
    model: Choice = "auto",
    match: Match = "output",
    cost: str | None = None,
    confidence: float = 0.9,
    spaces: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Guideline:
    """What found widths have in common, as log ratios to the uniform network of the same cost.

    Args:
        sources: widths files, runs of `search`, widths, or what `sources_in` makes of those.
        model: the form of the pattern; by default the one that predicts sources left out best, and uniform where the
            sources do not agree on any.
        match: from which end stages are counted where networks have different numbers of them.
        cost: use only sources driven by this cost; `all` pools them.
        confidence: of all intervals together.
        spaces: names of networks of your own, whose code may be imported.
        notes: what else the guideline should say of its sources.

    Returns:
        The guideline, with what the sources cannot tell in its notes.

    Raises:
        GuidelineError: there is no source, or they were driven by different costs.
        WidthsError: a file cannot be read.
    """
    if not 0.5 <= confidence < 1:
        raise GuidelineError(f"a confidence must be from 0.5 to below 1, got {confidence}.")
    if model not in get_args(Choice):
        raise GuidelineError(f"a model must be one of {', '.join(get_args(Choice))}, got {model!r}.")
    paths = [one for one in sources if isinstance(one, Path)]
    widths = [one for one in sources if isinstance(one, Widths)]
    ready = [one for one in sources if isinstance(one, Source)]
    read, said = read_sources(paths, spaces=spaces) if paths else ([], [])
    own, more = sources_of(widths, spaces=spaces) if widths or not sources else ([], [])
    chosen, left = _of_one_cost([*read, *own, *ready], cost)
    cut = [source for source in chosen if source.record.uniform_keep < _HARDLY_CUT]
    if 0 < len(cut) < len(chosen):
        left.append(f"{len(chosen) - len(cut)} widths left out: next to nothing was cut.")
        chosen = cut
    searches = _searches(chosen)
    fit = Fit(searches, _reference(searches, match), confidence)
    return _fitted(fit, model, [*notes, *said, *more, *left])


def _of_one_cost(sources: Sequence[Source], cost: str | None) -> tuple[list[Source], list[str]]:
    """The sources that were driven by the cost asked for; refused where there are several and none is."""
    drivers: dict[str, list[Source]] = defaultdict(list)
    for source in sources:
        drivers[source.record.cost].append(source)
    counts = ", ".join(f"{driver} ({len(members)})" for driver, members in sorted(drivers.items()))
    if cost == ALL_COSTS:
        note = (
            [f"Sources driven by different costs are pooled, as asked: {counts}."] if len(drivers) > 1 else []
        )
        return list(sources), note
    if cost is not None:
        if cost not in drivers:
            raise GuidelineError(f"--cost must be one that drove sources, got {cost}. There are: {counts}.")
        left = len(sources) - len(drivers[cost])
        return drivers[cost], [f"{left} widths driven by other costs left out."] if left else []
    if len(drivers) > 1:
        raise GuidelineError(
            f"sources must have been driven by one cost, got {counts}, and the pattern depends on it. Choose with "
            f"--cost '{max(drivers, key=lambda name: len(drivers[name]))}', or pool them with --cost all."
        )
    return list(sources), []


def _searches(sources: Sequence[Source]) -> list[list[Source]]:
    """Sources by search, each from its smallest budget to its largest."""
    found: dict[tuple[str, ...], list[Source]] = defaultdict(list)
    for source in sources:
        found[source.keys].append(source)
    return [sorted(members, key=lambda one: one.log_uniform) for members in found.values()]


def _reference(searches: Sequence[Sequence[Source]], match: Match) -> Reference:
    """As many stages as the source that has most, and the mean of the searches' budgets."""
    stages = max(source.setting.num_stages for budgets in searches for source in budgets)
    middle = float(np.mean([np.mean([source.log_uniform for source in budgets]) for budgets in searches]))
    return Reference(stages, match, middle)


def _fitted(fit: Fit, choice: Choice, notes: Sequence[str]) -> Guideline:
    """The guideline of the model asked for, or of the best one, with all that can be said about it."""
    said = {name: fit.estimates(name) for name in MODELS}
    evidence = evidence_of(fit)
    errors = prediction_errors(fit, said)
    model = choice if choice != "auto" else best_model(evidence, errors)
    guideline = fit.guideline(model, said[model])
    unknown, contrary = _unknown(fit, evidence), _contradictions(said["stage-role"], fit.keys_U)
    return guideline.model_copy(
        update={
            "pattern": evidence,
            "errors": errors,
            "layer_spread": short(layer_spread(fit, guideline)),
            "notes": (*notes, *unknown, *_unsure(fit, guideline), *contrary),
            "sources": tuple(source.record for source in fit.sources),
        }
    )


_LEVEL_WORDS = {"network": "network", "data": "data set", "method": "method", "seed": "run"}


def _unknown(fit: Fit, evidence: Evidence) -> list[str]:
    """What the sources cannot tell, in words."""
    notes = []
    over = _LEVEL_WORDS[fit.nodes.level]
    for depth, level in enumerate(LEVELS[:3]):
        word = _LEVEL_WORDS[level]
        names = sorted({keys[depth] for keys in fit.keys_U})
        if len(names) == 1:
            only = names[0].split(" (", maxsplit=1)[0]
            notes.append(f"All sources are of one {word} ({only}): how other {word}s differ is not known.")
        elif _are_shared(fit, depth):
            notes.append(
                f"Intervals are over the {over}s, which share {word}s: how other {word}s differ is not in them."
            )
    if evidence.p_value is None:
        notes.append("One search alone: whether another seed would find the same is not known.")
    return notes


def _are_shared(fit: Fit, depth: int) -> bool:
    """Whether a name at this depth of the keys is in several of the nodes that intervals are over."""
    if depth <= LEVELS.index(fit.nodes.level):
        return False
    own = [{fit.keys_U[number][depth] for number in members} for members in fit.nodes.members]
    return len(set.union(*own)) < sum(map(len, own))


def _unsure(fit: Fit, guideline: Guideline) -> list[str]:
    """How many cells have no interval, where there could be any."""
    without = sum(cell.low is None for cell in guideline.cells)
    if not without or fit.nodes.degrees < 1:
        return []
    word = _LEVEL_WORDS[fit.nodes.level]
    note = (
        f"{without} of {len(guideline.cells)} intervals are not known: one {word} alone says anything there, or "
        f"{len(fit.nodes.members)} {word}s differ so much that they would span nearly all keep ratios."
    )
    return [note]


def _known_mean(values_UC: Floats) -> Floats:
    """Means over what is known; NaN where nothing is."""
    count_C = (~np.isnan(values_UC)).sum(0)
    mean_C = np.full(len(count_C), np.nan)
    np.divide(np.nansum(values_UC, axis=0), count_C, out=mean_C, where=count_C > 0)
    return mean_C


def _contradictions(said: Estimates, keys_U: Sequence[tuple[str, ...]]) -> list[str]:
    """Pairs of networks, data sets or methods whose patterns point in opposite directions."""
    notes = []
    levels = [c for c, name in enumerate(said.names) if name.kind == "level"]
    for depth, level in enumerate(LEVELS[:3]):
        groups: dict[str, list[int]] = defaultdict(list)
        for number, keys in enumerate(keys_U):
            groups[keys[depth]].append(number)
        if len(groups) > _MOST_COMPARED:
            continue
        means = {name: _known_mean(said.values_UC[members][:, levels]) for name, members in groups.items()}
        for (one, mine), (other, theirs) in combinations(means.items(), 2):
            both = ~np.isnan(mine) & ~np.isnan(theirs)
            if both.sum() < 3 or min(np.std(mine[both]), np.std(theirs[both])) < _FAINT:
                continue
            agreement = float(np.corrcoef(mine[both], theirs[both])[0, 1])
            if agreement < _CONTRARY:
                notes.append(
                    f"The {_LEVEL_WORDS[level]}s {one.split(' ')[0]} and {other.split(' ')[0]} contradict each other "
                    f"(correlation of their patterns {agreement:.2f})."
                )
    return notes
