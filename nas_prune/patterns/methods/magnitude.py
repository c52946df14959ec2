"""Large weights stay: one-shot after training, or a few at a time while the network trains on (Han et al. 2015)."""

from collections.abc import Mapping

from torch import Tensor

from nas_prune.patterns.cut import Scores
from nas_prune.patterns.methods.contract import Evidence, PatternMethod, Scope, compared


def magnitudes(evidence: Evidence) -> Scores:
    """|w|, compared as the scope says."""
    return by_size(evidence.weights(), evidence.scope)


def by_size(weights: Mapping[str, Tensor], scope: Scope) -> Scores:
    """|w| of weights by name."""
    return compared({name: weight.abs() for name, weight in weights.items()}, weights, scope)


MAGNITUDE = PatternMethod(
    name="magnitude",
    summary="large weights stay after training; with --iterations a part goes at a time",
    citation="Han et al., Learning both Weights and Connections for Efficient Neural Networks, NIPS 2015",
    scores=magnitudes,
    takes_iterations=True,
)
