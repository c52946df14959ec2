"""Fitting a guideline to patterns: log odds by stage and position, pooled, tested, shrunk where the evidence is thin.

Shape suffixes: U searches, N nodes (searches at the level that is taken as independent), C cells, P positions.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import log
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nas_prune.errors import GuidelineError
from nas_prune.guideline.files import without_guesses
from nas_prune.guideline.pooling import Nodes, at_nodes, independent, pattern_test, pool, shrunk
from nas_prune.patterns.guideline import (
    LARGEST,
    Agreement,
    DensityCell,
    LayerKind,
    PatternGuideline,
    PatternSource,
    PositionCell,
    kind_of_layer,
    last_stage,
)
from nas_prune.patterns.methods.registry import METHODS
from nas_prune.patterns.pattern import PATTERNS, Pattern, read_pattern

Floats: TypeAlias = NDArray[np.float64]
DensityKey: TypeAlias = "tuple[LayerKind, int]"
PositionKey: TypeAlias = "tuple[int, tuple[int, ...], int]"
_LEVEL = 0.05  # of the tests
_DOUBT = 1.0  # variance of a mean that one source alone gives, in squared log odds
_FEWEST_KERNELS = 100  # of a stage, or the shares of its positions are mostly chance
_DIGITS = 4


def log_odds(share: float, count: float) -> float:
    """Log odds of a share of so many weights; half a weight is added to each side, so that none is without end.

    Example:
        >>> round(log_odds(0.5, 100), 6), round(log_odds(1.0, 9), 3)
        (0.0, 2.944)
    """
    kept = share * count
    return log((kept + 0.5) / (count - kept + 0.5))


def fit_patterns(
    patterns: Sequence[Pattern], *, notes: Sequence[str] = (), confidence: float = 0.9
) -> PatternGuideline:
    """What patterns have in common.

    Patterns of one search at several budgets are one source, of which the mean counts; of these, seeds, methods, data
    sets and networks are pooled level by level, as widths are.

    Args:
        patterns: of any networks; those of one network, data set, method and seed are one source.
        notes: what a person should know of what was read.
        confidence: of the intervals of densities together, and of positions together.

    Raises:
        GuidelineError: there is none, or their numbers of stages differ so that none can be matched.
    """
    if not patterns:
        raise GuidelineError("a guideline of patterns must have sources, got none.")
    if not 0 < confidence < 1:
        raise GuidelineError(f"--confidence must be between 0 and 1, got {confidence:g}.")
    by_keys: dict[tuple[str, ...], list[Pattern]] = defaultdict(list)
    for pattern in patterns:
        by_keys[_keys(pattern)].append(pattern)
    keys_U = list(by_keys)
    densities = _table([_mean([densities_of(one) for one in own]) for own in by_keys.values()])
    nodes = independent(keys_U, ~np.isnan(densities.values_UC))
    of_densities, density_C, half_C = _pooled(
        densities, densities, nodes, confidence, "kinds of layers and stages"
    )
    # A search of which nothing is known about positions has no part in whether others agree in them.
    by_source = zip(
        keys_U, (_mean([positions_of(one) for one in own]) for own in by_keys.values()), strict=True
    )
    known = {keys: said for keys, said in by_source if said}
    positions, tested = _table(list(known.values())), _table([_over_stages(one) for one in known.values()])
    nodes_P = independent(list(known), ~np.isnan(tested.values_UC)) if known else None
    of_positions, position_C, half_P = _pooled(positions, tested, nodes_P, confidence, "positions")
    return PatternGuideline(
        densities=_density_cells(densities, density_C, half_C),
        positions=_position_cells(positions, position_C, half_P),
        of_densities=of_densities,
        of_positions=of_positions,
        level=nodes.level,
        confidence=confidence,
        covers=(min(one.density for one in patterns), max(one.density for one in patterns)),
        sources=tuple(_source(pattern) for pattern in patterns),
        notes=(*notes, *_notes(patterns, nodes, None if of_positions.p_value is None else nodes_P)),
    )


def patterns_in(paths: Sequence[Path], *, with_guesses: bool = False) -> tuple[list[Pattern], list[str]]:
    """The patterns of searches and files, each once, and notes about those left out.

    Args:
        paths: directories of searches, and files.
        with_guesses: whether patterns are taken that were found by a network hardly better than guessing.

    Raises:
        GuidelineError: a search has not finished, or all of them guess.
    """
    named: list[Path] = []
    for path in paths:
        files = sorted((path / PATTERNS).glob("*.json")) if path.is_dir() else [path]
        if not files:
            raise GuidelineError(f"RUN must be a finished search for patterns, got {path}, without any.")
        named += files
    once = list({file.resolve(): file for file in named}.values())
    kept, notes = without_guesses(once, "patterns", with_guesses=with_guesses)
    return [read_pattern(file) for file in kept], notes


def densities_of(pattern: Pattern) -> dict[DensityKey, float]:
    """Log odds of each kind of layer in each stage, beyond those of all weights."""
    last = _last(pattern)
    kept: dict[DensityKey, int] = defaultdict(int)
    sizes: dict[DensityKey, int] = defaultdict(int)
    for layer in pattern.layers:
        kind = kind_of_layer(layer.kind, layer.shape, is_first=layer.is_first)
        key: DensityKey = (kind, 0 if kind in ("first", "linear") else last - layer.stage)
        kept[key] += layer.nonzero
        sizes[key] += layer.size
    whole = log_odds(pattern.density, pattern.base_cost.nonzero)
    return {key: log_odds(kept[key] / size, size) - whole for key, size in sizes.items()}


def positions_of(pattern: Pattern) -> dict[PositionKey, float]:
    """Log odds of each position of kernels in each stage, beyond those of all weights of these kernels."""
    last = _last(pattern)
    found: dict[PositionKey, float] = {}
    for one in pattern.kernels:
        if len(one.shape) != 2 or one.kernels < _FEWEST_KERNELS:
            continue
        odds = [log_odds(share, one.kernels) for share in one.kept]
        # The mean of their log odds would be lower: layers drawn after it would be denser than they were found.
        whole = log_odds(float(np.mean(one.kept)), one.kernels)
        found |= {(last - one.stage, one.shape, place): own - whole for place, own in enumerate(odds)}
    return found


def _last(pattern: Pattern) -> int:
    return last_stage((layer.kind, layer.stage) for layer in pattern.layers)


def _keys(pattern: Pattern) -> tuple[str, ...]:
    space = pattern.space
    network = f"{space.name} ×{space.width_multiplier:g} {list(space.input_shape)}"
    data = "unknown" if pattern.data is None else pattern.data.name
    method = "unknown" if pattern.method is None else pattern.method.name
    return (network, data, method, str(pattern.seed or 0))


def _mean(said: Sequence[Mapping[Any, float]]) -> dict[Any, float]:
    keys = dict.fromkeys(key for one in said for key in one)
    return {key: float(np.mean([one[key] for one in said if key in one])) for key in keys}


def _over_stages(said: Mapping[PositionKey, float]) -> dict[tuple[tuple[int, ...], int], float]:
    """The mean of each position over stages, by kernel shape and place.

    A source that keeps a position in one stage mostly keeps it in all. Shuffled one by one, they would count as so many
    agreements: of sources with nothing in common one in five would be found to agree, not one in twenty.
    """
    by_place: dict[tuple[tuple[int, ...], int], list[float]] = defaultdict(list)
    for (_, shape, place), value in said.items():
        by_place[shape, place].append(value)
    return {key: float(np.mean(values)) for key, values in by_place.items()}


class _Table:
    """What U sources say of C cells; NaN where nothing."""

    def __init__(self, names: list[Any], values_UC: Floats) -> None:
        self.names, self.values_UC = names, values_UC

    @property
    def of_C(self) -> NDArray[np.int64]:
        return np.asarray((~np.isnan(self.values_UC)).sum(0), dtype=np.int64)


def _table(said: Sequence[Mapping[Any, float]]) -> _Table:
    names = sorted({key for one in said for key in one})
    values = [[one.get(name, np.nan) for name in names] for one in said]
    return _Table(names, np.array(values, dtype=np.float64).reshape(len(said), len(names)))


def _pooled(
    table: _Table, tested: _Table, nodes: Nodes | None, confidence: float, of: str
) -> tuple[Agreement, Floats, Floats]:
    """Whether sources agree in what is tested; shrunk means of all cells, and half widths of their intervals."""
    if nodes is None or not table.names:
        return Agreement(is_found=False, test="no cells"), np.zeros(0), np.zeros(0)
    values_NC = at_nodes(table.values_UC, nodes)
    p_value, test = pattern_test(at_nodes(tested.values_UC, nodes), nodes, of, "log odds")
    pooled = pool(values_NC, nodes)
    mean_C = shrunk(pooled, _DOUBT) if p_value is not None else pooled.mean_C
    is_found = p_value is None or p_value <= _LEVEL
    return Agreement(is_found=is_found, p_value=p_value, test=test), mean_C, pooled.half_width_C(confidence)


def _clipped(value: float) -> float:
    return round(float(np.clip(value, -LARGEST, LARGEST)), _DIGITS)


def _density_cells(table: _Table, mean_C: Floats, half_C: Floats) -> tuple[DensityCell, ...]:
    return tuple(
        DensityCell(
            kind=kind,
            stage=stage,
            log_odds=_clipped(mean),
            low=None if np.isnan(half) else _clipped(mean - half),
            high=None if np.isnan(half) else _clipped(mean + half),
            of=int(of),
        )
        for (kind, stage), mean, half, of in zip(table.names, mean_C, half_C, table.of_C, strict=True)
    )


def _position_cells(table: _Table, mean_C: Floats, half_C: Floats) -> tuple[PositionCell, ...]:
    places: dict[tuple[int, tuple[int, ...]], list[int]] = defaultdict(list)
    for column, (stage, shape, _) in enumerate(table.names):
        places[stage, shape].append(column)
    return tuple(
        PositionCell(
            stage=stage,
            shape=shape,
            log_odds=tuple(_clipped(mean_C[column]) for column in columns),
            half_width=None
            if np.isnan(half_C[columns]).any()
            else round(float(half_C[columns].max()), _DIGITS),
            of=int(table.of_C[columns].min()),
        )
        for (stage, shape), columns in sorted(places.items())
    )


def _source(pattern: Pattern) -> PatternSource:
    _, data, method, _ = _keys(pattern)
    return PatternSource(
        network=pattern.space.name,
        data=data,
        method=method,
        seed=pattern.seed or 0,
        budget=pattern.budget or "as given",
        density=float(f"{pattern.density:.6g}"),
    )


def _is_put_in(pattern: Pattern) -> bool:
    """Whether its method looks at neither weights nor images."""
    method = None if pattern.method is None else METHODS.get(pattern.method.name)
    return method is not None and (method.is_control or method.needs_guideline)


def _notes(patterns: Sequence[Pattern], nodes: Nodes, nodes_P: Nodes | None) -> tuple[str, ...]:
    """What a person should know; `nodes_P` are those that were compared in positions."""
    notes = []
    if len(nodes.members) == 1:
        notes.append("One source alone: nothing says how far another would differ. It is applied as it is.")
    if nodes_P is not None and nodes_P.level != nodes.level:
        notes.append(
            f"Independent for kernel positions: each {nodes_P.level} of those that say anything of them."
        )
    stages = {_last(one) for one in patterns}
    if len(stages) > 1:
        notes.append("Networks have different numbers of stages; they are matched from the last.")
    if any(_is_put_in(one) for one in patterns):
        notes.append(
            "Some sources are controls or drawn after a guideline: they look at neither weights nor images, and agree "
            "in what was put into them."
        )
    return tuple(notes)
