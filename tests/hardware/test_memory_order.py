"""The order of steps: the best of all that there are, by trying them all."""

from collections.abc import Iterator

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
def test_the_order_that_is_found_is_the_best_of_all(case: tuple[Flow, list[int]]) -> None:
    flow, sizes = case
    assert found_peak(flow, sizes) == min(peak_of(flow, order, sizes) for order in orders_of(flow))


def test_where_there_are_too_many_states_a_good_order_is_found_all_the_same(monkeypatch) -> None:  # type: ignore[no-untyped-def]
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
    flow = Flow(tuple(steps), tuple(range(22)), frozenset((0,)), frozenset((21,)))
    best = 1 + 100 + 9 + 1 - 1  # the image has been read for the last time when the last branch ends
    assert found_peak(flow, [*sizes, 1]) == best + 1 - 1
    monkeypatch.setattr(memory_order, "_MOST_STATES", 3)
    assert found_peak(flow, [*sizes, 1]) == best


def test_a_chain_is_cut_after_every_step() -> None:
    steps = tuple(Step("", frozenset((one,)), frozenset((one + 1,)), frozenset()) for one in range(4))
    assert stretches(Flow(steps, tuple(range(5)), frozenset((0,)), frozenset((4,)))) == [
        (0,),
        (1,),
        (2,),
        (3,),
    ]
