"""The training loop: one step after another, each a pure function of the state before it, seed and number."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from nas_prune.data import ImageData, epoch_seed, num_batches, train_batches
from nas_prune.data.metric import ACCURACY, Metric
from nas_prune.errors import NasPruneError
from nas_prune.training.compute import PLAIN, Compute
from nas_prune.training.evaluation import class_scores, evaluate
from nas_prune.training.loss import Loss, Teacher, count_right, loss_of
from nas_prune.training.recipe import Recipe
from nas_prune.training.state import (
    Sums,
    TrainState,
    has_stalled,
    lay_out_channels_last,
    move_average,
    moved_by_recipe,
    note_epoch,
    seeded_rng,
    set_rng_state,
)

Penalty: TypeAlias = Callable[[nn.Module, float], None]
_CHECK_EVERY = 50  # steps between checks of the loss where each check makes a device wait
SMALLER_RATE = "Use a smaller --learning-rate."
_EVAL_BATCH = 250


@dataclass(frozen=True, slots=True)
class EpochReport:
    """The result of one epoch; epochs count from 1.

    Attributes:
        train_accuracy: of classification, a share in [0, 1]; None of other tasks.
        val_score: of the task's metric; more is better.
        metric: of the task.

    Those of training are over the images as they were trained on: varied, mixed (then parts of an image are right),
    drawn again or weighted where the recipe evens classes out.
    """

    epoch: int
    epochs: int
    learning_rate: float
    train_loss: float
    train_accuracy: float | None
    val_loss: float
    val_score: float
    metric: Metric = ACCURACY

    def line(self) -> dict[str, Any]:
        """As `metrics.jsonl` has it; what does not hold of a task is left out."""
        trained = {} if self.train_accuracy is None else {"train_accuracy": self.train_accuracy}
        return {
            "epoch": self.epoch,
            "epochs": self.epochs,
            "learning_rate": self.learning_rate,
            "train_loss": self.train_loss,
            **trained,
            "val_loss": self.val_loss,
            self.metric.key("val"): self.metric.score(self.val_score),
        }


@dataclass(frozen=True, slots=True)
class Observer:
    """What looks at a network after every epoch of its training.

    Attributes:
        note: plain JSON to write with the epoch's report.
        is_enough: whether to stop, from all lines written so far, the oldest first.
    """

    note: Callable[[nn.Module], Mapping[str, Any]]
    is_enough: Callable[[Sequence[Mapping[str, Any]]], bool]


@dataclass(frozen=True, slots=True)
class Training:
    """What is trained, and how.

    Attributes:
        data: the images, on the device of the network.
        recipe: how.
        seed: fixes order and augmentation of the images, and all that a network draws, epoch by epoch.
        compute: on what, and how precisely.
        penalise: called after each backward pass with the network and the learning rate, to add to gradients or to
            move parameters of its own.
        after_step: changes the network in place after each step of the optimiser, before its moving average takes it;
            called with the state, whose counts are those before the step and whose sums have it.
        after_epoch: changes the networks in place after the last step of each epoch, before they are evaluated, in
            every process that trains; all have the same network then.
        teacher: gives the scores to imitate for a batch of images.
        title: its name in progress reports.
        observer: looks at the network after every epoch, and may say that it is enough.
        settings: plain JSON of what else decides the result; a checkpoint of other settings is refused.
        log_to: where TensorBoard's events go; None for nowhere.
        if_diverging: what to do where the loss does not stay finite, for people.
    """

    data: ImageData
    recipe: Recipe
    seed: int
    compute: Compute = PLAIN
    penalise: Penalty | None = None
    after_step: Callable[[TrainState], None] | None = None
    after_epoch: Callable[[TrainState], None] | None = None
    teacher: Teacher | None = None
    title: str = "training"
    observer: Observer | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    log_to: Path | None = None
    if_diverging: str = SMALLER_RATE


def fit(
    state: TrainState,
    training: Training,
    *,
    on_step: Callable[[int, int], None] | None = None,
    on_epoch: Callable[[EpochReport], bool | None] | None = None,
) -> None:
    """Train until the recipe's epochs are done, or its patience is over; the state is changed in place, step by step.

    Args:
        state: where to start, at the beginning of an epoch or within one.
        training: what is trained, and how.
        on_step: called as (step, steps) after each step; the state is then one to resume from.
        on_epoch: called with the report of each epoch after its evaluation on the validation part; the training ends
            there if it says True.

    Raises:
        NasPruneError: the loss is no longer a finite number, or the device's memory is full.
    """
    data, recipe = training.data, training.recipe
    loop = _Loop(state, training, on_step)
    with _explained_memory(recipe):
        while state.epochs_done < recipe.epochs and not has_stalled(state, recipe):
            loss, accuracy, rate = loop.epoch()
            if training.after_epoch is not None:
                # Or each process would go by statistics of its own, and change its networks in a way of its own.
                training.compute.ranks.take_buffers(state.trained)
                training.after_epoch(state)
            batch_size = min(_EVAL_BATCH, 2 * recipe.batch_size)
            val_loss, val_score = evaluate(
                state.trained, data.val, data, training.compute, batch_size=batch_size
            )
            if not isfinite(val_loss):
                raise NasPruneError(
                    f"the validation loss must stay finite, got one that is not after epoch {state.epochs_done + 1}. "
                    f"{training.if_diverging}"
                )
            if not isfinite(val_score):
                raise NasPruneError(
                    f"the {data.task.metric.name} of --task {data.task.name} must be a finite number, got {val_score} "
                    f"on the validation images after epoch {state.epochs_done + 1}."
                )
            state.epochs_done += 1
            state.steps_done, state.sums = 0, None
            note_epoch(state, val_score, val_loss)
            if on_epoch is not None:
                done = state.epochs_done
                metric = data.task.metric
                report = EpochReport(done, recipe.epochs, rate, loss, accuracy, val_loss, val_score, metric)
                if on_epoch(report):
                    return


@contextmanager
def _explained_memory(recipe: Recipe) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        text = str(error)
        if not (
            isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "DefaultCPUAllocator: can't" in text
        ):
            raise
        smaller = max(2, recipe.batch_size // 2)
        raise NasPruneError(
            f"a batch of {recipe.batch_size} must fit into the device's memory, which is full. "
            f"Try --batch-size {smaller}."
        ) from None


@dataclass(slots=True)
class _Loop:
    """One call of `fit`.

    Attributes:
        recent: (step, loss) not yet looked at.
    """

    state: TrainState
    training: Training
    on_step: Callable[[int, int], None] | None
    forward: nn.Module = field(init=False)
    loss: Loss = field(init=False)
    per_epoch: int = field(init=False)
    recent: list[tuple[int, Tensor]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.training.compute.channels_last:
            lay_out_channels_last(self.state)
        self.forward = self.training.compute.prepared(self.state.model, self.training.data.train.shape)
        self.loss = loss_of(self.training.recipe, self.training.data, self.training.teacher)
        self.per_epoch = num_batches(len(self.training.data.train), self.training.recipe.batch_size)

    @property
    def steps(self) -> int:
        return self.per_epoch * self.training.recipe.epochs

    def epoch(self) -> tuple[float, float | None, float]:
        """Mean loss, accuracy and last learning rate of one epoch, or of what is left of it."""
        state, device = self.state, self.training.compute.device
        self.forward.train()
        sums = state.sums = state.sums or Sums.nothing(device)
        rank = self.training.compute.ranks.rank
        own_seed = epoch_seed(self.training.seed, state.epochs_done, f"network of rank {rank}")
        with seeded_rng(own_seed, device):
            if state.rng_state is not None:
                set_rng_state(state.rng_state, device)
                state.rng_state = None
            for images, labels in self._batches():
                self._step(images, labels, sums)
                state.steps_done += 1
                self._after_step()
        self._check_losses()
        self.training.compute.ranks.add(sums.loss, sums.hits)
        seen = self._seen()
        accuracy = float(sums.hits) / seen if self.training.data.task.is_classification else None
        return float(sums.loss) / seen, accuracy, self._rate(self.per_epoch - 1)

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        data, recipe = self.training.data, self.training.recipe
        return train_batches(
            data.train,
            batch_size=recipe.batch_size,
            mean=data.mean,
            std=data.std,
            augment=recipe.augment(
                data.image_size, can_mirror=data.flip, can_move=data.task.kind != "numbers"
            ),
            seed=self.training.seed,
            epoch=self.state.epochs_done,
            first=self.state.steps_done,
            share=self.training.compute.ranks.share,
            num_classes=data.num_classes,
            is_balanced=recipe.balance == "sampling",
        )

    def _rate(self, step_of_epoch: int) -> float:
        step = self.state.epochs_done * self.per_epoch + step_of_epoch
        return self.training.recipe.rate_at(step, self.steps, self.per_epoch)

    def _seen(self) -> int:
        return min(len(self.training.data.train), self.per_epoch * self.training.recipe.batch_size)

    def _step(self, images: Tensor, labels: Tensor, sums: Sums) -> None:
        optimiser, rate = self.state.optimiser, self._rate(self.state.steps_done)
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.zero_grad(set_to_none=True)
        loss, scores = self._loss(self.training.compute.laid_out(images), labels)
        (loss if self.training.compute.ranks.world == 1 else loss * self._weight(len(labels))).backward()
        if self.training.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(moved_by_recipe(self.state.model), self.training.recipe.clip_norm)
        if self.training.penalise is not None:
            self.training.penalise(self.state.model, rate)
        optimiser.step()
        detached = loss.detach()
        sums.loss += detached * len(labels)
        if self.training.data.task.is_classification:
            sums.hits += count_right(scores.detach(), labels)
        self.recent.append((self.state.steps_done, detached))
        if self.training.after_step is not None:
            self.training.after_step(self.state)
        if self.training.recipe.average is not None:
            move_average(self.state, self.training.recipe.average, self._steps_done())

    def _loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        with self.training.compute.rounding():
            scores = class_scores(self.forward, images)
        scores = scores.float()
        return self.loss.of(scores, labels, images), scores

    def _weight(self, count: int) -> float:
        """What makes the mean of the processes' gradients that of the whole batch."""
        size, done = self.training.recipe.batch_size, self.state.steps_done * self.training.recipe.batch_size
        return count * self.training.compute.ranks.world / min(size, len(self.training.data.train) - done)

    def _steps_done(self) -> int:
        return self.state.epochs_done * self.per_epoch + self.state.steps_done

    def _after_step(self) -> None:
        if self.training.compute.device.type == "cpu" or len(self.recent) >= _CHECK_EVERY:
            self._check_losses()
        if self.on_step is not None:
            self.on_step(self._steps_done(), self.steps)

    def _check_losses(self) -> None:
        """Refuse a loss that is not finite, and name the first such step."""
        if not self.recent:
            return
        losses = torch.stack([loss for _, loss in self.recent]).isfinite().tolist()
        broken = [step for (step, _), is_finite in zip(self.recent, losses, strict=True) if not is_finite]
        self.recent.clear()
        if broken:
            raise NasPruneError(
                f"the loss must stay finite, got one that is not in step {broken[0] + 1} of epoch "
                f"{self.state.epochs_done + 1} at learning rate {self._rate(broken[0]):.4g}. "
                f"{self.training.if_diverging}"
            )
