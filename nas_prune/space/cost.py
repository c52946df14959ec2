"""Exact costs of a network as functions of its widths.

Every cost is a polynomial of the widths, read off the channel graph: a parameter's size is the product of its
axes' lengths, and so on. Nothing is rebuilt to price a candidate, and a hundred thousand take well under a second.

Shape suffixes: N candidates, G searchable groups, M monomials.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from math import prod
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas_prune.errors import WidthsError
from nas_prune.graph.axes import Atom, Axis, atoms_of, length
from nas_prune.graph.channels import BATCH, ChannelGraph
from nas_prune.graph.inputs import is_within
from nas_prune.graph.record import SELECTION

Monomial: TypeAlias = "tuple[int, ...]"
Terms: TypeAlias = "Counter[Monomial]"

_EXACT = 2**53  # float64 holds every integer up to here


class CostFunction(Protocol):
    """A cost as a function of widths, in whole units: what a budget bounds and a cut asks for.

    `Polynomial` and `Switched` are such; so is what a target supplies. Latency is in nanoseconds, memory and size in
    bytes, all others are counts.
    """

    def __call__(self, vectors_NV: ArrayLike, /) -> NDArray[np.int64]:
        """The value for each of N vectors, or for one.

        Args:
            vectors_NV: G widths; where blocks are searched, 1 for each of the B blocks that is there and 0 where it is
                not behind them.
        """

    def real(self, vectors_NV: ArrayLike, /) -> NDArray[np.float64]:
        """The value between whole widths."""


@dataclass(frozen=True, slots=True)
class Polynomial:
    """A sum of products of widths with integer coefficients.

    Attributes:
        quadratic_GG: coefficients of all monomials of degree two at most, with a column and a row of ones last.
        higher: (group numbers, coefficient) of the others, few in any network.
    """

    quadratic_GG: NDArray[np.float64]
    higher: tuple[tuple[Monomial, int], ...]

    @classmethod
    def of(cls, terms: Mapping[Monomial, int], num_groups: int) -> "Polynomial":
        """The polynomial of the given monomials; each is a sorted tuple of group numbers."""
        matrix = np.zeros((num_groups + 1, num_groups + 1))
        higher = []
        for monomial, coefficient in terms.items():
            if len(monomial) > 2:
                higher.append((monomial, coefficient))
            else:
                row, column = (*monomial, num_groups, num_groups)[:2]
                matrix[row, column] += coefficient
        return cls(matrix, tuple(higher))

    def __call__(self, widths_NG: ArrayLike) -> NDArray[np.int64]:
        """The value for each of N width vectors, exact.

        Args:
            widths_NG: integers, N×G, or one vector of G.

        Returns:
            N integers, or one for a single vector.

        Raises:
            OverflowError: a value beyond 2^53 could come out.
        """
        values = self.real(widths_NG)
        if np.any(values >= _EXACT):
            raise OverflowError(
                "a cost must stay below 2^53 to be exact. Use a smaller image or narrower widths."
            )
        return np.asarray(values, dtype=np.int64)

    def real(self, widths_NG: ArrayLike) -> NDArray[np.float64]:
        """The value between whole widths, for N vectors of real numbers or for one."""
        widths = np.asarray(widths_NG, dtype=np.float64)
        ones_NG = np.concatenate([widths, np.ones((*widths.shape[:-1], 1))], axis=-1)
        values = np.einsum("...g,...g->...", ones_NG @ self.quadratic_GG, ones_NG)
        for monomial, coefficient in self.higher:
            values = values + coefficient * np.prod(widths[..., list(monomial)], axis=-1)
        return np.asarray(values, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Switched:
    """A cost as a function of the widths and of which blocks are there.

    Attributes:
        whole: with all of them.
        inside_B: what goes with each block; none of them lies in another.
    """

    whole: Polynomial
    inside_B: tuple[Polynomial, ...]

    def __call__(self, vectors_NV: ArrayLike) -> NDArray[np.int64]:
        """The value for each of N vectors, exact.

        Args:
            vectors_NV: G widths, and 1 for each of the B blocks that is there, 0 where it is not: N×(G + B), or one.
        """
        vectors = np.asarray(vectors_NV)
        count = vectors.shape[-1] - len(self.inside_B)
        widths, gone = vectors[..., :count], 1 - vectors[..., count:]
        values = self.whole(widths)
        for number, inside in enumerate(self.inside_B):
            if gone[..., number].any():
                values = np.asarray(values - gone[..., number] * inside(widths), dtype=np.int64)
        return values

    def real(self, vectors_NV: ArrayLike) -> NDArray[np.float64]:
        """The value between whole widths."""
        vectors = np.asarray(vectors_NV, dtype=np.float64)
        count = vectors.shape[-1] - len(self.inside_B)
        widths, gone = vectors[..., :count], 1 - vectors[..., count:]
        values = self.whole.real(widths)
        for number, inside in enumerate(self.inside_B):
            values = values - gone[..., number] * inside.real(widths)
        return values


@dataclass(frozen=True, slots=True)
class Cost:
    """What one network costs: parameters, MACs of one image, and activations (the sum of all layers' outputs)."""

    macs: int
    params: int
    activations: int


@dataclass(frozen=True, slots=True)
class CostModel:
    """The costs of every width vector of one network.

    Attributes:
        macs: multiply-accumulates of one forward pass of one image, in evaluation mode: those of convolutions,
            linear layers and products of two activations. Norms, biases and activation functions count nothing,
            as in `torch.utils.flop_counter`, whose figure is twice this one.
        params: number of parameters, norms and biases included; buffers are none.
        activations: numbers that the convolutions, linear and norm layers put out for one image (a selection computes
            nothing).
        channels: the sum of the widths of all searchable groups.
    """

    macs: Polynomial
    params: Polynomial
    activations: Polynomial
    channels: Polynomial

    def at(self, widths_G: Sequence[int]) -> Cost:
        """The cost of one width vector."""
        if len(widths_G) != len(self.channels.quadratic_GG) - 1:
            raise WidthsError(
                f"a width vector must have {len(self.channels.quadratic_GG) - 1} numbers, got {len(widths_G)}."
            )
        return Cost(*(int(kind(widths_G)) for kind in (self.macs, self.params, self.activations)))

    def kind(self, name: str) -> Polynomial:
        """One of the costs by its name in a budget: `macs`, `params`, `activations` or `channels`."""
        return {
            "macs": self.macs,
            "params": self.params,
            "activations": self.activations,
            "channels": self.channels,
        }[name]


def cost_model(graph: ChannelGraph, parameter_names: Iterable[str]) -> CostModel:
    """Read the costs of a network off its channel graph.

    Args:
        graph: the channel graph.
        parameter_names: which of `graph.parameters` are parameters (the others are buffers); of a network of which a
            part is searched, those elsewhere count nothing.

    Returns:
        Functions of the searchable groups' widths, in the order of `graph.searchable`.
    """
    expand = Expander(graph)
    params = _sum(expand(graph.parameters[name]) for name in parameter_names if name in graph.parameters)
    macs = _sum(expand(axes) for _, axes in graph.products)
    activations = _sum(expand(layer.output) for layer in graph.layers if layer.kind != SELECTION)
    channels: Terms = Counter({(number,): 1 for number in range(len(graph.searchable))})
    return CostModel(
        *(Polynomial.of(terms, len(graph.searchable)) for terms in (macs, params, activations, channels))
    )


def cost_inside(graph: ChannelGraph, parameter_names: Iterable[str], path: str) -> CostModel:
    """The part of a network's costs that is caused within one module.

    Args:
        graph: the channel graph.
        parameter_names: which of `graph.parameters` are parameters.
        path: the module.
    """
    names = [name for name in parameter_names if is_within(name, path)]
    layers = tuple(layer for layer in graph.layers if is_within(layer.path, path))
    products = tuple(product for product in graph.products if is_within(product[0], path))
    inside = cost_model(replace(graph, layers=layers, products=products), names)
    groups = [graph.groups[number] for number in graph.searchable]
    own: dict[Monomial, int] = {
        (column,): 1
        for column, group in enumerate(groups)
        if all(is_within(layer, path) for layer in group.layers)
    }
    return replace(inside, channels=Polynomial.of(own, len(groups)))


def fixed_share(graph: ChannelGraph, group: int) -> float:
    """The share of the MACs at base widths of the layers that read or write one group."""
    size = _base_size(graph)
    counts = [prod(length(axis, size) for axis in axes) for _, axes in graph.products]
    touched = [any(Atom(group) in atoms_of(axis) for axis in axes) for _, axes in graph.products]
    return sum(count for count, is_touched in zip(counts, touched, strict=True) if is_touched) / max(
        1, sum(counts)
    )


def _base_size(graph: ChannelGraph) -> Callable[[Atom], int]:
    return lambda atom: 1 if atom == BATCH else graph.groups[atom.index].size


class Expander:
    """Multiplies axes out into monomials of the searchable groups; all else is a number, the batch 1."""

    def __init__(self, graph: ChannelGraph) -> None:
        self._columns = {Atom(group): column for column, group in enumerate(graph.searchable)}
        self._base = _base_size(graph)

    def __call__(self, axes: Sequence[Axis]) -> Terms:
        """The product of the axes' lengths."""
        return reduce(_times, map(self._axis, axes), Counter({(): 1}))

    def _axis(self, axis: Axis) -> Terms:
        return _sum(reduce(_times, map(self._factor, run), Counter({(): 1})) for run in axis)

    def _factor(self, factor: "Atom | int | Axis") -> Terms:
        if isinstance(factor, int):
            return Counter({(): factor})
        if isinstance(factor, Atom):
            column = self._columns.get(factor)
            return Counter({(): self._base(factor)} if column is None else {(column,): 1})
        return self._axis(factor)


def _times(left: Terms, right: Terms) -> Terms:
    result: Terms = Counter()
    for monomial, coefficient in left.items():
        for other, factor in right.items():
            result[tuple(sorted(monomial + other))] += coefficient * factor
    return result


def _sum(parts: Iterable[Terms]) -> Terms:
    total: Terms = Counter()
    for part in parts:
        for monomial, coefficient in part.items():
            total[monomial] += coefficient
    return total
