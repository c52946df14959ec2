"""What a pattern says of masks: densities, positions of kernels, filters and inputs, N:M, whole channels.

Shape letters: O filters, I input channels, P positions of a kernel, D places of a dimension of a parameter.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from nas_prune.graph.axes import Atom, Axis, atoms_of, channel_at, length
from nas_prune.graph.channels import ChannelGraph, ChannelGroup
from nas_prune.patterns.costs import PatternCost
from nas_prune.patterns.costs import PatternCosts as Costs
from nas_prune.patterns.layers import KINDS, WeightLayer, out_dim
from nas_prune.patterns.pattern import (
    DECILES,
    GroupLeft,
    KernelMap,
    LayerPattern,
    Pattern,
    PatternCosts,
    Spread,
)
from nas_prune.space.search_space import SearchSpace
from nas_prune.training.masks import Masks

RATIOS = ((1, 4), (2, 4), (4, 8))  # N of M that kernels for sparse weights ask for
_DIGITS = 6


def pattern_of(space: SearchSpace, costs: Costs, masks: Masks, **provenance: Any) -> Pattern:
    """The pattern of masks; keyword arguments are fields of `Pattern`.

    Args:
        space: the network.
        costs: of its patterns.
        masks: by a parameter's name.
        provenance: where the masks come from.
    """
    layers = costs.layers.layers
    masks_OIP = {layer.name: by_filter(layer, masks[layer.name]) for layer in layers}
    return Pattern(
        space=space.reference,
        layers=tuple(_layer(layer, masks_OIP[layer.name]) for layer in layers),
        kernels=kernel_maps(layers, masks_OIP),
        groups=groups_left(space, layers, masks),
        dense=costs.layers.dense,
        cost=cost_record(costs.at([int(masks[layer.name].sum()) for layer in layers])),
        base_cost=cost_record(costs.whole),
        **provenance,
    )


def cost_record(cost: PatternCost) -> PatternCosts:
    """Costs as a pattern has them."""
    return PatternCosts(nonzero=cost.nonzero, macs=cost.macs, size_bytes=cost.size_bytes)


def by_filter(layer: WeightLayer, mask: Tensor) -> NDArray[np.bool_]:
    """A mask as O×I×P, whichever way the layer stores its weight."""
    own = mask.transpose(0, 1) if layer.out_dim == 1 else mask
    return own.reshape(own.shape[0], own.shape[1], -1).cpu().numpy()


def _layer(layer: WeightLayer, mask_OIP: NDArray[np.bool_]) -> LayerPattern:
    return LayerPattern(
        name=layer.name,
        kind="conv" if layer.kind == "conv" else "linear",
        stage=layer.stage,
        shape=layer.shape,
        nonzero=int(mask_OIP.sum()),
        filters=spread_of(mask_OIP.mean((1, 2))),
        inputs=spread_of(mask_OIP.mean((0, 2))),
        is_first=layer.is_first,
        out_dim=1 if layer.out_dim else 0,
        n_of_m=conformance(mask_OIP),
    )


def spread_of(shares: NDArray[np.float64]) -> Spread:
    """How shares differ.

    Example:
        >>> spread_of(np.linspace(0, 1, 5)).deciles[:3]
        (0.0, 0.1, 0.2)
    """
    deciles = np.quantile(shares, np.linspace(0, 1, DECILES))
    return Spread(deciles=tuple(_rounded(np.maximum.accumulate(deciles))), empty=int((shares == 0).sum()))


def conformance(mask_OIP: NDArray[np.bool_]) -> dict[str, float]:
    """Of all runs of M neighbouring input channels at a position of a filter, the share with at most N weights.

    Runs begin at multiples of M; channels behind the last whole run are left out.

    Example:
        >>> conformance(np.array([[[1], [1], [0], [0], [1], [1], [1], [0]]], dtype=bool))
        {'1:4': 0.0, '2:4': 0.5, '4:8': 0.0}
    """
    inputs, found = mask_OIP.shape[1], {}
    for most, of in RATIOS:
        whole = inputs - inputs % of
        if not whole:
            continue
        counts = mask_OIP[:, :whole].reshape(mask_OIP.shape[0], -1, of, mask_OIP.shape[2]).sum(2)
        found[f"{most}:{of}"] = round(float((counts <= most).mean()), _DIGITS)
    return found


def kernel_maps(
    layers: Sequence[WeightLayer], masks_OIP: dict[str, NDArray[np.bool_]]
) -> tuple[KernelMap, ...]:
    """The share of kernels in which each position stays, by stage and kernel shape; kernels of one position aside."""
    sums: dict[tuple[int, tuple[int, ...]], list[NDArray[np.int64]]] = defaultdict(list)
    counts: dict[tuple[int, tuple[int, ...]], int] = defaultdict(int)
    for layer in layers:
        mask = masks_OIP[layer.name]
        if layer.kind == "conv" and mask.shape[2] > 1:
            key = (layer.stage, layer.kernel)
            sums[key].append(mask.sum((0, 1)))
            counts[key] += mask.shape[0] * mask.shape[1]
    return tuple(
        KernelMap(
            stage=stage,
            shape=shape,
            kernels=counts[stage, shape],
            kept=tuple(_rounded(np.sum(sums[stage, shape], axis=0) / counts[stage, shape])),
        )
        for stage, shape in sorted(sums)
    )


def groups_left(space: SearchSpace, layers: Sequence[WeightLayer], masks: Masks) -> tuple[GroupLeft, ...]:
    """Whole channels that no layer reads a weight of, or that none writes, and the widths that are left.

    Args:
        space: the network.
        layers: those whose weights may go.
        masks: by a parameter's name.
    """
    return tuple(
        GroupLeft(
            name=one.group.name,
            base=one.group.size,
            unread=int(one.unread.sum()),
            constant=int(one.constant.sum()),
            width=max(1, int((~one.unread & ~one.constant).sum())),
        )
        for one in whole_channels(space, layers, masks)
    )


@dataclass(frozen=True, slots=True)
class WholeChannels:
    """Which channels of a group masks leave out.

    Attributes:
        group: the group.
        unread: those of which no layer reads a weight.
        constant: others that no layer writes.
    """

    group: ChannelGroup
    unread: NDArray[np.bool_]
    constant: NDArray[np.bool_]


def whole_channels(
    space: SearchSpace, layers: Sequence[WeightLayer], masks: Masks
) -> tuple[WholeChannels, ...]:
    """Which channels of each searchable group are left out whole.

    Where channels meet without weights (a layer norm, a product of two activations), each has a say in the others, be
    it read or not; none is left out there. Nor is any of a group that no layer's weights read, or write.

    Args:
        space: the network.
        layers: those whose weights may go.
        masks: by a parameter's name.
    """
    graph = space.graph
    sizes = {Atom(number): graph.groups[number].size for number in graph.searchable}
    read, written = (dict[Atom, NDArray[np.bool_]]() for _ in range(2))
    for use in _uses(space, layers, masks):
        for atom in set(atoms_of(use.axis)) & sizes.keys():
            alive = _alive(use.there_D, use.axis, atom, graph)
            for found in [read] * use.reads + [written] * use.writes:
                found[atom] = found.get(atom, np.zeros(sizes[atom], dtype=bool)) | alive
    mixed, result = _mixed(graph), []
    for atom, size in sizes.items():
        all_of_them = np.ones(size, dtype=bool)
        unread, constant = (
            ~(all_of_them if atom in mixed else found.get(atom, all_of_them)) for found in (read, written)
        )
        result.append(WholeChannels(graph.groups[atom.index], unread, constant & ~unread))
    return tuple(result)


@dataclass(frozen=True, slots=True)
class _Use:
    """One dimension of a parameter.

    Attributes:
        axis: what lies along it.
        there_D: at which of its places there is a weight; None for all.
        reads, writes: whether a layer reads its channels through it, or writes them; of what is no layer's, both.
    """

    axis: Axis
    there_D: "NDArray[np.bool_] | None"
    reads: bool
    writes: bool


def _uses(space: SearchSpace, layers: Sequence[WeightLayer], masks: Masks) -> Iterator[_Use]:
    """Every dimension of parameters that mix channels; a number for each channel mixes none."""
    graph, ambiguous = space.graph, _both_ways(space.graph)
    masked = {layer.name: layer for layer in layers}
    own = {
        f"{layer.path}.weight": out_dim(space, layer)
        for layer in graph.layers
        if layer.kind in KINDS and layer.path not in ambiguous
    }
    for name, axes in graph.parameters.items():
        lengths = [length(axis, lambda atom: graph.groups[atom.index].size) for axis in axes]
        if name not in own and sum(size > 1 for size in lengths) < 2:
            continue
        for dim, axis in enumerate(axes):
            there_D = None
            if name in masked:
                there_D = masks[name].movedim(dim, 0).flatten(1).any(1).cpu().numpy()
            is_out = own.get(name) == dim
            yield _Use(axis, there_D, reads=not is_out, writes=is_out or name not in own)


def _both_ways(graph: ChannelGraph) -> frozenset[str]:
    """Paths of layers whose weight is multiplied by as it is, and transposed as well (a tied decoder)."""
    ways: dict[str, set[tuple[Axis, Axis]]] = defaultdict(set)
    for layer in graph.layers:
        if layer.kind in KINDS:
            ways[layer.path].add((layer.read, layer.channels))
    return frozenset(
        path
        for path, found in ways.items()
        if any((channels, read) in found for read, channels in found if read != channels)
    )


def _mixed(graph: ChannelGraph) -> frozenset[Atom]:
    """Groups of which some operation without weights mixes the channels."""
    calls = Counter(layer.path for layer in graph.layers if layer.kind in KINDS)
    products = Counter(path for path, _ in graph.products)
    reduced = [Atom(number) for number, group in enumerate(graph.groups) if group.is_reduced]
    contracted = [axes[-1] for path, axes in graph.products if calls[path] != products[path]]
    return frozenset([*reduced, *(atom for axis in contracted for atom in atoms_of(axis))])


def _alive(
    there_D: "NDArray[np.bool_] | None", axis: Axis, atom: Atom, graph: ChannelGraph
) -> NDArray[np.bool_]:
    """Of which channels of a group there is a weight along a dimension."""

    def size(atom: Atom) -> int:
        return graph.groups[atom.index].size

    if there_D is None:
        return np.ones(size(atom), dtype=bool)
    places = channel_at(axis, atom, size)
    alive = np.zeros(size(atom), dtype=bool)
    alive[places[(places >= 0) & there_D]] = True
    return alive


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(float(value), _DIGITS) for value in np.atleast_1d(values)]
