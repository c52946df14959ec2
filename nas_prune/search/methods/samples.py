"""The images that channels are scored on: some of the training part, chosen by seed, not augmented."""

from collections.abc import Iterator

import torch
from torch import Tensor

from nas_prune.data import epoch_seed, normalise
from nas_prune.search.methods.contract import Evidence

IMAGES = 1024  # so that scoring stays far below the cost of an epoch
_BATCH = 64


def samples(evidence: Evidence, count: int = IMAGES) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of normalised images, B×C×H×W, and their labels, `count` images in all or as many as there are."""
    part, data = evidence.data.train, evidence.data
    generator = torch.Generator().manual_seed(epoch_seed(evidence.seed, 0, "images to score on"))
    places = torch.randperm(len(part), generator=generator)[:count].split(_BATCH)
    for images, chosen in zip(part.batches(list(places)), places, strict=True):
        yield normalise(images, data.mean, data.std), part.labels[chosen.to(part.device)]
