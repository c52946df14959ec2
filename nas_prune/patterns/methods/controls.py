"""Patterns that look at neither weights nor images: what found ones are compared with.

Densities of layers are all the same (`uniform`), drawn (`random`), or by the sizes of a layer (`erk`); which weights of
a layer stay is drawn by the seed.
"""

import numpy as np
import torch
from torch import Tensor

from nas_prune.data import epoch_seed
from nas_prune.patterns.cut import Scores
from nas_prune.patterns.layers import WeightLayer
from nas_prune.patterns.methods.contract import Evidence, PatternMethod, within_layer
from nas_prune.patterns.pattern import LayerPattern


def at_densities(evidence: Evidence, weights: dict[str, float]) -> Scores:
    """Scores of which a threshold of 1/t leaves the share t · weight of each layer, drawn by the seed."""
    found: dict[str, Tensor] = {}
    for number, layer in enumerate(evidence.costs.layers.layers):
        generator = torch.Generator().manual_seed(epoch_seed(evidence.seed, number, "which weights stay"))
        drawn = torch.rand(layer.size, generator=generator, dtype=torch.float64).reshape(layer.shape)
        found[layer.name] = within_layer(drawn) * weights[layer.name]
    return found


def uniform(evidence: Evidence) -> Scores:
    """The same share of every layer."""
    return at_densities(evidence, {layer.name: 1.0 for layer in evidence.costs.layers.layers})


def random(evidence: Evidence) -> Scores:
    """A share of each layer that is drawn, evenly between 0.1 and 1 before all meet the budget."""
    rng = np.random.default_rng(epoch_seed(evidence.seed, 0, "densities of layers"))
    layers = evidence.costs.layers.layers
    return at_densities(evidence, {layer.name: float(rng.uniform(0.1, 1.0)) for layer in layers})


def erk(evidence: Evidence) -> Scores:
    """Densities by the sum of a layer's sizes over their product (Erdős–Rényi kernels): small layers keep more."""
    return at_densities(evidence, {layer.name: erk_weight(layer) for layer in evidence.costs.layers.layers})


def erk_weight(layer: WeightLayer | LayerPattern) -> float:
    """(inputs + outputs + height + width) over their product; a linear layer has no kernel.

    Example:
        >>> layer = WeightLayer("conv.weight", "conv", "conv", (8, 4, 3, 3), 0, 1)
        >>> erk_weight(layer) == (8 + 4 + 3 + 3) / (8 * 4 * 3 * 3)
        True
    """
    return sum(layer.shape) / layer.size


UNIFORM = PatternMethod(
    name="uniform",
    summary="the same share of every layer, which weights is drawn",
    citation="the baseline of Liu et al., Rethinking the Value of Network Pruning, ICLR 2019, section 5",
    scores=uniform,
    trains=False,
    scopes=(),
    is_control=True,
)
RANDOM = PatternMethod(
    name="random",
    summary="a drawn share of each layer, which weights is drawn",
    citation="a control: what densities by chance are worth",
    scores=random,
    trains=False,
    scopes=(),
    is_control=True,
)
ERK = PatternMethod(
    name="erk",
    summary="densities by a layer's sizes (Erdős–Rényi kernels), which weights is drawn",
    citation="Evci et al., Rigging the Lottery: Making All Tickets Winners, ICML 2020",
    scores=erk,
    trains=False,
    scopes=(),
    is_control=True,
)
