"""Peak memory of a network's activations for one image, as a function of widths.

What counts are tensors that are no parameters, each from the step that makes it to the last one that reads it: the
image from the start, what the network puts out to the end. Views of a tensor are the same tensor. At a step, what it
reads and what it makes are live together. The peak is the most that is live at one step; what a kernel needs for itself
while it runs is not known here. Nothing is counted of what no step reads (statistics that norms save for training).

`own_order` is what PyTorch itself holds, in the order of the module's own code. `Memory` is what a device needs:
a norm or an activation function works in place on what the layer before it has just made, and so does any
element-by-element operation on an input that nothing else reads; what depends on no input is a constant like the
weights; and the steps run in the best order that is known, at most what the module's own needs.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas_prune.graph.inputs import is_within
from nas_prune.hardware.memory_order import Moment, moments_of
from nas_prune.hardware.operations import Operations, operations_of
from nas_prune.hardware.peaks import Peaks, Sum, peaks_of
from nas_prune.hardware.steps import Flow, flow_of
from nas_prune.space.cost import Expander, Terms
from nas_prune.space.search_space import SearchSpace

FLOAT32 = 4  # bytes
_TRIALS = 3  # random widths that orders are looked for at, beside the whole network's


@dataclass(frozen=True)
class Memory:
    """The peak memory of activations in bytes, a cost of widths and of which blocks are there.

    Attributes:
        space: the network.
        activation_bytes: of a number of an activation; integers and truth values have PyTorch's own size.
        reorders: steps may run in another order than that of the module's own code: the best one that is known of the
            whole network, be blocks taken out or not.
    """

    space: SearchSpace = field(repr=False)
    activation_bytes: int = FLOAT32
    reorders: bool = True

    def __call__(self, vectors_NV: ArrayLike) -> NDArray[np.int64]:
        """The bytes for each of N vectors, or for one, exact."""
        return self._for(vectors_NV)(vectors_NV)

    def real(self, vectors_NV: ArrayLike) -> NDArray[np.float64]:
        """The bytes between whole widths."""
        return self._for(vectors_NV).real(vectors_NV)

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why some tensors count as they are in the whole network, whatever the widths; mostly none."""
        return self._operations.doubts

    def _for(self, vectors_NV: ArrayLike) -> Peaks:
        has_blocks = np.shape(vectors_NV)[-1] > len(self.space.groups)
        return self._with_blocks if has_blocks else self._of_widths

    @cached_property
    def _operations(self) -> Operations:
        return operations_of(self.space)

    @cached_property
    def _bytes(self) -> tuple[Terms, ...]:
        return bytes_of(self._operations, self.space, self.activation_bytes)

    @cached_property
    def _of_widths(self) -> Peaks:
        return self._peaks(())

    @cached_property
    def _with_blocks(self) -> Peaks:
        return self._peaks([block.path for block in self.space.blocks])

    def _peaks(self, blocks: Sequence[str]) -> Peaks:
        of_tensor = self._bytes
        flow = flow_of(self._operations, lambda one, other: of_tensor[one] == of_tensor[other], blocks)
        terms_V = [of_tensor[tensor] for tensor in flow.tensors]
        trials = _trials(self.space.base_G) if self.reorders else []
        sizes_NV = [[_value(terms, widths) for terms in terms_V] for widths in trials]
        removal = _Removal(flow, blocks, terms_V)
        ways = [
            [way for place, way in enumerate(ways) if not place or removal.can_follow(way)]
            for ways in moments_of(flow, sizes_NV)
        ]
        return peaks_of(
            [[[removal.sum_of(moment) for moment in way] for way in one] for one in ways],
            len(self.space.groups),
        )


def own_order(space: SearchSpace, activation_bytes: int = FLOAT32) -> Peaks:
    """The peak of what PyTorch holds in the order of the module's own code, as a function of widths alone."""
    operations = operations_of(space)
    of_tensor = bytes_of(operations, space, activation_bytes)
    first = dict.fromkeys(operations.inputs, 0)
    last = dict.fromkeys(operations.inputs, 0)
    for number, operation in enumerate(operations.order):
        for tensor in (*operation.makes, *operation.reads):
            first.setdefault(tensor, number)
            last[tensor] = number
    last.update(dict.fromkeys(operations.outputs, len(operations.order)))
    moments = [
        Sum(_total([of_tensor[one] for one in operations.needed if first[one] <= number <= last[one]]))
        for number in range(len(operations.order))
    ]
    return peaks_of([[moments]], len(space.groups))


def bytes_of(operations: Operations, space: SearchSpace, activation_bytes: int) -> tuple[Terms, ...]:
    """The bytes of each tensor as a sum of products of widths."""
    expand = Expander(space.graph)
    found = []
    for tensor in operations.tensors:
        each = activation_bytes if tensor.is_float else tensor.item_bytes
        found.append(Counter({one: each * count for one, count in expand(tensor.axes).items()}))
    return tuple(found)


def _total(parts: Sequence[Terms]) -> Terms:
    total: Terms = Counter()
    for part in parts:
        total.update(part)
    return total


def _value(terms: Terms, widths_G: Sequence[int]) -> int:
    return sum(count * prod(widths_G[column] for column in monomial) for monomial, count in terms.items())


def _trials(base_G: Sequence[int]) -> list[list[int]]:
    """The whole network's widths, and some random ones."""
    rng = np.random.default_rng(0)
    return [[*base_G], *rng.integers(1, np.array(base_G) + 1, (_TRIALS, len(base_G))).tolist()]


class _Removal:
    """What the removal of blocks does to what is live: what came in is what goes out, and counts once.

    A block whose output is not one tensor, or is of another size than all that it reads, counts as if it stayed.
    """

    def __init__(self, flow: Flow, blocks: Sequence[str], terms_V: Sequence[Terms]) -> None:
        self._blocks, self._terms = blocks, terms_V
        self._through = dict[int, tuple[int, int]]()  # what goes out of a block: the block, and what came in
        for number, path in enumerate(blocks):
            inside = [step for step in flow.steps if is_within(step.where, path)]
            outside = [step for step in flow.steps if not is_within(step.where, path)]
            made = {value for step in inside for value in step.makes}
            out = made & {*flow.outputs, *(value for step in outside for value in step.reads)}
            read = {value for step in inside for value in step.reads} - made
            if len(out) == 1:
                (value,) = out
                came = [one for one in read if terms_V[one] == terms_V[value]]
                if came:
                    self._through[value] = number, max(came)

    def sum_of(self, moment: Moment) -> Sum:
        """A moment's bytes."""
        terms = _total([self._terms[value] for value in moment.live])
        less = tuple(
            (chain, self._terms[value])
            for value in moment.live & self._through.keys()
            if (chain := self._chain(value, moment.live))
        )
        known = {number for number, _ in self._through.values()}
        owner = next(
            (number for number in known if is_within(moment.where, self._blocks[number])),
            None,
        )
        return Sum(terms, owner, less)

    def _chain(self, value: int, live: frozenset[int]) -> tuple[int, ...]:
        """The blocks without which a value is one that is live itself; none if there is no such one."""
        chain = list[int]()
        while value in self._through:
            number, value = self._through[value]
            chain.append(number)
            if value in live:
                return tuple(chain)
        return ()

    def can_follow(self, way: Sequence[Moment]) -> bool:
        """Whether the steps of each block follow one another."""
        for path in self._blocks:
            places = [place for place, moment in enumerate(way) if is_within(moment.where, path)]
            if places and places[-1] - places[0] >= len(places):
                return False
        return True
