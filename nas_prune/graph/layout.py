"""Where a resized network's trace departs from what the record of the whole one predicts."""

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import islice, zip_longest
from math import prod

from nas_prune.graph.axes import (
    Atom,
    Axis,
    Run,
    atoms_of,
    constant,
    factor_length,
    length,
    run_length,
    substitute,
)
from nas_prune.graph.channels import BATCH as BATCH_ATOM
from nas_prune.graph.channels import ChannelGraph, find_groups, finished_axes, graph_of
from nas_prune.graph.record import Record, Step

_SMALL = 3  # channels, of which hardly any widths are left below
_SIZES = 2**32  # more than any group's size


class Prediction:
    """A record, its graph, and what both say of the network at other widths; everything is worked out once.

    Attributes:
        record: what the trace of the whole network showed, and ties beyond it.
        finished: turns an axis of the record into one of the graph.
    """

    def __init__(self, record: Record) -> None:
        self.record = record
        self._found = find_groups(record)
        self.finished = finished_axes(record, self._found)

    @cached_property
    def graph(self) -> ChannelGraph:
        """The record's channel graph."""
        return graph_of(self.record, self._found)

    @property
    def base_G(self) -> list[int]:
        """The widths of the searchable groups in the whole network."""
        return [self.graph.groups[number].size for number in self.graph.searchable]

    @property
    def columns(self) -> dict[Atom, int]:
        """The place of each searchable group's atom in a width vector."""
        return {self._found[number].atom: column for column, number in enumerate(self.graph.searchable)}

    def small_factors(self) -> list[int]:
        """Columns of groups of two or three that are multiplied with other sizes in some parameter."""
        columns = self.columns
        factors = {
            factor
            for axes in self.record.parameters.values()
            for axis in map(self.record.table.resolve, axes)
            for run in axis
            for factor in (run if len(run) > 1 else ())
            if factor in columns
        }
        return sorted(columns[atom] for atom in factors if 1 < self.record.table.atom_size(atom) <= _SMALL)

    def searchable_share(self) -> float:
        """The share of the MACs that goes when every searchable group is at its smallest width."""
        base = [group.size for group in self.graph.groups]
        least = [min(size, self.record.least) for size in base]
        for number, group in enumerate(self.graph.groups):
            least[number] = base[number] if group.frozen else least[number]
        whole, left = (
            sum(prod(self._lengths(sizes, 1)(axes)) for _, axes in self.record.products)
            for sizes in (base, least)
        )
        return 1 - left / max(1, whole)

    def first_step_astray(self, actual: Record, sizes: Sequence[int]) -> Step | None:
        """The first operation that is another one, or gives other sizes, than predicted; None if there is none.

        It says where to look, no more: one operation may run as others when some size is 1.

        Args:
            actual: what a trace of the resized network showed.
            sizes: the width of every group there.
        """
        predicted = self._lengths(sizes, actual.images)
        for one, other in zip(_telling(self.record), _telling(actual), strict=False):
            if (one.where, _plainly(one)) != (other.where, _plainly(other)):
                return one
            for axes, found in zip(one.outputs, other.outputs, strict=False):
                if predicted(axes) != tuple(map(actual.table.length, found)):
                    return one
        return None

    def first_layer_astray(self, actual: Record, sizes: Sequence[int]) -> str | None:
        """The first layer, product of activations or output that has other sizes than predicted; None if none has."""
        predicted = self._lengths(sizes, actual.images)
        record = self.record
        expected = [(note.path, predicted((*note.output, note.read))) for note in record.layers]
        expected += [(path, tuple(sorted(predicted(axes)))) for path, axes in record.products]
        expected += [("", predicted(record.outputs.get(record.root, ())))]
        length_of = actual.table.length
        found = [(note.path, tuple(map(length_of, (*note.output, note.read)))) for note in actual.layers]
        found += [(path, tuple(sorted(map(length_of, axes)))) for path, axes in actual.products]
        found += [("", tuple(map(length_of, actual.outputs.get(record.root, ()))))]
        pairs = zip_longest(expected, found)
        return next(((one or other or ("",))[0] for one, other in pairs if one != other), None)

    def _lengths(self, sizes: Sequence[int], images: int) -> Callable[[Sequence[Axis]], tuple[int, ...]]:
        """What gives the lengths of axes of the record when the batch and the groups have the sizes given."""

        def size(atom: Atom) -> int:
            return images if atom == BATCH_ATOM else sizes[atom.index]

        @cache
        def predicted(axis: Axis) -> int:
            return length(self.finished(axis), size)

        return lambda axes: tuple(map(predicted, axes))

    def first_parameter_astray(self, actual: Record, sizes: Sequence[int]) -> str | None:
        """The first parameter whose channels lie in another way than predicted; None if there is none.

        A trace knows nothing of ties, so that it is compared with what was known before there were any.
        """
        plain = self.record.untied or self.record
        may_change = {
            atom
            for axes in plain.parameters.values()
            for axis in axes
            for atom in atoms_of(plain.table.resolve(axis))
            if plain.table.frozen_reason(atom) is None and not self.record.table.is_constant(((atom,),))
        }

        @cache
        def width_of(atom: Atom) -> int:
            return length(self.finished(((atom,),)), lambda group: sizes[group.index])

        # What must not change in the whole network may look as if it could in the other trace.
        fixed = {
            atom
            for name, axes in plain.parameters.items()
            for axis, own in zip(axes, actual.parameters[name], strict=True)
            for atom in _fixed_atoms(
                _Sized(plain.table.resolve(axis), width_of),
                _Sized(actual.table.resolve(own), actual.table.atom_size),
                may_change,
            )
        }
        layout = _layout(plain, width_of, lambda atom: atom not in may_change)
        found = _layout(
            actual,
            actual.table.atom_size,
            lambda atom: atom in fixed or actual.table.frozen_reason(atom) is not None,
        )
        return next((name for name in layout if layout[name] != found[name]), None)


