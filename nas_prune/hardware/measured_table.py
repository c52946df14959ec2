"""From timed networks to the files of a latency table, and how far its predictions are off."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_prune.errors import BadInputError
from nas_prune.hardware.latency import Latency, fitted_latency
from nas_prune.hardware.latency_caches import Beyond, beyond_caches
from nas_prune.hardware.latency_design import Use
from nas_prune.hardware.latency_layers import lengths, timed_layers
from nas_prune.hardware.latency_passes import Timed, quickest_of
from nas_prune.hardware.latency_table import (
    LATENCY,
    LEAST_FACTOR,
    MOST_FACTOR,
    NETWORKS,
    Errors,
    Header,
    Row,
    Table,
    csv_text,
    groups_of,
    table_in,
    table_text,
)
from nas_prune.hardware.pace import SLOW
from nas_prune.hardware.target import TARGET_FILE, MeasuredOn, Target, target_named
from nas_prune.hardware.timing import Timing
from nas_prune.runs.files import write_whole
from nas_prune.space.search_space import SearchSpace

_AT_ITS_BEST = 0.1  # of the times in which the machine was at its best pace
_NETWORK_COLUMNS = ("network", "use", "latency_ns", "p95_ns", "runs", "predicted_ns", "widths")


@dataclass(frozen=True, slots=True)
class Measured:
    """A latency table that was written, and what is to be said of it.

    Attributes:
        table: as its file has it.
        latency: its prediction.
        base_G: the base width of each searchable group.
        drift: by how much the machine's pace differed: the slowest tenth of what told it over the quickest, less 1;
            None where there is none.
        whole: what the network of base widths takes; None where it was not timed.
    """

    table: Table
    latency: Latency
    base_G: tuple[int, ...]
    drift: float | None = None
    whole: Timing | None = None


def write_measured(
    space: SearchSpace,
    out: Path,
    planned: Sequence[tuple[Use, tuple[int, ...]]],
    timed: Sequence[Timed],
    about: Mapping[str, Any],
) -> Measured:
    """Fit what was timed, and write the table's files.

    Args:
        space: the network.
        out: the directory.
        planned: what each network is for, and its widths.
        timed: every network in every pass, as it was.
        about: what the table's header says of the machine.
    """
    passes = _steady(timed)
    quickest = {number: quickest_of(own) for number, own in passes.items()}
    rows = _rows(space, planned, quickest)
    run = {row.layer for row in rows}
    header = Header(
        space=space.reference,
        groups=groups_of(space),
        date=time.strftime("%Y-%m-%d", time.gmtime()),
        not_run=tuple(layer.path for layer in timed_layers(space) if layer.path not in run),
        **about,
    )
    raw = fitted_latency(space, Table(header, rows))
    measured = np.array([quickest[number].whole.median_ns for number in range(len(planned))])
    table = Table(judged(header, raw, planned, measured, _twice(passes)), rows)
    latency = fitted_latency(space, table)
    write_files(out, table, network_rows(latency, planned, [quickest[n].whole for n in range(len(planned))]))
    slow, quick = np.quantile([one.reference_ns for one in timed], (1 - _AT_ITS_BEST, _AT_ITS_BEST))
    drift = float(slow / quick - 1)
    return Measured(table, latency, space.base_G, drift, quickest[0].whole)


def _steady(timed: Sequence[Timed]) -> dict[int, list[Timed]]:
    """Each network's passes, but for those in which threads were held up, where it has others."""
    best = float(np.quantile([one.reference_ns for one in timed], _AT_ITS_BEST))
    steady = [one for one in timed if one.reference_ns <= SLOW * best]
    has_one = {one.network for one in steady}
    passes: dict[int, list[Timed]] = {}
    for one in (*steady, *(other for other in timed if other.network not in has_one)):
        passes.setdefault(one.network, []).append(one)
    return passes


def _rows(
    space: SearchSpace, planned: Sequence[tuple[Use, tuple[int, ...]]], quickest: Mapping[int, Timed]
) -> tuple[Row, ...]:
    widths_NG, length = np.array([widths for _, widths in planned]), lengths(space)
    pairs = {
        layer.path: (length(layer.read, widths_NG), length(layer.written, widths_NG))
        for layer in timed_layers(space)
    }
    return tuple(
        Row(
            number,
            path,
            int(pairs[path][0][number]),
            int(pairs[path][1][number]),
            max(1, part.latency_ns),  # nothing may be left of a layer that the clock can hardly tell
            max(1, part.latency_ns, part.p95_ns),
            quickest[number].whole.runs,
        )
        for number in range(len(planned))
        for path, part in quickest[number].layers.items()
        if path in pairs
    )


