"""Latency as a cost of widths: what a network of any widths takes on a device, from a table that was measured there.

Shape suffixes: N candidates, V widths with flags of blocks behind, M measurements.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas_prune.errors import BadInputError
from nas_prune.graph.axes import Axis
from nas_prune.graph.inputs import is_within
from nas_prune.hardware.latency_caches import Beyond, nanoseconds
from nas_prune.hardware.latency_layers import TimedLayer, lengths, timed_layers
from nas_prune.hardware.latency_model import LayerTime, fitted
from nas_prune.hardware.latency_pairs import pairs_of
from nas_prune.hardware.latency_remainders import remainders_of
from nas_prune.hardware.latency_table import Row, Table, read_table
from nas_prune.runs.text import printable
from nas_prune.space.cost import Switched
from nas_prune.space.search_space import SearchSpace

_MOST_NS = 2.0**62
_MOST_ENTRIES = (
    2**21
)  # of a layer's times for all pairs of widths; beyond, they are worked out where they are asked for


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer's time at every pair of widths.

    Attributes:
        layer: which.
        time: as it was fitted.
        table_WW: whole nanoseconds for each width read and each width written; None where that is too large.
    """

    layer: TimedLayer
    time: LayerTime
    table_WW: NDArray[np.int64] | None

    def at(self, read_N: NDArray[Any], written_N: NDArray[Any]) -> NDArray[np.int64]:
        """Nanoseconds for whole widths."""
        if self.table_WW is None:
            return np.rint(self.time(read_N, written_N)).astype(np.int64)
        return np.asarray(self.table_WW[read_N, written_N])


