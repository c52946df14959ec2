"""The order of steps: the best of all that there are, by trying them all."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_prune.hardware import memory_order
from nas_prune.hardware.memory_order import moments_of, stretches
from nas_prune.hardware.steps import Flow, Step


@st.composite
def flows(draw: st.DrawFn) -> tuple[Flow, list[int]]:
    """Steps that each make one value of some that were made before, and the bytes of all values."""
    count = draw(st.integers(1, 7))
    steps = []
    for made in range(1, count + 1):
        reads = draw(st.frozensets(st.integers(0, made - 1), min_size=1, max_size=3))
        over = draw(st.frozensets(st.sampled_from(sorted(reads))))
        steps.append(Step("", reads, frozenset((made,)), over))
    read = {value for step in steps for value in step.reads}
    outputs = frozenset(range(1, count + 1)) - read | {count}
    sizes = draw(st.lists(st.integers(1, 20), min_size=count + 1, max_size=count + 1))
    if draw(st.booleans()):  # what may be written over has the size of what is made
        sizes = [sizes[0]] * (count + 1)
    else:
        steps = [Step("", step.reads, step.makes, frozenset()) for step in steps]
    return Flow(tuple(steps), tuple(range(count + 1)), frozenset((0,)), outputs), sizes


def orders_of(flow: Flow, done: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """Every order in which a flow's steps can run."""
    if len(done) == len(flow.steps):
        yield done
    made = flow.inputs.union(*(flow.steps[number].makes for number in done))
    for number, step in enumerate(flow.steps):
        if number not in done and step.reads <= made:
            yield from orders_of(flow, (*done, number))


def peak_of(flow: Flow, order: tuple[int, ...], sizes: list[int]) -> int:
    """The peak of one order, from the first and last place at which each value is used."""
    end = len(order)
    uses = {value: [-1] for value in flow.inputs}
    for place, number in enumerate(order):
        for value in flow.steps[number].reads | flow.steps[number].makes:
            uses.setdefault(value, []).append(place)
    for value in flow.outputs:
        uses[value].append(end)
    peak = 0
    for place, number in enumerate(order):
        step = flow.steps[number]
        live = sum(sizes[value] for value, at in uses.items() if min(at) <= place <= max(at))
        ending = [value for value in step.over if max(uses[value]) == place]
        peak = max(peak, live - (sizes[ending[0]] if ending else 0))
    return peak


def found_peak(flow: Flow, sizes: list[int]) -> int:
    ways = moments_of(flow, [sizes])
    return max(
        min(max(sum(sizes[value] for value in moment.live) for moment in way) for way in stretch)
        for stretch in ways
    )


@settings(deadline=None, max_examples=150)
@given(flows())
@pytest.mark.slow
def test_the_order_that_is_found_is_the_best_of_all(case: tuple[Flow, list[int]]) -> None:
    steps, sizes = case
    assert found_peak(steps, sizes) == min(peak_of(steps, order, sizes) for order in orders_of(steps))


def flow(*steps: tuple[set[int], int], inputs: tuple[int, ...] = (0,), outputs: tuple[int, ...]) -> Flow:
    """Steps that read some values and make one each."""
    made = tuple(Step("", frozenset(reads), frozenset((value,)), frozenset()) for reads, value in steps)
    return Flow(made, tuple(range(len(steps) + len(inputs))), frozenset(inputs), frozenset(outputs))


def test_of_two_steps_that_both_set_memory_free_the_order_matters() -> None:
    halves = flow(({0}, 2), ({1}, 3), ({2, 3}, 4), inputs=(0, 1), outputs=(4,))
    assert found_peak(halves, [10, 10, 5, 1, 1]) == 21  # 20 + 1, then 11 + 5; the other way round 20 + 5


def test_what_is_read_behind_a_stretch_sets_nothing_free_in_it() -> None:
    """A shortcut over two branches, as in a U: both read it, the first one's own order is as good as any."""
    shortcut = flow(({0}, 1), ({1}, 2), ({1}, 3), ({2}, 4), ({3, 4}, 5), ({5}, 6), ({6, 1}, 7), outputs=(7,))
    for sizes in ([1, 9, 4, 6, 1, 1, 1, 1], [1, 9, 6, 4, 7, 1, 1, 1], [1, 5, 2, 8, 9, 1, 1, 1]):
        assert found_peak(shortcut, sizes) == min(
            peak_of(shortcut, order, sizes) for order in orders_of(shortcut)
        )
    assert stretches(shortcut) == [(0,), (1, 2, 3, 4), (5,), (6,)]


def test_where_there_are_too_many_states_a_good_order_is_found_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ten branches, each wide in its middle, that the code runs side by side."""
    steps, sizes = list[Step](), [1]
    wide = range(1, 11)
    for value in wide:
        steps.append(Step("", frozenset((0,)), frozenset((value,)), frozenset()))
        sizes.append(100)
    for value in wide:
        steps.append(Step("", frozenset((value,)), frozenset((value + 10,)), frozenset()))
        sizes.append(1)
    steps.append(Step("", frozenset(range(11, 21)), frozenset((21,)), frozenset()))
    branches = Flow(tuple(steps), tuple(range(22)), frozenset((0,)), frozenset((21,)))
    best = 100 + 9 + 1  # the last branch, the ends of the others, and the image or this one's own
    assert found_peak(branches, [*sizes, 1]) == best
    monkeypatch.setattr(memory_order, "_MOST_STATES", 3)
    assert found_peak(branches, [*sizes, 1]) == best


def test_a_chain_is_cut_after_every_step() -> None:
    steps = tuple(Step("", frozenset((one,)), frozenset((one + 1,)), frozenset()) for one in range(4))
    assert stretches(Flow(steps, tuple(range(5)), frozenset((0,)), frozenset((4,)))) == [
        (0,),
        (1,),
        (2,),
        (3,),
    ]
