"""A study of widths over a training function of your own: it gets a network and returns one number.

    python studies/examples/own_study.py

What it shows: a function that knows nothing of nas-prune but the networks it is given and, because it asks for it, the
`trial`, which says how many epochs and hears of each. `study` asks it for widths at half of the MACs, trains the best
again with new seeds, and goes on where it was if the same file is run again. Here less is better: the error of
denoising, which no accuracy is.

What comes out: the winner's widths, a directory for `nas-prune dashboard` and `nas-prune report`, and a network.

Took 30 s on two cores of an AMD EPYC with other programs on both (n = 2; Python 3.11, torch 2.14.1).
"""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn

import nas_prune

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=3)
epochs = parser.parse_args().epochs
clean = torch.tensor(load_digits().images[:, None] / 16).float()
shown, kept_back = clean[:1500], clean[1500:]
noisy_back = kept_back + 0.3 * torch.randn(kept_back.shape, generator=torch.Generator().manual_seed(0))


def denoiser() -> nn.Module:
    """Four convolutions that keep the size of an image."""
    layers = [(nn.Conv2d(*sizes, 3, padding=1), nn.ReLU()) for sizes in ((1, 32), (32, 48), (48, 32))]
    return nn.Sequential(*(one for pair in layers for one in pair), nn.Conv2d(32, 1, 3, padding=1))


def train(network: nn.Module, trial: nas_prune.Trial) -> float:
    """A plain loop; the error on noisy images it was not shown."""
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    for epoch in range(trial.epochs):
        for images in shown[torch.randperm(len(shown))].split(64):
            optimiser.zero_grad()
            noisy = images + 0.3 * torch.randn_like(images)
            nn.functional.mse_loss(network(noisy), images).backward()
            optimiser.step()
        with torch.no_grad():
            error = float((network(noisy_back) - kept_back).square().mean().sqrt())
        trial.report(epoch + 1, error)
    return error


if __name__ == "__main__":
    space = nas_prune.load_space(denoiser, (1, 8, 8))
    result = nas_prune.study(
        space, train, budget="macs<=50%", trials=20, out="own-study",
        metric="RMSE", direction="minimize", epochs=epochs, full_epochs=2 * epochs, say=print,
    )  # fmt: skip
    print(result)
    print(nas_prune.rebuild(result.widths, space=space))  # random weights, for a training of any length
