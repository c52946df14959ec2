"""Small networks and made-up tables that tests of latency share."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_prune.hardware.latency_design import networks
from nas_prune.hardware.latency_layers import lengths, timed_layers
from nas_prune.hardware.latency_table import Header, Row, Table, groups_of
from nas_prune.space.load import load_space
from nas_prune.space.search_space import SearchSpace

Law = Callable[[str, NDArray[Any], NDArray[Any]], NDArray[Any]]


class Mixed(nn.Module):
    """A stem, a depthwise convolution, two branches that are concatenated, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.each = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.ReLU())
        self.left = nn.Conv2d(16, 8, 1)
        self.right = nn.Conv2d(16, 12, 3, padding=1)
        self.last = nn.Linear(20, 4)

    def forward(self, x: Tensor) -> Tensor:
        import torch

        x = self.each(self.stem(x))
        scores: Tensor = self.last(torch.cat([self.left(x), self.right(x)], 1).mean((2, 3)))
        return scores


@cache
def mixed() -> SearchSpace:
    """The space of `Mixed`."""
    return load_space(Mixed, (3, 8, 8))


@cache
def small() -> SearchSpace:
    """A plain network of eight narrow layers."""
    return load_space("vgg11", (1, 8, 8), width_multiplier=0.25)


def made_up(space: SearchSpace, law: Law, count: int = 60) -> Table:
    """The table that measuring would give where a layer takes what a law says."""
    widths_NG = np.array([widths for _, widths in networks(space, count, 1, seed=0)])
    length = lengths(space)
    rows = []
    for layer in timed_layers(space):
        read, written = length(layer.read, widths_NG), length(layer.written, widths_NG)
        ns_N = law(layer.path, read, written)
        rows += [
            Row(number, layer.path, int(one), int(other), int(ns), int(ns), 1)
            for number, (one, other, ns) in enumerate(zip(read, written, ns_N, strict=True))
        ]
    header = Header(target="cpu-torch", threads=1, space=space.reference, groups=groups_of(space))
    return Table(header, tuple(rows))


def in_steps(path: str, read: NDArray[Any], written: NDArray[Any]) -> NDArray[Any]:
    """A runtime that computes in blocks of 16, and is slow to read widths that 4 does not divide."""
    blocks = 16 * -(-written // 16)
    return np.asarray(1000 + len(path) + 3 * read * blocks + np.where(read % 4 == 0, 0, 2 * read * written))


def total(space: SearchSpace, law: Law, widths_NG: NDArray[Any]) -> NDArray[Any]:
    """What whole networks take by a law."""
    length = lengths(space)
    parts = [
        law(layer.path, length(layer.read, widths_NG), length(layer.written, widths_NG))
        for layer in timed_layers(space)
    ]
    return np.asarray(sum(parts))
