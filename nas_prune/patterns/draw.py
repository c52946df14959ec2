"""Drawing masks from what a pattern says of them: as many weights of each layer, at positions as its stage has them.

How unevenly filters and input channels are filled is drawn after the pattern's deciles; which filter is which is drawn,
so that two draws share statistics and nothing else.

Shape letters: O filters, I input channels, P positions of a kernel.
"""

from collections.abc import Mapping
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas_prune.data import epoch_seed
from nas_prune.errors import BadInputError
from nas_prune.patterns.layers import WeightLayer, WeightLayers
from nas_prune.patterns.pattern import DECILES, KernelMap, LayerPattern, Pattern, Spread

_LEAST = 1e-3  # of a filter's or an input's weight in the draw: none is beyond reach


def drawn_masks(pattern: Pattern, layers: WeightLayers, seed: int) -> dict[str, Tensor]:
    """Masks with a pattern's statistics, for the network it is of.

    Args:
        pattern: the artefact.
        layers: of that network.
        seed: of the draw.

    Raises:
        BadInputError: the pattern is of other layers; the first difference is named.
    """
    check_of(pattern, layers)
    own = {layer.name: layer for layer in pattern.layers}
    maps = {(one.stage, one.shape): one for one in pattern.kernels}
    return {
        layer.name: drawn_mask(
            layer, own[layer.name], maps, np.random.default_rng(epoch_seed(seed, number, "mask"))
        )
        for number, layer in enumerate(layers.layers)
    }


def check_of(pattern: Pattern, layers: WeightLayers) -> None:
    """Refuse a pattern that is of other layers than a network's.

    Raises:
        BadInputError: the first difference.
    """
    theirs = {layer.name: layer.shape for layer in pattern.layers}
    ours = {layer.name: layer.shape for layer in layers.layers}
    for name in [*ours, *theirs]:
        if ours.get(name) != theirs.get(name):
            got = "no such layer" if name not in theirs else f"shape {list(theirs[name])}"
            wanted = "none of the network" if name not in ours else f"shape {list(ours[name])}"
            raise BadInputError(
                f"a pattern must be of the network that is masked, got {got} for {name}, which is {wanted} there. "
                "nas-prune sparsify --method guided carries patterns to other networks."
            )


def drawn_mask(
    layer: WeightLayer,
    own: LayerPattern,
    maps: Mapping[tuple[int, tuple[int, ...]], KernelMap],
    rng: np.random.Generator,
) -> Tensor:
    """One layer's mask, with exactly as many weights as the pattern has there."""
    found = maps.get((layer.stage, layer.kernel))
    filters, inputs = layer.shape[layer.out_dim], layer.shape[1 - layer.out_dim]
    shares_P = np.ones(prod(layer.kernel))
    if found is not None and len(found.kept) == len(shares_P):
        shares_P = np.array(found.kept)
    counts_P = positions_of(own.nonzero, shares_P, filters * inputs)
    weight_OI = np.outer(_drawn_shares(own.filters, filters, rng), _drawn_shares(own.inputs, inputs, rng))
    mask_OIP = np.zeros((filters, inputs, len(counts_P)), dtype=bool)
    for position, count in enumerate(counts_P):
        mask_OIP[:, :, position] = _sampled(weight_OI, int(count), rng)
    mask = torch.from_numpy(mask_OIP)
    shape = (filters, inputs, *layer.shape[2:])
    return (mask.reshape(shape).transpose(0, 1) if layer.out_dim == 1 else mask.reshape(shape)).contiguous()


def positions_of(total: int, shares_P: NDArray[np.float64], kernels: int) -> NDArray[np.int64]:
    """How many kernels keep each position: in proportion to the shares, none above the kernels there are.

    Args:
        total: over all positions, at most P · kernels.
        shares_P: in any unit; where all are zero, all positions are alike.
        kernels: how many there are.

    Example:
        >>> positions_of(10, np.array([1.0, 3.0]), 6).tolist()
        [4, 6]
    """
    weights_P = np.maximum(shares_P, 1e-12)
    low, high = 0.0, total / weights_P.min()
    for _ in range(200):
        factor = (low + high) / 2
        low, high = (factor, high) if np.minimum(kernels, factor * weights_P).sum() < total else (low, factor)
    real_P = np.minimum(kernels, high * weights_P)
    counts_P = np.floor(real_P + 1e-9).astype(np.int64)
    order_P = np.argsort(-(real_P - counts_P), kind="stable")
    counts_P[order_P[: total - int(counts_P.sum())]] += (
        1  # what is missing are the fractions of those with room
    )
    return np.asarray(counts_P, dtype=np.int64)


def _drawn_shares(spread: Spread, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A share for each filter or input, after the deciles, in random order."""
    places = (np.arange(count) + 0.5) / count
    shares = np.interp(places, np.linspace(0, 1, DECILES), spread.deciles)
    return rng.permutation(np.maximum(shares, _LEAST * max(spread.deciles[-1], 1e-9)))


def _sampled(weight_OI: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """So many places of a matrix, drawn without replacement by weight: the largest of log(u) / weight."""
    keys = np.log(rng.random(weight_OI.size)) / weight_OI.reshape(-1)
    chosen = np.zeros(weight_OI.size, dtype=bool)
    if count:
        chosen[np.argpartition(-keys, count - 1)[:count]] = True
    return chosen.reshape(weight_OI.shape)
