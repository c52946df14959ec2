"""In which order steps are run so that little memory is needed at once, and what is live at each.

A step that works element by element writes over an input that nothing else will read.
"""

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from nas_prune.hardware.steps import Flow, Step

Order: TypeAlias = tuple[int, ...]  # numbers of steps

_MOST_STATES = 3000  # of one stretch that are looked at
_FEW = 16  # states of one length that are gone on from, where there are more


@dataclass(frozen=True, slots=True)
class Moment:
    """One step as it runs: the path of its module, and the values that are live."""

    where: str
    live: frozenset[int]


def stretches(flow: Flow) -> list[Order]:
    """The steps, cut where all orders agree: after a step that all before it lead to, and that leads to all behind it.

    What is best for each stretch is then best for the whole.
    """
    before, behind = _closures(flow)
    everything, last = (1 << len(flow.steps)) - 1, len(flow.steps) - 1
    found, start = list[Order](), 0
    for number in range(len(flow.steps)):
        if before[number] | behind[number] | 1 << number == everything or number == last:
            found.append(tuple(range(start, number + 1)))
            start = number + 1
    return found


def _closures(flow: Flow) -> tuple[list[int], list[int]]:
    """For each step all that lead to it, and all that it leads to, as bits."""
    makers = {value: number for number, step in enumerate(flow.steps) for value in step.makes}
    before, behind = [0] * len(flow.steps), [0] * len(flow.steps)
    for number, step in enumerate(flow.steps):
        for value in step.reads & makers.keys():
            before[number] |= before[makers[value]] | 1 << makers[value]
    for number in reversed(range(len(flow.steps))):
        for value in flow.steps[number].reads & makers.keys():
            behind[makers[value]] |= behind[number] | 1 << number
    return before, behind


class _Board:
    """Which values are live while the steps of a flow are run, in whatever order."""

    def __init__(self, left: Counter[int], live: frozenset[int]) -> None:
        self.left, self.live = left, live

    def copy(self) -> "_Board":
        return _Board(Counter(self.left), self.live)

    def run(self, steps: Sequence[Step]) -> list[Moment]:
        """Run some steps."""
        return [self._run(step) for step in steps]

    def _run(self, step: Step) -> Moment:
        self.left.subtract(step.reads)
        done = {value for value in step.reads if not self.left[value]}
        # Of several the one made last: what came into a block may be needed behind it, when another goes.
        overwritten = sorted(done & step.over)[-1:]
        moment = (self.live | step.makes).difference(overwritten)
        self.live = (self.live - done) | {value for value in step.makes if self.left[value]}
        return Moment(step.where, moment)


def _board_of(flow: Flow) -> _Board:
    left = Counter(value for step in flow.steps for value in step.reads)
    left.update(flow.outputs)  # which are read by whoever called
    return _Board(left, frozenset(value for value in flow.inputs if left[value]))


def moments_of(flow: Flow, sizes_NV: Sequence[Sequence[int]] = ()) -> list[list[list[Moment]]]:
    """What is live at each step, for each stretch of a flow and each of the orders that its steps may be run in.

    The module's own order comes first, then those that are best for some sizes.

    Args:
        flow: the steps.
        sizes_NV: bytes of each value, for some widths.
    """
    board, found = _board_of(flow), list[list[list[Moment]]]()
    for own in stretches(flow):
        others = [_best_order(flow, own, board, sizes) for sizes in sizes_NV if len(own) > 1]
        orders = dict.fromkeys((own, *(order for order in others if order is not None)))
        ways = [(board.copy(), [flow.steps[number] for number in order]) for order in orders]
        found.append([way.run(steps) for way, steps in ways])
        board = ways[0][0]
    return found


