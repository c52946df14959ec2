"""The training loop: one pass after another, each a pure function of the state before it, seed and number."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from nas_prune.data import Augment, ImageData, ImageSet, eval_batches, num_batches, train_batches
from nas_prune.errors import NasPruneError
from nas_prune.training.recipe import Recipe

_EVAL_BATCH = 500


@dataclass(frozen=True, slots=True)
class EpochReport:
    """What one epoch left behind; accuracies are shares in [0, 1], epochs count from 1."""

    epoch: int
    epochs: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float


@dataclass(slots=True)
class TrainState:
    """What a training run goes on from: the network, its optimiser, and the epochs done."""

    model: nn.Module
    optimiser: torch.optim.SGD
    epochs_done: int = 0


def start(model: nn.Module, recipe: Recipe) -> TrainState:
    """The state before the first epoch."""
    optimiser = torch.optim.SGD(
        model.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )
    return TrainState(model, optimiser)


def fit(
    state: TrainState,
    data: ImageData,
    recipe: Recipe,
    *,
    seed: int,
    penalise: Callable[[nn.Module], None] | None = None,
    on_step: Callable[[int, int], None] | None = None,
    on_epoch: Callable[[TrainState, EpochReport], None] | None = None,
) -> None:
    """Train until the recipe's epochs are done; the state is changed in place.

    Args:
        state: where to go on from.
        data: the images, on the device of the network.
        recipe: how.
        seed: fixes order and augmentation of the images, and dropout, epoch by epoch.
        penalise: called after each backward pass, to add to gradients.
        on_step: called as (step, steps) after each step.
        on_epoch: called with the report of each epoch after its evaluation on the validation part.

    Raises:
        NasPruneError: the loss is no longer a finite number.
    """
    while state.epochs_done < recipe.epochs:
        loss, accuracy, rate = _epoch(state, data, recipe, seed=seed, penalise=penalise, on_step=on_step)
        val_loss, val_accuracy = evaluate(state.model, data.val, data)
        state.epochs_done += 1
        report = EpochReport(
            state.epochs_done,
            recipe.epochs,
            rate,
            loss,
            accuracy,
            val_loss=val_loss,
            val_accuracy=val_accuracy,
        )
        if on_epoch is not None:
            on_epoch(state, report)


def _epoch(
    state: TrainState,
    data: ImageData,
    recipe: Recipe,
    *,
    seed: int,
    penalise: Callable[[nn.Module], None] | None,
    on_step: Callable[[int, int], None] | None,
) -> tuple[float, float, float]:
    per_epoch = num_batches(len(data.train), recipe.batch_size)
    steps = per_epoch * recipe.epochs
    step = state.epochs_done * per_epoch
    losses, correct, seen, rate = [], [], 0, 0.0
    state.model.train()
    with torch.random.fork_rng(devices=_cuda_devices(data)):
        torch.manual_seed(seed * 1_000_003 + state.epochs_done)
        for images, labels in _batches(data, recipe, seed, state.epochs_done):
            rate = recipe.rate_at(step, steps, per_epoch)
            loss, hits = _step(state, images, labels, rate, penalise)
            losses.append(loss * len(labels))
            correct.append(hits)
            seen += len(labels)
            step += 1
            if on_step is not None:
                on_step(step, steps)
    mean_loss = float(torch.stack(losses).sum()) / seen
    if not isfinite(mean_loss):
        raise NasPruneError(
            f"the loss must stay finite, got {mean_loss} in epoch {state.epochs_done + 1} at learning rate {rate:.4g}. "
            "Use a smaller --learning-rate or --sparsity."
        )
    return mean_loss, float(torch.stack(correct).sum()) / seen, rate


def _batches(data: ImageData, recipe: Recipe, seed: int, epoch: int):  # type: ignore[no-untyped-def]
    augment = Augment(
        crop_padding=round(recipe.crop_share * data.image_size), flip=recipe.mirror and data.flip
    )
    return train_batches(
        data.train,
        batch_size=recipe.batch_size,
        mean=data.mean,
        std=data.std,
        augment=augment,
        seed=seed,
        epoch=epoch,
    )


def _step(
    state: TrainState,
    images: Tensor,
    labels: Tensor,
    rate: float,
    penalise: Callable[[nn.Module], None] | None,
) -> tuple[Tensor, Tensor]:
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    state.optimiser.zero_grad(set_to_none=True)
    scores = class_scores(state.model, images)
    loss = cross_entropy(scores, labels)
    loss.backward()
    if penalise is not None:
        penalise(state.model)
    state.optimiser.step()
    return loss.detach(), (scores.detach().argmax(1) == labels).sum()


def class_scores(model: nn.Module, images: Tensor) -> Tensor:
    """The scores of a classifier's main output, N×classes (auxiliary heads come after it)."""
    output = model(images)
    scores: Tensor = output if isinstance(output, Tensor) else output[0]
    return scores


@torch.no_grad()
def evaluate(model: nn.Module, part: ImageSet, data: ImageData) -> tuple[float, float]:
    """Mean cross entropy and accuracy (a share in [0, 1]) on one part of the data."""
    model.eval()
    loss, hits = 0.0, 0
    for images, labels in eval_batches(part, batch_size=_EVAL_BATCH, mean=data.mean, std=data.std):
        scores = class_scores(model, images)
        loss += float(cross_entropy(scores, labels, reduction="sum"))
        hits += int((scores.argmax(1) == labels).sum())
    return loss / len(part), hits / len(part)


def _cuda_devices(data: ImageData) -> list[int]:
    device = data.train.images.device
    return [device.index or 0] if device.type == "cuda" else []
