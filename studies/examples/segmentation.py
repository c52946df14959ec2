"""A segmentation network of torchvision in a plain loop: maps of classes and a loss over pixels.

    python studies/examples/segmentation.py

What it shows: `load_space` and `slimming` ask nothing of outputs or loss. LR-ASPP around a MobileNetV3 puts out a
dictionary of maps, of which the loop takes `"out"`. The photographs are two of scikit-learn's, or the JPEG files of
`--folder`; masks are made by thresholds on a blurred copy: its dark, middle and bright third.

What comes out: the mIoU of the whole network and of one with half of the MACs, on the right quarter of each photograph,
which no network was trained on.

Took TODO s on two cores of an AMD EPYC
"""

import argparse
from pathlib import Path

import torch
from sklearn.datasets import load_sample_images
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision.io import ImageReadMode, decode_image
from torchvision.models.segmentation import lraspp_mobilenet_v3_large
from torchvision.transforms.functional import gaussian_blur, resize

import nas_prune


def squares(photographs: list[Tensor], begin: float, end: float) -> TensorDataset:
    """64 by 64 pixels, one every 16, from a part of each photograph's width, and the class of each pixel."""
    grey = [gaussian_blur(one.mean(0, keepdim=True), [15, 15]) for one in photographs]
    masks = [(one > one.quantile(1 / 3)).float() + (one > one.quantile(2 / 3)) for one in grey]
    both = [torch.cat(pair) for pair in zip(photographs, masks, strict=True)]
    parts = [one[..., int(begin * one.shape[2]) : int(end * one.shape[2])] for one in both]
    cut = torch.cat([one.unfold(1, 64, 16).unfold(2, 64, 16).flatten(1, 2).transpose(0, 1) for one in parts])
    return TensorDataset(cut[:, :3] * 2 - 1, cut[:, 3].long())


def train(model: nn.Module, name: str) -> None:
    """A plain loop."""
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    for _ in range(given.epochs):
        for images, masks in DataLoader(shown, 16, shuffle=True, drop_last=True):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model.train()(images)["out"], masks).backward()
            if model is network:
                slim.penalty(optimiser)
            optimiser.step()
    with torch.no_grad():
        found = [(model.eval()(images)["out"].argmax(1), masks) for images, masks in DataLoader(kept_back, 16)]
    guess, truth = (torch.cat(one) for one in zip(*found, strict=True))
    ious = [((guess == c) & (truth == c)).sum() / ((guess == c) | (truth == c)).sum() for c in range(3)]
    print(f"{name} network: mIoU {float(sum(ious)) / 3:.3f}")


parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=15)
parser.add_argument("--folder", type=Path)
given = parser.parse_args()
if given.folder:
    read = [decode_image(path, ImageReadMode.RGB) for path in sorted(given.folder.rglob("*.jp*g"))]
else:
    read = [torch.tensor(image).permute(2, 0, 1) for image in load_sample_images().images]
photographs = [resize(image, [192], antialias=True) / 255 for image in read]
shown, kept_back = squares(photographs, 0, 0.75), squares(photographs, 0.75, 1)
torch.manual_seed(0)
network = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3)
space = nas_prune.load_space(network, (3, 64, 64))
slim = nas_prune.slimming(space, network, strength=5e-3)
train(network, "whole")
widths = slim.widths("macs<=50%")
print("widths:", " ".join(f"{group.name} {group.width}" for group in widths.groups))
train(space.build(widths, seed=1), "narrow")
