"""The width methods by name: this package's, those of installed packages, and those that a program registers.

A package names its methods in its entry points, in the group `nas_prune.methods`; these are looked for and loaded when
they are first asked for. No code is imported that only a file names: of a run's `config.yaml` no more than the
method's name is read, and an entry point is code of a package that somebody has installed.
"""

import re
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from typing import get_args

import numpy as np

from nas_prune.errors import BadInputError
from nas_prune.runs.text import first_line
from nas_prune.search.methods.contract import Evidence, Scope, WidthMethod
from nas_prune.search.methods.controls import RANDOM, UNIFORM
from nas_prune.search.methods.filters import FPGM, L1_NORM
from nas_prune.search.methods.hard_concrete import L0
from nas_prune.search.methods.learned_gates import SSS, SSS_BLOCKS, SSS_GROUPS
from nas_prune.search.methods.random_weights import RANDOM_WEIGHTS
from nas_prune.search.methods.reconstruction import OBS, REGRESSION, THINET
from nas_prune.search.methods.slimming import COST_AWARE, SLIMMING
from nas_prune.search.methods.slopes import OBD, TAYLOR
from nas_prune.search.methods.soft_filters import SOFT_FILTER
from nas_prune.search.methods.variational_dropout import VARIATIONAL_DROPOUT
from nas_prune.space.scores import Scores
from nas_prune.space.search_space import Groups, SearchSpace

METHODS: dict[str, WidthMethod] = {
    method.name: method
    for method in (
        SLIMMING,
        COST_AWARE,
        SSS,
        SSS_GROUPS,
        SSS_BLOCKS,
        L0,
        VARIATIONAL_DROPOUT,
        RANDOM_WEIGHTS,
        TAYLOR,
        OBD,
        OBS,
        L1_NORM,
        FPGM,
        SOFT_FILTER,
        THINET,
        REGRESSION,
        UNIFORM,
        RANDOM,
    )
}

ENTRY_POINTS = "nas_prune.methods"
_RESERVED = ("all", "guideline", "study")  # of `--method all`, and of widths files that no search wrote
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")  # of a directory, on every system
HOW = "register it (nas_prune.register_method, at the top level of a script) or install its package"


@dataclass
class Registry:
    """Every width method that this process knows.

    It is the one object of this room that changes while a program runs: when a method is registered, and when methods
    of installed packages are looked for and loaded, each once.

    Attributes:
        builtin: this package's methods.
        registered: those that the program has registered.
    """

    builtin: Mapping[str, WidthMethod]
    registered: dict[str, WidthMethod] = field(default_factory=dict)
    _loaded: dict[str, "WidthMethod | str"] = field(default_factory=dict)

    @cached_property
    def installed(self) -> Mapping[str, Sequence[EntryPoint]]:
        """Entry points of installed packages by name; none is loaded for that."""
        return _entry_points()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all methods; none is loaded for that."""
        return tuple(dict.fromkeys((*self.builtin, *self.registered, *self.installed)))

    @property
    def methods(self) -> dict[str, WidthMethod]:
        """All methods that can be used, by name."""
        loaded = {name: self._load(name) for name in self.installed}
        usable = {name: one for name, one in loaded.items() if isinstance(one, WidthMethod)}
        return {**self.builtin, **self.registered, **usable}

    @property
    def failed(self) -> dict[str, str]:
        """Why methods of installed packages cannot be used, by name."""
        loaded = {name: self._load(name) for name in self.installed}
        return {name: one for name, one in loaded.items() if isinstance(one, str)}

    def named(self, name: str) -> "WidthMethod | str | None":
        """A method; why it cannot be used, if that is so; None if there is none of that name. No other is loaded."""
        own = self.builtin.get(name) or self.registered.get(name)
        return own or (self._load(name) if name in self.installed else None)

    def register(self, method: WidthMethod) -> None:
        """Make a method known.

        Raises:
            BadInputError: as `register_method`.
        """
        _check(method)
        there = self.registered.get(method.name)
        owner = None
        if method.name in self.builtin:
            owner = "a method of nas-prune"
        elif method.name in self.installed:
            owner = f"a method of {_packages(self.installed[method.name])}, which need not be registered"
        elif there is not None and _module(there) != _module(method):
            owner = f"which {_module(there)} has registered"
        if owner is not None:
            raise BadInputError(
                f"a method's name must be free, got {method.name}, {owner}. Choose another name."
            )
        self.registered[method.name] = method

    def source(self, name: str) -> str:
        """Where a method is from, for people: `nas-prune`, a module's name, or a package and its version."""
        if name in self.builtin:
            return "nas-prune"
        own = self.registered.get(name)
        return _packages(self.installed[name]) if own is None else _module(own)

    def versions(self, name: str) -> dict[str, str]:
        """The version of the package that a method is of, by the package's name; nothing for other methods."""
        if name in self.builtin or name in self.registered:
            return {}
        return {one.dist.name: one.dist.version for one in self.installed[name] if one.dist is not None}

    def _load(self, name: str) -> "WidthMethod | str":
        if name not in self._loaded:
            taken = "its name is that of a method of nas-prune" if name in self.builtin else None
            self._loaded[name] = taken or _loaded(name, self.installed[name])
        return self._loaded[name]


REGISTRY = Registry(METHODS)


