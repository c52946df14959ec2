"""Loss and accuracy of a network on one part of the data."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from nas_prune.data import ImageData, Part, eval_batches
from nas_prune.training.compute import PLAIN, Compute
from nas_prune.training.ranks import main_output
from nas_prune.training.state import Sums

_BATCH = 250


def class_scores(model: nn.Module, images: Tensor) -> Tensor:
    """The scores of a classifier's main output, N×classes."""
    return main_output(model(images))


@torch.no_grad()
def evaluate(
    model: nn.Module, part: Part, data: ImageData, compute: Compute = PLAIN, *, batch_size: int = _BATCH
) -> tuple[float, float]:
    """Mean cross entropy and accuracy (a share in [0, 1]) on one part of the data.

    Where several processes train together each sees its share, and all get the sum.
    """
    model.eval()
    compute.ranks.take_buffers(model)
    sums = Sums.nothing(part.device)
    batches = eval_batches(
        part, batch_size=batch_size, mean=data.mean, std=data.std, share=compute.ranks.share
    )
    for images, labels in batches:
        with compute.rounding():
            scores = class_scores(model, compute.laid_out(images)).float()
        sums.loss += cross_entropy(scores, labels, reduction="sum")
        sums.hits += (scores.argmax(1) == labels).sum()
    compute.ranks.add(sums.loss, sums.hits)
    return float(sums.loss) / len(part), float(sums.hits) / len(part)