class Latency:
    """Nanoseconds of one image as a function of the widths: a `CostFunction`."""

    def __init__(
        self, space: SearchSpace, layers: Sequence[_Layer], factor: float, beyond: Beyond = ()
    ) -> None:
        self._space, self._layers, self._factor, self._beyond = space, tuple(layers), factor, beyond
        self._length = lengths(space)
        self._switched: Switched | None = None

    def __call__(self, vectors_NV: ArrayLike) -> NDArray[np.int64]:
        """Nanoseconds for each of N vectors, or for one.

        Args:
            vectors_NV: G widths, and behind them, where blocks are searched, 1 for each that is there and 0 where not.
        """
        vectors = np.asarray(vectors_NV, dtype=np.int64)
        found = self._total(vectors, self._factor * self._summed(vectors, self._at_whole))
        return np.rint(np.minimum(found, _MOST_NS)).astype(np.int64)

    def real(self, vectors_NV: ArrayLike) -> NDArray[np.float64]:
        """Between whole widths, by straight lines from one to the next."""
        vectors = np.asarray(vectors_NV, dtype=np.float64)
        return self._total(vectors, self._factor * self._summed(vectors, self._between))

    def by_layer(self, vectors_NV: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """What each layer, with what follows it, has of that; of blocks that are left out nothing.

        What the network takes for weights that caches do not hold is divided in proportion to the layers' times.
        """
        vectors = np.asarray(vectors_NV, dtype=np.int64)
        summed = self._factor * self._summed(vectors, self._at_whole)
        factor = self._factor * self._total(vectors, summed) / np.maximum(summed, 1.0)
        return {path: factor * ns for path, ns in self._parts(vectors, self._at_whole)}

    def weights(self, vectors_NV: ArrayLike) -> NDArray[np.float64]:
        """How many weights each of N networks has."""
        is_switched = np.shape(vectors_NV)[-1] > len(self._space.groups)
        if is_switched and self._switched is None:
            self._switched = self._space.switched("params")
        count = self._switched if is_switched and self._switched else self._space.cost.params
        return count.real(vectors_NV)

    def scaled(self, factor: float, beyond: Beyond) -> "Latency":
        """The same layers with another factor, and with what is added for weights that caches do not hold."""
        return Latency(self._space, self._layers, factor, beyond)

    def without_pairs(self) -> "Latency":
        """Without what single pairs of widths take: those of a table explain its own noise, too."""
        layers = [_tabled(self._space, one.layer, replace(one.time, pairs=None)) for one in self._layers]
        return Latency(self._space, layers, self._factor, self._beyond)

    def _total(self, vectors_NV: NDArray[Any], summed_N: NDArray[np.float64]) -> NDArray[np.float64]:
        """With what is added to the sum of layers."""
        extra = nanoseconds(self._beyond, self.weights(vectors_NV), summed_N) if self._beyond else 0.0
        return np.asarray(np.maximum(summed_N + extra, 1.0), dtype=np.float64)

    def _summed(self, vectors_NV: NDArray[Any], time: Any) -> NDArray[Any]:
        total: NDArray[Any] = np.zeros(vectors_NV.shape[:-1])
        for _, ns in self._parts(vectors_NV, time):
            total = total + ns
        return total

    def _parts(self, vectors_NV: NDArray[Any], time: Any) -> Iterable[tuple[str, NDArray[Any]]]:
        count = len(self._space.groups)
        widths = np.ascontiguousarray(vectors_NV[..., :count].T).T  # each group's widths beside each other
        flags = vectors_NV[..., count:]
        blocks = self._space.blocks if flags.shape[-1] else ()
        if flags.shape[-1] != len(blocks):
            raise BadInputError(
                f"a vector must have {count} widths, and behind them a flag for each of {len(self._space.blocks)} "
                f"blocks or none, got {vectors_NV.shape[-1]} numbers."
            )
        for one in self._layers:
            ns = time(one, widths)
            for number, block in enumerate(blocks):
                if is_within(one.layer.path, block.path):
                    ns = ns * flags[..., number]
            yield one.layer.path, ns

    def _at_whole(self, one: _Layer, widths_NG: NDArray[Any]) -> NDArray[np.int64]:
        return one.at(self._length(one.layer.read, widths_NG), self._length(one.layer.written, widths_NG))

    def _between(self, one: _Layer, widths_NG: NDArray[Any]) -> NDArray[np.float64]:
        (read, read_share), (written, written_share) = (
            _neighbours(self._length(axis, widths_NG)) for axis in (one.layer.read, one.layer.written)
        )
        low = (1 - written_share) * one.at(read, written) + written_share * one.at(read, written + 1)
        high = (1 - written_share) * one.at(read + 1, written) + written_share * one.at(read + 1, written + 1)
        return np.asarray((1 - read_share) * low + read_share * high)


def _neighbours(lengths_N: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The whole number below each, and how far each is above it."""
    below = np.floor(lengths_N).astype(np.int64)
    return below, np.asarray(lengths_N - below)


def latency_cost(space: SearchSpace, path: Path | str) -> Latency:
    """What widths of a network take, from the table of `nas-prune measure`.

    Args:
        space: the network.
        path: of the table's `latency.csv`, or of the directory that holds it.

    Returns:
        A cost function: nanoseconds of one image for each vector of widths.

    Raises:
        BadInputError: the table cannot be read, or is of another network.
    """
    table = read_table(Path(path))
    table.header.check_space(space, str(path))
    check_widths(space, table.rows, str(path))
    return fitted_latency(space, table)


def check_widths(space: SearchSpace, rows: Iterable[Row], where: str) -> None:
    """Refuse rows at widths that a layer cannot have.

    Raises:
        BadInputError: there is one; the message names it.
    """
    most = {
        layer.path: (_most(space, layer.read), _most(space, layer.written)) for layer in timed_layers(space)
    }
    for row in rows:
        read, written = most.get(row.layer, (row.in_width, row.out_width))
        if row.in_width > read or row.out_width > written:
            raise BadInputError(
                f"widths of {printable(row.layer)} must be at most {read} and {written}, got {row.in_width} and "
                f"{row.out_width} ({where})."
            )


def fitted_latency(space: SearchSpace, table: Table) -> Latency:
    """What widths take, by the rows of a table and its factor.

    Raises:
        BadInputError: its layers are not the network's.
    """
    layers = timed_layers(space)
    rows = rows_by_layer(table.rows)
    unknown = sorted({*rows} - {layer.path for layer in layers})
    missing = [layer.path for layer in layers if layer.path not in rows]
    if unknown or not {*missing} <= {*table.header.not_run}:
        wrong = f"one of {printable(unknown[0])!r}" if unknown else f"none of {missing[0]!r}"
        raise BadInputError(
            f"a latency table must have rows for each layer of {space.reference.name}, and no others, got {wrong}."
        )
    alike: dict[Hashable, list[TimedLayer]] = {}
    for layer in layers:
        if layer.path in rows:
            alike.setdefault(layer.shape, []).append(layer)
    fits = {path: one for own in alike.values() for path, one in _fits(space, own, rows).items()}
    return Latency(
        space,
        [fits[layer.path] for layer in layers if layer.path in rows],
        table.header.factor,
        table.header.beyond,
    )


def rows_by_layer(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows of each layer."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.layer, []).append(row)
    return found


def _fits(
    space: SearchSpace, alike: Sequence[TimedLayer], rows: Mapping[str, Sequence[Row]]
) -> dict[str, _Layer]:
    """Layers of one shape: each has a time of its own, and they have the factors of remainders and pairs in common."""
    times: dict[str, LayerTime] = {}
    measured = {}
    for layer in alike:
        read, written, ns, networks = np.array(
            [(row.in_width, row.out_width, row.latency_ns, row.network) for row in rows[layer.path]]
        ).T
        times[layer.path] = fitted(read, written, ns)
        measured[layer.path] = (read, written, ns, networks)

    def off() -> list[tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike]]:
        return [
            (read, written, ns / np.maximum(times[path](read, written), 1.0), networks)
            for path, (read, written, ns, networks) in measured.items()
        ]

    remainders = remainders_of(off())
    times = {path: replace(time, remainders=remainders) for path, time in times.items()}
    pairs = pairs_of(off())
    return {layer.path: _tabled(space, layer, replace(times[layer.path], pairs=pairs)) for layer in alike}


def _tabled(space: SearchSpace, layer: TimedLayer, time: LayerTime) -> _Layer:
    most_read, most_written = (_most(space, axis) for axis in (layer.read, layer.written))
    is_small = (most_read + 2) * (most_written + 2) <= _MOST_ENTRIES
    return _Layer(layer, time, time.table(most_read + 1, most_written + 1) if is_small else None)


def _most(space: SearchSpace, axis: Axis) -> int:
    return int(lengths(space)(axis, np.array(space.base_G)))