@dataclass(frozen=True, slots=True)
class _Sized:
    """An axis, and the sizes of its atoms."""

    axis: Axis
    size: Callable[[Atom], int]

    def told(self, run: Run) -> Run:
        """The factors of a run that are more than one place."""
        return tuple(factor for factor in run if factor_length(factor, self.size) > 1)

    def runs(self) -> Iterator[tuple[int, int, Run]]:
        """Where each run begins and ends."""
        end = 0
        for run in self.axis:
            begin, end = end, end + run_length(run, self.size)
            yield begin, end, run


def _fixed_atoms(expected: _Sized, actual: _Sized, may_change: Container[Atom]) -> Iterator[Atom]:
    """Atoms of an actual axis that lie only where nothing may change according to the expected one."""

    def is_fixed(part: Axis) -> bool:
        return not any(atom in may_change for atom in atoms_of(part))

    if is_fixed(expected.axis):
        yield from atoms_of(actual.axis)
        return
    predicted_runs, place = list(expected.runs()), 0
    for begin, end, run in actual.runs():
        while predicted_runs[place][1] <= begin:  # both go from left to right
            place += 1
        over = []
        for first, _, other in islice(predicted_runs, place, None):
            if first >= end:
                break
            over.append(other)
        if is_fixed(tuple(over)):
            yield from atoms_of((run,))
        elif len(over) == 1 and len(actual.told(run)) == len(expected.told(over[0])):
            for factor, predicted in zip(actual.told(run), expected.told(over[0]), strict=True):
                if is_fixed(((predicted,),)):
                    yield from atoms_of(((factor,),))


def _layout(
    record: Record, width_of: Callable[[Atom], int], is_fixed: Callable[[Atom], bool]
) -> dict[str, tuple[Axis, ...]]:
    """Which channels lie where in every parameter: equal for two networks exactly when they are laid out alike.

    Atoms are numbered by their first place in the parameters, and their sizes are part of the numbers. Those of a
    single channel are constants, since a trace cannot tell them from such.
    """
    known: dict[Atom, Axis] = {}
    count = 0

    def numbered(atom: Atom) -> Axis:
        nonlocal count
        if atom not in known:
            size = width_of(atom)
            if size == 1 or is_fixed(atom):
                known[atom] = constant(size)
            else:
                known[atom], count = ((Atom(count * _SIZES + size),),), count + 1
        return known[atom]

    return {
        name: tuple(substitute(record.table.resolve(axis), numbered) for axis in axes)
        for name, axes in record.parameters.items()
    }


def _telling(record: Record) -> Iterator[Step]:
    """Steps without copies, which are made or not depending on what lies in memory one after the other."""
    return (step for step in record.steps if step.operation != "aten.clone")


def _plainly(step: Step) -> str:
    return "aten.view" if step.operation in ("aten._unsafe_view", "aten._reshape_alias") else step.operation
