"""The channel graph proves itself: the network is resized and traced again, and what differs is mended or frozen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from nas_prune.graph.attributes import held_sizes
from nas_prune.graph.axes import Atom, Axis, length
from nas_prune.graph.channels import BATCH as BATCH_ATOM
from nas_prune.graph.channels import ChannelGraph, finisher, graph_of, group_atoms
from nas_prune.graph.record import Record
from nas_prune.graph.trace import BATCH, ForwardError, Running, trace
from nas_prune.repair import ROOT, atoms_met, same_atoms_elsewhere, tied
from nas_prune.resize import group_sizes, resized


@dataclass(frozen=True, slots=True)
class Problem:
    """Where a resized network did not do what its graph says.

    Attributes:
        path: the module.
        message: what is wrong, or what its forward said.
        progress: how far the checks came: (which check, which operation).
    """

    path: str
    message: str
    progress: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class _Checked:
    """What every step of the check needs: the network, the shape of its input, and a seed for widths."""

    template: nn.Module
    input_shape: tuple[int, ...]
    seed: int = 0


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
    return graph_of(proved(template, input_shape, seed=seed))


def proved(template: nn.Module, input_shape: tuple[int, ...], *, seed: int = 0) -> Record:
    """The record whose graph `checked` returns: what a trace showed, with what the checks taught beyond it."""
    network = _Checked(template, input_shape, seed)
    record = trace(template, input_shape)
    record = replace(record, attributes=held_sizes(template, record) | record.attributes)
    tried: set[type[nn.Module]] = set()
    problem = _problem(network, record)
    while problem is not None:
        record, problem = _mended(network, record, problem, tried)
    return record


def _mended(
    network: _Checked, record: Record, problem: Problem, tried: set[type[nn.Module]]
) -> tuple[Record, Problem | None]:
    """The record after one more tie or freeze, and what is still wrong."""
    kind = type(_module(network, problem.path))
    if kind not in tried:
        tried.add(kind)
        candidate = tied(record, network.template, problem.path)
        if candidate is not None:
            left = _problem(network, candidate)
            if left is None or type(_module(network, left.path)) is not kind:
                return candidate, left
    table = record.table.copy()
    for atom, reason in _culprits(network, record, problem).items():
        table.freeze(((atom,),), reason)
    frozen = replace(record, table=table)
    return frozen, _problem(network, frozen)


def _module(network: _Checked, path: str) -> nn.Module:
    return network.template.get_submodule(path)


def _problem(network: _Checked, record: Record) -> Problem | None:
    """What is wrong when all groups are narrowed together; None when nothing is."""
    graph = graph_of(record)
    base = np.array([graph.groups[number].size for number in graph.searchable], dtype=np.int64)
    if not len(base):
        return None
    rng = np.random.default_rng(network.seed)
    lower = np.maximum(1, base // 3)
    random = rng.integers(lower, np.maximum(base, lower + 1))
    # So that halves of one layer differ; a width of 1 says little of what lies where.
    alternate = np.where(np.arange(len(base)) % 2, base, np.minimum(np.maximum(2, lower), base))
    found = difference(network.template, record, network.input_shape, alternate.tolist())
    if found is not None:
        return found
    found = failure(network.template, graph, network.input_shape, [1] * len(base))
    if found is not None:
        return replace(found, progress=(1, 0))
    # By chance two layouts look the same or different at some widths: only a second failure counts.
    for number, widths in enumerate((random, lower)):
        found = difference(network.template, record, network.input_shape, widths.tolist())
        if found is None:
            return None
        found = replace(found, progress=(2 + number, found.progress[1]))
    return found


def failure(
    template: nn.Module, graph: ChannelGraph, input_shape: tuple[int, ...], widths_G: Sequence[int]
) -> Problem | None:
    """What the network's own forward says at the given widths on meta tensors; None when it runs in both modes."""
    model = resized(template, graph, widths_G).to("meta")
    running = Running({id(module): path for path, module in model.named_modules()})
    try:
        with torch.no_grad(), running.watched():
            for training in (False, True):
                model.train(training)(torch.empty(4, *input_shape, device="meta"))
    except Exception as error:  # noqa: BLE001  (whatever a foreign forward raises is the answer)
        return Problem(running.failed or "", (str(error).strip() or type(error).__name__).splitlines()[0])
    return None


