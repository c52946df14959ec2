"""Measuring a latency table: whole networks of many widths are run, and each run's time is divided into its layers'.

Layers are timed where they are, among the others: what the caches hold, what is fused, and where channels are laid out
anew is as it is when the network is used, and the parts add up to the whole. Every network is timed in several passes,
each in another order, so that a slow minute of the machine meets each layer alike.
"""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from nas_prune.errors import BadInputError
from nas_prune.hardware.latency_design import Use, identity_of_networks, networks, reference
from nas_prune.hardware.latency_layers import timed_layers
from nas_prune.hardware.latency_passes import Timed, add, begun
from nas_prune.hardware.latency_table import MOST_ROWS
from nas_prune.hardware.measured_table import Measured, write_measured
from nas_prune.hardware.pace import Pace
from nas_prune.hardware.runtimes import Loaded, Runtime, runtime_named
from nas_prune.hardware.timing import PartTiming, Timing, adding_up
from nas_prune.runs.directory import check_out
from nas_prune.runs.files import alone_in, remove_partial_files, saying_why
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.runs.settings import library_versions, machine_name, read_config, write_config
from nas_prune.runs.stopping import resume_hint
from nas_prune.space.load import load_referenced
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.widths import SpaceReference

_WARM_UPS, _FEWEST, _MOST = 3, 7, 60  # runs
_LOOKS, _FEW_LOOKS = 40, 4  # at the pace before many networks are timed, and before one is
_BURST_NS = 60e6  # of runs as they are, and again of runs that are clocked layer by layer


