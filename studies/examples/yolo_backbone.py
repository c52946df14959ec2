"""The backbone of a YOLO detector, narrowed while the detector trains with its own loss; saved, and loaded again.

    python studies/examples/yolo_backbone.py

What it shows: `part` names the module that is searched; what it hands on keeps its shape. Here that is torchvision's
ResNet-18 under YOLO11's head. It looks for scikit-learn's digits, enlarged, somewhere in 64 by 64 pixels.
What comes out: the share of 360 digits that are found (class, and place to 8 pixels); the narrow detector's files.
Took 71 s on two cores of an AMD EPYC (processor time, n = 1; Python 3.11, torch 2.14.1, ultralytics 8.4).
"""

import argparse

import torch
from safetensors.torch import load_model, save_model
from sklearn.datasets import load_digits
from torch import nn
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import DEFAULT_CFG

import nas_prune

BACKBONE = [[-1, 1, "TorchVision", [128, "resnet18", None, True, 4]]]  # its first two stages
YOLO = {"nc": 10, "backbone": BACKBONE, "head": [[[0], 1, "Detect", ["nc"]]]}


def train(model: nn.Module, name: str) -> None:
    """A plain loop, and what is found then."""
    model.args, optimiser = DEFAULT_CFG, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    for at in torch.randint(1437, (steps, 16)):
        optimiser.zero_grad()
        batch = {"img": images[at], "cls": labels[at], "bboxes": boxes[at], "batch_idx": torch.arange(16)}
        model.train()(batch)[0].sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10)
        if model is detector:
            slim.penalty(optimiser)
        optimiser.step()
    found = model.eval()(images[1437:])[0]
    best = found[torch.arange(360), :, found[:, 4:].amax(1).argmax(1)]
    near = (best[:, :2] - boxes[1437:, :2] * 64).norm(dim=1) < 8
    print(f"{name}: {float((near & (best[:, 4:].argmax(1) == labels[1437:])).float().mean()):.3f}")


parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=500)
steps, digits = parser.parse_args().steps, load_digits()
torch.manual_seed(0)
labels, places = torch.tensor(digits.target), torch.randint(33, (1797, 2))
boxes, images = torch.cat([places + 16, torch.full((1797, 2), 32)], 1) / 64, torch.zeros(1797, 3, 64, 64)
for image, scan, (x, y) in zip(images, torch.tensor(digits.images / 16), places, strict=True):
    image[:, y : y + 32, x : x + 32] = scan.repeat_interleave(4, 0).repeat_interleave(4, 1)
space = nas_prune.load_space(lambda: DetectionModel(YOLO, verbose=False), (3, 64, 64), part="model.0")
slim = nas_prune.slimming(space, detector := space.build(seed=0), strength=1e-3)
train(detector, "whole")
train(narrow := space.build(widths := slim.widths("macs<=50%"), seed=1), "narrow")
widths.write("narrow.json")
save_model(narrow, "narrow.safetensors")
loaded = space.build(nas_prune.read_widths("narrow.json"), seed=2)
load_model(loaded, "narrow.safetensors")
print("loaded:", torch.equal(loaded.eval()(images[:9])[0], narrow.eval()(images[:9])[0]), *widths.vector)
