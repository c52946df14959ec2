"""`nas-prune measure`."""

import shlex
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from nas_prune.cli.examples import examples
from nas_prune.cli.option_types import NETWORK, WIDTHS_FILE, ShapeOptions
from nas_prune.cli.options import (
    SPACE_HELP,
    format_option,
    packed,
    refuse_beside,
    shape_options,
    was_typed,
    width_multiplier_option,
)
from nas_prune.cli.output import echo, percent, print_json, print_table, showing_progress
from nas_prune.runs.text import printable

if TYPE_CHECKING:
    from nas_prune.hardware.measured_table import Measured
    from nas_prune.hardware.timing import Timing
    from nas_prune.runs.progress import Progress
    from nas_prune.space.search_space import Groups, SearchSpace

_SLOWEST = 10  # layers that are shown
_BUSY = 0.05  # that two measurements of one network differ by, usually
_TARGETS = ("cpu-onnxruntime", "cpu-torch", "cuda-torch", "cuda-tensorrt")  # as `RUNTIMES`, which loads torch
_OF_A_NETWORK = {"widths", "space", "target", "threads", "table", "style"}


def _targets(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in _TARGETS if name.startswith(incomplete)]


@dataclass(frozen=True, slots=True)
class _Timing:
    """How networks are timed; None for what was not typed."""

    target: str | None
    threads: int
    networks: int
    passes: int

    @property
    def runtime(self) -> str:
        """What they are timed in."""
        return self.target or _TARGETS[0]


@dataclass(frozen=True, slots=True)
class _Files:
    """What is written, gone on with or read."""

    out: Path | None
    resume: Path | None
    imported: Path | None
    widths: Path | None
    table: Path | None


