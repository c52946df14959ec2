"""Seconds and memory to find the channel graph of every torchvision model, beside Torch-Pruning's.

    python tools/bench_graph.py [--models resnet18 swin_t] [--without-peer] [--repeats 3] [--json FILE]
    python tools/bench_graph.py --depths

Each model and tool runs in a process of its own (measure_graph.py says what is timed) under a limit of time and of
memory; one that exceeds them or fails is a row that says so. `trace` is `channel_graph`: one watch of the network, and
its groups; `checked` proves them as well, as `load_space` does. `peer` is Torch-Pruning's `build_dependency`, which
stops before any group; `grouped` is that and `get_all_groups`, as its pruners call them. With --depths, the ResNets of
20 to 1202 layers for small images instead, by this project alone. Linux only.
"""

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from math import log
from pathlib import Path
from statistics import linear_regression, median
from time import monotonic, sleep
from typing import Any

CHILD = Path(__file__).resolve().with_name("measure_graph.py")
OURS, PEERS = ("trace", "checked"), ("peer", "grouped")  # legs, in the order of their columns
CIFAR = "cifar_resnet"  # measure_graph.py builds these itself
DEPTHS = (20, 56, 110, 218, 434, 1202)
PEER = "torch-pruning"
_POLL_SECONDS = 0.02
_REASON = 70  # characters of a reason that a row has room for


@dataclass(frozen=True, slots=True)
class Limits:
    """What one child may take.

    Attributes:
        seconds: of each leg, and of building the network.
        memory_gib: resident memory of the whole process.
    """

    seconds: float
    memory_gib: float


@dataclass(frozen=True, slots=True)
class Leg:
    """What one tool's work on one network took.

    Attributes:
        seconds: of each repeat; empty when the tool gave no answer.
        extra_mib: the largest resident memory beyond the process with the network built.
        layers: calls of layers in the channel graph, where there is one.
        error: why there is no answer.
    """

    seconds: tuple[float, ...] = ()
    extra_mib: float | None = None
    layers: int | None = None
    error: str | None = None

    @property
    def median_s(self) -> float | None:
        """The median of the repeats; None without an answer."""
        return median(self.seconds) if self.seconds else None


@dataclass(frozen=True, slots=True)
class Row:
    """One model's legs."""

    model: str
    trace: Leg
    checked: Leg
    peer: Leg = field(default_factory=Leg)
    grouped: Leg = field(default_factory=Leg)

    @property
    def extra_mib(self) -> float | None:
        """This project's memory, the larger of its two legs."""
        return max(
            (leg.extra_mib for leg in (self.trace, self.checked) if leg.extra_mib is not None), default=None
        )


def main() -> None:
    """Measure and print."""
    options = _options()
    limits = Limits(options.limit_seconds, options.limit_gib)
    has_peer = not (options.without_peer or options.depths) and _peer_is_there()
    models = [f"{CIFAR}{depth}" for depth in DEPTHS] if options.depths else options.models or _all_models()
    print(_depth_heading() if options.depths else _heading(has_peer=has_peer), flush=True)
    rows = []
    for model in models:
        rows.append(_measure(model, options, limits, has_peer=has_peer))
        print(_depth_line(rows[-1]) if options.depths else _line(rows[-1], has_peer=has_peer), flush=True)
    summary = _depth_summary(rows) if options.depths else _summary(rows)
    print("\n".join(["", *summary, *_setting(options)]))
    if options.json is not None:
        _save(options.json, rows, [*summary, *_setting(options)])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", metavar="NAME", help="only these models of torchvision")
    parser.add_argument("--depths", action="store_true", help="ResNets of 20 to 1202 layers instead")
    parser.add_argument("--without-peer", action="store_true", help="leave Torch-Pruning out")
    parser.add_argument(
        "--repeats", type=int, default=3, help="fewer once 5 s have passed; medians are printed"
    )
    parser.add_argument("--threads", type=int, default=1, help="of torch, in every child")
    parser.add_argument("--limit-seconds", type=float, default=60)
    parser.add_argument("--limit-gib", type=float, default=8, help="resident memory of one child")
    parser.add_argument("--json", type=Path, metavar="FILE", help="save every number")
    return parser.parse_args()


def _peer_is_there() -> bool:
    is_there = importlib.util.find_spec("torch_pruning") is not None
    if not is_there:
        print(f"going on without {PEER}; `pip install {PEER}==1.6.1` installs it", file=sys.stderr)
    return is_there


