"""What the sources of a guideline cannot tell, and in what they disagree, in words.

Shape suffixes: U searches (one network, data set, method and seed; widths at one budget or at several), C coefficients.
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from math import exp
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from nas_prune.guideline.artefact import Evidence, Guideline
from nas_prune.guideline.cells import Estimates, Fit
from nas_prune.guideline.heterogeneity import Difference, differences
from nas_prune.guideline.pooling import LEVELS
from nas_prune.guideline.validation import SIGNIFICANCE

Floats: TypeAlias = "NDArray[np.float64]"

_CONTRARY = -0.3
_FAINT = 0.1  # standard deviation of log ratios below which a pattern is too faint to contradict another
_MOST_NAMED = 3  # cells in a note
_MOST_COMPARED = 20  # networks, data sets or methods; nobody reads notes on the pairs of more
_LEVEL_WORDS = {"network": "network", "data": "data set", "method": "method", "seed": "run"}


def doubts(fit: Fit, evidence: Evidence, guideline: Guideline, said: Estimates) -> list[str]:
    """What a guideline should say of its sources.

    Args:
        fit: the sources.
        evidence: the test of whether they agree.
        guideline: what was fitted to them.
        said: what each says of the levels of stages and roles.
    """
    return [
        *_unknown(fit, evidence),
        *_unsure(fit, guideline),
        *_differing(fit, guideline, said),
        *_contradictions(said, fit.keys_U),
        *_rising(fit, said.known),
    ]


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
    if len(fit.searches) == 1:
        notes.append("One search alone: whether another seed would find the same is not known.")
    elif evidence.p_value is None:
        notes.append(
            "Whether the searches agree is not tested: the test compares stages, and layers of a stage, and no two "
            "searches speak of the same two."
        )
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


def _differing(fit: Fit, guideline: Guideline, said: Estimates) -> list[str]:
    """Levels whose members differ by more than what lies below them, and in which cells most."""
    notes = []
    levels = said.levels
    for one in differences(levels.values_UC, fit.keys_U):
        if not one.cells:
            continue
        word, below = _LEVEL_WORDS[one.level], _LEVEL_WORDS[one.below]
        cells = "; ".join(_apart(fit, levels, one, column) for column in one.cells[:_MOST_NAMED])
        more = len(one.cells) - _MOST_NAMED
        is_told = guideline.is_uniform or (fit.by_depth and one.level == "network")
        mean = "" if is_told else " The guideline is their mean."
        notes.append(
            f"The {word}s differ by more than their {below}s (p = {one.p_value:.2g}): {cells}"
            f"{f'; and {more} more' if more > 0 else ''}.{mean}"
        )
    return notes


def _apart(fit: Fit, said: Estimates, one: Difference, column: int) -> str:
    """The least and the most that members keep of a cell."""
    name = said.names[column]
    ordered = sorted(one.means, key=lambda keys: float(one.means[keys][column]))
    keeps = [
        f"{min(1.0, exp(fit.at.log_uniform + float(one.means[keys][column]))):.2f} in {_called(keys, one)}"
        for keys in (ordered[0], ordered[-1])
    ]
    return f"stage {name.stage} ({name.role}) keeps {' and '.join(keeps)}"


def _called(keys: tuple[str, ...], one: Difference) -> str:
    """A member's name, with its parents' where there are several."""
    own = [key.split(" (", maxsplit=1)[0] for key in keys]
    parents = {other[:-1] for other in one.means}
    return own[-1] if len(parents) == 1 else f"{own[-1]} ({', '.join(own[:-1])})"


def _rising(fit: Fit, said: Estimates) -> list[str]:
    """How sure it is that anything changes with depth."""
    if not fit.by_depth:
        return []
    rise, levels = fit.rise(said)
    p_value = rise.p_value(levels)
    if p_value is None:
        return []
    rested = f"(of {len(fit.nodes.members)} networks, corrected for the number of cells)"
    if p_value > SIGNIFICANCE:
        return [
            f"No change with depth is seen: chance alone draws a line as steep in a share of {p_value:.2g} {rested}."
        ]
    return [f"The cell that most surely rises or falls with depth does so with p = {p_value:.2g} {rested}."]


def _known_mean(values_UC: Floats) -> Floats:
    """Means over what is known; NaN where nothing is."""
    count_C = (~np.isnan(values_UC)).sum(0)
    mean_C = np.full(len(count_C), np.nan)
    np.divide(np.nansum(values_UC, axis=0), count_C, out=mean_C, where=count_C > 0)
    return mean_C


def _contradictions(said: Estimates, keys_U: Sequence[tuple[str, ...]]) -> list[str]:
    """Pairs of networks, data sets or methods whose patterns point in opposite directions."""
    notes = []
    levels_UC = said.levels.values_UC
    for depth, level in enumerate(LEVELS[:3]):
        groups: dict[str, list[int]] = defaultdict(list)
        for number, keys in enumerate(keys_U):
            groups[keys[depth]].append(number)
        if len(groups) > _MOST_COMPARED:
            continue
        means = {name: _known_mean(levels_UC[members]) for name, members in groups.items()}
        for (one, mine), (other, theirs) in combinations(means.items(), 2):
            both = ~np.isnan(mine) & ~np.isnan(theirs)
            if both.sum() < 3 or min(np.std(mine[both]), np.std(theirs[both])) < _FAINT:
                continue
            agreement = float(np.corrcoef(mine[both], theirs[both])[0, 1])
            if agreement < _CONTRARY:
                notes.append(
                    f"The {_LEVEL_WORDS[level]}s {_both(one, other)} contradict each other "
                    f"(correlation of their patterns {agreement:.2f})."
                )
    return notes


def _both(one: str, other: str) -> str:
    """Two members by their first words, or in full where these are the same."""
    short = [name.split(" ", maxsplit=1)[0] for name in (one, other)]
    return " and ".join(short if short[0] != short[1] else (one, other))
