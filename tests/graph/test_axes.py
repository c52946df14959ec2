"""Axes: unifying, cutting, factoring, and what lies where."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_prune.graph.axes import (
    Atom,
    Axis,
    atoms_of,
    channel_at,
    constant,
    length,
    positions,
    substitute,
)
from nas_prune.graph.table import AxisConflictError, AxisTable


def test_unified_atoms_are_one() -> None:
    table = AxisTable()
    a, b = table.new(16), table.new(16)
    table.unify(a, b, "test")
    assert table.resolve(a) == table.resolve(b)


def test_atoms_that_never_met_stay_apart() -> None:
    table = AxisTable()
    a, b = table.new(16), table.new(16)
    assert table.resolve(a) != table.resolve(b)


def test_a_norm_over_a_concatenation_is_split_into_its_parts() -> None:
    table = AxisTable()
    a, b, norm = table.new(16), table.new(12), table.new(28)
    assert table.unify(norm, a + b, "test") == a + b


def test_two_concatenations_cut_at_different_places_share_the_pieces() -> None:
    table = AxisTable()
    a, b, c, d = (table.new(size) for size in (4, 6, 7, 3))
    table.unify(a + b, c + d, "test")
    assert table.resolve(a + b) == table.resolve(c + d)
    assert [table.length((run,)) for run in table.resolve(a + b)] == [4, 3, 3]


def test_a_flattened_map_ties_the_linear_layer_to_the_channels() -> None:
    table = AxisTable()
    channels, features = table.new(8), table.new(8 * 49)
    table.unify(features, table.product([channels, constant(49)]), "test")
    assert table.resolve(features) == ((*channels[0], 49),)


def test_a_concatenation_flattened_with_a_map_distributes() -> None:
    table = AxisTable()
    a, b = table.new(2), table.new(3)
    assert table.product([a + b, constant(4)]) == ((*a[0], 4), (*b[0], 4))


def test_a_view_in_two_makes_a_product_of_two_atoms() -> None:
    table = AxisTable()
    channels = table.new(48)
    outer, inner = table.factor(channels, [4, 12])
    assert table.resolve(channels) == table.product([outer, inner])
    assert [table.length(axis) for axis in (outer, inner)] == [4, 12]


def test_fused_thirds_that_are_added_become_one_atom_three_times() -> None:
    table = AxisTable()
    fused = table.new(48)
    first, rest = table.cut(fused, 16)
    second, third = table.cut(rest, 16)
    table.unify(first, second, "test")
    table.unify(second, third, "test")
    assert table.resolve(fused) == table.resolve(first) * 3
    assert table.factor(fused, [3, 16])[0] == constant(3)


def test_equal_pieces_of_a_concatenation_become_the_same_channels() -> None:
    table = AxisTable()
    a, b = table.new(6), table.new(6)
    outer, piece = table.factor(a + b, [2, 6])
    assert outer == constant(2)
    assert table.resolve(a) == table.resolve(b) == piece


def test_cutting_inside_a_channel_is_a_conflict() -> None:
    table = AxisTable()
    with pytest.raises(AxisConflictError):
        table.cut(table.product([table.new(4), constant(9)]), 5)


def test_an_atom_that_meets_a_fixed_size_is_frozen_with_the_reason() -> None:
    table = AxisTable()
    a = table.new(5)
    table.unify(a, constant(5), "aten.add in head")
    assert table.frozen_reason(next(atoms_of(a))) == "meets a fixed size in aten.add in head"


def test_freezing_goes_with_what_an_atom_is_found_to_be() -> None:
    table = AxisTable()
    whole, a, b, free = table.new(6), table.new(2), table.new(4), table.new(6)
    table.freeze(whole, "because")
    table.unify(whole, a + b, "test")
    assert table.frozen_reason(next(atoms_of(a))) == "because"
    assert table.frozen_reason(next(atoms_of(free))) is None


def test_arrangements_that_cannot_agree_freeze_both() -> None:
    table = AxisTable()
    a, b, free = table.new(5), table.new(3), table.new(2)
    table.unify(table.product([a, constant(3)]), table.product([b, constant(5)]), "odd cut")
    assert table.frozen_reason(next(atoms_of(a))) == "arranged in another way by odd cut"
    assert table.frozen_reason(next(atoms_of(b))) == "arranged in another way by odd cut"
    assert table.frozen_reason(next(atoms_of(free))) is None


axes = st.recursive(
    st.builds(lambda index: ((Atom(index),),), st.integers(0, 3)) | st.builds(constant, st.integers(1, 4)),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: substitute(sum(parts, ()), _same))
        | st.lists(inner, min_size=1, max_size=3).map(lambda parts: substitute((tuple(parts),), _same))
    ),
    max_leaves=5,
)


def _same(atom: Atom) -> Axis:
    return ((atom,),)


def _size(atom: Atom) -> int:
    return (2, 3, 5, 1)[atom.index]


@pytest.mark.parametrize(
    "others", [((0,), (Atom(0),)), ((Atom(0),), (0,)), ((0,), (0,), (Atom(0), 1), (0, 5))]
)
def test_a_run_without_places_is_left_out_beside_others(others: Axis) -> None:
    assert substitute(others, _same) == ((Atom(0),),)
    assert substitute(((0, 3), (0,)), _same) == constant(0)


@given(axes)
def test_normal_form_is_stable(axis: Axis) -> None:
    assert substitute(axis, _same) == axis


@given(axes, st.data())
def test_positions_are_what_dropping_channels_by_hand_leaves(axis: Axis, data: st.DataObject) -> None:
    kept = {
        Atom(index): np.array(
            sorted(data.draw(st.sets(st.integers(0, _size(Atom(index)) - 1), min_size=1))), dtype=np.int64
        )
        for index in range(4)
    }
    result = positions(axis, _size, kept.__getitem__)
    assert len(result) == length(axis, lambda atom: len(kept[atom]))
    by_hand = np.ones(length(axis, _size), dtype=bool)
    for atom, indices in kept.items():
        if _occurrences(axis, atom) < 2:
            channels = channel_at(axis, atom, _size)
            by_hand &= (channels < 0) | np.isin(channels, indices)
    assert set(result) <= set(np.flatnonzero(by_hand))
    if all(_occurrences(axis, atom) < 2 for atom in kept):
        assert result.tolist() == np.flatnonzero(by_hand).tolist()


def _occurrences(axis: Axis, atom: Atom) -> int:
    return sum(found == atom for found in atoms_of(axis))