def _best_order(flow: Flow, own: Order, board: _Board, sizes_V: Sequence[int]) -> Order | None:
    """An order of a stretch's steps whose peak is lower than that of their own; None where none is known.

    It is the best of all, but where there are too many states (which steps are done) to look at.
    """
    stretch = _Stretch([flow.steps[number] for number in own], board, sizes_V)
    start = _State(0, sum(sizes_V[value] for value in board.live), 0, ())
    bound = stretch.peak_of(start)
    try:
        found = _lowest(stretch, start, bound)
    except _TooManyError:
        found = _descent(stretch, start)
    return tuple(own[place] for place in found.order) if found and found.peak < bound else None


class _TooManyError(Exception):
    """There are more states than are looked at."""


def _lowest(stretch: "_Stretch", start: "_State", bound: int) -> "_State | None":
    """The end that is reached with the lowest peak: states are looked at in order of the peak that leads to them."""
    waiting, known, count = [(start.peak, 0, 0, start)], {start.done: start.peak}, 0
    while waiting:
        peak, _, _, state = heapq.heappop(waiting)
        if peak >= bound or len(state.order) == len(stretch):
            return state
        if count > _MOST_STATES:
            raise _TooManyError
        for other in stretch.behind(state):
            if other.done not in known or other.peak < known[other.done]:
                known[other.done] = other.peak
                count += 1
                heapq.heappush(waiting, (other.peak, -len(other.order), count, other))
    return None


def _descent(stretch: "_Stretch", start: "_State") -> "_State":
    """An end that is reached by going on from the few best states of each length."""
    states = [start]
    for _ in range(len(stretch)):
        found = dict[int, _State]()
        for state in states:
            for other in stretch.behind(state):
                known = found.get(other.done)
                if known is None or other.peak < known.peak:
                    found[other.done] = other
        states = sorted(found.values(), key=lambda state: (state.peak, state.live))[:_FEW]
    return states[0]


@dataclass(frozen=True, slots=True)
class _State:
    """Some steps of a stretch are done: which (as bits), bytes that are live, their peak so far, in which order."""

    done: int
    live: int
    peak: int
    order: tuple[int, ...]


class _Stretch:
    """What each step of a stretch does to the bytes that are live."""

    def __init__(self, steps: Sequence[Step], board: _Board, sizes_V: Sequence[int]) -> None:
        self._steps, self._sizes = steps, sizes_V
        self._readers = dict[int, int]()  # of each value, as bits; only if none lies behind the stretch
        inside = Counter(value for step in steps for value in step.reads)
        makers = {value: place for place, step in enumerate(steps) for value in step.makes}
        self._needs = [
            sum(1 << place for place in {makers[value] for value in step.reads & makers.keys()})
            for step in steps
        ]
        for place, step in enumerate(steps):
            for value in step.reads:
                if inside[value] == board.left[value]:
                    self._readers[value] = self._readers.get(value, 0) | 1 << place

    def __len__(self) -> int:
        return len(self._steps)

    def peak_of(self, state: _State) -> int:
        """The peak of the steps in their own order."""
        for place, step in enumerate(self._steps):
            state = self._after(state, place, step)
        return state.peak

    def behind(self, state: _State) -> Iterator[_State]:
        """The states one step on; a single one where that needs no more memory, neither now nor later."""
        found = list[_State]()
        for place, step in enumerate(self._steps):
            if not state.done >> place & 1 and self._needs[place] & ~state.done == 0:
                other = self._after(state, place, step)
                if other.live <= state.live and other.peak == state.peak:
                    yield other
                    return
                found.append(other)
        yield from found

    def _after(self, state: _State, place: int, step: Step) -> _State:
        done = state.done | 1 << place
        ended = [value for value in step.reads if self._readers.get(value, ~done) & ~done == 0]
        made = sum(self._sizes[value] for value in step.makes)
        overwritten = [self._sizes[value] for value in ended if value in step.over]
        peak = state.live + made - (overwritten[0] if overwritten else 0)
        live = state.live + made - sum(self._sizes[value] for value in ended)
        return _State(done, live, max(state.peak, peak), (*state.order, place))
