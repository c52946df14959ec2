"""Scores from how the loss would change with a factor on each channel: Taylor, and Optimal Brain Damage.

A factor g on all outputs of a channel is 1 in the network as it is and 0 where the channel is gone. Its slope for one
image, ∂L/∂g at g = 1, is the sum over positions of activation × gradient. Taylor takes the first term of the series
of the loss at g = 0, Optimal Brain Damage the second.

Shape letters: N images, C channels of a group.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from nas_prune.data import epoch_seed
from nas_prune.search.methods.contract import Evidence, WidthMethod
from nas_prune.search.methods.gates import gated
from nas_prune.search.methods.layer_channels import ASKS_TO_GATE, can_gate
from nas_prune.search.methods.samples import Sample, batches_of
from nas_prune.space.scores import Scores

_Loss = Callable[[Sample, nn.Module], Tensor]


def taylor(evidence: Evidence) -> Scores:
    """Mean over images of |slope|: how much the loss depends on a channel, to first order (equation 8 of the paper).

    The slopes are in units of the loss, so that channels of all layers can be compared. The paper's division by the
    norm of each layer's scores is left out, as in its 2019 successor.
    """
    means = _means(evidence, torch.abs, lambda sample, model: sample.loss(model))
    return evidence.for_each(lambda column: means[column])


def damage(evidence: Evidence) -> Scores:
    """½ ∂²L/∂g² of each channel: how much a minimum of the loss rises without it, if nothing compensates.

    The paper sums ½ h w² over single weights, with a diagonal Hessian. All weights of a channel go together here, so
    that the second derivative by their common factor is what counts, with all terms between them. It is the mean of
    slope² under labels drawn from the network's own scores: the Fisher information, which for the cross entropy is the
    Gauss–Newton part of the Hessian.
    """
    generator = torch.Generator().manual_seed(epoch_seed(evidence.seed, 0, "labels to score on"))
    means = _means(evidence, torch.square, partial(_drawn, generator))
    return evidence.for_each(lambda column: means[column] / 2)


def _drawn(generator: torch.Generator, sample: Sample, model: nn.Module) -> Tensor:
    """The loss under labels drawn from the network's own scores."""
    scores = sample.scores(model)
    chances = scores.detach().double().softmax(1).cpu()
    labels = chances.multinomial(1, generator=generator)[:, 0].to(scores.device)
    return cross_entropy(scores, labels, reduction="sum")


def _means(
    evidence: Evidence, measure: Callable[[Tensor], Tensor], loss: _Loss
) -> dict[int, NDArray[np.float64]]:
    """The mean over images of a measure of the slope, for each channel of each searched group."""
    sums: dict[int, Tensor] = {}
    count = 0
    for slopes in _slopes(evidence, loss):
        for column, slopes_NC in slopes.items():
            values = measure(slopes_NC.double()).sum(0)
            sums[column] = sums[column] + values if column in sums else values
        count += len(next(iter(slopes.values())))
    return {column: (total / count).cpu().numpy() for column, total in sums.items()}


def _slopes(evidence: Evidence, loss: _Loss) -> Iterator[Mapping[int, Tensor]]:
    """∂L/∂g, N×C for each searched group, batch by batch; in evaluation mode no image depends on another."""
    model, space = evidence.model.eval(), evidence.space
    device = next(model.parameters()).device
    factors: dict[int, Tensor] = {}
    for sample in batches_of(evidence):
        for column in evidence.columns:
            shape = (sample.size, space.base_G[column])
            factors[column] = torch.ones(shape, device=device, requires_grad=True)
        wanted = [factors[column] for column in evidence.columns]
        with gated(model, space, evidence.columns, lambda: factors):
            found = torch.autograd.grad(loss(sample, model), wanted)
        yield dict(zip(evidence.columns, found, strict=True))


TAYLOR = WidthMethod(
    name="taylor",
    summary="first-order change of the loss when a channel goes, after training",
    scope="global",
    citation="Molchanov et al., Pruning Convolutional Neural Networks for Resource Efficient Inference, ICLR 2017",
    scores=taylor,
    can_score=can_gate,
    asks=ASKS_TO_GATE,
)
OBD = WidthMethod(
    name="obd",
    summary="second-order change of the loss (Fisher information) when a channel goes, after training",
    scope="global",
    citation="LeCun et al., Optimal Brain Damage, NIPS 1989",
    scores=damage,
    can_score=can_gate,
    asks=ASKS_TO_GATE,
    needs_classes=True,
)
