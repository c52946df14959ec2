"""Symbolic axes: which channels lie at which index of a tensor dimension.

An *atom* stands for a set of channels that is kept or dropped channel by channel. An *axis* is an ordered
concatenation of *runs*; a run is an ordered product, outermost factor first, of atoms, constants and (rarely)
axes in brackets. With atoms a, b of sizes 16 and 12::

    (a)             the 16 channels of one convolution
    (a) + (b)       their concatenation, 28 channels
    (a, 49)         flattened with a 7×7 map: channel 0 at indices 0 to 48, and so on

Operations of a network only unify and rearrange axes. Learning that two axes are the same may split an atom
into a product or a sum of others; `AxisTable` holds these definitions, so every axis ever handed out follows.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Atom:
    """A set of channels, by number; in a finished graph the number is that of its channel group."""

    index: int


Factor: TypeAlias = "Atom | int | Axis"
Run: TypeAlias = "tuple[Factor, ...]"
Axis: TypeAlias = "tuple[Run, ...]"

ONE: Axis = ((1,),)


class AxisConflictError(Exception):
    """Two axes cannot be the same arrangement of channels; the caller freezes them."""


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
    return sum(_run_length(run, size) for run in axis)


def _run_length(run: Run, size: Callable[[Atom], int]) -> int:
    return prod(_factor_length(factor, size) for factor in run)


def _factor_length(factor: Factor, size: Callable[[Atom], int]) -> int:
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
            places = (places[:, None] * _factor_length(factor, size) + inner[None, :]).reshape(-1)
        pieces.append(places + offset)
        offset += _run_length(run, size)
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
            inner = np.full(_factor_length(factor, size), -1)
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
    runs), a run of one bracket dissolved, an outermost bracket distributed.
    """
    return _normal_axis(tuple(tuple(_substitute_factor(f, replace) for f in run) for run in axis))


def _substitute_factor(factor: Factor, replace: Callable[[Atom], Axis]) -> Factor:
    if isinstance(factor, int):
        return factor
    return replace(factor) if isinstance(factor, Atom) else substitute(factor, replace)


def _normal_axis(axis: Axis) -> Axis:
    runs: list[Run] = []
    for run in axis:
        for normal in _normal_runs(run):
            if runs and _is_constant(runs[-1]) and _is_constant(normal):
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


def _is_constant(run: Run) -> bool:
    return len(run) == 1 and isinstance(run[0], int)


def _constant_size(run: Run) -> int:
    size = run[0]
    assert isinstance(size, int)
    return size


