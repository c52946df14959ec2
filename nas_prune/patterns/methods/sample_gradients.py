"""What each image's loss says of each single weight: the gradients that second-order methods square.

The images are training images, chosen by the seed and not augmented. The network is in evaluation mode, so that no
image depends on another. Labels are drawn from the network's own class scores: then the mean of g gᵀ over images is
the Fisher information, which for the cross entropy is the Gauss–Newton part of the Hessian. With true labels it is not.

Images pass one at a time. On a VGG-16 of half its width (16 pixels, one CPU thread) that takes 19 ms an image, and the
same gradients by `torch.func.vmap` take 17 to 25 ms: the weights' gradients are most of the work either way. It is
right for every network that runs: for layers that are called several times, that see an image as several rows, or
that are followed by operations in place.

Shape letters: N images; then the shape of a weight.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from nas_prune.data import epoch_seed, normalise
from nas_prune.errors import BadInputError
from nas_prune.patterns.methods.contract import Evidence
from nas_prune.training.ranks import main_output

# Four for each weight of Optimal Brain Surgeon's blocks of 64: with fewer than 64, H of a block has no full rank.
# A squared gradient's mean over 256 is off by about a tenth. It is a few seconds' work: every image passes alone.
IMAGES = 256
_MOST_NUMBERS = 2**25  # of a batch's gradients: 128 MiB
_MOST_IMAGES = 64


def sample_gradients(evidence: Evidence, names: Sequence[str] | None = None) -> Iterator[dict[str, Tensor]]:
    """∂L/∂w of each image, N × shape of the weight by its name, batch by batch.

    A batch has as many images as keep its gradients below 128 MiB, but one at least. The images, their order and
    their labels depend on the seed and the network alone: a second call, for other weights, sees the same.

    Args:
        evidence: the network and the images; `IMAGES` of them are looked at, or as many as there are.
        names: of the weights; None for all that may go.

    Raises:
        BadInputError: the images are not of one class each.
    """
    data = evidence.data
    if data.task.kind != "class":
        raise BadInputError(
            f"this method draws labels from class scores, got --task {data.task.name}, which has none. Use --method "
            "magnitude."
        )
    weights = evidence.weights()
    return _batches(evidence, {name: weights[name] for name in (weights if names is None else names)})


def _batches(evidence: Evidence, weights: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    labels = torch.Generator().manual_seed(epoch_seed(evidence.seed, 0, "labels to score on"))
    most = min(_MOST_IMAGES, max(1, _MOST_NUMBERS // sum(weight.numel() for weight in weights.values())))
    for images in _images(evidence, most):
        with in_evaluation(evidence.model):
            found = [_gradients(evidence.model, weights, image, labels) for image in images.split(1)]
        yield {name: torch.stack(own) for name, *own in zip(weights, *found, strict=True)}


def _images(evidence: Evidence, most: int) -> Iterator[Tensor]:
    """Normalised images, at most so many at a time."""
    part, data = evidence.data.train, evidence.data
    generator = torch.Generator().manual_seed(epoch_seed(evidence.seed, 0, "images to score on"))
    places = torch.randperm(len(part), generator=generator)[:IMAGES]
    for images in part.batches(list(places.split(most))):
        yield normalise(images, data.mean, data.std)


@torch.enable_grad()
def _gradients(
    model: nn.Module, weights: dict[str, Tensor], image: Tensor, labels: torch.Generator
) -> tuple[Tensor, ...]:
    """Of one image, in the order of the weights; zero for weights that its loss does not depend on."""
    leaves = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
    scores = main_output(functional_call(model, leaves, (image,)))
    chances = scores.detach().double().softmax(1).cpu()
    label = chances.multinomial(1, generator=labels)[:, 0].to(scores.device)
    loss = cross_entropy(scores.float(), label, reduction="sum")
    return torch.autograd.grad(loss, list(leaves.values()), allow_unused=True, materialize_grads=True)


@contextmanager
def in_evaluation(model: nn.Module) -> Iterator[None]:
    """The network in evaluation mode, and afterwards each module as it was: it may be in the middle of its training."""
    before = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training