def _all_models() -> list[str]:
    """The classification and segmentation models of torchvision."""
    from torchvision import models

    return [*models.list_models(module=models), *models.list_models(module=models.segmentation)]


def _measure(model: str, options: argparse.Namespace, limits: Limits, *, has_peer: bool) -> Row:
    legs = _run(model, "ours", OURS, options, limits)
    peer = _run(model, "peer", PEERS, options, limits) if has_peer else {}
    return Row(model, **legs, **peer)


def _run(
    model: str, tool: str, names: Sequence[str], options: argparse.Namespace, limits: Limits
) -> dict[str, Leg]:
    """What one child reports of its legs; why it ended for those of which it does not."""
    with tempfile.TemporaryDirectory() as folder:
        report, talk = Path(folder, "report"), Path(folder, "talk")
        report.touch()
        command = [sys.executable, str(CHILD), model, tool, str(report)]
        settings = ["--repeats", str(options.repeats), "--threads", str(options.threads)]
        with talk.open("wb") as out:
            child = subprocess.Popen([*command, *settings], stdout=out, stderr=subprocess.STDOUT)
        try:
            stopped = _watch(child, report, limits)
        finally:
            child.kill()
            child.wait()
        lines = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
        why = stopped or _last_words(talk, child.returncode)
    found = {line.pop("leg"): line for line in lines}
    return {name: _leg(found.get(name, {"error": why})) for name in names}


def _leg(line: dict[str, Any]) -> Leg:
    return Leg(**line | {"seconds": tuple(line.get("seconds", ()))})


def _watch(child: "subprocess.Popen[bytes]", report: Path, limits: Limits) -> str | None:
    """Wait for a child's end; why it must be stopped, if it must."""
    written, since = 0, monotonic()
    while child.poll() is None:
        sleep(_POLL_SECONDS)
        size = report.stat().st_size
        if size != written:  # a leg has ended, and the next one begins
            written, since = size, monotonic()
        if monotonic() - since > limits.seconds:
            return f"over {limits.seconds:g} s" if written else f"not built in {limits.seconds:g} s"
        if _resident_gib(child.pid) > limits.memory_gib:
            return f"over {limits.memory_gib:g} GiB after {monotonic() - since:.0f} s"
    return None


def _resident_gib(process: int) -> float:
    """Resident memory of a process; 0 when it has just ended."""
    try:
        pages = Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1:2]
    except OSError:
        return 0.0
    return int(pages[0]) * os.sysconf("SC_PAGE_SIZE") / 2**30 if pages else 0.0


def _last_words(talk: Path, code: int) -> str:
    said = talk.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"exit code {code}: {said[-1] if said else 'without a word'}"


def _heading(*, has_peer: bool) -> str:
    ours = f"{'model':<28}{'layers':>7}{'trace s':>9}{'checked s':>11}{'MiB':>7}"
    return ours + (
        f"{'peer s':>9}{'peer MiB':>10}{'trace/peer':>12}{'grouped s':>11}{'trace/grouped':>15}"
        if has_peer
        else ""
    )


def _line(row: Row, *, has_peer: bool) -> str:
    """One row; reasons stand at its end."""
    reasons = _reasons(row)
    ours = (
        f"{row.model:<28}{_number(row.trace.layers, 7)}{_number(row.trace.median_s, 9, 3)}"
        f"{_number(row.checked.median_s, 11, 3)}{_number(row.extra_mib, 7)}"
    )
    peer = (
        f"{_number(row.peer.median_s, 9, 3)}{_number(row.peer.extra_mib, 10)}"
        f"{_number(_ratio(row, 'trace', 'peer'), 12, 3)}{_number(row.grouped.median_s, 11, 3)}"
        f"{_number(_ratio(row, 'trace', 'grouped'), 15, 3)}"
    )
    return f"{ours}{peer if has_peer else ''}  {reasons}".rstrip()


def _reasons(row: Row) -> str:
    """Why legs gave no answer; legs that say the same stand together."""
    legs: dict[str, list[str]] = {}
    for name in (*OURS, *PEERS):
        error = getattr(row, name).error
        if error is not None:
            legs.setdefault(error, []).append(name)
    return "; ".join(f"{', '.join(names)}: {error[:_REASON]}" for error, names in legs.items())


def _number(value: float | None, width: int, digits: int = 0) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:>{width}.{digits}f}"