class AxisTable:
    """What is known of the atoms while a network is being traced: sizes, definitions, frozen ones.

    The only mutable object of the tracing; a finished `ChannelGraph` holds none.
    """

    def __init__(self) -> None:
        self._sizes: list[int] = []
        self._defined: dict[Atom, Axis] = {}
        self._frozen: dict[Atom, str] = {}

    def new(self, size: int) -> Axis:
        """An axis of one fresh atom."""
        self._sizes.append(size)
        return ((Atom(len(self._sizes) - 1),),)

    def atom_size(self, atom: Atom) -> int:
        """The size of an atom in the network as it was traced."""
        return self._sizes[atom.index]

    def length(self, axis: Axis) -> int:
        """The length of an axis in the network as it was traced."""
        return length(axis, self.atom_size)

    def resolve(self, axis: Axis) -> Axis:
        """The axis in terms of atoms that are not defined by others."""
        if not any(atom in self._defined for atom in atoms_of(axis)):
            return axis
        return substitute(axis, self._definition)

    def _definition(self, atom: Atom) -> Axis:
        if atom not in self._defined:
            return ((atom,),)
        self._defined[atom] = self.resolve(self._defined[atom])
        return self._defined[atom]

    def freeze(self, axis: Axis, reason: str) -> None:
        """Mark every atom of an axis as one whose width must not change; the first reason stays."""
        for atom in atoms_of(self.resolve(axis)):
            self._frozen.setdefault(atom, reason)

    def frozen_reason(self, atom: Atom) -> str | None:
        """Why an atom that is not defined by others must not change; None when it may."""
        return self._frozen.get(atom)

    def fix(self, axis: Axis) -> None:
        """Replace the atoms of an axis by constants: these places were never channels (a kernel's, say)."""
        for atom in atoms_of(self.resolve(axis)):
            self._define(atom, constant(self.atom_size(atom)))

    def unify(self, left: Axis, right: Axis, reason: str) -> Axis:
        """Learn that two axes hold the same channels at the same places.

        Args:
            left: an axis.
            right: another of the same length.
            reason: the operation that brings them together, for the record if it freezes them.

        Returns:
            The common axis, or `left`, frozen, when there is none.
        """
        try:
            self._unify(left, right, reason)
        except AxisConflictError:
            self.freeze(left, f"arranged in another way by {reason}")
            self.freeze(right, f"arranged in another way by {reason}")
        return self.resolve(left)

    def product(self, axes: Sequence[Axis]) -> Axis:
        """The axis that flattening several neighbouring dimensions gives, the first one outermost."""
        return substitute((tuple(axes),), self._definition)

    def factor(self, axis: Axis, sizes: Sequence[int]) -> list[Axis]:
        """The axes that viewing one dimension as several gives, the first one outermost.

        Raises:
            AxisConflictError: the channels do not lie so that the sizes cut between them.
        """
        parts = []
        for size in sizes[:-1]:
            outer, axis = self._peel(axis, size)
            parts.append(outer)
        return [self.resolve(part) for part in (*parts, axis)]

    def cut(self, axis: Axis, place: int) -> tuple[Axis, Axis]:
        """The parts of an axis before and after a place.

        Raises:
            AxisConflictError: the place lies inside a channel.
        """
        axis = self.resolve(axis)
        number = offset = 0
        while number < len(axis) and offset + _run_length(axis[number], self.atom_size) <= place:
            offset += _run_length(axis[number], self.atom_size)
            number += 1
        if offset == place:
            return axis[:number], axis[number:]
        return self._cut_inside(axis, number, place, place - offset)

    def _cut_inside(self, axis: Axis, number: int, place: int, offset: int) -> tuple[Axis, Axis]:
        outer, *inner = axis[number]
        step = _run_length(tuple(inner), self.atom_size)
        if offset % step:
            raise AxisConflictError
        if isinstance(outer, Atom):
            size = self.atom_size(outer)
            self._define(outer, self.new(offset // step) + self.new(size - offset // step))
            return self.cut(axis, place)
        assert isinstance(outer, int)
        head: Run = (offset // step, *inner)
        tail: Run = (outer - offset // step, *inner)
        return _normal_axis((*axis[:number], head)), _normal_axis((tail, *axis[number + 1 :]))

    def _unify(self, left: Axis, right: Axis, reason: str) -> None:
        while True:
            left, right = self.resolve(left), self.resolve(right)
            if left == right or (self._is_fixed(left) and self._is_fixed(right)):
                return
            if len(left) == len(right) == 1:
                self._unify_runs(left[0], right[0], reason)
                return
            first = min(_run_length(left[0], self.atom_size), _run_length(right[0], self.atom_size))
            (head, left), (other_head, right) = self.cut(left, first), self.cut(right, first)
            self._unify(head, other_head, reason)

    def _unify_runs(self, left: Run, right: Run, reason: str) -> None:
        if _is_constant(left) or _is_constant(right):
            self.freeze((left, right), f"meets a fixed size in {reason}")
        elif len(left) == 1 and isinstance(left[0], Atom):
            self._define(left[0], (right,))
        elif len(right) == 1 and isinstance(right[0], Atom):
            self._define(right[0], (left,))
        else:
            self._unify_products(left, right, reason)

    def _unify_products(self, left: Run, right: Run, reason: str) -> None:
        outer = min(_factor_length(left[0], self.atom_size), _factor_length(right[0], self.atom_size))
        if outer == 1:
            self.fix(tuple((factor,) for factor in (left[0], right[0]) if self.length(((factor,),)) == 1))
            self._unify((left,), (right,), reason)
            return
        (head, tail), (other_head, other_tail) = self._peel((left,), outer), self._peel((right,), outer)
        self._unify(head, other_head, reason)
        self._unify(tail, other_tail, reason)

    def _peel(self, axis: Axis, size: int) -> tuple[Axis, Axis]:
        """An axis as (outer of `size` places) × (the rest)."""
        axis = self.resolve(axis)
        total = self.length(axis)
        if total % size:
            raise AxisConflictError
        if size in (1, total):
            return (ONE, axis) if size == 1 else (axis, ONE)
        if len(axis) > 1:
            return constant(size), self._common_piece(axis, size)
        outer, *inner = axis[0]
        width = _factor_length(outer, self.atom_size)
        if width > size:
            return self._peel_inside(outer, tuple(inner), size)
        if size % width:
            raise AxisConflictError
        more, rest = self._peel((tuple(inner),), size // width)
        return self.product([((outer,),), more]), rest

    def _peel_inside(self, outer: Factor, inner: Run, size: int) -> tuple[Axis, Axis]:
        """Peel fewer places off a run than its outermost factor has."""
        width = _factor_length(outer, self.atom_size)
        if width % size:
            raise AxisConflictError
        if isinstance(outer, Atom):
            self._define(outer, self.product([self.new(size), self.new(width // size)]))
            return self._peel(((outer, *inner),), size)
        assert isinstance(outer, int)
        return constant(size), _normal_axis(((width // size, *inner),))

    def _common_piece(self, axis: Axis, count: int) -> Axis:
        """What a concatenation of `count` equal pieces repeats."""
        step = self.length(axis) // count
        first, rest = self.cut(axis, step)
        for _ in range(count - 1):
            piece, rest = self.cut(rest, step)
            self._unify(first, piece, "equal pieces of one axis")
        return self.resolve(first)

    def _is_fixed(self, axis: Axis) -> bool:
        return all(atom in self._frozen for atom in atoms_of(axis))

    def _define(self, atom: Atom, axis: Axis) -> None:
        axis = self.resolve(axis)
        if atom in set(atoms_of(axis)):
            raise AxisConflictError
        self._defined[atom] = axis
        reason = self._frozen.pop(atom, None)
        if reason is not None:
            self.freeze(axis, reason)
