"""What channels are scored on: some training images, chosen by seed and not augmented, or batches that are given.

Shape letters: N examples of a batch, K classes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils import _pytree as pytree

from nas_prune.data import epoch_seed, normalise
from nas_prune.data.task import Task
from nas_prune.errors import BadInputError
from nas_prune.search.methods.contract import Evidence, GivenBatches, OwnLoss
from nas_prune.training.evaluation import class_scores
from nas_prune.training.loss import summed_loss
from nas_prune.training.ranks import main_output

IMAGES = 1024  # so that scoring stays far below the cost of an epoch
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Sample:
    """A batch to score on.

    Attributes:
        size: N.
        run: the network's outputs, whatever they are.
        loss: summed over the examples.
        scores: of a classifier, N×K; refuses where a loss of one's own says what outputs mean.
    """

    size: int
    run: Callable[[nn.Module], object]
    loss: Callable[[nn.Module], Tensor]
    scores: Callable[[nn.Module], Tensor]


def samples(evidence: Evidence, count: int = IMAGES) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of normalised images, N×C×H×W, and their labels, `count` images in all or as many as there are."""
    part, data = evidence.data.train, evidence.data
    generator = torch.Generator().manual_seed(epoch_seed(evidence.seed, 0, "images to score on"))
    places = torch.randperm(len(part), generator=generator)[:count].split(_BATCH)
    for images, chosen in zip(part.batches(list(places)), places, strict=True):
        yield normalise(images, data.mean, data.std), part.labels[chosen.to(part.device)]


def batches_of(evidence: Evidence, count: int = IMAGES) -> Iterator[Sample]:
    """Batches of `count` examples in all or as many as there are; a given last batch is taken as a whole."""
    if evidence.given is not None:
        yield from _given(evidence, evidence.given, count)
        return
    for images, targets in samples(evidence, count):
        yield _of_task(evidence.data.task, partial(_class_scores, images), targets)


def _of_task(task: Task, outputs: Callable[[nn.Module], Tensor], targets: Tensor) -> Sample:
    """Images of our own, by the loss of their task."""

    def loss(model: nn.Module) -> Tensor:
        return summed_loss(task, outputs(model).float(), targets)

    def scores(model: nn.Module) -> Tensor:
        if task.kind != "class":
            raise BadInputError(
                f"this method draws labels from class scores, got --task {task.name}, which has none. Use --method "
                "taylor."
            )
        return outputs(model)

    return Sample(len(targets), outputs, loss, scores)


def _class_scores(images: Tensor, model: nn.Module) -> Tensor:
    return class_scores(model, images)


def _classified(scores: Callable[[nn.Module], Tensor], labels: Tensor) -> Sample:
    def loss(model: nn.Module) -> Tensor:
        return cross_entropy(scores(model), labels, reduction="sum")

    return Sample(len(labels), scores, loss, scores)


def _given(evidence: Evidence, given: GivenBatches, count: int) -> Iterator[Sample]:
    seen = 0
    for batch in given.batches:
        own = given.loss
        sample = _read(batch, evidence.model) if own is None else _of_own_loss(evidence, own, batch)
        yield sample
        seen += sample.size
        if seen >= count:
            return
    if not seen:
        raise BadInputError("batches must hold at least one batch to score channels on, got none.")


def _read(batch: Any, model: nn.Module) -> Sample:
    """A batch of (inputs, labels) for a classifier."""
    device = next(model.parameters()).device
    pair = tuple(batch) if isinstance(batch, (tuple, list)) else ()
    if len(pair) != 2 or not isinstance(pair[1], Tensor) or pair[1].dim() != 1 or pair[1].is_floating_point():
        raise BadInputError(
            f"a batch must be (inputs, labels) with a class number for each example, got {_words(batch)}. Give "
            "loss=, called with the network and the batch, for what is read in another way."
        )
    rows = next((len(one) for one in pytree.tree_leaves(pair[0]) if isinstance(one, Tensor) and one.dim()), 0)
    if rows != len(pair[1]):
        raise BadInputError(
            f"a batch must have a label for each input, got {rows} inputs and {len(pair[1])} labels."
        )
    inputs = pytree.tree_map_only(Tensor, lambda tensor: tensor.to(device), pair[0])
    labels = pair[1].to(device)

    def scores(model: nn.Module) -> Tensor:
        found = main_output(model(*inputs) if isinstance(inputs, (tuple, list)) else model(inputs))
        if found.dim() != 2 or len(found) != len(labels):
            raise BadInputError(
                f"a network must give class scores for each of {len(labels)} labels, got shape {list(found.shape)}. "
                "Give loss=, called with the network and the batch."
            )
        return found.float()

    return _classified(scores, labels)


def _words(batch: Any) -> str:
    parts = batch if isinstance(batch, (tuple, list)) else (batch,)
    shapes = [str(list(one.shape)) if isinstance(one, Tensor) else type(one).__name__ for one in parts]
    return f"{type(batch).__name__} of {', '.join(shapes)}"


def _of_own_loss(evidence: Evidence, own: OwnLoss, batch: Any) -> Sample:
    def mean(model: nn.Module) -> Tensor:
        found = own(model, batch)
        if not isinstance(found, Tensor) or found.numel() != 1:
            got = f"shape {list(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            raise BadInputError(f"loss must return one number for a batch, as a tensor, got {got}.")
        return found.reshape(())

    def scores(_: nn.Module) -> Tensor:
        raise BadInputError(
            "this method draws labels from class scores, which a loss of your own does not show. Leave loss= out for a "
            "classifier, or use --method taylor."
        )

    size = _rows(evidence, mean)
    return Sample(size, mean, lambda model: mean(model) * size, scores)


def _rows(evidence: Evidence, run: Callable[[nn.Module], Tensor]) -> int:
    """How many examples a batch has, as the first layer that scored groups pass through sees them."""
    seen: list[int] = []

    def note(_: nn.Module, __: object, output: Any) -> None:
        if isinstance(output, Tensor) and output.dim() > 1:
            seen.append(len(output))

    first = evidence.space.groups[evidence.columns[0]].layers[0]
    handle = evidence.model.get_submodule(first).register_forward_hook(note)
    try:
        with torch.no_grad():
            run(evidence.model)
    finally:
        handle.remove()
    if not seen:
        raise BadInputError(f"loss must run the network, got one that does not reach {first}.")
    return seen[0]