def judged(
    header: Header,
    raw: Latency,
    planned: Sequence[tuple[Use, tuple[int, ...]]],
    measured_N: NDArray[Any],
    twice_N: NDArray[np.float64] | None = None,
) -> Header:
    """A header with what makes the sum of layers a whole network's time, and the errors at those held out.

    Args:
        header: without them.
        raw: the prediction without a factor.
        planned: what each network is for, and its widths.
        measured_N: the time of each.
        twice_N: by how much two measurements of each differ.

    Raises:
        BadInputError: the networks' times are of another order than their layers'.
    """
    widths_NG = np.array([widths for _, widths in planned])
    held_out = np.array([use for use, _ in planned]) == "held-out"
    factor, beyond = _factor(raw.without_pairs(), widths_NG[~held_out], measured_N[~held_out])
    if not LEAST_FACTOR <= factor <= MOST_FACTOR:
        raise BadInputError(
            f"a whole network must take from {LEAST_FACTOR:g} to {MOST_FACTOR:,.0f} times what its layers take "
            f"together, got {factor:g} times. Are both in one unit?"
        )
    predicted_N = raw.scaled(factor, beyond)(widths_NG[held_out])
    errors_N = np.abs(predicted_N / measured_N[held_out] - 1)
    found: dict[str, float] = {"median": float(np.median(errors_N)), "p90": float(np.quantile(errors_N, 0.9))}
    again_N = np.zeros(0) if twice_N is None else twice_N[held_out & ~np.isnan(twice_N)]
    if len(again_N):
        found |= {"twice_median": float(np.median(again_N)), "twice_p90": float(np.quantile(again_N, 0.9))}
    rounded = {name: round(value, 4) for name, value in found.items()}
    return header.model_copy(
        update={
            "factor": factor,
            "beyond": beyond,
            "errors": Errors(networks=int(held_out.sum()), **rounded),
        }
    )


def _factor(raw: Latency, widths_MG: NDArray[np.int64], measured_M: NDArray[Any]) -> tuple[float, Beyond]:
    """What the sum of layers is multiplied by, and what is added for weights that caches do not hold."""
    summed_M = np.maximum(raw(widths_MG), 1)
    factor = float(np.median(measured_M / summed_M))
    beyond = beyond_caches(raw.weights(widths_MG), factor * summed_M, measured_M)
    both = float(np.median(measured_M / raw.scaled(factor, beyond)(widths_MG)))
    return round(both * factor, 4), tuple((bend, both * each) for bend, each in beyond)


def _twice(passes: Mapping[int, Sequence[Timed]]) -> NDArray[np.float64] | None:
    """By how much the first and the last pass of each network differ, NaN where it has one; None if all have one."""
    own = [passes[number] for number in sorted(passes)]
    if max(map(len, own)) < 2:
        return None
    return np.array(
        [
            abs(found[0].whole.median_ns / found[-1].whole.median_ns - 1) if len(found) > 1 else np.nan
            for found in own
        ]
    )


def network_rows(
    latency: Latency, planned: Sequence[tuple[Use, tuple[int, ...]]], wholes: Sequence[Timing]
) -> list[tuple[object, ...]]:
    """The rows of `networks.csv`."""
    predicted = latency([widths for _, widths in planned])
    return [
        (number, use, whole.median_ns, whole.p95_ns, whole.runs, int(ns), " ".join(map(str, widths)))
        for number, ((use, widths), whole, ns) in enumerate(zip(planned, wholes, predicted, strict=True))
    ]


def write_files(
    out: Path, table: Table, networks: Sequence[tuple[object, ...]], base: Target | None = None
) -> None:
    """Write `networks.csv`, `latency.csv`, and at the end `target.yaml`, by which `--target DIR` takes them.

    Args:
        out: the directory.
        table: what was measured.
        networks: the rows of `networks.csv`; none where no whole networks were timed.
        base: what the device wants of widths; the shipped target of the table's name if None.

    Raises:
        BadInputError: the table is none that can be read again; nothing is written.
    """
    text = table_text(table)
    table_in(text, out / LATENCY)
    if networks:
        write_whole(out / NETWORKS, csv_text(_NETWORK_COLUMNS, networks))
    write_whole(out / LATENCY, text)
    header = table.header
    measured = MeasuredOn(
        space=header.space.name,
        input_shape=header.space.input_shape,
        machine=header.machine,
        runtime=header.target,
        threads=header.threads,
        versions=header.versions,
        date=header.date,
    )
    known = target_named(header.target) if base is None else base
    own = known.model_copy(update={"name": "target", "latency": LATENCY, "measured": measured})
    write_whole(out / TARGET_FILE, own.as_yaml())
