"""A segmentation network in a plain loop: maps of classes, and a loss over pixels.

    python studies/examples/segmentation.py

What it shows: `load_space` and `slimming` ask nothing of outputs or loss. torchvision's LR-ASPP puts out a dictionary
of maps, of which the loop takes `"out"`. Masks are the dark, middle and bright third of blurred photographs.
What comes out: widths, and the mIoU of both networks on the right quarter of each photograph, not trained on.
Took 69 s on two cores of an AMD EPYC (processor time, n = 1; Python 3.11, torch 2.14.1, torchvision 0.29).
"""

import argparse

import torch
from sklearn.datasets import load_sample_images
from torch import Tensor, nn
from torchvision.models.segmentation import lraspp_mobilenet_v3_large
from torchvision.transforms.functional import gaussian_blur, resize

import nas_prune


def squares(photograph: Tensor, begin: float, end: float) -> Tensor:
    """Squares of 64 pixels, one every 8, in a part of a photograph's width; the fourth channel is the class."""
    grey = gaussian_blur(photograph.mean(0, keepdim=True), [15, 15])
    mask = (grey > grey.quantile(1 / 3)).float() + (grey > grey.quantile(2 / 3))
    part = torch.cat([photograph, mask])[:, :, int(begin * grey.shape[2]) : int(end * grey.shape[2])]
    return part.unfold(1, 64, 8).unfold(2, 64, 8).flatten(1, 2).transpose(0, 1)


def train(model: nn.Module, name: str) -> None:
    """A plain loop."""
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    for chosen in torch.randint(len(shown), (steps, 16)):
        optimiser.zero_grad()
        maps = model.train()(shown[chosen, :3])["out"]
        nn.functional.cross_entropy(maps, shown[chosen, 3].long()).backward()
        if model is network:
            slim.penalty(optimiser)
        optimiser.step()
    found, truth = model.eval()(kept_back[:, :3])["out"].argmax(1), kept_back[:, 3]
    shares = [((found == c) & (truth == c)).sum() / ((found == c) | (truth == c)).sum() for c in range(3)]
    print(f"{name} network: mIoU {float(sum(shares)) / 3:.3f}")


parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=300)
steps, photographs = parser.parse_args().steps, load_sample_images().images
torch.manual_seed(0)
scaled = [resize(torch.tensor(one).permute(2, 0, 1) / 255, [192]) for one in photographs]
shown, kept_back = (torch.cat([squares(one, *part) for one in scaled]) for part in ((0, 0.75), (0.75, 1)))
network = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3)
for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
    norm.momentum = 0.1  # torchvision's 0.01 is for longer trainings
space = nas_prune.load_space(network, (3, 64, 64))
slim = nas_prune.slimming(space, network, strength=1e-3)
train(network, "whole")
widths = slim.widths("macs<=50%")
print("widths:", *widths.vector)
train(space.build(widths, seed=1), "narrow")
