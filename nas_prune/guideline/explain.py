"""A guideline in sentences that a person can act on."""

from collections import defaultdict
from collections.abc import Sequence
from math import exp, log

from nas_prune.guideline.artefact import Cell, Evidence, Guideline
from nas_prune.guideline.hand import Rule

_WHOLE, _NEARLY = 0.97, 0.9
_NAMED = {0.5: "Halve {}", 0.25: "Quarter {}", 1 / 3: "Cut {} to a third", 2 / 3: "Cut {} to two thirds"}
_NEAR = 0.06  # how far a keep ratio may be from a named one, as a share of that
_SLOPE = 0.2
_ROUNDED = 0.05  # log ratio up to which widths are uniform's, but for what whole channels make of them
_SAME = 0.005
COSTS = {
    "macs": "MACs",
    "params": "parameters",
    "channels": "channels",
    "activations": "activations",
    "own": "channels",
}


def sentences(pattern: "Guideline | Rule") -> list[str]:
    """What a guideline says: where it holds, then one thing in each sentence.

    Stages are numbered as everywhere, from 0 at the highest resolution.
    """
    if isinstance(pattern, Rule):
        return [f"{pattern.summary[0].upper()}{pattern.summary[1:]} ({pattern.citation})."]
    return [_where(pattern), *_what(pattern), *_along(pattern), *_by_depth(pattern)]


def _where(guideline: Guideline) -> str:
    if guideline.uniform_keep is None:
        return "At any budget, beside the uniform network of the same cost:"
    covered = ""
    if guideline.covers_share is not None and guideline.cost is not None:
        first, _, rest = guideline.cost.partition(" ")
        cost = f"{COSTS.get(first, first)} {rest}".strip()
        low, high = guideline.covers_share
        start = "With" if high - low < _SAME else "Midway between networks with"
        covered = f"{start} {_range(guideline.covers_share)} of the {cost} left, "
    where = f"where uniform scaling would keep {_percent(guideline.uniform_keep)} of every width:"
    return f"{covered}{where}" if covered else f"{where[0].upper()}{where[1:]}"


def _what(guideline: Guideline) -> list[str]:
    if guideline.is_uniform:
        return [_no_pattern(guideline)]
    alike: dict[str, list[Cell]] = defaultdict(list)
    for cell in guideline.cells:
        alike[_phrase(guideline, cell)].append(cell)
    return [
        " ".join([f"{phrase.format(_places(cells))}.", *_sure(guideline, cells)])
        for phrase, cells in alike.items()
    ]


def _no_pattern(guideline: Guideline) -> str:
    evidence = guideline.pattern
    if evidence is not None and evidence.p_value is None:
        return "Too little is known for a pattern: use uniform widths, or add searches with other seeds."
    if evidence is not None and evidence.is_found:
        return (
            "The runs have something in common, but it predicts one that is left out no better than uniform widths "
            "do: use uniform widths, or add searches."
        )
    if evidence is None or evidence.p_value is None:
        return "No pattern: use uniform widths."
    return (
        "No pattern: use uniform widths. Sources with nothing in common would agree as much in "
        f"{_percent(evidence.p_value)} of cases.{_smallest(evidence, guideline.uniform_keep)}"
    )


def _smallest(evidence: Evidence, uniform_keep: float | None) -> str:
    """What "no pattern" leaves open."""
    if evidence.smallest is None:
        return ""
    if uniform_keep is not None and exp(evidence.smallest) > 1 / uniform_keep:  # wider than whole
        return " But these sources are too few, or differ too much, for any pattern that widths can have to be found."
    return (
        " The smallest pattern that would have been found in four of five repeats: widths that differ from uniform "
        f"by a factor of {exp(evidence.smallest):.2g} (standard deviation of log ratios {evidence.smallest:.2f})."
    )


def _phrase(guideline: Guideline, cell: Cell) -> str:
    """What to do with a cell's groups, with a place for their names."""
    keep = guideline.keep_ratio(cell)
    if guideline.uniform_keep is None:
        return f"Make {{}} {keep:.2g} times as wide" if abs(keep - 1) > _NEAR else "Make {} as wide"
    if keep >= _NEARLY:
        return "Keep {} whole" if keep >= _WHOLE else "Keep {} nearly whole"
    for share, words in _NAMED.items():
        if abs(keep - share) <= _NEAR * share:
            return words
    return f"Keep {5 * round(20 * keep)} % of {{}}" if keep >= 0.075 else f"Keep {_percent(keep)} of {{}}"


