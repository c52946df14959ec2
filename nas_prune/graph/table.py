"""What is learnt of symbolic axes while a network is traced: which atoms are the same, split, or frozen."""

from collections.abc import Callable, Mapping, Sequence

from nas_prune.graph.axes import (
    ONE,
    Atom,
    Axis,
    Factor,
    Run,
    atoms_of,
    constant,
    factor_length,
    is_constant_run,
    length,
    normal,
    run_length,
    substitute,
)


class AxisConflictError(Exception):
    """Two axes cannot be the same arrangement of channels; the caller freezes them."""


class AxisTable:
    """What is known of the atoms while a network is being traced: sizes, definitions, frozen ones.

    The only mutable object of the tracing; a finished `ChannelGraph` holds none.
    """

    def __init__(self) -> None:
        self._sizes: list[int] = []
        self._defined: dict[Atom, Axis] = {}
        self._frozen: dict[Atom, str] = {}
        self._loose: set[Atom] = set()
        self._asked: set[Atom] = set()
        self._resolved: dict[Axis, Axis] = {}

    @property
    def definitions(self) -> Mapping[Atom, Axis]:
        """The atoms that turned out to be others, or arrangements of others."""
        return self._defined

    def copy(self) -> "AxisTable":
        """A table that knows the same and learns on its own."""
        other = AxisTable()
        other._sizes, other._defined = [*self._sizes], {**self._defined}
        other._frozen, other._loose = {**self._frozen}, {*self._loose}
        other._asked = {*self._asked}
        return other

    def new(self, size: int) -> Axis:
        """An axis of one fresh atom."""
        self._sizes.append(size)
        return ((Atom(len(self._sizes) - 1),),)

    def loose(self, size: int) -> Axis:
        """An axis of one fresh atom that becomes a constant as soon as it meets one.

        For sizes that the network's code asks for (the zeros it pads with, say): they may be channels or not.
        """
        axis = self.new(size)
        self._loose.update(atoms_of(axis))
        self._asked.update(atoms_of(axis))
        return axis

    def is_asked_for(self, axis: Axis) -> bool:
        """Whether an axis is a size that the code asked for, and nothing has shown what it is."""
        return self._is_whole(axis) and next(atoms_of(axis)) in self._asked

    def is_constant(self, axis: Axis) -> bool:
        """Whether nothing in an axis may change its size."""
        return self._is_fixed(self.resolve(axis))

    def atom_size(self, atom: Atom) -> int:
        """The size of an atom in the network as it was traced."""
        return self._sizes[atom.index]

    def length(self, axis: Axis) -> int:
        """The length of an axis in the network as it was traced."""
        if len(axis) == 1 and len(axis[0]) == 1:  # as nearly all are
            factor = axis[0][0]
            if isinstance(factor, int):
                return factor
            if isinstance(factor, Atom):
                return self._sizes[factor.index]
        return length(axis, self.atom_size)

    def resolve(self, axis: Axis) -> Axis:
        """The axis in terms of atoms that are not defined by others."""
        if len(axis) == 1 and len(axis[0]) == 1:  # as nearly all are
            factor = axis[0][0]
            if isinstance(factor, int) or (isinstance(factor, Atom) and factor not in self._defined):
                return axis
        known = self._resolved.get(axis)
        if known is None:
            known = axis
            if any(atom in self._defined for atom in atoms_of(axis)):
                known = substitute(axis, self._definition)
            self._resolved[axis] = known
        return known

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

    def count_frozen(self) -> int:
        """How many channels must not be narrowed."""
        return sum(self._sizes[atom.index] for atom in self._frozen)

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
        while number < len(axis) and offset + run_length(axis[number], self.atom_size) <= place:
            offset += run_length(axis[number], self.atom_size)
            number += 1
        if offset == place:
            return axis[:number], axis[number:]
        return self._cut_inside(axis, number, place, place - offset)

    def _cut_inside(self, axis: Axis, number: int, place: int, offset: int) -> tuple[Axis, Axis]:
        outer, *inner = axis[number]
        step = run_length(tuple(inner), self.atom_size)
        if offset % step:
            raise AxisConflictError
        if isinstance(outer, Atom):
            size = self.atom_size(outer)
            fresh = self._like(outer)
            self._define(outer, fresh(offset // step) + fresh(size - offset // step))
            return self.cut(axis, place)
        if not isinstance(outer, int):
            raise AxisConflictError
        head: Run = (offset // step, *inner)
        tail: Run = (outer - offset // step, *inner)
        return normal((*axis[:number], head)), normal((tail, *axis[number + 1 :]))

    def _unify(self, left: Axis, right: Axis, reason: str) -> None:
        while True:
            left, right = self.resolve(left), self.resolve(right)
            if left == right or (self._is_fixed(left) and self._is_fixed(right)):
                return
            if len(left) == len(right) == 1:
                self._unify_runs(left[0], right[0], reason)
                return
            if self._is_whole(left) or self._is_whole(right):
                whole, other = (left, right) if self._is_whole(left) else (right, left)
                self._define(next(atoms_of(whole)), other)
                return
            first = min(run_length(left[0], self.atom_size), run_length(right[0], self.atom_size))
            (head, left), (other_head, right) = self.cut(left, first), self.cut(right, first)
            self._unify(head, other_head, reason)

    def _unify_runs(self, left: Run, right: Run, reason: str) -> None:
        if is_constant_run(left) or is_constant_run(right):
            atoms = set(atoms_of((left, right)))
            self.fix(tuple((atom,) for atom in atoms if atom in self._loose))
            self.freeze((left, right), f"meets a fixed size in {reason}")
        elif self._is_whole((right,)) and right[0] in self._loose:
            self._define(next(atoms_of((right,))), (left,))
        elif self._is_whole((left,)) and self._is_whole((right,)):
            # The younger by the older, so that a stream of many additions makes no chain of definitions.
            older, younger = sorted(atoms_of((left, right)), key=lambda atom: atom.index)
            self._define(younger, ((older,),))
        elif self._is_whole((left,)):
            self._define(next(atoms_of((left,))), (right,))
        elif self._is_whole((right,)):
            self._define(next(atoms_of((right,))), (left,))
        else:
            self._unify_products(left, right, reason)

    def _unify_products(self, left: Run, right: Run, reason: str) -> None:
        single = [factor for factor in (*left, *right) if factor_length(factor, self.atom_size) == 1]
        if single:
            self.fix(tuple((factor,) for factor in single))
            self._unify((left,), (right,), reason)
            return
        outer = min(factor_length(left[0], self.atom_size), factor_length(right[0], self.atom_size))
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
        width = factor_length(outer, self.atom_size)
        if width > size:
            return self._peel_inside(outer, tuple(inner), size)
        if size % width:
            raise AxisConflictError
        more, rest = self._peel(normal((tuple(inner),)), size // width)
        return self.product([((outer,),), more]), rest

    def _peel_inside(self, outer: Factor, inner: Run, size: int) -> tuple[Axis, Axis]:
        """Peel fewer places off a run than its outermost factor has."""
        width = factor_length(outer, self.atom_size)
        if width % size:
            raise AxisConflictError
        if isinstance(outer, Atom):
            fresh = self._like(outer)
            self._define(outer, self.product([fresh(size), fresh(width // size)]))
            return self._peel(((outer, *inner),), size)
        if not isinstance(outer, int):
            raise AxisConflictError
        return constant(size), normal(((width // size, *inner),))

    def _common_piece(self, axis: Axis, count: int) -> Axis:
        """What a concatenation of `count` equal pieces repeats."""
        step = self.length(axis) // count
        self._repeat(axis, step)
        first, rest = self.cut(axis, step)
        for _ in range(count - 1):
            piece, rest = self.cut(rest, step)
            self._unify(first, piece, "equal pieces of one axis")
        return self.resolve(first)

    def _repeat(self, axis: Axis, step: int) -> None:
        """Define atoms that hold several of the equal pieces of an axis, each of `step` places, as copies of one.

        Cut piece by piece, an atom would become a chain of as many definitions.
        """
        offset = 0
        for run in self.resolve(axis):
            size = run_length(run, self.atom_size)
            if self._is_whole((run,)) and offset % step == 0 and size % step == 0 and size > step > 1:
                (atom,) = atoms_of((run,))
                self._define(atom, self.product([constant(size // step), self._like(atom)(step)]))
            offset += size

    def _like(self, atom: Atom) -> Callable[[int], Axis]:
        make = self.loose if atom in self._loose else self.new
        return lambda size: make(size) if size > 1 else constant(size)

    @staticmethod
    def _is_whole(axis: Axis) -> bool:
        """Whether an axis is one atom and nothing else."""
        return len(axis) == 1 and len(axis[0]) == 1 and isinstance(axis[0][0], Atom)

    def _is_fixed(self, axis: Axis) -> bool:
        return all(atom in self._frozen for atom in atoms_of(axis))

    def _define(self, atom: Atom, axis: Axis) -> None:
        axis = self.resolve(axis)
        if atom in set(atoms_of(axis)):
            raise AxisConflictError
        self._defined[atom] = axis
        if atom not in self._loose:
            self._loose.difference_update(atoms_of(axis))
        self._resolved.clear()
        reason = self._frozen.pop(atom, None)
        if reason is not None:
            self.freeze(axis, reason)