class Plan(BaseModel):
    """Which networks are timed, and how often.

    Attributes:
        networks: how many the layers' times are fitted to.
        checked: how many are held out, which judge the prediction.
        passes: how often each network is timed.
        seed: fixes the networks' widths and their order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    networks: int = Field(default=320, ge=4, le=5000)
    checked: int = Field(default=20, ge=1, le=1000)
    passes: int = Field(default=2, ge=1, le=100)
    seed: int = Field(default=0, ge=0, lt=2**32)


class MeasureConfig(Plan):
    """The settings of a measurement.

    Attributes:
        command: which wrote it.
        space: the network.
        target: what it is timed in: `cpu-onnxruntime`, `cpu-torch`, `cuda-torch`.
        threads: of the CPU.
        machine, versions: where, and with what.
        planned: what tells the networks that are timed from others; empty in measurements of before.
    """

    command: Literal["measure"] = "measure"
    space: SpaceReference
    target: Annotated[str, Field(max_length=100)] = "cpu-onnxruntime"
    threads: int = Field(default=1, ge=1, le=1024)
    machine: str = ""
    versions: dict[str, str] = {}
    planned: Annotated[str, Field(max_length=100)] = ""


_Planned: TypeAlias = Sequence[tuple[Use, tuple[int, ...]]]
DEFAULT = Plan()


def measure(
    space: SearchSpace,
    out: Path,
    *,
    target: str = "cpu-onnxruntime",
    threads: int = 1,
    plan: Plan = DEFAULT,
    progress: Progress = SILENT,
) -> Measured:
    """Measure a latency table; `resume_measure` goes on where this was stopped or killed.

    Args:
        space: the network.
        out: a new or empty directory for `latency.csv`, `networks.csv` and `target.yaml`.
        target: `cpu-onnxruntime`, `cpu-torch` or `cuda-torch`.
        threads: of the CPU.
        plan: which networks are timed, and how often.
        progress: what is told meanwhile.

    Raises:
        BadInputError: the directory holds something, the target is not there, the network cannot be run in it, or a
            table of so many networks would be too large.
    """
    check_out(out)
    runtime = _with_parts(target)
    planned = _planned(space, plan)
    config = MeasureConfig(
        space=space.reference,
        target=target,
        threads=threads,
        machine=machine_name(),
        versions=library_versions(runtime.versions()),
        planned=identity_of_networks(space, planned),
        **plan.model_dump(),
    )
    with saying_why(out):
        out.mkdir(parents=True, exist_ok=True)
    with _alone(out):
        check_out(out)  # again: another process may have begun there meanwhile
        write_config(out, config)
        return _measure(space, out, config, planned, runtime, progress)


def resume_measure(
    out: Path,
    space: SearchSpace | None = None,
    *,
    typed: str | None = None,
    progress: Progress = SILENT,
) -> Measured:
    """Go on with a measurement by its own settings.

    Args:
        out: its directory.
        space: its network, which allows the widths that it allowed then; None where that has a name by which it can be
            loaded.
        typed: the network's name again if it is code of one's own.
        progress: what is told meanwhile.

    Raises:
        BadInputError: it is none, was begun on another machine, with other versions or other widths, or another process
            holds it.
    """
    config = read_config(out, MeasureConfig)
    if space is None:
        space = load_referenced(config.space, typed, str(out))
    elif space.reference != config.space:
        raise BadInputError(
            f"{out} must be gone on with by its own network, {config.space.name}, got {space.reference.name} or other "
            "inputs of it."
        )
    runtime = _with_parts(config.target)
    for what, ours, theirs in (
        ("machine", machine_name(), config.machine),
        ("versions", library_versions(runtime.versions()), config.versions),
    ):
        if ours != theirs:
            raise BadInputError(
                f"{out} must be gone on with by the {what} that began it, {_words(theirs)}, got {_words(ours)}. "
                "Measure anew with another --out."
            )
    planned = _planned(space, config)
    if config.planned not in ("", identity_of_networks(space, planned)):
        raise BadInputError(
            f"{out} must be gone on with by the widths that it was begun with, got a network that allows others. Call "
            "resume_measure with the space that it was begun with: its target, divisor and narrowest widths."
        )
    with _alone(out):
        remove_partial_files(out)
        return _measure(space, out, config, planned, runtime, progress)


def _planned(space: SearchSpace, plan: Plan) -> _Planned:
    """What is timed.

    Raises:
        BadInputError: the table would have too many rows.
    """
    layers = len(timed_layers(space))
    if plan.networks * layers > MOST_ROWS:
        raise BadInputError(
            f"a table must have at most {MOST_ROWS:,} rows, got {plan.networks:,} networks of {layers} layers. Use "
            f"--networks {MOST_ROWS // layers}."
        )
    return networks(space, plan.networks, plan.checked, plan.seed)


def _words(value: str | dict[str, str]) -> str:
    return (
        value if isinstance(value, str) else ", ".join(f"{name} {version}" for name, version in value.items())
    )


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    with alone_in(out), resume_hint(f"nas-prune measure --resume {shlex.quote(str(out))}"):
        yield


def _with_parts(target: str) -> Runtime:
    runtime = runtime_named(target)
    if not runtime.has_parts:
        raise BadInputError(
            f"a table must be of a target that runs layer by layer, got {target}, which runs a network as one piece. "
            "Time widths whole with --widths, or make a table with --import."
        )
    return runtime


def _measure(
    space: SearchSpace,
    out: Path,
    config: MeasureConfig,
    planned: _Planned,
    runtime: Runtime,
    progress: Progress,
) -> Measured:
    """Time what has not been timed, and write the table."""
    timed = begun(out)
    left = _left(config, len(planned), timed)
    total = len(planned) * config.passes
    layers = tuple(layer.path for layer in timed_layers(space))
    with _paced(space, runtime, config.threads) as pace:
        for number, (turn, network) in enumerate(left):
            progress.update("timing networks", total - len(left) + number, total)
            use, widths_G = planned[network]
            parts = layers if use == "fit" else ()
            work = partial(_timed, space, widths_G, parts, runtime, config.threads)
            found, reference_ns = pace.during(work)
            timed.append(Timed(turn, network, *found, reference_ns))
            add(out, timed[-1])
    progress.update("timing networks", total, total)
    if pace.repeated:
        progress.say(
            f"{pace.repeated} of {len(left)} timings were done again: threads were held up meanwhile."
        )
    about = {
        "target": config.target,
        "threads": config.threads,
        "machine": config.machine,
        "versions": config.versions,
    }
    return write_measured(space, out, planned, timed, about)


@contextmanager
def _paced(space: SearchSpace, runtime: Runtime, threads: int, looks: int = _LOOKS) -> Iterator[Pace]:
    """What tells the machine's pace: the network of half of each width, loaded throughout."""
    with runtime.loaded(space.build(reference(space), seed=0), space.forward, threads) as network:
        yield Pace(network, threads if runtime.name.startswith("cpu") else 1, looks)


