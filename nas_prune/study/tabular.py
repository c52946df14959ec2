"""A width space so small that every network of it has been trained: what samplers are tested against.

Four convolutions of four widths each, trained from scratch with three seeds; the accuracies stand in a file, one line
for each training, made by `tools/make_tabular.py`. A study on it takes seconds, and the best widths are known.

Shape suffixes: C cells of the table, R seeds, E epochs, G groups.
"""

from functools import partial
from itertools import product
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import nn

from nas_prune.loading import load_space
from nas_prune.models.layers import initialise
from nas_prune.space import SearchSpace

Floats: TypeAlias = "NDArray[np.float64]"

BASES = (16, 16, 32, 32)
KEPT = (0.125, 0.25, 0.5, 1.0)
SEEDS = (0, 1, 2)


def cells() -> list[tuple[int, ...]]:
    """Every width vector of the table."""
    return list(product(*([round(base * share) for share in KEPT] for base in BASES)))


def small_network(in_channels: int, num_classes: int) -> nn.Module:
    """Two convolutions, half the size, two convolutions, the mean of what is left, and a classifier."""
    layers: list[nn.Module] = []
    before = in_channels
    for number, width in enumerate(BASES):
        layers += [
            nn.Conv2d(before, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            *([nn.MaxPool2d(2)] if number == 1 else []),
        ]
        before = width
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, num_classes))
    initialise(network, norm_scale=1.0)
    return network


def small_space(in_channels: int, image_size: int, num_classes: int) -> SearchSpace:
    """The space that the table is of."""
    factory = partial(small_network, in_channels, num_classes)
    return load_space(factory, (in_channels, image_size, image_size), num_classes=num_classes)
