"""Symbolic axes: which channels lie at which index of a tensor dimension.

An *atom* stands for a set of channels that is kept or dropped channel by channel. An *axis* is an ordered
concatenation of *runs*; a run is an ordered product, outermost factor first, of atoms, constants and (rarely)
axes in brackets. With atoms a, b of sizes 16 and 12::

    (a)             the 16 channels of one convolution
    (a) + (b)       their concatenation, 28 channels
    (a, 49)         flattened with a 7×7 map: channel 0 at indices 0 to 48, and so on

Operations of a network only unify and rearrange axes. Learning that two axes are the same may split an atom
into a product or a sum of others; `AxisTable` (table.py) holds these definitions.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Atom:
    """A set of channels, by number; in a finished graph the number is that of its channel group."""

    index: int

    def __hash__(self) -> int:
        return self.index


Factor: TypeAlias = "Atom | int | Axis"
Run: TypeAlias = "tuple[Factor, ...]"
Axis: TypeAlias = "tuple[Run, ...]"

ONE: Axis = ((1,),)


def constant(size: int) -> Axis:
    """The axis of `size` places that hold no channels (positions, batch, kernels)."""
    return ((size,),)


def atoms_of(axis: Axis) -> Iterator[Atom]:
    """Every atom of an axis, in order, with repetitions."""
    for run in axis:
        for factor in run:
            if isinstance(factor, Atom):
                yield factor
            elif not isinstance(factor, int):
                yield from atoms_of(factor)


def is_constant(axis: Axis) -> bool:
    """Whether an axis holds no atoms."""
    return not any(True for _ in atoms_of(axis))


def length(axis: Axis, size: Callable[[Atom], int]) -> int:
    """How many places an axis has when each atom has the size given."""
    return sum(run_length(run, size) for run in axis)


def run_length(run: Run, size: Callable[[Atom], int]) -> int:
    """How many places a run has."""
    return prod(factor_length(factor, size) for factor in run)


def factor_length(factor: Factor, size: Callable[[Atom], int]) -> int:
    """How many places a factor has."""
    if isinstance(factor, int):
        return factor
    return size(factor) if isinstance(factor, Atom) else length(factor, size)


def positions(
    axis: Axis, size: Callable[[Atom], int], kept: Callable[[Atom], NDArray[np.int64]]
) -> NDArray[np.int64]:
    """The places of an axis that are left when only some channels of each atom are kept.

    Args:
        axis: the axis, of `length(axis, size)` places.
        size: the size of an atom before.
        kept: the indices kept of an atom, each in [0, size).

    Returns:
        Indices into the axis, in the order the narrowed tensor has them.

    Example:
        >>> a = Atom(0)
        >>> positions(((a, 2),), lambda _: 3, lambda _: np.array([0, 2])).tolist()
        [0, 1, 4, 5]
    """
    pieces, offset = [], 0
    for run in axis:
        places = np.zeros(1, dtype=np.int64)
        for factor in run:
            inner = _factor_positions(factor, size, kept)
            places = (places[:, None] * factor_length(factor, size) + inner[None, :]).reshape(-1)
        pieces.append(places + offset)
        offset += run_length(run, size)
    return np.concatenate(pieces)


def _factor_positions(
    factor: Factor, size: Callable[[Atom], int], kept: Callable[[Atom], NDArray[np.int64]]
) -> NDArray[np.int64]:
    if isinstance(factor, int):
        return np.arange(factor)
    return kept(factor) if isinstance(factor, Atom) else positions(factor, size, kept)


def channel_at(axis: Axis, atom: Atom, size: Callable[[Atom], int]) -> NDArray[np.int64]:
    """Which channel of an atom lies at each place of an axis; -1 where none does.

    Example:
        >>> channel_at(((Atom(0), 2), (3,)), Atom(0), lambda _: 2).tolist()
        [0, 0, 1, 1, -1, -1, -1]
    """
    pieces = [np.full(0, -1)]
    for run in axis:
        channels = np.full(1, -1)
        for factor in run:
            inner = np.full(factor_length(factor, size), -1)
            if factor == atom:
                inner = np.arange(size(atom))
            elif isinstance(factor, tuple):
                inner = channel_at(factor, atom, size)
            channels = np.maximum(channels[:, None], inner[None, :]).reshape(-1)
        pieces.append(channels)
    return np.concatenate(pieces)


def substitute(axis: Axis, replace: Callable[[Atom], Axis]) -> Axis:
    """The axis with every atom replaced, in normal form.

    Normal form: no factor 1 beside others, neighbouring constants multiplied (in a run) or added (between
    runs), a run of one bracket dissolved, an outermost bracket distributed, no run without places beside others.
    """
    return normal(tuple(tuple(_substitute_factor(f, replace) for f in run) for run in axis))


def _substitute_factor(factor: Factor, replace: Callable[[Atom], Axis]) -> Factor:
    if isinstance(factor, int):
        return factor
    return replace(factor) if isinstance(factor, Atom) else substitute(factor, replace)


def normal(axis: Axis) -> Axis:
    """The axis in normal form, its atoms as they are."""
    runs: list[Run] = []
    for run in axis:
        for normal in _normal_runs(run):
            if runs and normal == (0,):
                continue
            if runs == [(0,)]:
                runs = [normal]
            elif runs and is_constant_run(runs[-1]) and is_constant_run(normal):
                runs[-1] = (_constant_size(runs[-1]) + _constant_size(normal),)
            else:
                runs.append(normal)
    return tuple(runs)


def _normal_runs(run: Run) -> list[Run]:
    factors: list[Factor] = []
    for factor in run:
        spliced = factor[0] if isinstance(factor, tuple) and len(factor) == 1 else (factor,)
        for part in spliced:
            if isinstance(part, int) and factors and isinstance(factors[-1], int):
                factors[-1] = factors[-1] * part
            elif part != 1:
                factors.append(part)
    if not factors:
        return [(1,)]
    if isinstance(factors[0], tuple):
        inner = tuple(factors[1:])
        return [normal for outer in factors[0] for normal in _normal_runs((*outer, *inner))]
    return [tuple(factors)]


def is_constant_run(run: Run) -> bool:
    """Whether a run in normal form holds no atoms."""
    return len(run) == 1 and isinstance(run[0], int)


def _constant_size(run: Run) -> int:
    size = run[0]
    assert isinstance(size, int)
    return size
