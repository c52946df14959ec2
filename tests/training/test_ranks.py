"""Two processes that train together do what one does that averages the gradients of the two half-batches."""

import copy
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from torch.nn.functional import cross_entropy

from nas_prune.data import Augment, ImageData, Share, load_data, num_batches, train_batches
from nas_prune.errors import BadInputError
from nas_prune.runs.progress import SILENT
from nas_prune.space.load import load_space
from nas_prune.training import resumable
from nas_prune.training.compute import Compute
from nas_prune.training.evaluation import evaluate
from nas_prune.training.loop import Training, fit
from nas_prune.training.ranks import Ranks
from nas_prune.training.resumable import train_in
from nas_prune.training.state import TrainState, start
from tests.forking import FORKING
from tests.runs.test_resume import contents
from tests.training import two_ranks
from tests.training.test_resumable import RECIPE as LONGER
from tests.training.test_resumable import restless, stopping_at
from tests.training.two_ranks import RECIPE


def by_hand(data: ImageData) -> TrainState:
    """One process, two half-batches: gradients weighted by their images; statistics of norms for each half."""
    state = start(load_space("resnet20", (1, 8, 8)).build(seed=0), RECIPE)
    twin = copy.deepcopy(state.model)
    halves = (state.model, twin)
    per_epoch = num_batches(len(data.train), RECIPE.batch_size)
    for epoch in range(RECIPE.epochs):
        for model in halves:
            model.train()
        both = [
            train_batches(
                data.train,
                batch_size=RECIPE.batch_size,
                mean=data.mean,
                std=data.std,
                augment=Augment(crop_padding=1, flip=False),
                seed=5,
                epoch=epoch,
                share=Share(rank, 2),
            )
            for rank in (0, 1)
        ]
        for step, batches in enumerate(zip(*both, strict=True)):
            count = sum(len(labels) for _, labels in batches)
            twin.load_state_dict({**twin.state_dict(), **dict(state.model.named_parameters())})
            for model, (images, labels) in zip(halves, batches, strict=True):
                model.zero_grad()
                (cross_entropy(model(images), labels) * len(labels) / count).backward()
            for one, other in zip(state.model.parameters(), twin.parameters(), strict=True):
                assert one.grad is not None
                assert other.grad is not None
                one.grad += other.grad
            for group in state.optimiser.param_groups:
                group["lr"] = RECIPE.rate_at(epoch * per_epoch + step, RECIPE.epochs * per_epoch, per_epoch)
            state.optimiser.step()
    return state


@pytest.mark.slow
def test_two_gloo_processes_are_one_that_averages(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        FORKING.Process(target=two_ranks.main, args=(tmp_path / "state", {**told, "RANK": str(rank)}))
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    first, second = ((tmp_path / f"buffers-{rank}").read_text() for rank in range(2))
    assert first == second  # what acts after an epoch sees the same network in both
    from nas_prune.training.checkpoint import read_checkpoint, read_tensors

    together = start(load_space("resnet20", (1, 8, 8)).build(seed=0), RECIPE)
    read_checkpoint(tmp_path / "state", together)
    data = load_data("digits", max_images=250)
    expected, alone = by_hand(data), start(load_space("resnet20", (1, 8, 8)).build(seed=0), RECIPE)
    fit(alone, Training(data, RECIPE, seed=5))
    differences = [
        max(
            float((one - other).abs().max())
            for one, other in zip(
                state.model.state_dict().values(), together.model.state_dict().values(), strict=True
            )
        )
        for state in (expected, alone)
    ]
    assert differences[0] < 1e-5
    assert differences[1] > 1e-3  # whole batches normalise otherwise, so the comparison means something
    loss, _ = evaluate(expected.model, data.val, data)
    content, _ = read_tensors(tmp_path / "state")
    assert content["facts"]["val_loss"] == pytest.approx(loss, rel=1e-5)


def torchrun(*arguments: str, cwd: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "nas_prune"]
    return subprocess.Popen(
        [*command, *arguments],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_two_processes_that_are_killed_go_on_to_the_same_bits(tmp_path: Path) -> None:
    search = ("search", "--epochs", "12", "--max-images", "400", "--budget", "macs<=50%", "--threads", "1")
    with torchrun(*search, "--out", "whole", cwd=tmp_path) as process:
        assert "torchrun --nproc-per-node 2 -m nas_prune search --resume whole" in process.communicate()[1]
    with torchrun(*search, "--out", "killed", cwd=tmp_path) as process:
        metrics, deadline = tmp_path / "killed" / "metrics.jsonl", time.monotonic() + 90
        while not (metrics.exists() and metrics.read_text().count("\n") >= 3):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for one in (process.pid, *map(int, children)):
            os.kill(one, signal.SIGKILL)
        process.communicate()
    assert not (tmp_path / "killed" / "result.json").exists()
    with torchrun("search", "--resume", "killed", cwd=tmp_path) as process:
        process.communicate()
    assert process.returncode == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


class _Second(Ranks):
    """The second of two processes, told what the first has read."""

    def broadcast(self, text: str) -> str:
        return text or "checkpoint.safetensors"


def test_what_one_process_has_summed_is_not_counted_by_each_of_two(tmp_path: Path) -> None:
    data = load_data("digits", max_images=400)
    training = Training(data, LONGER, 0)
    with pytest.raises(KeyboardInterrupt):
        train_in(tmp_path, restless(), training, stopping_at(8))
    first, second = restless(), restless()
    resumable._go_on(tmp_path, second, replace(training, compute=Compute(ranks=_Second(1, 2))), SILENT)
    resumable._go_on(tmp_path, first, training, SILENT)
    assert (first.epochs_done, first.steps_done) == (second.epochs_done, second.steps_done) == (1, 2)
    assert first.sums is not None
    assert float(first.sums.loss) > 0
    assert second.sums is None


def test_too_many_processes_for_a_batch_are_refused() -> None:
    with pytest.raises(BadInputError, match="--batch-size must be at least 16 for 4 processes"):
        Ranks(0, 4).check(batch_size=8, count=1000)
    Ranks(0, 4).check(batch_size=16, count=1000)
