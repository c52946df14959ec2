"""The channel graph proves itself: the network is resized and traced again, and what differs is corrected or frozen."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np
import torch
from torch import nn

from nas_prune.graph.attributes import held_sizes
from nas_prune.graph.axes import Atom, Axis, length
from nas_prune.graph.channels import BATCH, ChannelGraph
from nas_prune.graph.copies import uncollected
from nas_prune.graph.fans import fan_numbers
from nas_prune.graph.inputs import Forward, ForwardLike, as_forward
from nas_prune.graph.layout import Prediction
from nas_prune.graph.quick import Quickly
from nas_prune.graph.record import ROOT, Record
from nas_prune.graph.repair import REPAIRS, Repair, atoms_met, home_of, same_atoms_elsewhere
from nas_prune.graph.resize import group_sizes, resized
from nas_prune.graph.trace import ForwardError, Running, made_where_it_runs, slow_attention, trace
from nas_prune.graph.trial_widths import beyond, opposites, unlike
from nas_prune.runs.text import first_line


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


@dataclass(frozen=True, slots=True)
class _Network:
    """What is checked: the network, what is run of it, and a seed for the widths that are tried."""

    template: nn.Module
    forward: Forward
    seed: int = 0


@dataclass(slots=True)
class _Effort:
    """What has been tried on one network so far: the one object here that changes.

    Attributes:
        probes: how many groups have been narrowed alone.
        repairs: how often each way of repair has been tried on each type of module.
    """

    probes: int = 0
    repairs: Counter[tuple[type[nn.Module], Repair]] = field(default_factory=Counter)

    def spend_probes(self, count: int, record: Record) -> bool:
        """Count groups that are narrowed alone; False if they are too many, so that no network takes minutes."""
        most = max(16, _MOST_STEPS // max(1, len(record.steps)))
        if count > most - self.probes:
            return False
        self.probes += count
        return True

    def spend_repair(self, kind: type[nn.Module], repair: Repair) -> bool:
        """Count one more repair of a type of module; False if there were enough of this way."""
        if self.repairs[kind, repair] >= _MOST_REPAIRS:
            return False
        self.repairs[kind, repair] += 1
        return True


_MOST_STEPS = 60_000  # operations that probes of one network may take, all together
_MOST_REPAIRS = 3  # of each way for each type: what is tied elsewhere may show more to tie


def checked(template: nn.Module, example: ForwardLike, *, seed: int = 0) -> ChannelGraph:
    """The channel graph of a network, with every group frozen whose narrowing its own code does not survive.

    Args:
        template: the network on meta tensors, or anywhere.
        example: what is run, or the shape of one input without the batch dimension.
        seed: fixes the random widths tried.

    Returns:
        A graph for which the network ran at random widths and at one channel a group, in evaluation and in
        training, and in which every operation and every parameter was at the random widths as the graph says.

    Raises:
        ForwardError: the network's forward fails on such an input.
    """
    with uncollected():
        return Prediction(proved(template, example, seed=seed)).graph


def proved(template: nn.Module, example: ForwardLike, *, seed: int = 0) -> Record:
    """The record whose graph `checked` returns: what a trace showed, with what the checks found out beyond it."""
    network, effort = _Network(template, as_forward(example), seed), _Effort()
    record = trace(template, network.forward)
    record = replace(record, attributes=_told(template, record) | record.attributes)
    known = frozenset(record.attributes)
    record, problem = _examined(network, record)
    while problem is not None:
        record, problem = _mended(network, record, problem, effort)
    return _pared(network, record, known)


def _told(template: nn.Module, record: Record) -> dict[tuple[str, str], Axis]:
    """The numbers that modules hold of sizes.

    A factor for a layer's own first weights (one over the root of what it reads) stays with trained ones; what an
    attention divides by follows its channels always.
    """
    sizes, fans = held_sizes(template, record), fan_numbers(template, record)
    first = {_plain(at) for at in fans}
    sizes = {at: axis for at, axis in sizes.items() if not ("**" in at[1] and _plain(at) in first)}
    told = {_plain(at) for at in sizes}
    return sizes | {at: axis for at, axis in fans.items() if _plain(at) not in told}


def _plain(place: tuple[str, str]) -> tuple[str, str]:
    return place[0], place[1].partition("*")[0]


def _mended(
    network: _Network, record: Record, problem: Problem, effort: _Effort
) -> tuple[Record, Problem | None]:
    """The record after one more repair or freeze, and what is still wrong.

    A repair that does not mend everything in modules of the type may still leave less to freeze.
    """
    kind = _kind(network, problem)
    unmended = [(record, problem)]
    for repair in REPAIRS:
        candidate = None
        if effort.spend_repair(kind, repair):
            candidate = repair(record, network.template, home_of(problem.path, network.template))
        if candidate is not None:
            candidate, left = _examined(network, candidate)
            if left is None or _kind(network, left) is not kind:
                return candidate, left
            unmended.append((candidate, left))
    frozen = [_frozen(network, *one, effort) for one in unmended]
    return _examined(network, max(frozen, key=lambda one: Prediction(one).searchable_share()))


def _pared(network: _Network, record: Record, known: Collection[tuple[str, str]]) -> Record:
    """The record without those numbers that it does without: one as long by chance counts something else.

    Args:
        network: what is checked.
        record: a record of which nothing is wrong.
        known: the numbers that were taken for lengths by their names.
    """
    names = sorted({place[1] for place in record.attributes if place not in known})
    for name in names if len(names) > 1 else ():
        kept = {at: axis for at, axis in record.attributes.items() if at in known or at[1] != name}
        fewer, problem = _examined(network, replace(record, attributes=kept))
        record = record if problem is not None else fewer
    return record


def _frozen(network: _Network, record: Record, problem: Problem, effort: _Effort) -> Record:
    """The record with what is to blame for a problem frozen."""
    return _with_frozen(record, _culprits(network, record, problem, effort))


def _with_frozen(record: Record, reasons: Mapping[Atom, str]) -> Record:
    """The record with some atoms frozen, each for a reason."""
    table = record.table.copy()
    for atom, reason in reasons.items():
        table.freeze(((atom,),), reason)
    return replace(record, table=table)


def _kind(network: _Network, problem: Problem) -> type[nn.Module]:
    """The type of module whose code is to blame."""
    return type(network.template.get_submodule(home_of(problem.path, network.template)))


def _examined(network: _Network, record: Record) -> tuple[Record, Problem | None]:
    """What is wrong when all groups are narrowed together, None when nothing is; and the record.

    The record may know more than the one passed in: what is multiplied with itself is frozen, and if nothing is
    wrong, the smallest width is the one that the network's code survives.
    """
    record = _without_squares(record)
    prediction = Prediction(record)
    base = prediction.base_G
    if not base:
        return record, None
    rng = np.random.default_rng(network.seed)
    small = prediction.small_factors()

    def tried() -> list[list[int]]:
        return [*opposites(base, rng), *([beyond(base, small, rng)] if small else [])]

    for widths in tried():
        found = difference(network.template, prediction, network.forward, widths)
        if found is not None and found.is_layout:
            # At some widths one layout may look like another by chance; at two more that is unlikely.
            again = (difference(network.template, prediction, network.forward, other) for other in tried())
            found = next(filter(None, again), None)
        if found is not None:
            return record, found
    least, problem = _smallest(network, prediction)
    return replace(record, least=least), problem


def _without_squares(record: Record) -> Record:
    """The record with channels frozen that are multiplied with themselves: a place then holds two of them."""
    twice = {
        atom: "the network's code gives one size to both factors of a product"
        for axes in record.parameters.values()
        for axis in map(record.table.resolve, axes)
        for atom, power in _powers(axis).items()
        if power > 1 and record.table.frozen_reason(atom) is None
    }
    return _with_frozen(record, twice) if twice else record


def _powers(axis: Axis) -> Counter[Atom]:
    """How often each atom is multiplied with itself at most in one place of an axis."""
    powers: Counter[Atom] = Counter()
    for run in axis:
        own: Counter[Atom] = Counter()
        for factor in run:
            if isinstance(factor, Atom):
                own[factor] += 1
            elif not isinstance(factor, int):
                own += _powers(factor)
        powers |= own
    return powers


def _smallest(network: _Network, prediction: Prediction) -> tuple[int, Problem | None]:
    """The smallest width that the network's code survives, and what is wrong at small widths; None when nothing is.

    A network may run with two channels everywhere and not with one (norms of weights, say), or another kernel may
    take over there (`einsum` multiplies instead of contracting).
    """
    record = prediction.record
    found = None
    for widths in unlike(prediction.base_G, np.random.default_rng(network.seed + 1), len(record.steps)):
        found = failure(network.template, prediction.graph, network.forward, widths, in_training=False)
        if found is not None:
            return record.least, found
    for least in range(record.least, 3):
        smallest = [min(size, least) for size in prediction.base_G]
        wrong = failure(network.template, prediction.graph, network.forward, smallest)
        if wrong is None:
            return least, None
        found = found or wrong
    return record.least, found


def failure(
    template: nn.Module,
    graph: ChannelGraph,
    example: ForwardLike,
    widths_G: Sequence[int],
    *,
    in_training: bool = True,
) -> Problem | None:
    """What is wrong with running a network at the given widths; None when nothing is.

    It must run on meta tensors, in training as well unless that is left out, and PyTorch must count the MACs that
    the graph predicts.
    """
    model = resized(template, graph, widths_G)  # on meta; moved again, a network's own `_apply` would run
    forward, images = as_forward(example), _IMAGES if graph.takes_batches else 1
    inputs = forward.blank(model, images)
    running = Running(dict(model.named_modules()))

    def run() -> Quickly:
        evaluation = Quickly()
        with evaluation:
            forward.run(model.eval(), inputs)
        if in_training:
            with Quickly():
                forward.run(model.train(), inputs)
        return evaluation

    try:
        with torch.no_grad(), running.watched(), uncollected(), slow_attention():
            counts = made_where_it_runs(run)
    except Exception as error:  # noqa: BLE001  (whatever a foreign forward raises is the answer)
        return Problem(running.failed or "", first_line(error))
    sizes = group_sizes(graph, widths_G)

    def size(atom: Atom) -> int:
        return images if atom == BATCH else sizes[atom.index]

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
    template: nn.Module, prediction: Prediction, forward: Forward, widths_G: Sequence[int]
) -> Problem | None:
    """What is wrong with the graph at the given widths, by tracing the resized network; None when nothing is."""
    record, sizes = prediction.record, group_sizes(prediction.graph, widths_G)
    message = path = None
    try:
        model = resized(template, prediction.graph, widths_G)
        images = None if record.batch_atom is not None else record.images
        found = trace(model, forward, is_ours=True, fixed=record.fixed_tensors, images=images)
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


def _culprits(network: _Network, record: Record, problem: Problem, effort: _Effort) -> dict[Atom, str]:
    """Atoms that cannot even be narrowed alone, and why; all that a module has met when none is to blame alone."""
    prediction = Prediction(record)
    columns = prediction.columns
    path = home_of(problem.path, network.template)
    near = [atom for atom in atoms_met(record, network.template, path) if atom in columns]
    far = [atom for atom in columns if atom not in near]
    for atoms in (near, far):
        if not effort.spend_probes(len(atoms), record):
            continue
        reasons = _blamed(network, prediction, path, {atom: columns[atom] for atom in atoms})
        if reasons:
            return reasons
    together = (
        f"the network's code runs with each group narrowed alone, not with all of them: {problem.message}"
    )
    return dict.fromkeys(near or far, together)


def _blamed(
    network: _Network, prediction: Prediction, path: str, columns: Mapping[Atom, int]
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


def _alone(network: _Network, prediction: Prediction, column: int) -> Problem | None:
    """What is wrong when one group alone is narrowed, to about a half and to a single channel; None if nothing."""
    base = prediction.base_G
    half = max(1, base[column] // 2 - 1)
    tried = [half, base[column] - 1] if half == 1 else [half]  # one channel shows nothing of what lies where
    if column in prediction.small_factors():
        tried.append(beyond(base, [column], np.random.default_rng(network.seed))[column])
    vectors = [[*base[:column], width, *base[column + 1 :]] for width in tried if 0 < width != base[column]]
    seen = (difference(network.template, prediction, network.forward, widths) for widths in vectors)
    one = [*base[:column], prediction.record.least, *base[column + 1 :]]
    return next(filter(None, seen), None) or failure(network.template, prediction.graph, network.forward, one)
