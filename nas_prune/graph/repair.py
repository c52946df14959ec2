"""What to change in a channel graph that the self-check refuted: which axes to tie, which groups to freeze."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, combinations
from typing import TypeAlias

from torch import nn

from nas_prune.graph.attributes import ASKED, held_sizes
from nas_prune.graph.axes import Atom, Axis, atoms_of
from nas_prune.graph.record import ROOT, Record, Step
from nas_prune.graph.table import AxisTable


def tied(
    record: Record, model: nn.Module, path: str, *, boldly: bool = False, sums: bool = True
) -> Record | None:
    """The record with axes tied that the code of a module's type seems to give one size.

    Pieces of equal size that one operation cut (`chunk`, halves), and two axes of equal length that meet in the
    module, one of which was put together from factors: an attention's (heads, size) and the stream it is in.
    Channels of tied axes are kept or dropped together, place by place.

    Args:
        record: what the trace showed; it is not changed.
        model: the network.
        path: the module whose forward did not go as predicted.
        boldly: tie all axes of equal length, not only where one of them is a product.
        sums: concatenations, too, which may be as long by chance (queries, keys and values of one head).

    Returns:
        A record that knows more; None when there is nothing to tie.
    """
    other = replace(record, table=record.table.copy(), untied=record.untied or record)
    before = len(other.table.definitions)
    for place in alike(model, path):
        where = place or ROOT
        pieces = [axes for at, axes in record.pieces if at == where]
        met = [axis for step in record.steps if step.where == where for out in step.outputs for axis in out]
        met += record.inputs.get(place, ())
        reason = f"the code of {where}, which gives them one size"
        made = list(_made_to_fit(other, model, place, met)) if boldly else []
        for axes in (*pieces, *made, *_meeting(other, met, boldly=boldly, sums=sums)):
            for first, second in _pairs_of_equal_length(other, axes):
                other.table = _with_tie(other.table, first, second, reason)
    return other if len(other.table.definitions) > before else None


def tied_by_numbers(record: Record, model: nn.Module, path: str) -> Record | None:
    """The record with axes tied that the code of a module's type gives one size by one number that it holds.

    An attention that holds the size of its heads asks for it in queries and keys, and in values.
    """
    other = replace(record, table=record.table.copy(), untied=record.untied or record)
    before = len(other.table.definitions)
    for place in alike(model, path):
        held = {
            name: axis for (at, name), axis in record.attributes.items() if at == place and "*" not in name
        }
        lengths = [record.table.length(axis) for axis in held.values()]
        asked = [
            axis
            for step in _steps(record, place)
            if step.operation in ASKED
            for out in step.outputs
            for axis in out
        ]
        for axis, length in zip(held.values(), lengths, strict=True):
            if lengths.count(length) == 1:
                for first, second in _pairs_of_equal_length(other, [axis, *asked]):
                    if length == record.table.length(first):
                        reason = f"the code of {place or ROOT}, which gives them one size"
                        other.table = _with_tie(other.table, first, second, reason)
    return other if len(other.table.definitions) > before else None


def with_more_numbers(record: Record, model: nn.Module, path: str) -> Record | None:
    """The record with more numbers, whatever their names, that modules of a type hold taken for lengths of axes."""
    kind = type(model.get_submodule(path))
    found = held_sizes(model, record, of_any_name=kind)
    more = {place: axis for place, axis in found.items() if place not in record.attributes}
    return replace(record, attributes=record.attributes | more) if more else None


Repair: TypeAlias = Callable[[Record, nn.Module, str], Record | None]


def _with_both(tie: Repair, record: Record, model: nn.Module, path: str) -> Record | None:
    """More numbers taken for lengths, and what these or other signs tie."""
    more = with_more_numbers(record, model, path)
    return None if more is None else tie(more, model, path)


_TIES: tuple[Repair, ...] = (  # from those that cost least freedom on
    tied_by_numbers,
    tied,
    partial(tied, sums=False),
    partial(tied, boldly=True),
)
REPAIRS: tuple[Repair, ...] = (
    with_more_numbers,
    *(repair for tie in _TIES for repair in (tie, partial(_with_both, tie))),
)


def _with_tie(table: AxisTable, first: Axis, second: Axis, reason: str) -> AxisTable:
    """The table with two axes tied; the same where that would freeze something, since then it is no tie."""
    changed = table.copy()
    changed.unify(first, second, reason)
    return table if changed.count_frozen() > table.count_frozen() else changed


def home_of(path: str, model: nn.Module) -> str:
    """The module whose code is to blame for what happens in one: a layer of torch.nn does as it is told."""
    while path:
        module = model.get_submodule(path)
        is_plain = type(module).__module__.startswith("torch.nn.")
        if not (is_plain and (isinstance(module, nn.Sequential) or not any(True for _ in module.children()))):
            break
        path = path.rpartition(".")[0]
    return path


def alike(model: nn.Module, path: str) -> list[str]:
    """Paths of all modules of one type."""
    modules = dict(model.named_modules())
    kind = type(modules[path])
    return [other for other, module in modules.items() if type(module) is kind]


def _meeting(record: Record, axes: Sequence[Axis], *, boldly: bool, sums: bool) -> Iterator[tuple[Axis, ...]]:
    """Axes of equal length; unless boldly, only where one of them is a product."""
    by_length: dict[int, list[Axis]] = defaultdict(list)
    for axis in dict.fromkeys(map(record.table.resolve, axes)):
        if not record.table.is_constant(axis) and not _holds_batch(record, axis):
            by_length[record.table.length(axis)].append(axis)
    for together in by_length.values():
        same = [axis for axis in together if sums or len(axis) == 1]
        has_product = any(len(axis) == 1 and len(axis[0]) > 1 for axis in same)
        if len(same) > 1 and (boldly or has_product):
            yield tuple(same)


def _made_to_fit(
    record: Record, model: nn.Module, path: str, met: Sequence[Axis]
) -> Iterator[tuple[Axis, Axis]]:
    """Sizes that the code asked for (of zeros to put beside channels, say), each with a child's output as long."""
    outputs = [axis for child in children(model, path) for axis in record.outputs.get(child, ())]
    for axis in dict.fromkeys(map(record.table.resolve, met)):
        if record.table.is_asked_for(axis):
            yield from (
                (axis, out) for out in outputs if record.table.length(out) == record.table.length(axis)
            )