def register_method(method: WidthMethod) -> None:
    """Make a width method of your own known by its name, in this process.

    Call it at the top level of a script whose trainings run in several processes (`workers=2`), outside of
    `if __name__ == "__main__"`: each of them runs the top level again, and so knows the method too. In a notebook it
    may be called again with a changed method: one that the same module registered before is replaced.

    Args:
        method: the method. Its name is that of directories too: small letters, digits and hyphens.

    Raises:
        BadInputError: it is no `WidthMethod`, its name cannot be one, or another method has it.
    """
    REGISTRY.register(method)


def known_methods() -> dict[str, WidthMethod]:
    """All methods that can be used, by name; those of installed packages are loaded."""
    return REGISTRY.methods


def method_named(name: str, *, run: Path | None = None) -> WidthMethod:
    """A width method by name.

    Args:
        name: its name.
        run: the directory that names it, if nobody has typed it.

    Raises:
        BadInputError: no such method, or its package cannot be loaded; the message lists the known ones.
    """
    found = REGISTRY.named(name)
    if isinstance(found, WidthMethod):
        return found
    asked = f"--method {name}" if run is None else f"{name}, the width method of {run},"
    if found is not None:
        raise BadInputError(
            f"{asked} must be one that loads, got none: {found}. Mend or remove that package."
        )
    names = ", ".join(REGISTRY.names)
    if run is None:
        raise BadInputError(
            f"--method must be one of {names}, got {name!r}. If it is one of your own, {HOW} first."
        )
    raise BadInputError(f"{asked} must be known here, got none of that name. First {HOW}. Known: {names}.")


def scorable(space: SearchSpace, method: WidthMethod, groups: Groups) -> tuple[int, ...]:
    """Columns of the groups that are wanted and that the method can score; for a method of blocks, those of blocks."""
    wanted = space.searched(groups) if method.of == "channels" else space.removable()
    return tuple(column for column in wanted if method.can_score(space, column))


def scores_of(method: WidthMethod, evidence: Evidence) -> Scores:
    """What a method gives each channel, checked: what is no number would be cut at random.

    Raises:
        BadInputError: a searched group has not one finite number for each channel, or another group has scores.
    """
    scores, space = method.scores(evidence), evidence.space
    for column in evidence.columns:
        values, size = scores[column] if column < len(scores) else None, space.size_at(column)
        if not isinstance(values, np.ndarray) or values.shape != (size,) or not np.isfinite(values).all():
            got = f"shape {list(values.shape)}" if isinstance(values, np.ndarray) else type(values).__name__
            raise BadInputError(
                f"method {method.name} must give an array of {size} finite numbers{_name_of(space, column)}, got {got}."
            )
    others = set(range(len(scores))) - set(evidence.columns)
    wrong = next((column for column in sorted(others) if scores[column] is not None), None)
    if wrong is not None:
        raise BadInputError(
            f"method {method.name} must give None for what is not searched, got scores{_name_of(space, wrong)}."
        )
    return scores


def _name_of(space: SearchSpace, column: int) -> str:
    return f" for {space.groups[column].name}" if column < len(space.groups) else ""


def _entry_points() -> dict[str, list[EntryPoint]]:
    """Entry points of the group by name. The current directory is left out: what lies there need not be installed."""
    here = Path.cwd()
    places = [place for place in sys.path if Path(place or ".").resolve() != here]
    found: dict[str, dict[str, EntryPoint]] = defaultdict(dict)
    for package in distributions(path=places):
        for one in package.entry_points.select(group=ENTRY_POINTS):
            found[one.name].setdefault(package.name, one)
    return {name: list(by_package.values()) for name, by_package in found.items()}


def _loaded(name: str, entry_points: Sequence[EntryPoint]) -> "WidthMethod | str":
    """The method of an entry point, or why there is none."""
    packages = _packages(entry_points)
    if len(entry_points) > 1:
        return f"several packages have a method of that name: {packages}"
    try:
        method = entry_points[0].load()
        _check(method)
    except BadInputError as error:
        return f"{packages}: {str(error).rstrip('.')}"
    except (Exception, SystemExit) as error:  # noqa: BLE001  (others' code must not end what does not ask for it)
        return f"{packages} fails with {type(error).__name__}: {first_line(error).rstrip('.')}"
    if method.name != name:
        return f"{packages}: an entry point must have its method's name, {method.name}, got {name}"
    checked: WidthMethod = method
    return checked


def _check(method: WidthMethod) -> None:
    """Refuse what cannot be a width method."""
    if not isinstance(method, WidthMethod):
        raise BadInputError(f"a width method must be a nas_prune.WidthMethod, got {type(method).__name__}.")
    name = method.name
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in _RESERVED:
        raise BadInputError(
            "a method's name must be of 1 to 60 small letters, digits and hyphens, no hyphen first, and none of "
            f"{', '.join(_RESERVED)}, got {name!r}."
        )
    if method.scope not in get_args(Scope):
        raise BadInputError(
            f"the scope of method {name} must be {' or '.join(get_args(Scope))}, got {method.scope!r}."
        )


def _packages(entry_points: Sequence[EntryPoint]) -> str:
    known = (one.dist for one in entry_points)
    return ", ".join(f"{package.name} {package.version}" for package in known if package is not None)


def _module(method: WidthMethod) -> str:
    """Where a method's scores are written."""
    scores = method.scores
    while isinstance(scores, partial):
        scores = scores.func
    return str(getattr(scores, "__module__", None))
