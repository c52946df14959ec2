"""An ultralytics classifier in a plain loop.

    python studies/examples/ultralytics_classifier.py

What it shows: ultralytics' models are modules like others. YOLO11n-cls puts out scores while it trains, and a pair of
probabilities and scores in evaluation. Ask for widths before `fuse()`, which takes the norms away.
What comes out: widths, and the accuracy of both networks on digits that none was trained on.
Took 22 s on two cores of an AMD EPYC (processor time, n = 1; Python 3.11, torch 2.14.1, ultralytics 8.4).
"""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from ultralytics.nn.tasks import ClassificationModel

import nas_prune


def train(model: nn.Module, name: str) -> None:
    """A plain loop."""
    optimiser = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)
    for chosen in torch.randint(1437, (steps, 64)):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model.train()(images[chosen]), labels[chosen]).backward()
        if model is network:
            slim.penalty(optimiser)
        optimiser.step()
    probabilities, _ = model.eval()(images[1437:])
    print(f"{name} network: {float((probabilities.argmax(1) == labels[1437:]).float().mean()):.3f}")


parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=200)
steps, digits = parser.parse_args().steps, load_digits()
torch.manual_seed(0)
scans, labels = torch.tensor(digits.images[:, None] / 8 - 1).float(), torch.tensor(digits.target)
images = nn.functional.interpolate(scans, scale_factor=4).expand(-1, 3, -1, -1)
space = nas_prune.load_space(
    lambda: ClassificationModel("yolo11n-cls.yaml", nc=10, verbose=False), (3, 32, 32)
)
slim = nas_prune.slimming(space, network := space.build(seed=0), strength=2e-3)
train(network, "whole")
print("widths:", *(widths := slim.widths("macs<=50%")).vector)
train(space.build(widths, seed=1), "narrow")
