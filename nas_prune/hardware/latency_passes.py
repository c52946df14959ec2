"""What was timed so far: a line of JSON for each network and pass, so that a measurement that was killed goes on."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas_prune.errors import DamagedError
from nas_prune.hardware.timing import PartTiming, Timing
from nas_prune.runs.files import open_own, saying_why, write_whole
from nas_prune.runs.reading import load_json, read_bytes

PASSES = "passes.jsonl"
_MOST = 512 * 2**20  # bytes


@dataclass(frozen=True, slots=True)
class Timed:
    """One network in one pass.

    Attributes:
        turn: which pass.
        network: its number.
        whole: its time.
        layers: its layers' times, where they were clocked.
        reference_ns: what the network took around it that tells the machine's pace.
    """

    turn: int
    network: int
    whole: Timing
    layers: Mapping[str, PartTiming]
    reference_ns: int


def add(folder: Path, timed: Timed) -> None:
    """Add a line."""
    whole = timed.whole
    line = {
        "pass": timed.turn,
        "network": timed.network,
        "whole": [whole.median_ns, whole.p95_ns, whole.runs],
        "layers": {path: [one.latency_ns, one.p95_ns] for path, one in timed.layers.items()},
        "reference": timed.reference_ns,
    }
    with saying_why(folder / PASSES), open_own(folder / PASSES) as stream:
        stream.write(json.dumps(line) + "\n")


def begun(folder: Path) -> list[Timed]:
    """What was timed; a last line that a kill cut off is taken out of the file.

    Raises:
        DamagedError: another line is not whole.
    """
    path = folder / PASSES
    try:
        raw = read_bytes(path, most=_MOST)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DamagedError(f"{path} must be a file that can be read, got: {error}.") from None
    *lines, last = raw.split(b"\n")
    if last:
        write_whole(path, b"".join(line + b"\n" for line in lines))
    found = []
    for number, line in enumerate(lines, start=1):
        timed = None
        with suppress(ValueError, TypeError, KeyError, AttributeError):
            timed = _read(load_json(line))
        if timed is None:
            raise DamagedError(f"{path} must hold whole lines of JSON, got line {number}.")
        found.append(timed)
    return found


def _read(line: dict[str, Any]) -> Timed:
    layers = {path: PartTiming(*_integers(one, 2)) for path, one in line["layers"].items()}
    turn, network, reference = _integers([line["pass"], line["network"], line["reference"]], 3)
    whole = _integers(line["whole"], 3)
    if min(*whole, reference) < 1 or any(min(one.latency_ns, one.p95_ns) < 0 for one in layers.values()):
        raise ValueError
    return Timed(turn, network, Timing(*whole), layers, reference)


def _integers(values: Sequence[Any], count: int) -> list[int]:
    if len(values) != count or not all(type(value) is int and value < 2**53 for value in values):
        raise ValueError
    return list(values)


def quickest_of(passes: Sequence[Timed]) -> Timed:
    """Of one network's passes the one of the smallest median: what else runs on a machine only ever adds to it.

    A whole pass is taken, so that its layers still add up to it.
    """
    return min(passes, key=lambda one: one.whole.median_ns)
