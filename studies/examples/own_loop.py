"""Network slimming in a plain PyTorch loop: three lines more, and widths instead of a pruned network.

    python studies/examples/own_loop.py

What it shows: a network, a loader and a loop that know nothing of nas-prune. `load_space` sees which channels go
together, `slimming` pulls on the scales of the norms before each step, `widths` gives what is left at half of the MACs;
the network of these widths is then trained by the same loop, from random weights.

What comes out: the widths, and the accuracy of the whole network and of the narrow one.
Took 11 s on two cores of an AMD EPYC with other programs on both (n = 2; Python 3.11, torch 2.14.1).
"""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import nas_prune


def layer(read: int, write: int) -> nn.Sequential:
    """A convolution, its norm and a ReLU."""
    return nn.Sequential(nn.Conv2d(read, write, 3, padding=1), nn.BatchNorm2d(write), nn.ReLU())


parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=15)
epochs, digits = parser.parse_args().epochs, load_digits()
torch.manual_seed(0)
images = TensorDataset(torch.tensor(digits.images[:, None] / 8 - 1).float(), torch.tensor(digits.target))
shown, kept_back = torch.utils.data.random_split(images, [1437, 360])
loader = DataLoader(shown, 64, shuffle=True, drop_last=True)
wide = [layer(1, 32), layer(32, 64), nn.MaxPool2d(2), layer(64, 128), layer(128, 128)]
network = nn.Sequential(*wide, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))
space = nas_prune.load_space(network, (1, 8, 8))
slim = nas_prune.slimming(space, network, strength=5e-3)  # 1. before the optimiser


def train(model: nn.Module, name: str) -> None:
    """A plain loop."""
    optimiser = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)
    for _ in range(epochs):
        model.train()
        for inputs, labels in loader:
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(inputs), labels).backward()
            if model is network:
                slim.penalty(optimiser)  # 2. last before the step
            optimiser.step()
    (inputs, labels), *_ = DataLoader(kept_back, len(kept_back))
    print(f"{name} network: {float((model.eval()(inputs).argmax(1) == labels).float().mean()):.3f}")


train(network, "whole")
widths = slim.widths("macs<=50%")  # 3. after the training
print("widths:", " ".join(f"{group.name} {group.width}" for group in widths.groups))
train(space.build(widths, seed=1), "narrow")