def _places(cells: Sequence[Cell]) -> str:
    """Stages by role, as "stages 0 to 2" or "stage 0 (stem) and stages 0 and 1 (inner)"."""
    stages: dict[str | None, list[int]] = defaultdict(list)
    for cell in cells:
        stages[cell.role].append(cell.stage)
    parts = [f"{_numbers(own)}{'' if role is None else f' ({role})'}" for role, own in stages.items()]
    return " and ".join(parts)


def _numbers(stages: Sequence[int]) -> str:
    if len(stages) == 1:
        return f"stage {stages[0]}"
    if list(stages) == list(range(stages[0], stages[-1] + 1)):
        return f"stages {stages[0]} {'and' if len(stages) == 2 else 'to'} {stages[-1]}"
    return "stages " + ", ".join(map(str, stages))


def _sure(guideline: Guideline, cells: Sequence[Cell]) -> list[str]:
    """In how many of the runs these cells all lie on this side of uniform, and the interval around them."""
    said = []
    counted = [cell for cell in cells if cell.of]
    apart = [cell for cell in counted if abs(cell.log_ratio) > _ROUNDED]
    seen = [(cell.up if cell.log_ratio > 0 else cell.of - cell.up, cell.of) for cell in apart]
    if counted and not apart:
        said.append(f"As wide as uniform, but for at most {_percent(_ROUNDED)}.")
    if seen:
        agreeing, total = min(seen, key=lambda one: one[0] / one[1])
        sides = {cell.log_ratio > 0 for cell in apart}
        side = "on this side of" if len(sides) > 1 else "wider than" if sides == {True} else "narrower than"
        said.append(f"{side[0].upper()}{side[1:]} uniform in {agreeing} of {total} run{'s' * (total != 1)}.")
    intervals = [ends for cell in cells if (ends := guideline.interval(cell)) is not None]
    unknown = [cell for cell in cells if cell.of > 1 and guideline.interval(cell) is None]
    if intervals:
        low, high = min(one[0] for one in intervals), max(one[1] for one in intervals)
        but = f", not known for {_places(unknown)}" if unknown else ""
        said.append(f"{100 * guideline.confidence:.4g} % interval {low:.2f} to {high:.2f}{but}.")
    elif unknown:
        said.append("How sure that is, is not known.")
    return said


def _by_depth(guideline: Guideline) -> list[str]:
    """How widths change with the number of layers, where the fitted lines rise or fall by much.

    How sure that is, a note of the guideline says.
    """
    if guideline.depth is None or guideline.depths is None:
        return []
    said, whole = [], "the width" if guideline.uniform_keep else "uniform widths"
    for cell in guideline.cells:
        ends = [cell.depth_slope * log(depth / guideline.depth) for depth in guideline.depths]
        if abs(ends[1] - ends[0]) <= _SLOPE:
            continue
        keeps = [cell.model_copy(update={"log_ratio": cell.log_ratio + end}) for end in ends]
        low, high = (_percent(guideline.keep_ratio(one)) for one in keeps)
        said.append(
            f"On the line through the networks, from {guideline.depths[0]} layers to {guideline.depths[1]}, "
            f"{_places([cell])} goes from {low} to {high} of {whole}."
        )
    return said


def _along(guideline: Guideline) -> list[str]:
    """How widths change along the cells, where they change clearly."""
    said = []
    for cell in guideline.cells:
        places = [place for place, _ in cell.shape] or [0.0, 1.0]
        ratios = [cell.log_ratio_at(place) for place in places]
        if max(ratios) - min(ratios) <= _SLOPE:
            continue
        keeps = ", ".join(_percent(guideline.keep_ratio(cell, place)) for place in places)
        of = "the width" if guideline.uniform_keep else "uniform's width"
        said.append(f"From the beginning of {_places([cell])} to its end: {keeps} of {of}.")
    return said


def _range(ends: tuple[float, float]) -> str:
    low, high = ends
    return _percent(low) if high - low < _SAME else f"{_percent(low)} to {_percent(high)}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %" if share < 0.1 else f"{100 * share:.0f} %"
