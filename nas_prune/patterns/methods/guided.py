"""Guided sparsification: masks drawn after a guideline, for any network (Liu et al. 2019, section 5).

A layer of a stage has log odds x plus what the guideline says of it, and each kernel position what it says of that; x
is what the budget takes. A weight whose place among those of its layer and position is u, drawn evenly between 0 and
1, stays if its log odds are above those of u.
"""

from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas_prune.data import epoch_seed
from nas_prune.patterns.cut import Scores
from nas_prune.patterns.guideline import PatternGuideline, kind_of_layer, last_stage
from nas_prune.patterns.layers import WeightLayer
from nas_prune.patterns.methods.contract import Evidence, PatternMethod


def guided(evidence: Evidence) -> Scores:
    """The x at which each weight begins to stay, negated."""
    assert evidence.guideline is not None
    return scores_by(evidence, evidence.guideline)


def scores_by(evidence: Evidence, guideline: PatternGuideline) -> Scores:
    """As `guided`, by a guideline that is read already."""
    layers = evidence.costs.layers.layers
    last = last_stage((layer.kind, layer.stage) for layer in layers)
    found: dict[str, Tensor] = {}
    for number, layer in enumerate(layers):
        kind = kind_of_layer(layer.kind, layer.shape, is_first=layer.is_first)
        stage = last - layer.stage
        whole = guideline.density_odds(kind, stage)
        by_position = guideline.position_odds(layer.shape[2:], stage) or (0.0,) * prod(layer.kernel)
        rng = np.random.default_rng(epoch_seed(evidence.seed, number, "mask"))
        found[layer.name] = torch.from_numpy(_drawn(layer, whole + np.array(by_position), rng))
    return found


def _drawn(layer: WeightLayer, odds_P: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Log odds less those of an even place in a random order, position by position."""
    kernels = layer.shape[0] * layer.shape[1]
    places_K = (np.arange(kernels) + 0.5) / kernels
    logits_K = np.log(places_K / (1 - places_K))
    scores_KP = np.stack([odds - rng.permutation(logits_K) for odds in odds_P], axis=1)
    return np.ascontiguousarray(scores_KP.reshape(layer.shape))


GUIDED = PatternMethod(
    name="guided",
    summary="weights drawn by stage and kernel position after a guideline of other searches",
    citation="Liu et al., Rethinking the Value of Network Pruning, ICLR 2019, section 5",
    scores=guided,
    trains=False,
    scopes=(),
    needs_guideline=True,
)
