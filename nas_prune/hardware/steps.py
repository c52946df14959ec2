"""A network as the steps that a device runs, from the operations that PyTorch ran.

A step is an operation, and with it what follows element by element on its output alone (a norm, an activation
function). What depends on no input of the network is worked out before, and lies beside the weights.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from nas_prune.graph.inputs import is_within
from nas_prune.hardware.operations import Operations

Alike: TypeAlias = Callable[[int, int], bool]


@dataclass(frozen=True, slots=True)
class Step:
    """What a device does at a time; values by number.

    Attributes:
        where: the path of the module.
        reads, makes: values.
        over: those of `reads` that its output may be written over, if nothing else will read them.
    """

    where: str
    reads: frozenset[int]
    makes: frozenset[int]
    over: frozenset[int]


@dataclass(frozen=True, slots=True)
class Flow:
    """A network as steps in the order of the module's own code.

    Attributes:
        steps: the steps.
        tensors: for each value the number of the tensor it lies in; a tensor that is written into holds several, one
            after the other.
        inputs, outputs: values that are there before, and that must be there in the end.
    """

    steps: tuple[Step, ...]
    tensors: tuple[int, ...]
    inputs: frozenset[int]
    outputs: frozenset[int]


def flow_of(operations: Operations, is_alike: Alike, blocks: Sequence[str] = ()) -> Flow:
    """The steps that operations make.

    Args:
        operations: as the module's code runs them.
        is_alike: whether two tensors have the same number of bytes at all widths.
        blocks: modules that may be taken out, over whose edges no operations are put together.
    """
    return _put_together(_with_values(operations, is_alike), blocks)


def _with_values(operations: Operations, is_alike: Alike) -> Flow:
    """A step for each operation; every state of a tensor has a number of its own."""
    tensors: list[int] = []
    now: dict[int, int] = {}  # the value that a tensor holds

    def value_in(tensor: int) -> int:
        tensors.append(tensor)
        now[tensor] = len(tensors) - 1
        return now[tensor]

    inputs, needed, steps = frozenset(map(value_in, operations.inputs)), operations.needed, list[Step]()
    for operation in operations.order:
        made = [*(tensor for tensor in operation.makes if tensor in needed), *operation.changes]
        reads = frozenset(now[tensor] for tensor in operation.reads if tensor in now)
        if reads and made:  # views make nothing, constants read nothing
            whole = {*operation.over, *operation.changes} if len(made) == 1 else ()
            over = frozenset(now[one] for one in whole if one in now and is_alike(one, made[0]))
            steps.append(Step(operation.where, reads, frozenset(map(value_in, made)), over))
    outputs = frozenset(now[tensor] for tensor in operations.outputs if tensor in now)
    return Flow(tuple(steps), tuple(tensors), inputs, outputs)


def _put_together(flow: Flow, blocks: Sequence[str]) -> Flow:
    """The flow with each step that only works on what another has just made as part of that one."""
    readers = Counter(value for step in flow.steps for value in step.reads)
    readers.update(flow.outputs)
    stands_for = dict[int, int]()  # values that lie in the place of another, which they follow
    sides = dict[int, tuple[bool, ...]]()  # of blocks' edges, for values that a step has made
    steps = list[Step]()
    for step in flow.steps:
        side = tuple(is_within(step.where, block) for block in blocks)
        (read, *others), (made, *_) = step.reads, step.makes
        first = stands_for.get(read, read)
        if not others and step.over and readers[read] == 1 and sides.get(first) == side:
            stands_for[made] = first
        else:
            reads, over = (
                frozenset(stands_for.get(v, v) for v in values) for values in (step.reads, step.over)
            )
            steps.append(replace(step, reads=reads, over=over))
            sides.update(dict.fromkeys(step.makes, side))
    outputs = frozenset(stands_for.get(value, value) for value in flow.outputs)
    return replace(flow, steps=tuple(steps), outputs=outputs)