def _left(config: MeasureConfig, count: int, timed: list[Timed]) -> list[tuple[int, int]]:
    """The passes and networks that are still to be timed, in their order."""
    done = {(one.turn, one.network) for one in timed}
    return [
        (turn, int(network))
        for turn in range(config.passes)
        for network in np.random.default_rng([config.seed, turn]).permutation(count)
        if (turn, int(network)) not in done
    ]


def _timed(
    space: SearchSpace,
    widths_G: tuple[int, ...],
    layers: tuple[str, ...],
    runtime: Runtime,
    threads: int,
    removed: tuple[str, ...] = (),
) -> tuple[Timing, dict[str, PartTiming]]:
    """A network's time in one burst of runs, and its layers' in another."""
    with torch.inference_mode(mode=False):  # which the network that tells the pace may run in
        model = space.build(widths_G, seed=0, removed=removed)
    with runtime.loaded(model, space.forward, threads) as network:
        runs = _warm(network)
        whole = Timing.of(network.whole(runs))
        return whole, adding_up(network.parts(runs, layers), whole.median_ns) if layers else {}


def _warm(network: Loaded) -> int:
    """Warm up, and say how many runs a burst has."""
    quickest = min(network.whole(_WARM_UPS))
    return int(np.clip(_BURST_NS / max(1, quickest), _FEWEST, _MOST))


def measured_latency(
    space: SearchSpace,
    widths_G: tuple[int, ...],
    target: str = "cpu-onnxruntime",
    threads: int = 1,
    *,
    removed: tuple[str, ...] = (),
    bursts: int = 5,
) -> Timing:
    """How long one network takes for one image, measured now: the quickest of several bursts, as in a table.

    Args:
        space: the network.
        widths_G: a width for each searchable group.
        target: what it is timed in: `cpu-onnxruntime`, `cpu-torch`, `cuda-torch`, `cuda-tensorrt`.
        threads: of the CPU.
        removed: blocks to leave out, by path.
        bursts: how often it is loaded anew and run, each time for a tenth of a second or so.

    Raises:
        BadInputError: the target is not there, or the network cannot be run in it.
    """
    runtime = runtime_named(target)

    def burst() -> Timing:
        return _timed(space, widths_G, (), runtime, threads, removed)[0]

    if threads == 1 or not runtime.name.startswith("cpu"):
        return min((burst() for _ in range(bursts)), key=lambda one: one.median_ns)
    with _paced(space, runtime, threads, _FEW_LOOKS) as pace:
        return min((pace.during(burst)[0] for _ in range(bursts)), key=lambda one: one.median_ns)


def measured_in_turn(
    space: SearchSpace,
    vectors_NG: NDArray[np.int64],
    target: str = "cpu-onnxruntime",
    threads: int = 1,
    *,
    passes: int = 3,
    seed: int = 0,
    progress: Progress = SILENT,
) -> NDArray[np.int64]:
    """Time many networks whole, each in every pass, the passes in orders of their own.

    Args:
        space: the network.
        vectors_NG: N width vectors.
        target: what they are timed in.
        threads: of the CPU.
        passes: P, how often each is timed.
        seed: of the orders.
        progress: what is told meanwhile.

    Returns:
        P×N times in nanoseconds.

    Raises:
        BadInputError: the target is not there, or a network cannot be run in it.
    """
    runtime = runtime_named(target)
    count = len(vectors_NG)
    times_PN = np.zeros((passes, count), dtype=np.int64)
    with _paced(space, runtime, threads) as pace:
        for turn in range(passes):
            order = np.random.default_rng([seed, turn]).permutation(count)
            for done, number in enumerate(order):
                progress.update("timing networks", turn * count + done, passes * count)
                widths_G = tuple(vectors_NG[number].tolist())
                work = partial(_timed, space, widths_G, (), runtime, threads)
                (whole, _), _reference_ns = pace.during(work)
                times_PN[turn, number] = whole.median_ns
    return times_PN