@click.command(
    epilog=examples(
        "nas-prune measure --space resnet20 --target cpu-onnxruntime --out latency",
        "nas-prune measure --widths widths.json --table latency",
    )
)
@click.option("--space", type=NETWORK, help=SPACE_HELP)
@shape_options
@width_multiplier_option
@click.option(
    "--groups",
    type=click.Choice(["inner", "all", "selections"]),
    default="all",
    show_default=True,
    help="selections where readers of streams select their channels; a table is of all groups anyway.",
)
@packed(
    "timing",
    _Timing,
    click.option(
        "--target",
        metavar="NAME",
        shell_complete=_targets,
        help=f"What networks are timed in: {', '.join(_TARGETS)}; the first by default. With --import, the target "
        "whose alignment the device has.",
    ),
    click.option(
        "--threads", type=click.IntRange(1, 1024), default=1, show_default=True, help="Threads of the CPU."
    ),
    click.option(
        "--networks",
        type=click.IntRange(4, 5000),
        default=320,
        show_default=True,
        help="Networks of different widths that the layers' times are fitted to.",
    ),
    click.option(
        "--passes",
        type=click.IntRange(1, 100),
        default=2,
        show_default=True,
        help="How often each is timed; the quickest pass counts.",
    ),
)
@packed(
    "files",
    _Files,
    click.option(
        "--out",
        type=click.Path(path_type=Path),
        help="Directory of the table, new or empty: for --target DIR.",
    ),
    click.option(
        "--resume",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Go on with a measurement that was stopped, by its own settings.",
    ),
    click.option(
        "--import",
        "imported",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Make the table of a CSV that was measured elsewhere: layer,in_width,out_width,latency_ms.",
    ),
    click.option(
        "--widths", type=WIDTHS_FILE, help="Time the network of a widths file, whole, and make no table."
    ),
    click.option(
        "--table",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="With --widths: a table, to say what it predicts; its target and threads hold unless typed.",
    ),
)
@format_option
@click.pass_context
def command(
    context: click.Context,
    *,
    space: str | None,
    made_for: ShapeOptions,
    width_multiplier: float,
    groups: "Groups",
    timing: "_Timing",
    files: "_Files",
    style: str,
) -> None:
    """Measure what widths take on this machine: a latency table, or the time of one network."""
    if files.widths is not None:
        refuse_beside(
            context,
            _OF_A_NETWORK,
            "--widths must stand without the options of a table",
            "Leave them out.",
        )
        _time_one(files.widths, space, _as_in(files.table, timing, context), files.table, style)
        return
    if files.table is not None:
        raise click.UsageError("--table must come with --widths, whose prediction it gives, got none.")
    if files.resume is not None:
        refuse_beside(
            context, {"resume", "space", "style"}, "--resume must stand alone", "The settings hold."
        )
        _resume(files.resume, space, style)
        return
    if space is None or files.out is None:
        raise click.UsageError(
            "a table must have --space, the network, and --out, its directory. --widths times one network."
        )
    wanted = _Wanted(space, made_for, width_multiplier, groups)
    if files.imported is None:
        _measure(wanted, files.out, timing, style)
        return
    for name in ("threads", "networks", "passes"):
        if was_typed(context, name):
            raise click.UsageError(f"--import must stand without --{name}: nothing is timed.")
    _import(wanted, files.imported, files.out, timing.runtime, style)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which network is meant."""

    name: str
    made_for: ShapeOptions
    width_multiplier: float
    groups: "Groups"

    def load(self, progress: "Progress") -> "SearchSpace":
        """The network."""
        return self.made_for.load(
            self.name,
            progress,
            width_multiplier=self.width_multiplier,
            selections=self.groups == "selections",
        )


def _measure(wanted: _Wanted, out: Path, timing: _Timing, style: str) -> None:
    from nas_prune.hardware.measure import Plan, measure
    from nas_prune.hardware.runtimes import runtime_named
    from nas_prune.runs.directory import check_out

    check_out(out)
    runtime_named(timing.runtime)  # refused before the network is traced
    with showing_progress() as progress:
        found = measure(
            wanted.load(progress),
            out,
            target=timing.runtime,
            threads=timing.threads,
            plan=Plan(networks=timing.networks, passes=timing.passes),
            progress=progress,
        )
    _show(found, out, style)


def _resume(run: Path, typed: str | None, style: str) -> None:
    from nas_prune.hardware.measure import resume_measure

    with showing_progress() as progress:
        found = resume_measure(run, typed=typed, progress=progress)
    _show(found, run, style)


def _import(wanted: _Wanted, imported: Path, out: Path, target: str, style: str) -> None:
    from nas_prune.hardware.latency_import import import_table
    from nas_prune.hardware.target import target_named

    with showing_progress() as progress:
        space = wanted.load(progress)
    _show(import_table(space, imported, out, target=target_named(target)), out, style)


def _as_in(table: Path | None, timing: _Timing, context: click.Context) -> _Timing:
    """What was typed, and for the rest what a table was measured with."""
    from nas_prune.hardware.latency_table import read_table

    if table is None:
        return timing
    header = read_table(table).header
    if header.target not in _TARGETS:
        raise click.UsageError(
            f"--table must be of what can be timed here ({', '.join(_TARGETS)}), got one of {printable(header.target)}."
        )
    known = header.threads if header.threads and not was_typed(context, "threads") else timing.threads
    if timing.target not in (None, header.target) or known != (header.threads or known):
        raise click.UsageError(
            f"--target and --threads must be those of --table, {header.target} and {header.threads}, got "
            f"{timing.target or header.target} and {known}. Leave them out."
        )
    return replace(timing, target=header.target, threads=known)


def _time_one(path: Path, typed: str | None, timing: _Timing, table: Path | None, style: str) -> None:
    from nas_prune.hardware.latency import latency_cost
    from nas_prune.hardware.latency_table import read_table
    from nas_prune.hardware.measure import measured_latency
    from nas_prune.runs.settings import machine_name
    from nas_prune.space.load import load_referenced
    from nas_prune.space.widths import read_widths

    widths = read_widths(path)
    with showing_progress() as progress:
        with progress.waiting("tracing the network"):
            space = load_referenced(widths.space, typed, str(path))
        vector = space.vector(widths)
        predicted = None
        if table is not None:
            flags = [int(block.path not in widths.removed_blocks) for block in space.blocks]
            predicted = int(latency_cost(space, table)([*vector, *flags]))
        with progress.waiting("timing"):
            found = measured_latency(
                space, vector, timing.runtime, timing.threads, removed=widths.removed_blocks
            )
    if style == "json":
        print_json({**asdict(found), "predicted_ns": predicted})
        return
    echo(f"{widths.space.name} on {timing.runtime}, {_threads(timing.threads)}: {_said(found)}")
    if predicted is not None:
        off = percent(abs(predicted / found.median_ns - 1))
        echo(f"Predicted by {table}: {_ms(predicted)}, which is off by {off}.")
        assert table is not None
        elsewhere = read_table(table).header.machine
        if elsewhere != machine_name():
            echo(f"That was measured on another machine: {printable(elsewhere) or 'not known'}.")


def _said(timing: "Timing") -> str:
    return f"median {_ms(timing.median_ns)}, 95 % of runs below {_ms(timing.p95_ns)} ({timing.runs} runs)"


def _ms(ns: float) -> str:
    return f"{ns / 1e6:.4g} ms"


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _show(found: "Measured", out: Path, style: str) -> None:
    header = found.table.header
    if style == "json":
        print_json(_facts(found))
        return
    base = found.latency.by_layer(found.base_G)
    total = sum(float(ns) for ns in base.values())
    slowest = sorted(base.items(), key=lambda one: -float(one[1]))[:_SLOWEST]
    rows = [[path, _ms(float(ns)), percent(float(ns) / total)] for path, ns in slowest]
    print_table(["layer, with what follows it", "at base width", "share"], rows)
    threads = "" if header.threads is None else f", {_threads(header.threads)}"
    echo(f"\n{header.space.name} on {header.target}{threads}: whole network {_ms(total)} as predicted")
    if found.whole is not None:
        echo(f"Measured: {_said(found.whole)}")
    if found.drift is not None:
        echo(
            f"Pace: in a tenth of the timings the machine was {percent(found.drift)} slower than at its best, or more."
        )
    _show_errors(found)
    if header.not_run:
        echo(f"Not seen by themselves (not run, or run within another layer): {', '.join(header.not_run)}")
    echo(
        f"Table:  {out}\nNext:   nas-prune inspect {shlex.join(header.space.options)} --target {quote(str(out))}"
    )


def _show_errors(found: "Measured") -> None:
    errors = found.table.header.errors
    if errors is None:
        echo(
            "No whole networks were timed: what is predicted is the sum of the layers, and its error is not known."
        )
        return
    which = "networks that nothing was fitted to"
    if not found.table.header.versions:  # made elsewhere: layers of the same networks may be among the rows
        which = "whole networks that did not calibrate the sum"
    echo(
        f"Predictions of {errors.networks} {which} are off by {percent(errors.median)} (median), "
        f"{percent(errors.p90)} (90 % stay below)."
    )
    if errors.twice_median is not None and errors.twice_p90 is not None:
        busy = " The machine was busy: measure again when it is not." * (errors.twice_median > _BUSY)
        echo(
            f"Two measurements of them differ by {percent(errors.twice_median)} and {percent(errors.twice_p90)}.{busy}"
        )


def _facts(found: "Measured") -> dict[str, Any]:
    layers = {path: round(float(ns)) for path, ns in found.latency.by_layer(found.base_G).items()}
    return {
        **found.table.header.model_dump(mode="json", by_alias=True),
        "base_ns": layers,
        "measured_base": None if found.whole is None else asdict(found.whole),
        "drift": found.drift,
    }
