"""Run twice at once by test_ranks.py: trains a small network on digits and writes its state from rank 0."""

import os
from pathlib import Path

import torch

from nas_prune.data import load_data
from nas_prune.space.load import load_space
from nas_prune.training.checkpoint import write_checkpoint
from nas_prune.training.compute import Compute
from nas_prune.training.evaluation import evaluate
from nas_prune.training.loop import Training, fit
from nas_prune.training.ranks import joined
from nas_prune.training.recipe import recipe_named
from nas_prune.training.state import TrainState, start

RECIPE = recipe_named("digits").model_copy(update={"epochs": 2, "learning_rate": 0.02})


def main(out: Path, told: dict[str, str]) -> None:
    """What one process does; it is told what `torchrun` tells its processes."""
    os.environ.update(told)
    torch.set_num_threads(1)
    data = load_data("digits", max_images=250)
    state = start(load_space("resnet20", (1, 8, 8)).build(seed=0), RECIPE)
    with joined(torch.device("cpu")) as ranks:
        compute = Compute(ranks=ranks)
        after: list[float] = []

        def note(now: TrainState) -> None:
            after.append(sum(float(buffer.sum()) for buffer in now.trained.buffers()))

        fit(state, Training(data, RECIPE, seed=5, compute=compute, after_epoch=note))
        out.with_name(f"buffers-{ranks.rank}").write_text(str(after))
        loss, _ = evaluate(state.model, data.val, data, compute)
        if ranks.is_first:
            write_checkpoint(out, state, {"val_loss": loss})
