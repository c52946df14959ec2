"""Judging widths by the weights of a trained network: its best channels, batch norms estimated anew, no training.

A batch norm's running statistics are those of the whole network's activations; behind removed channels they are wrong,
and the accuracy of what is left says little (Liu et al. 2017 fine-tune for that reason; Yu and Huang 2019, section 3,
estimate statistics anew for each width). One pass over a thousand images mends them.

Shape suffix: G searchable groups of channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nas_prune.data import ImageData, Part, normalise
from nas_prune.space.search_space import SearchSpace
from nas_prune.study.judges.contract import Judgement
from nas_prune.training.compute import PLAIN, Compute, limited_threads
from nas_prune.training.evaluation import class_scores, evaluate

NORM_IMAGES = 1024  # by which batch norms are estimated anew
_BATCH = 128


@dataclass(frozen=True, slots=True)
class Inheriting:
    """A judge that cuts a trained network.

    Attributes:
        network: the whole network, trained; it is not changed.
        order_G: the channels of each group, the best first.
        space: the network's.
        data: the images; batch norms are estimated on some of the training part, accuracy is of the validation part.
        seed: fixes which training images.
        compute: on what.
        threads: of the CPU.
    """

    network: nn.Module
    order_G: tuple[NDArray[np.int64], ...]
    space: SearchSpace
    data: ImageData
    seed: int
    compute: Compute = PLAIN
    threads: int = 1
    batches: tuple[torch.Tensor, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "batches", places_for_norms(self.data.train, self.seed))

    def judged(self, vector_G: Sequence[int]) -> Judgement:
        """The validation accuracy of the best channels, as many of each group as it is wide."""
        kept_G = [np.sort(order[:width]) for order, width in zip(self.order_G, vector_G, strict=True)]
        with limited_threads(self.threads):
            narrow = self.space.narrow(self.network, kept_G)
            images = estimate_norms(narrow, self.data, self.batches, self.compute)
            _, accuracy = evaluate(narrow, self.data.val, self.data, self.compute)
        passes = images + len(self.data.val)
        return Judgement(accuracy, self.space.cost_at(vector_G).macs * passes)


def places_for_norms(part: Part, seed: int) -> tuple[torch.Tensor, ...]:
    """Batches of places of the images by which norms are estimated; all where there are fewer."""
    order = torch.randperm(len(part), generator=torch.Generator().manual_seed(seed))[:NORM_IMAGES]
    return tuple(batch for batch in order.split(_BATCH) if len(batch) > 1)


@torch.no_grad()
def estimate_norms(
    network: nn.Module, data: ImageData, batches: Sequence[torch.Tensor], compute: Compute = PLAIN
) -> int:
    """Replace the running statistics of batch norms by means over some training images, in place.

    Everything else runs as in evaluation. Networks whose norms keep no statistics stay as they are.

    Returns:
        How many images were passed through the network.
    """
    norms = [
        module
        for module in network.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)  # noqa: SLF001
        and module.running_mean is not None
    ]
    if not norms:
        return 0
    network.eval()
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
        norm.train()
    try:
        for images in data.train.batches(batches):
            with compute.rounding():
                class_scores(network, compute.laid_out(normalise(images, data.mean, data.std)))
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    network.eval()
    return sum(map(len, batches))
