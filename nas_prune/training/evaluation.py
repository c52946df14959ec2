"""Loss and score of a network on one part of the data.

Shape letters: K classes, N images, S statistics.
"""

from collections.abc import Iterator
from math import isfinite, nan

import torch
from torch import Tensor, nn

from nas_prune.data import ImageData, Part, eval_batches, normalise
from nas_prune.training.compute import PLAIN, Compute
from nas_prune.training.loss import summed_loss
from nas_prune.training.ranks import main_output

_BATCH = 250


def class_scores(model: nn.Module, images: Tensor) -> Tensor:
    """The scores of a classifier's main output, N×classes."""
    return main_output(model(images))


@torch.no_grad()
def evaluate(
    model: nn.Module, part: Part, data: ImageData, compute: Compute = PLAIN, *, batch_size: int = _BATCH
) -> tuple[float, float]:
    """Mean loss and score on one part of the data: the accuracy, or what else the data's task measures.

    Where several processes train together each sees its share, and all get the sum.
    """
    task = data.task
    loss = torch.zeros((), dtype=torch.float64, device=part.device)
    statistics, start = (
        torch.zeros((), dtype=torch.float64, device=part.device),
        compute.ranks.share.of(0, len(part)).start,
    )
    for outputs, targets in _scored(model, part, data, compute, batch_size):
        loss += summed_loss(task, outputs, targets)
        own = task.statistics(in_own_units(outputs, data), in_own_units(targets, data)).double()
        if not task.is_collected:
            statistics = statistics + own
            continue
        if not statistics.dim():
            statistics = own.new_zeros(len(part), own.shape[1])
        statistics[start : start + len(own)] = own
        start += len(own)
    if not statistics.dim():
        statistics = _of_no_image(model, part, data, compute)
    compute.ranks.add(loss, statistics)
    mean = float(loss) / len(part)
    return mean, task.score(statistics) if isfinite(mean) else nan


def _of_no_image(model: nn.Module, part: Part, data: ImageData, compute: Compute) -> Tensor:
    """What a process adds that has no image of a part: zeros, of the form that the others have."""
    (images,) = part.batches([torch.arange(1)])
    outputs = class_scores(model, compute.laid_out(normalise(images, data.mean, data.std))).float()[:0]
    found = data.task.statistics(in_own_units(outputs, data), in_own_units(part.labels[:0], data)).double()
    return found.new_zeros(len(part), found.shape[1]) if data.task.is_collected else found


def in_own_units(numbers: Tensor, data: ImageData) -> Tensor:
    """Outputs or targets as a metric takes them: numbers in their own units, everything else as it is."""
    return numbers if data.scale is None else data.scale.unscaled(numbers)


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
