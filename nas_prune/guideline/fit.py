"""Fitting a guideline: from any number of widths files to what they have in common."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Literal, TypeAlias, get_args

import numpy as np

from nas_prune.errors import GuidelineError
from nas_prune.guideline.artefact import Guideline, Match
from nas_prune.guideline.cells import Fit, short
from nas_prune.guideline.depth import check_family
from nas_prune.guideline.doubts import doubts
from nas_prune.guideline.files import read_sources
from nas_prune.guideline.models import MODELS, Reference
from nas_prune.guideline.sources import Source, sources_of
from nas_prune.guideline.validation import best_model, evidence_of, layer_spread, prediction_errors
from nas_prune.space.widths import Widths

Choice: TypeAlias = Literal[
    "auto", "uniform", "stage-means", "stage-role", "stage-role-slope", "stage-role-shape"
]

ALL_COSTS = "all"
_HARDLY_CUT = 0.95  # uniform keep ratio; differences above it are mostly rounding, and would be enlarged


def fit_guideline(  # noqa: PLR0913  (all but the first by keyword)
    sources: Sequence[Path | Widths | Source],
    *,
    model: Choice = "auto",
    match: Match = "output",
    cost: str | None = None,
    confidence: float = 0.9,
    by: "Literal['depth'] | None" = None,
    spaces: Sequence[str] = (),
    notes: Sequence[str] = (),
    with_guesses: bool = False,
) -> Guideline:
    """What found widths have in common, as log ratios to the uniform network of the same cost.

    Args:
        sources: widths files, runs of `search`, widths, or what `sources_in` makes of those.
        model: the form of the pattern; by default the one that predicts sources left out best, and uniform where the
            sources do not agree on any.
        match: from which end stages are counted where networks have different numbers of them.
        cost: use only sources driven by this cost; `all` pools them.
        confidence: of all intervals together.
        by: `depth` lets each stage and role change with the log of the networks' number of layers; it takes three
            networks of one family.
        spaces: names of networks of your own, whose code may be imported.
        notes: what else the guideline should say of its sources.
        with_guesses: whether runs are used whose network was hardly better than guessing.

    Returns:
        The guideline, with what the sources cannot tell in its notes.

    Raises:
        GuidelineError: there is no source, they were driven by different costs, or no line in depth can be drawn.
        WidthsError: a file cannot be read.
    """
    _check_asked(model, confidence)
    read, said = _read(sources, spaces, with_guesses=with_guesses)
    chosen, left = _of_one_cost(read, cost)
    cut = [source for source in chosen if source.record.uniform_keep < _HARDLY_CUT]
    if 0 < len(cut) < len(chosen):
        left.append(f"{len(chosen) - len(cut)} widths left out: next to nothing was cut.")
        chosen = cut
    searches = _searches(chosen)
    if by == "depth":
        check_family(chosen)
    elif by is not None:
        raise GuidelineError(f"a guideline must be by depth or by nothing else, got {by!r}.")
    fit = Fit(searches, _reference(searches, match), confidence, by_depth=by == "depth")
    return _fitted(fit, model, [*notes, *said, *left])


def fit_guidelines(  # noqa: PLR0913  (all but the first by keyword)
    sources: Sequence[Path | Widths | Source],
    *,
    model: Choice = "auto",
    match: Match = "output",
    cost: str | None = None,
    confidence: float = 0.9,
    by: "Literal['depth'] | None" = None,
    spaces: Sequence[str] = (),
    notes: Sequence[str] = (),
    with_guesses: bool = False,
) -> dict[str, Guideline]:
    """A guideline for each cost that drove some of the sources, as `fit_guideline` makes them.

    A search cut at bounds on MACs and on parameters has widths of both kinds, and the pattern depends on which. The
    arguments are those of `fit_guideline`; with `cost` there is one guideline alone.

    Returns:
        Guidelines by cost, in the order of the sources.

    Raises:
        GuidelineError, WidthsError: as `fit_guideline`.
    """
    _check_asked(model, confidence)
    read, said = _read(sources, spaces, with_guesses=with_guesses)
    wanted = [cost] if cost is not None else list(by_cost(read))
    found = {}
    for one in wanted:
        try:
            found[one] = fit_guideline(
                read if cost is not None else by_cost(read)[one],
                model=model,
                match=match,
                cost=cost,
                confidence=confidence,
                by=by,
                notes=[*notes, *said],
            )
        except GuidelineError as error:
            if len(wanted) == 1:
                raise
            raise GuidelineError(
                f"of the widths driven by {one}: {error} Or choose another cost: --cost."
            ) from None
    return found


def _check_asked(model: str, confidence: float) -> None:
    if not 0.5 <= confidence < 1:
        raise GuidelineError(f"a confidence must be from 0.5 to below 1, got {confidence}.")
    if model not in get_args(Choice):
        raise GuidelineError(f"a model must be one of {', '.join(get_args(Choice))}, got {model!r}.")


def by_cost(sources: Sequence[Source]) -> dict[str, list[Source]]:
    """Sources by the cost that drove them."""
    drivers: dict[str, list[Source]] = defaultdict(list)
    for source in sources:
        drivers[source.record.cost].append(source)
    return dict(drivers)


def counts_by_cost(sources: Sequence[Source]) -> str:
    """How many sources each cost drove, in words."""
    return ", ".join(f"{driver} ({len(members)})" for driver, members in sorted(by_cost(sources).items()))


def _read(
    sources: Sequence[Path | Widths | Source], spaces: Sequence[str], *, with_guesses: bool
) -> tuple[list[Source], list[str]]:
    """What was given as sources, and notes about what is left out."""
    paths = [one for one in sources if isinstance(one, Path)]
    widths = [one for one in sources if isinstance(one, Widths)]
    ready = [one for one in sources if isinstance(one, Source)]
    read, said = read_sources(paths, spaces=spaces, with_guesses=with_guesses) if paths else ([], [])
    own, more = sources_of(widths, spaces=spaces) if widths or not sources else ([], [])
    return [*read, *own, *ready], [*said, *more]


def _of_one_cost(sources: Sequence[Source], cost: str | None) -> tuple[list[Source], list[str]]:
    """The sources that were driven by the cost asked for; refused where there are several and none is."""
    drivers, counts = by_cost(sources), counts_by_cost(sources)
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
        most = max(drivers, key=lambda name: len(drivers[name]))
        raise GuidelineError(
            f"the sources of one guideline must have been driven by one cost, got {counts}, and the pattern depends on "
            f"it. Choose one with --cost {quote(most)} (in Python cost={most!r}), or pool "
            "them with --cost all; `nas-prune guide` (fit_guidelines) makes one for each."
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
    model = choice if choice != "auto" else best_model(fit, evidence, errors)
    guideline = fit.guideline(model, said[model])
    return guideline.model_copy(
        update={
            "pattern": evidence,
            "errors": errors,
            "layer_spread": short(layer_spread(fit, guideline)),
            "notes": (*notes, *doubts(fit, evidence, guideline, said["stage-role"])),
            "sources": tuple(source.record for source in fit.sources),
        }
    )