def _ratio(row: Row, ours: str, peers: str) -> float | None:
    """Seconds of one of this project's legs in those of one of the peer's."""
    mine, theirs = getattr(row, ours).median_s, getattr(row, peers).median_s
    return None if mine is None or theirs is None else mine / theirs


def _summary(rows: Sequence[Row]) -> list[str]:
    """Medians of the ratios, the largest numbers, the totals."""
    return [
        *(_median_ratio(rows, ours, peers) for ours in OURS for peers in PEERS),
        _largest("trace", {row.model: row.trace.median_s for row in rows}, "s", digits=2),
        _largest("checked", {row.model: row.checked.median_s for row in rows}, "s", digits=2),
        _largest("memory beyond the model", {row.model: row.extra_mib for row in rows}, "MiB", digits=0),
        *(_total(rows, name) for name in (*OURS, *PEERS)),
    ]


def _median_ratio(rows: Sequence[Row], ours: str, peers: str) -> str:
    ratios = [ratio for row in rows if (ratio := _ratio(row, ours, peers)) is not None]
    if not ratios:
        return f"{ours} / {peers}: no model that both answered"
    spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
    return f"{ours} / {peers}: median {median(ratios):.3f} of the ratios (n = {len(ratios)}, {spread})"


def _largest(what: str, values: dict[str, float | None], unit: str, *, digits: int) -> str:
    known = {model: value for model, value in values.items() if value is not None}
    if not known:
        return f"largest {what}: none"
    model = max(known, key=lambda name: known[name])
    return f"largest {what}: {known[model]:.{digits}f} {unit} ({model})"


def _total(rows: Sequence[Row], name: str) -> str:
    seconds = [taken for row in rows if (taken := getattr(row, name).median_s) is not None]
    return f"{name}, all together: {sum(seconds):.1f} s ({len(seconds)} of {len(rows)} models answered)"


def _depth_heading() -> str:
    times = "".join(f"{name + ' s':>11}{'µs a layer':>12}" for name in ("trace", "checked"))
    return f"{'model':<28}{'layers':>7}{times}{'MiB':>7}"


def _depth_line(row: Row) -> str:
    times = "".join(
        f"{_number(leg.median_s, 11, 3)}{_number(_us_a_layer(leg), 12)}" for leg in (row.trace, row.checked)
    )
    extra = _number(row.extra_mib, 7)
    return f"{row.model:<28}{_number(row.trace.layers, 7)}{times}{extra}  {_reasons(row)}".rstrip()


def _us_a_layer(leg: Leg) -> float | None:
    return leg.median_s / leg.layers * 1e6 if leg.median_s is not None and leg.layers else None


def _depth_summary(rows: Sequence[Row]) -> list[str]:
    return [_growth(name, [getattr(row, name) for row in rows]) for name in ("trace", "checked")]


def _growth(name: str, legs: Sequence[Leg]) -> str:
    """The power of the number of layers that the seconds grow with: least squares on the logarithms."""
    points = [(log(leg.layers), log(leg.median_s)) for leg in legs if leg.layers and leg.median_s]
    if len(points) < 2:
        return f"{name}: too few answers for a power"
    power = linear_regression(*zip(*points, strict=True)).slope
    return f"{name}: seconds grow with the number of layers to the power {power:.2f} (n = {len(points)})"


def _setting(options: argparse.Namespace) -> list[str]:
    """Under what all this was measured."""
    return [
        f"{options.repeats} repeats (fewer after 5 s), {options.threads} thread(s) of torch",
        f"limits: {options.limit_seconds:g} s a leg and {options.limit_gib:g} GiB a process",
        "memory: the largest resident size of a leg less the process's with the network built",
        f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()} {platform.machine()}",
        f"Python {platform.python_version()}, "
        + ", ".join(f"{name} {_version(name)}" for name in ("torch", "torchvision", PEER)),
    ]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _save(path: Path, rows: Sequence[Row], summary: Sequence[str]) -> None:
    """Every repeat of every leg, with median, smallest and largest."""
    models = {row.model: {name: _full(getattr(row, name)) for name in (*OURS, *PEERS)} for row in rows}
    text = json.dumps({"command": sys.argv, "models": models, "summary": summary}, indent=1)
    path.write_text(text + "\n", encoding="utf-8")


def _full(leg: Leg) -> dict[str, Any]:
    spread = {"smallest_s": min(leg.seconds), "largest_s": max(leg.seconds)} if leg.seconds else {}
    return asdict(leg) | {"median_s": leg.median_s} | spread


if __name__ == "__main__":
    main()
