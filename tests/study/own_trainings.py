"""Training functions for tests: real trainings of a tiny network on real digits, in milliseconds."""

import os
import signal
from functools import cache
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import nas_prune
from nas_prune.space.search_space import SearchSpace
from nas_prune.study.own_function import Trial


class Tiny(nn.Module):
    """Three convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 24, 3, padding=1), nn.Conv2d(24, 32, 3, padding=1, stride=2)
        self.third, self.last = nn.Conv2d(32, 48, 3, padding=1), nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.third(self.second(self.first(x).relu()).relu()).relu()
        scores: Tensor = self.last(x.mean((2, 3)))
        return scores


@cache
def tiny_space() -> SearchSpace:
    """Of the above; loaded once."""
    return nas_prune.load_space(Tiny, (1, 8, 8))


@cache
def digits() -> tuple[Tensor, Tensor]:
    """A few hundred images and their labels."""
    found = load_digits()
    return torch.tensor(found.images[:300, None] / 8 - 1).float(), torch.tensor(found.target[:300])


def step(network: nn.Module, optimiser: torch.optim.Optimizer) -> float:
    """One step on images drawn by torch's own generator; the loss before it."""
    images, labels = digits()
    drawn = torch.randint(len(images), (32,))
    optimiser.zero_grad()
    loss = nn.functional.cross_entropy(network(images[drawn]), labels[drawn])
    loss.backward()
    optimiser.step()
    return float(loss.detach())


def loss_after(network: nn.Module) -> float:
    """Train for two steps; the loss, of which less is better."""
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    return [step(network, optimiser) for _ in range(2)][-1]


def loss_by_epochs(network: nn.Module, trial: Trial) -> float:
    """The same with as many epochs as it is told, each of which is reported."""
    optimiser, loss = torch.optim.SGD(network.parameters(), lr=0.1), 0.0
    for epoch in range(trial.epochs):
        loss = step(network, optimiser)
        trial.report(epoch + 1, loss)
    return loss


def study_in(run: str, kills: "tuple[int, ...]" = ()) -> None:
    """A whole study in a process of its own, which kills itself in the middle of some calls of its function."""
    calls = Path(f"{run}.calls")

    def train(network: nn.Module, trial: Trial) -> float:
        count = len(calls.read_bytes()) if calls.exists() else 0
        calls.write_bytes(b"." * (count + 1))
        optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
        for epoch in range(trial.epochs):
            loss = step(network, optimiser)
            trial.report(epoch + 1, loss)
            if epoch == 1 and count in kills:
                os.kill(os.getpid(), signal.SIGKILL)
        return loss

    torch.set_num_threads(1)
    nas_prune.study(
        tiny_space(), train, out=run, name="s", metric="loss", direction="minimize", trials=10,
        epochs=3, full_epochs=4, sampler="random", seed=2,
    )  # fmt: skip
