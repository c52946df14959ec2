"""The channel graph proves itself: the network is resized and traced again, and what differs is mended or frozen."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np
import torch
from torch import nn

from nas_prune.graph.attributes import held_sizes
from nas_prune.graph.axes import Atom, Axis, atoms_of, length
from nas_prune.graph.channels import BATCH, ChannelGraph
from nas_prune.graph.copies import uncollected
from nas_prune.graph.layout import Prediction
from nas_prune.graph.quick import Quickly
from nas_prune.graph.record import ROOT, Record
from nas_prune.graph.repair import atoms_met, home_of, same_atoms_elsewhere, tied
from nas_prune.graph.resize import group_sizes, resized
from nas_prune.graph.trace import (
    ForwardError,
    Running,
    blank_images,
    first_line,
    made_where_it_runs,
    slow_attention,
    trace,
)


@dataclass(frozen=True, slots=True)
class Problem:
    """Where a resized network did not do what its graph says.

    Attributes:
        path: the module.
        message: what is wrong, or what its forward said.
        is_layout: all sizes are as predicted, but channels of a parameter seem to lie in another order.
    """

    path: str
    message: str
    is_layout: bool = False


_MOST_STEPS = 60_000  # operations that probes of one network may take, all together


@dataclass(frozen=True, slots=True)
class _Checked:
    """What every step of the check needs: the network, the shape of its input, a seed for widths, probes so far."""

    template: nn.Module
    input_shape: tuple[int, ...]
    seed: int = 0
    probes: list[int] = field(default_factory=lambda: [0])

    def probes_left(self, record: Record) -> int:
        """How many groups may still be tried alone, so that a large network is never probed for minutes."""
        return max(16, _MOST_STEPS // max(1, len(record.steps))) - self.probes[0]


def checked(template: nn.Module, input_shape: tuple[int, ...], *, seed: int = 0) -> ChannelGraph:
    """The channel graph of a network, with every group frozen whose narrowing its own code does not survive.

    Args:
        template: the network on meta tensors, or anywhere.
        input_shape: one input without the batch dimension.
        seed: fixes the random widths tried.

    Returns:
        A graph for which the network ran at random widths and at one channel a group, in evaluation and in
        training, and in which every operation and every parameter was at the random widths as the graph says.

    Raises:
        ForwardError: the network's forward fails on such an input.
    """
    return Prediction(proved(template, input_shape, seed=seed)).graph


def proved(template: nn.Module, input_shape: tuple[int, ...], *, seed: int = 0) -> Record:
    """The record whose graph `checked` returns: what a trace showed, with what the checks taught beyond it."""
    network = _Checked(template, input_shape, seed)
    record = trace(template, input_shape)
    record = replace(record, attributes=held_sizes(template, record) | record.attributes)
    tried: Counter[tuple[type[nn.Module], bool]] = Counter()
    problem = _problem(network, record)
    while problem is not None:
        record, problem = _mended(network, record, problem, tried)
    return record


def _mended(
    network: _Checked, record: Record, problem: Problem, tried: Counter[tuple[type[nn.Module], bool]]
) -> tuple[Record, Problem | None]:
    """The record after one more tie or freeze, and what is still wrong.

    A tie that does not mend everything in modules of the type may still leave less to freeze.
    """
    kind = _kind(network, problem)
    unmended = [(record, problem)]
    for boldly in (False, True):
        candidate = None
        if tried[kind, boldly] < _MOST_TIES:
            tried[kind, boldly] += 1
            path = home_of(problem.path, network.template)
            candidate = tied(record, network.template, path, boldly=boldly)
        if candidate is not None:
            left = _problem(network, candidate)
            if left is None or _kind(network, left) is not kind:
                return candidate, left
            unmended.append((candidate, left))
    frozen = [_frozen(network, *one) for one in unmended]
    best = max(frozen, key=lambda one: Prediction(one).searchable_share())
    return best, _problem(network, best)


_MOST_TIES = 3  # for each type: what is tied elsewhere may show more to tie


def _frozen(network: _Checked, record: Record, problem: Problem) -> Record:
    """The record with what is to blame for a problem frozen."""
    table = record.table.copy()
    for atom, reason in _culprits(network, record, problem).items():
        table.freeze(((atom,),), reason)
    return replace(record, table=table)


def _kind(network: _Checked, problem: Problem) -> type[nn.Module]:
    """The type of module whose code is to blame."""
    return type(network.template.get_submodule(home_of(problem.path, network.template)))


def _problem(network: _Checked, record: Record) -> Problem | None:
    """What is wrong when all groups are narrowed together; None when nothing is.

    The record learns the smallest width that the network's code survives.
    """
    _freeze_squares(record)
    prediction = Prediction(record)
    base = prediction.base_G
    if not base:
        return None
    rng = np.random.default_rng(network.seed)
    for widths in _opposites(base, rng):
        found = difference(network.template, prediction, network.input_shape, widths)
        if found is not None and found.is_layout:
            # By chance one layout may look like another at some widths, though hardly at two more.
            again = (
                difference(network.template, prediction, network.input_shape, other)
                for other in _opposites(base, rng)
            )
            found = next(filter(None, again), None)
        if found is not None:
            return found
    return _at_least(network, prediction)


def _freeze_squares(record: Record) -> None:
    """Freeze channels that are multiplied with themselves: a place then holds two of them."""
    for axes in record.parameters.values():
        for axis in map(record.table.resolve, axes):
            twice = tuple((atom,) for atom in set(atoms_of(axis)) if _power(axis, atom) > 1)
            record.table.freeze(twice, "the network's code gives one size to both factors of a product")


def _power(axis: Axis, atom: Atom) -> int:
    """How often an atom is multiplied with itself at most in one place of an axis."""
    return max(
        sum(int(factor == atom) if not isinstance(factor, tuple) else _power(factor, atom) for factor in run)
        for run in axis
    )


def _opposites(base: Sequence[int], rng: np.random.Generator) -> tuple[list[int], list[int]]:
    """Two random width vectors; which of two like groups is the wider one differs between them.

    Widths are below the base, and of at least two where possible, since one says little of what lies where. A group
    of two is narrowed in one of the vectors.
    """
    choices: dict[int, Iterator[int]] = {}
    widths, opposite = [], []
    for size in base:
        lowest = max(2, size // 3) if size > 3 else 1
        highest = max(size - 1, min(size, 2))
        width = next(choices.get(size, iter(())), None)
        if width is None:
            choices[size] = iter((rng.permutation(highest - lowest + 1) + lowest).tolist())
            width = next(choices[size])
        widths.append(width)
        opposite.append(lowest + highest - width)
    return widths, opposite


def _at_least(network: _Checked, prediction: Prediction) -> Problem | None:
    """What is wrong at the smallest widths.

    A network may run with two channels everywhere and not with one (norms of weights, say), or another kernel may
    take over there (`einsum` multiplies instead of contracting): the record learns it.
    """
    record = prediction.record
    found = None
    for widths in _unlike(prediction.base_G, np.random.default_rng(network.seed + 1), len(record.steps)):
        found = failure(network.template, prediction.graph, network.input_shape, widths, in_training=False)
        if found is not None:
            return found
    for least in range(record.least, 3):
        smallest = [min(size, least) for size in prediction.base_G]
        wrong = failure(network.template, prediction.graph, network.input_shape, smallest)
        if wrong is None:
            record.least = least
            return None
        found = found or wrong
    return found


def _unlike(base: Sequence[int], rng: np.random.Generator, steps: int) -> Iterator[list[int]]:
    """Width vectors that tell groups of one size apart: of any two, one is narrow and one wide in some vector.

    Code that halves an axis of several pieces, say, runs as long as the pieces happen to be equal. The first vector
    is one below the base, so that no group of two escapes and few widths are even. Where a run is cheap, each of two
    groups is the wider one in some vector, and random vectors follow.

    Args:
        base: the widths of the whole network.
        rng: draws the widths.
        steps: how many operations one run takes.
    """
    yield [max(1, size - 1) for size in base]
    seen: Counter[int] = Counter()
    ranks = []  # among the groups of its size
    for size in base:
        ranks.append(seen[size])
        seen[size] += 1
    digits = max(1, (max(seen.values()) - 1).bit_length())
    sides = (0, 1) if 2 * digits * steps <= _MOST_STEPS // 30 else (0,)
    for digit in range(digits):
        for side in sides:
            is_wide = [rank >> digit & 1 == side for rank in ranks]
            yield [_half(*one, rng) for one in zip(base, is_wide, strict=True)]
    for _ in range(2 * digits, min(_MOST_RANDOM, _MOST_STEPS // 60 // steps)):
        yield [int(rng.integers(_lowest(size), size + 1)) for size in base]


_MOST_RANDOM = 8


def _half(size: int, is_wide: bool, rng: np.random.Generator) -> int:  # noqa: FBT001
    """A width from the upper or the lower half of those that a group is tried at."""
    lowest = _lowest(size)
    middle = (lowest + size) // 2
    low, high = (min(size, middle + 1), size) if is_wide else (lowest, middle)
    return int(rng.integers(low, high + 1))


def _lowest(size: int) -> int:
    """The smallest width that a group is tried at, together with others."""
    return max(2, size // 3) if size > 2 else 1


def failure(
    template: nn.Module,
    graph: ChannelGraph,
    input_shape: tuple[int, ...],
    widths_G: Sequence[int],
    *,
    in_training: bool = True,
) -> Problem | None:
    """What is wrong with running a network at the given widths; None when nothing is.

    It must run on meta tensors, in training as well unless that is left out, and PyTorch must count the MACs that
    the graph predicts.
    """
    model = resized(template, graph, widths_G).to("meta")
    images = blank_images(model, _IMAGES, input_shape)
    running = Running({id(module): path for path, module in model.named_modules()})

    def run() -> Quickly:
        evaluation = Quickly()
        with evaluation:
            model.eval()(images)
        if in_training:
            with Quickly():
                model.train()(images)
        return evaluation

    try:
        with torch.no_grad(), running.watched(), uncollected(), slow_attention():
            counts = made_where_it_runs(run)
    except Exception as error:  # noqa: BLE001  (whatever a foreign forward raises is the answer)
        return Problem(running.failed or "", first_line(error))
    sizes = group_sizes(graph, widths_G)

    def size(atom: Atom) -> int:
        return _IMAGES if atom == BATCH else sizes[atom.index]

    counted = [macs for macs in counts.macs if macs]
    for number, (path, axes) in enumerate(graph.products):
        predicted = prod(length(axis, size) for axis in axes)
        found = counted[number] if number < len(counted) else 0
        if predicted != found:
            wrong = f"PyTorch counts {found:,} MACs and not {predicted:,} in {path} when they are fewer"
            return Problem("" if path == ROOT else path, wrong)
    if len(counted) > len(graph.products):
        return Problem("", "PyTorch counts products of activations that the whole network does not have")
    return None


_IMAGES = 4


def difference(
    template: nn.Module, prediction: Prediction, input_shape: tuple[int, ...], widths_G: Sequence[int]
) -> Problem | None:
    """What is wrong with the graph at the given widths, by tracing the resized network; None when nothing is."""
    record, sizes = prediction.record, group_sizes(prediction.graph, widths_G)
    message = path = None
    try:
        model = resized(template, prediction.graph, widths_G)
        found = trace(model, input_shape, is_ours=True, fixed=record.fixed_buffers)
    except ForwardError as error:
        found, message, path = error.record, error.message, error.path
    layer = None if message else prediction.first_layer_astray(found, sizes)
    parameter = None if message or layer is not None else prediction.first_parameter_astray(found, sizes)
    if message is None and layer is None and parameter is None:
        return None
    step = prediction.first_step_astray(found, sizes)
    if step is not None:
        wrong = message or f"{step.operation} gives other sizes when they are fewer"
        return Problem("" if step.where == ROOT else step.where, wrong, is_layout=parameter is not None)
    if parameter is not None:
        wrong = f"it lays out the channels of {parameter} in another way when they are fewer"
        return Problem(parameter.rpartition(".")[0], wrong, is_layout=True)
    return Problem(path or layer or "", message or f"layer {layer} has other sizes when they are fewer")


def _culprits(network: _Checked, record: Record, problem: Problem) -> dict[Atom, str]:
    """Atoms that cannot even be narrowed alone, and why; all that a module has met when none is to blame alone."""
    prediction = Prediction(record)
    columns = prediction.columns
    path = home_of(problem.path, network.template)
    near = [atom for atom in atoms_met(record, network.template, path) if atom in columns]
    far = [atom for atom in columns if atom not in near]
    for atoms in (near, far):
        if len(atoms) > network.probes_left(record):
            continue
        network.probes[0] += len(atoms)
        reasons = _blamed(network, prediction, path, {atom: columns[atom] for atom in atoms})
        if reasons:
            return reasons
    together = (
        f"the network's code runs with each group narrowed alone, not with all of them: {problem.message}"
    )
    return dict.fromkeys(near or far, together)


def _blamed(
    network: _Checked, prediction: Prediction, path: str, columns: Mapping[Atom, int]
) -> dict[Atom, str]:
    """Those of some atoms, by column, that cannot be narrowed alone, with their like in modules of the same type."""
    record = prediction.record
    reasons: dict[Atom, str] = {}
    for atom, column in columns.items():
        wrong = None if atom in reasons else _alone(network, prediction, column)
        if wrong is not None:
            reason = f"the network's code expects {record.table.atom_size(atom)} channels: {wrong.message}"
            twins = same_atoms_elsewhere(record, network.template, path, atom)
            reasons.update((twin, reason) for twin in twins if twin not in reasons)
    return reasons


def _alone(network: _Checked, prediction: Prediction, column: int) -> Problem | None:
    """What is wrong when one group alone is narrowed, to about a half and to a single channel; None if nothing."""
    base = prediction.base_G
    half = [*base[:column], max(1, base[column] // 2 - 1), *base[column + 1 :]]
    one = [*base[:column], prediction.record.least, *base[column + 1 :]]
    wrong = difference(network.template, prediction, network.input_shape, half) if half != base else None
    return wrong or failure(network.template, prediction.graph, network.input_shape, one)