def children(model: nn.Module, path: str) -> list[str]:
    """Paths of a module's direct children."""
    return [f"{path}.{child}" if path else child for child, _ in model.get_submodule(path).named_children()]


def _holds_batch(record: Record, axis: Axis) -> bool:
    return record.batch_atom in set(atoms_of(axis))


def _pairs_of_equal_length(record: Record, axes: Sequence[Axis]) -> Iterator[tuple[Axis, Axis]]:
    table, by_length = record.table, defaultdict[int, list[tuple[int, Axis]]](list)
    for place in enumerate(axes):
        by_length[table.length(place[1])].append(place)
    pairs = chain.from_iterable(combinations(together, 2) for together in by_length.values())
    for (_, first), (_, second) in sorted(pairs, key=lambda pair: (pair[0][0], pair[1][0])):
        left, right = table.resolve(first), table.resolve(second)
        if left != right and not table.is_constant(left) and not table.is_constant(right):
            yield left, right


def same_atoms_elsewhere(record: Record, model: nn.Module, path: str, atom: Atom) -> set[Atom]:
    """The atoms that have the part of the given one in the other modules of the same type, itself included."""
    found = {atom}
    coordinates = set(_coordinates(record, path, atom))
    for other in alike(model, path):
        steps = _steps(record, other)
        for number, output, dim, rank in coordinates:
            if number < len(steps) and output < len(steps[number].outputs):
                axes = steps[number].outputs[output]
                atoms = _atoms(record, axes[dim]) if dim < len(axes) else []
                found.update(atoms[rank : rank + 1])
    return found


def _coordinates(record: Record, path: str, atom: Atom) -> Iterator[tuple[int, int, int, int]]:
    for number, step in enumerate(_steps(record, path)):
        for output, axes in enumerate(step.outputs):
            for dim, axis in enumerate(axes):
                atoms = _atoms(record, axis)
                if atom in atoms:
                    yield number, output, dim, atoms.index(atom)
                    return


def atoms_met(record: Record, model: nn.Module, path: str) -> list[Atom]:
    """The atoms that a module's own operations, its input and its children's outputs hold, and that may change."""
    axes = [axis for step in _steps(record, path) for out in step.outputs for axis in out]
    axes += record.inputs.get(path, ())
    for child in children(model, path):
        axes += record.outputs.get(child, ())
    return list(dict.fromkeys(atom for axis in axes for atom in _atoms(record, axis)))


def _steps(record: Record, path: str) -> list[Step]:
    return [step for step in record.steps if step.where == (path or ROOT)]


def _atoms(record: Record, axis: Axis) -> list[Atom]:
    atoms = atoms_of(record.table.resolve(axis))
    return [atom for atom in atoms if record.table.frozen_reason(atom) is None]
