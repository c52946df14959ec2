"""Which target a run's widths are meant for: loaded by its name, kept in the run, found there again."""

from pathlib import Path
from typing import Protocol

from nas_prune.data import ImageData
from nas_prune.hardware.aim import aim, without_target
from nas_prune.hardware.target import target_named, write_target
from nas_prune.space.load import NamesNetwork, load_network
from nas_prune.space.search_space import SearchSpace

KEPT = "target"  # the directory in a run, and what its settings call it


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
    return without_target(space) if target is None else aim(space, target_named(target))


def target_beside(target: str | None, folder: Path) -> str | None:
    """What a file of settings names: a target beside it, or one that is known by that name everywhere."""
    return str(folder / target) if target is not None and (folder / target).exists() else target


def target_in(run: Path) -> str | None:
    """The target that a run keeps; None if it has none."""
    return str(run / KEPT) if (run / KEPT).is_dir() else None


def keep_target(target: str | None, run: Path) -> None:
    """Write a target with its table into a run, so that this goes on without the files of before."""
    if target is not None:
        write_target(target_named(target), run / KEPT)


def identity_of_target(target: str | None) -> str | None:
    """What tells a target and its table from others; None for none."""
    return None if target is None else target_named(target).identity


def timer_for(space: SearchSpace, target: str | None) -> None:
    return None
