"""What a target wants each group's width to be a multiple of, and which groups cannot give it that."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import gcd, lcm, prod

from nas_prune.graph.axes import Atom, Axis, Factor, Run, atoms_of, factor_length, length, run_length
from nas_prune.graph.channels import BATCH, ChannelGraph, Layer
from nas_prune.graph.record import OUTPUT
from nas_prune.hardware.target import Channels, Kind, Target
from nas_prune.space.search_space import SearchSpace


@dataclass(frozen=True, slots=True)
class Unaligned:
    """A group whose width is, or may be, none that the target wants.

    Attributes:
        group: its name.
        base: how many channels it has in the whole network.
        step: what they should be a multiple of.
        reason: why they are not, for a reader.
    """

    group: str
    base: int
    step: int
    reason: str


@dataclass(frozen=True, slots=True)
class Alignment:
    """What a target wants of a space's widths.

    Attributes:
        steps_G: for each searchable group, what its width should be a multiple of.
        least_G: for each, how many channels it needs at least.
        unaligned: the groups that cannot give the target what it wants.
    """

    steps_G: tuple[int, ...]
    least_G: tuple[int, ...]
    unaligned: tuple[Unaligned, ...]


def alignment(space: SearchSpace, target: Target) -> Alignment:
    """What a target wants of each searchable group of a space.

    A group's width is aligned for every layer that makes its channels or reads them. Where a layer reads several groups
    one after the other, each of them is; where each channel stands for several places (positions that were flattened,
    roles, heads), the step is as much smaller. What the network reads and what it puts out stays as it is.
    """
    finder = _Finder(space.graph)
    for layer in space.graph.layers:
        kind, read, made = _sides(space.graph, layer)
        if kind is not None:
            multiple, least = (by_kind.get(kind, Channels()) for by_kind in (target.alignment, target.least))
            finder.align(read, multiple.read, least.read)
            finder.align(made, multiple.made, least.made)
    return finder.found(space)


def unaligned(space: SearchSpace, target: Target) -> tuple[Unaligned, ...]:
    """The groups of a space that cannot give a target what it wants, in order of execution."""
    return alignment(space, target).unaligned


def _sides(graph: ChannelGraph, layer: Layer) -> tuple[Kind | None, Axis, Axis]:
    """The kind of a layer, and the channels it reads and makes; of a grouped convolution, those of one group."""
    if layer.kind == "linear":
        return "linear", layer.read, layer.channels
    if layer.kind != "conv":
        return None, (), ()
    groups = graph.attributes.get((layer.path, "groups"))
    if groups is None:
        return "conv", layer.read, layer.channels
    size = _base_size(graph)
    if length(groups, size) == length(layer.read, size):
        return "depthwise", layer.read, layer.channels
    return "grouped", _within(layer.read, groups, graph), _within(layer.channels, groups, graph)


def _within(axis: Axis, groups: Axis, graph: ChannelGraph) -> Axis:
    """The channels of one group, where an axis holds all of them."""
    if len(axis) == len(groups) == 1 and axis[0][: len(groups[0])] == groups[0]:
        return (axis[0][len(groups[0]) :] or (1,),)
    size = _base_size(graph)
    return ((length(axis, size) // length(groups, size),),)


def _base_size(graph: ChannelGraph) -> Callable[[Atom], int]:
    return lambda atom: 1 if atom == BATCH else graph.groups[atom.index].size


class _Finder:
    """Collects what layers want of axes, as what is wanted of groups."""

    def __init__(self, graph: ChannelGraph) -> None:
        self._graph, self._size = graph, _base_size(graph)
        self._searchable = {Atom(number) for number in graph.searchable}
        self._step = dict.fromkeys(graph.searchable, 1)
        self._least = dict.fromkeys(graph.searchable, 1)
        self._wishes = list[tuple[Run, int]]()
        self._unaligned = dict[int, tuple[int, str]]()  # of groups, whatever their widths are

    def align(self, axis: Axis, multiple: int, least: int) -> None:
        """Want the length of an axis to be a multiple, and at least a number."""
        runs = [run for run in axis if self._atoms(run)]
        fixed = sum(run_length(run, self._size) for run in axis if not self._atoms(run))
        if fixed % multiple:
            self._cannot(axis, multiple, fixed)
        self._wishes += [(run, multiple) for run in runs if multiple > 1]
        if runs and fixed < least:
            self._need(max(runs, key=lambda run: run_length(run, self._size)), least - fixed)

    def _atoms(self, run: Run) -> list[Atom]:
        """The searchable groups of a run."""
        return [atom for atom in atoms_of((run,)) if atom in self._searchable]

    def _align_run(self, run: Run, multiple: int) -> None:
        """Let the widest group of a run see to what its other factors do not: that its length is a multiple."""
        carrier = self._carrier(run)
        step = multiple // gcd(multiple, prod(self._divisor(factor) for factor in run if factor != carrier))
        if isinstance(carrier, Atom):
            self._step[carrier.index] = lcm(self._step[carrier.index], step)
        else:
            for inner in carrier:
                if self._atoms(inner):
                    self._align_run(inner, step)

    def _divisor(self, factor: Factor) -> int:
        """What a factor's length is a multiple of, whatever the widths."""
        if isinstance(factor, Atom) and factor in self._searchable:
            return gcd(self._step[factor.index], self._size(factor))  # it may stay whole
        return 1 if self._atoms((factor,)) else factor_length(factor, self._size)

    def _need(self, run: Run, least: int) -> None:
        carrier, constant = self._carrier(run), self._constant(run)
        wanted = -(-least // constant)
        if isinstance(carrier, Atom):
            self._least[carrier.index] = max(self._least[carrier.index], wanted)
        else:
            self._need(max(filter(self._atoms, carrier), key=lambda one: run_length(one, self._size)), wanted)

    def _carrier(self, run: Run) -> "Atom | Axis":
        """The widest searchable factor of a run."""
        found = [
            one
            for one in run
            if not isinstance(one, int) and any(a in self._searchable for a in _atoms_in(one))
        ]
        return max(found, key=lambda one: factor_length(one, self._size))

    def _constant(self, run: Run) -> int:
        """What the run's length is a multiple of at all widths."""
        return prod(factor_length(one, self._size) for one in run if not self._atoms((one,)))

    def _cannot(self, axis: Axis, multiple: int, fixed: int) -> None:
        """Note groups that layers want aligned and that cannot be: they stay whole, or stand beside such."""
        for atom in dict.fromkeys(atoms_of(axis)):
            frozen = self._graph.groups[atom.index].frozen
            if atom in self._searchable:
                why = f"it stands beside {fixed:,} channels that stay, which are no multiple of {multiple}"
            elif frozen in (None, OUTPUT):
                continue
            else:
                why = f"it is left whole ({frozen})"
            self._unaligned.setdefault(atom.index, (multiple, why))

    def found(self, space: SearchSpace) -> Alignment:
        """What was wanted of a space."""
        for run, multiple in sorted(self._wishes, key=lambda wish: len(self._atoms(wish[0]))):
            self._align_run(run, multiple)
        steps_G = tuple(self._step[number] for number in space.graph.searchable)
        least_G = tuple(self._least[number] for number in space.graph.searchable)
        for number, step, least in zip(space.graph.searchable, steps_G, least_G, strict=True):
            why = _why_not(space.graph.groups[number].size, step, least)
            if why is not None:
                self._unaligned[number] = step, why
        groups = space.graph.groups
        listed = [
            Unaligned(groups[number].name, groups[number].size, step, why)
            for number, (step, why) in sorted(self._unaligned.items())
        ]
        return Alignment(steps_G, least_G, tuple(listed))


def _why_not(base: int, step: int, least: int) -> str | None:
    """Why a searchable group's whole width is none that is wanted; None if it is."""
    if base < least:
        return f"its {base:,} channels are fewer than the {least:,} that are needed"
    if base < step:
        return f"its {base:,} channels are fewer than {step}, so that it stays whole"
    if base % step:
        return f"its {base:,} channels are no multiple of {step}, so that only narrower widths are"
    return None


def _atoms_in(factor: "Atom | Axis") -> Iterator[Atom]:
    return iter((factor,)) if isinstance(factor, Atom) else atoms_of(factor)
