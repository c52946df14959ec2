"""Which target a run's widths are meant for: loaded by its name, kept in the run, found there again."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeAlias

from nas_prune.data import ImageData
from nas_prune.errors import BadInputError
from nas_prune.hardware.aim import aim, default_costs
from nas_prune.hardware.target import known_targets, target_named
from nas_prune.runs.directory import TARGET
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.runs.settings import library_versions, machine_name
from nas_prune.space.load import NamesNetwork, load_network
from nas_prune.space.search_space import SearchSpace


class NamesTarget(NamesNetwork, Protocol):
    """A configuration that names a network and what it is meant for."""

    @property
    def target(self) -> str | None:
        """A shipped target by its name, or the file or directory of another; None for no device in particular."""


def network_for(config: NamesTarget, data: ImageData) -> SearchSpace:
    """The network that a configuration names, for its images and its target.

    Raises:
        BadInputError: as `load_space`, or the target cannot be used.
    """
    return aimed(load_network(config, data), config.target)


def aimed(space: SearchSpace, target: str | None) -> SearchSpace:
    """A network whose widths are meant for a target; without one it has the costs that need none.

    Raises:
        BadInputError: the target is not known, or its latencies are of another network.
    """
    if target is None:
        return replace(space, target_costs=default_costs(space))
    return replace(aim(space, target_named(target)), target_typed=target)


def target_beside(target: str | None, folder: Path) -> str | None:
    """What a file of settings names: a target beside it, or one that is known by that name everywhere."""
    return str(folder / target) if target is not None and (folder / target).exists() else target


def target_in(run: Path) -> str | None:
    """The target that a run keeps; None if it has none."""
    return str(run / TARGET) if (run / TARGET).is_dir() else None


def target_or_kept(target: str | None, run: Path) -> str | None:
    """What a person names now or, where that is gone, what a run has kept of it."""
    kept = target_in(run)
    if target is None or kept is None or target in known_targets() or Path(target).exists():
        return target
    return kept


def keep_target(target: str | None, run: Path) -> None:
    """Write a target with its table into a run that has none, so that this goes on without the files of before."""
    if target is not None and target_in(run) is None:
        target_named(target).write(run / TARGET)


def identity_of_target(target: str | None) -> str | None:
    """What tells a target and its table from others; None for none."""
    return None if target is None else target_named(target).identity


Time: TypeAlias = Callable[[Sequence[int], Sequence[str]], float]


def timer_for(space: SearchSpace, target: str | None, progress: Progress = SILENT) -> Time | None:
    """What times networks whole, as the target's table was made: milliseconds for some widths without some blocks.

    None where the target has no table, or that was made on another machine or for what nothing here can time. Where it
    was made with other versions than those that time here, or with what is not installed any more, that is said.
    """
    if target is None:
        return None
    found = target_named(target)
    made = found.measured
    if found.table is None or made is None or found.runtime is None or made.machine != machine_name():
        return None
    from nas_prune.hardware.measure import measured_latency
    from nas_prune.hardware.runtimes import runtime_named

    try:
        runtime = runtime_named(found.runtime)
    except BadInputError as error:
        progress.say(f"Nothing is measured, the latency table of {found.name} is relied on: {error}")
        return None
    ours = library_versions(runtime.versions())
    others = [
        f"{name} {version}" for name, version in made.versions.items() if ours.get(name, version) != version
    ]
    if others:
        here = ", ".join(
            f"{name} {ours[name]}" for name in made.versions if ours.get(name) != made.versions[name]
        )
        progress.say(
            f"The latency table of {found.name} was made with {', '.join(others)}; here is {here}. Its predictions may "
            "be off: measure anew with nas-prune measure."
        )

    def time(widths_G: Sequence[int], removed: Sequence[str]) -> float:
        timing = measured_latency(
            space, tuple(widths_G), str(found.runtime), made.threads or 1, removed=tuple(removed)
        )
        return timing.median_ns / 10**6

    return time
