"""Optimal Brain Damage: weights stay whose loss would rise most without them, to second order (LeCun et al. 1989)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from nas_prune.patterns.cut import Scores
from nas_prune.patterns.methods.contract import Evidence, PatternMethod, compared
from nas_prune.patterns.methods.sample_gradients import sample_gradients

_GONE = -1.0  # less than any rise of a loss, and than any rank within a layer


def damages(evidence: Evidence) -> Scores:
    """How much a minimum of the loss rises without each weight, in units of the loss: h w² / 2 (LeCun et al. 1989).

    That is with a diagonal Hessian: no two weights depend on each other. h is the diagonal of its Gauss–Newton part, as
    in the paper: here the mean over images of the squared gradient, with labels drawn from the network's scores.
    """
    second = second_derivatives(evidence)
    weights = evidence.weights()
    found = {name: second[name] * weight.double().square() / 2 for name, weight in weights.items()}
    return with_gone_last(evidence, found)


def second_derivatives(evidence: Evidence) -> dict[str, Tensor]:
    """h: the mean over images of the squared gradient, of the weight's shape, by name, in float64."""
    weights = evidence.weights()
    sums = {name: torch.zeros_like(weight, dtype=torch.float64) for name, weight in weights.items()}
    count = 0
    for gradients in sample_gradients(evidence):
        for name, gradient in gradients.items():
            sums[name] += gradient.double().square().sum(0)
        count += len(next(iter(gradients.values())))
    return {name: total / count for name, total in sums.items()}


def with_gone_last(evidence: Evidence, scores: Mapping[str, Tensor]) -> Scores:
    """Rises of the loss as they are compared over layers, and less for weights that are zero: those went before.

    A weight that is there may score 0 as well, where no image's loss depends on it.
    """
    weights = evidence.weights()
    found = compared(scores, weights, evidence.scope)
    return {name: values.masked_fill(weights[name] == 0, _GONE) for name, values in found.items()}


OBD = PatternMethod(
    name="obd",
    summary="second-order rise of the loss without a weight (diagonal Fisher information), after training",
    citation="LeCun et al., Optimal Brain Damage, NIPS 1989",
    scores=damages,
    scopes=("global", "local"),
    takes_iterations=True,
    needs_classes=True,
)
