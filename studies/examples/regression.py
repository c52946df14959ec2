"""Slimming a network that puts out numbers: how much a piece of a photograph was blurred, across and down.

    python studies/examples/regression.py

What it shows: `slimming` needs no classes, and takes any loss. This one is the factor by which a blur is wrong, so that
1 instead of 2 pixels is as bad as 0.5 instead of 1. Pieces of 32 pixels are cut from a photograph of scikit-learn's.
What comes out: widths, and the mean factor on the photograph's right quarter, not trained on (a guess: 1.57).
Took 53 s on two cores of an AMD EPYC (processor time, n = 1; Python 3.11, torch 2.14.1, torchvision 0.29).
"""

import argparse

import torch
from sklearn.datasets import load_sample_image
from torch import Tensor, nn
from torchvision.transforms.functional import gaussian_blur

import nas_prune


def pieces(count: int, first: int, last: int) -> tuple[Tensor, Tensor]:
    """Blurred pieces that begin in some columns of the photograph, and the logarithms of their blurs in pixels."""
    blurs, made = torch.rand(count, 2) * 1.8 - 0.7, []
    for blur, left in zip(blurs.exp().tolist(), torch.randint(first, last, (count,)).tolist(), strict=True):
        top = int(torch.randint(227 - 32, ()))
        made.append(gaussian_blur(photograph[:, top : top + 32, left : left + 32], [13, 13], blur))
    return torch.stack(made), blurs


def loss(found: Tensor, blurs: Tensor) -> Tensor:
    """The mean logarithm of the factor between two blurs."""
    return (found - blurs).abs().mean()


def train(model: nn.Module, name: str) -> None:
    """A plain loop."""
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    for _ in range(steps):
        images, blurs = pieces(32, 0, 448)
        optimiser.zero_grad()
        loss(model.train()(images), blurs).backward()
        if model is network:
            slim.penalty(optimiser)
        optimiser.step()
    images, blurs = pieces(300, 480, 608)
    print(f"{name} network: wrong by a factor of {float(loss(model.eval()(images), blurs).exp()):.3f}")


parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=300)
steps = parser.parse_args().steps
photograph = torch.tensor(load_sample_image("china.jpg")[200:]).permute(2, 0, 1) / 128 - 1  # without the sky
torch.manual_seed(0)
space = nas_prune.load_space("resnet20", (3, 32, 32), num_classes=2)
slim = nas_prune.slimming(space, network := space.build(seed=0), strength=1e-3)
train(network, "whole")
print("widths:", *(widths := slim.widths("macs<=50%")).vector)
train(space.build(widths, seed=1), "narrow")
