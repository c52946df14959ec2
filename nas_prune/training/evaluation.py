"""Loss and accuracy of a network on one part of the data.

Shape letter: K classes.
"""

from collections.abc import Iterator

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
    sums = Sums.nothing(part.device)
    for scores, labels in _scored(model, part, data, compute, batch_size):
        sums.loss += cross_entropy(scores, labels, reduction="sum")
        sums.hits += (scores.argmax(1) == labels).sum()
    compute.ranks.add(sums.loss, sums.hits)
    return float(sums.loss) / len(part), float(sums.hits) / len(part)


@torch.no_grad()
def balanced_accuracy(model: nn.Module, part: Part, data: ImageData, compute: Compute = PLAIN) -> float:
    """The accuracy on each class that has images, on average: in it all classes count alike."""
    counts_K = torch.zeros(data.num_classes, dtype=torch.float64, device=part.device)
    hits_K = torch.zeros_like(counts_K)
    for scores, labels in _scored(model, part, data, compute, _BATCH):
        counts_K += torch.bincount(labels, minlength=data.num_classes)
        hits_K += torch.bincount(labels[scores.argmax(1) == labels], minlength=data.num_classes)
    compute.ranks.add(counts_K, hits_K)
    return float((hits_K / counts_K)[counts_K > 0].mean())


def _scored(
    model: nn.Module, part: Part, data: ImageData, compute: Compute, batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Scores and labels, batch by batch, of this process's share."""
    model.eval()
    compute.ranks.take_buffers(model)
    batches = eval_batches(
        part, batch_size=batch_size, mean=data.mean, std=data.std, share=compute.ranks.share
    )
    for images, labels in batches:
        with compute.rounding():
            scores = class_scores(model, compute.laid_out(images)).float()
        yield scores, labels