def difference(
    template: nn.Module, record: Record, input_shape: tuple[int, ...], widths_G: Sequence[int]
) -> Problem | None:
    """What is wrong with the graph at the given widths, by tracing the resized network; None when nothing is."""
    graph = graph_of(record)
    message = path = None
    try:
        model = resized(template, graph, widths_G)
        found = trace(model, input_shape, is_ours=True, fixed=record.fixed_buffers)
    except ForwardError as error:
        found, message, path = error.record, error.message, error.path
    step = _first_step_astray(record, found, group_sizes(graph, widths_G))
    if step is not None:
        where = record.steps[step].where
        wrong = message or f"{record.steps[step].operation} gives other sizes when they are fewer"
        return Problem("" if where == ROOT else where, wrong, (0, step))
    if message is not None:
        return Problem(path or "", message, (0, len(found.steps)))
    astray = _first_parameter_astray(record, found, group_sizes(graph, widths_G))
    if astray is None:
        return None
    wrong = f"it lays out the channels of {astray} in another way when they are fewer"
    return Problem(_module_of(astray), wrong, (0, len(record.steps)))


def _first_parameter_astray(expected: Record, actual: Record, sizes: Sequence[int]) -> str | None:
    """The first parameter whose channels lie in another way than the graph predicts.

    A trace knows nothing of ties, so that it is compared with what was known before there were any.
    """
    finished = finisher(expected)
    plain = expected.untied or expected
    graph, atoms = graph_of(plain), group_atoms(plain)
    axes = [finished(((atom,),)) for atom in atoms]
    resized_graph = graph.resized_groups([length(axis, lambda atom: sizes[atom.index]) for axis in axes])
    frozen = {
        group.name
        for group, atom in zip(graph.groups, atoms, strict=True)
        if expected.table.is_settled(((atom,),))
    }
    layout, found = resized_graph.arrangement(frozen), graph_of(actual).arrangement(frozen)
    return next((name for name in layout if layout[name] != found[name]), None)


def _module_of(parameter: str) -> str:
    return parameter.rpartition(".")[0]


def _first_step_astray(expected: Record, actual: Record, sizes: Sequence[int]) -> int | None:
    """The first operation that is another one, or gives other sizes, than the graph predicts."""
    finished = finisher(expected)

    def size(atom: Atom) -> int:
        return BATCH if atom == BATCH_ATOM else sizes[atom.index]

    def predicted(axis: Axis) -> int:
        return length(finished(axis), size)

    for number, (one, other) in enumerate(zip(expected.steps, actual.steps, strict=False)):
        shapes = [[predicted(axis) for axis in axes] for axes in one.outputs]
        same = (one.where, one.operation) == (other.where, other.operation)
        if not same or shapes != [[actual.table.length(axis) for axis in axes] for axes in other.outputs]:
            return number
    return None if len(actual.steps) <= len(expected.steps) else len(expected.steps) - 1


def _culprits(network: _Checked, record: Record, problem: Problem) -> dict[Atom, str]:
    """Atoms that cannot even be narrowed alone, and why; all that a module has met when none is to blame alone."""
    graph = graph_of(record)
    columns = {group_atoms(record)[number]: column for column, number in enumerate(graph.searchable)}
    near = [atom for atom in atoms_met(record, network.template, problem.path) if atom in columns]
    far = [atom for atom in columns if atom not in near]
    for atoms in (near, far if len(far) <= _MOST_PROBES else []):
        reasons = _blamed(network, record, problem.path, {atom: columns[atom] for atom in atoms})
        if reasons:
            return reasons
    together = (
        f"the network's code runs with each group narrowed alone, not with all of them: {problem.message}"
    )
    return dict.fromkeys(near or far, together)


_MOST_PROBES = 64  # so that a large network is never probed for minutes


def _blamed(network: _Checked, record: Record, path: str, columns: Mapping[Atom, int]) -> dict[Atom, str]:
    """Those of some atoms, by column, that cannot be narrowed alone, with their like in modules of the same type."""
    graph = graph_of(record)
    reasons: dict[Atom, str] = {}
    for atom, column in columns.items():
        wrong = None if atom in reasons else _alone(network, record, graph, column)
        if wrong is not None:
            reason = f"the network's code expects {record.table.atom_size(atom)} channels: {wrong.message}"
            twins = same_atoms_elsewhere(record, network.template, path, atom)
            reasons.update((twin, reason) for twin in twins if twin not in reasons)
    return reasons


def _alone(network: _Checked, record: Record, graph: ChannelGraph, column: int) -> Problem | None:
    """What is wrong when one group alone is narrowed, to about a half and to a single channel; None if nothing."""
    base = [graph.groups[number].size for number in graph.searchable]
    half = [*base[:column], max(1, base[column] // 2 - 1), *base[column + 1 :]]
    one = [*base[:column], 1, *base[column + 1 :]]
    wrong = difference(network.template, record, network.input_shape, half) if half != base else None
    return wrong or failure(network.template, graph, network.input_shape, one)
