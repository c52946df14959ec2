"""Latency tables of measurements made elsewhere: on a phone, a board, in another runtime."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np

from nas_prune.errors import BadInputError
from nas_prune.graph.axes import Atom, atoms_of
from nas_prune.hardware.latency import check_widths, fitted_latency
from nas_prune.hardware.latency_design import Use
from nas_prune.hardware.latency_layers import timed_layers
from nas_prune.hardware.latency_table import (
    Header,
    Row,
    Table,
    groups_of,
    rows_of,
    text_of,
    whole_number,
)
from nas_prune.hardware.measured_table import Measured, judged, network_rows, write_files
from nas_prune.hardware.target import Target
from nas_prune.hardware.timing import Timing
from nas_prune.runs.directory import check_out
from nas_prune.runs.files import alone_in, saying_why
from nas_prune.runs.text import printable
from nas_prune.space.search_space import SearchSpace

WHOLE = "network"  # in the column of layers, of a row that is about a whole network
_COLUMNS = ("layer", "in_width", "out_width", "latency_ms")
_FEWEST_PAIRS, _FEWEST_WHOLE = 4, 4
_MOST_WIDTH, _MOST_MS = 10**7, 10**7

_Networks = list[tuple[tuple[int, ...], int]]


def import_table(space: SearchSpace, file: Path, out: Path, *, target: Target) -> Measured:
    """Write the table of a CSV with the columns `layer`, `in_width`, `out_width` and `latency_ms`.

    A row may be about a whole network: its layer is `network`, and a column `widths` has a width for each searchable
    group, with spaces between. Every other one of these, from the first on, calibrates the sum of the layers; the
    others judge it.

    Args:
        space: the network.
        file: the CSV.
        out: a new or empty directory for the table.
        target: the device, for what else it wants of widths.

    Raises:
        BadInputError: the file is no such CSV, lacks a layer of the network or has others; or the directory holds
            something.
    """
    check_out(out)
    rows, networks = _read(space, file)
    header = Header(target=target.name, space=space.reference, groups=groups_of(space))
    check_widths(space, rows, str(file))
    _check_pairs(space, file, rows)
    raw = fitted_latency(space, Table(header, rows))
    planned: list[tuple[Use, tuple[int, ...]]] = [
        ("held-out" if number % 2 else "calibrate", widths_G) for number, (widths_G, _) in enumerate(networks)
    ]
    if networks:
        header = judged(header, raw, planned, np.array([ns for _, ns in networks]))
    table = Table(header, rows)
    latency = fitted_latency(space, table)
    wholes = [Timing(ns, ns, 1) for _, ns in networks]
    with saying_why(out):
        out.mkdir(parents=True, exist_ok=True)
    with alone_in(out):
        check_out(out)  # again: another process may have begun there meanwhile
        write_files(out, table, network_rows(latency, planned, wholes) if networks else [], target)
    return Measured(table, latency, space.base_G)


def _read(space: SearchSpace, file: Path) -> tuple[tuple[Row, ...], _Networks]:
    """The rows of layers, one for what was timed several times, and the widths and nanoseconds of whole networks."""
    times: dict[tuple[str, int, int], list[int]] = {}
    networks = _Networks()
    for line, row in rows_of(file, text_of(file), _COLUMNS, 1):
        ns = _nanoseconds(file, line, row["latency_ms"])
        if row["layer"].strip() == WHOLE:
            networks.append((_widths(space, file, line, row.get("widths", "")), ns))
        else:
            read, written = (
                whole_number(file, line, row, name, _MOST_WIDTH, 1) for name in ("in_width", "out_width")
            )
            times.setdefault((row["layer"].strip(), read, written), []).append(ns)
    if networks and len(networks) < _FEWEST_WHOLE:
        raise BadInputError(
            f"{file} must have at least {_FEWEST_WHOLE} whole networks or none, got {len(networks)}: half of them "
            "calibrate the sum of the layers, the others judge it."
        )
    rows = (
        Row(number, *of_what, round(median(each)), max(each), len(each))
        for number, (of_what, each) in enumerate(times.items())
    )
    return tuple(rows), networks


def _nanoseconds(file: Path, line: int, written: str) -> int:
    try:
        ms = float(written)
    except ValueError:
        ms = -1.0
    if not 0 < ms <= _MOST_MS:
        raise BadInputError(
            f"latency_ms must be a number of milliseconds above 0, got {printable(written[:40])!r} "
            f"({file}, line {line})."
        )
    return max(1, round(ms * 1e6))


def _widths(space: SearchSpace, file: Path, line: int, written: str) -> tuple[int, ...]:
    words = written.split()
    bases = space.base_G
    if len(words) != len(bases) or not all(
        word.isascii() and word.isdigit() and 1 <= int(word) <= base
        for word, base in zip(words, bases, strict=True)
    ):
        raise BadInputError(
            f"widths of a whole network must be {len(bases)} numbers with spaces between, at most "
            f"{' '.join(map(str, bases))}, got {printable(written[:80])!r} ({file}, line {line})."
        )
    return tuple(map(int, words))


def _check_pairs(space: SearchSpace, file: Path, rows: Sequence[Row]) -> None:
    """Refuse a layer whose widths vary and that was timed at hardly any."""
    searchable = {Atom(number) for number in space.graph.searchable}
    for layer in timed_layers(space):
        pairs = {(row.in_width, row.out_width) for row in rows if row.layer == layer.path}
        varies = not searchable.isdisjoint((*atoms_of(layer.read), *atoms_of(layer.written)))
        if varies and 0 < len(pairs) < _FEWEST_PAIRS:
            raise BadInputError(
                f"a layer must be timed at {_FEWEST_PAIRS} pairs of widths or more, got {len(pairs)} of {layer.path} "
                f"({file}). Narrow and wide ones on both sides."
            )
