"""Shared by the tests of patterns: networks, their costs, drawn masks, and patterns of them."""

from collections.abc import Mapping, Sequence
from functools import cache
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from nas_prune.patterns.costs import PatternCosts, costs_of
from nas_prune.patterns.guideline import (
    Agreement,
    DensityCell,
    LayerKind,
    PatternGuideline,
    PositionCell,
)
from nas_prune.patterns.layers import WeightLayer, WeightLayers, weight_layers
from nas_prune.patterns.pattern import Pattern, PatternMethod
from nas_prune.patterns.statistics import pattern_of
from nas_prune.space.load import load_space
from nas_prune.space.search_space import SearchSpace
from tests.networks import known


class UpAndDown(nn.Module):
    """A grouped convolution and transposed ones, one of them depthwise."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(3, 8, 3, 2, 1), nn.ConvTranspose2d(8, 6, 2, 2)
        self.each, self.wide = nn.ConvTranspose2d(6, 6, 3, 1, 1, groups=6), nn.Conv2d(6, 12, 3, groups=3)
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.each(self.up(self.down(x).relu())).relu()
        return torch.as_tensor(self.head(self.wide(x).relu().mean((2, 3))))


class Standardised(nn.Conv2d):
    """A convolution whose weight is standardised first, as in Big Transfer."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, weight, self.bias, padding=1)


class SamePadding(nn.Conv2d):
    """A convolution with code of its own that takes its weight as it is."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (1, 1, 1, 1)), self.weight, self.bias)


@cache
def small_space(width: int = 6) -> SearchSpace:
    """A chain of three layers, of 54 + 324 + 24 weights, on images of 6×6."""
    return load_space(
        lambda: nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(width, 4),
        ),
        (1, 6, 6),
        num_classes=4,
    )


def costs_for(space: str | SearchSpace, shape: tuple[int, int, int] = (3, 32, 32)) -> PatternCosts:
    """The costs of a network's patterns, by name or of itself."""
    found = known(space, shape) if isinstance(space, str) else space
    return costs_of(found, weight_layers(found))


def drawn(layers: WeightLayers, density: float, seed: int = 0) -> dict[str, Tensor]:
    """Masks of about a density, at least one weight each."""
    generator = torch.Generator().manual_seed(seed)
    masks = {one.name: torch.rand(one.shape, generator=generator) < density for one in layers.layers}
    for mask in masks.values():
        mask.view(-1)[0] = True
    return masks


def at_densities(layers: WeightLayers, density: float) -> dict[str, Tensor]:
    """Masks of which the first weights of each layer stay."""
    masks = {one.name: torch.zeros(one.shape, dtype=torch.bool) for one in layers.layers}
    for mask in masks.values():
        mask.view(-1)[: max(1, round(density * mask.numel()))] = True
    return masks


def layer_of(shape: tuple[int, ...], *, kind: str = "conv", stage: int = 0, out_dim: int = 0) -> WeightLayer:
    """A layer of some shape."""
    return WeightLayer("one.weight", "one", kind, shape, stage, 1, out_dim)


def random_scores(layers: WeightLayers, seed: int = 0) -> dict[str, Tensor]:
    """Scores of all weights, no two alike."""
    rng = np.random.default_rng(seed)
    numbers = rng.permutation(sum(layers.sizes)).astype(np.float64)
    pieces = np.split(numbers, np.cumsum(layers.sizes)[:-1])
    return {
        layer.name: torch.from_numpy(piece).reshape(layer.shape)
        for layer, piece in zip(layers.layers, pieces, strict=True)
    }


def sigmoid(odds: "float | NDArray[np.float64]") -> "NDArray[np.float64]":
    """The density of some log odds."""
    return np.asarray(1 / (1 + np.exp(-np.asarray(odds, dtype=np.float64))))


def planted(
    space: SearchSpace,
    odds: Mapping[str, float],
    positions: Sequence[float] = (0.0,) * 9,
    *,
    seed: int = 0,
    method: str = "magnitude",
    keep: Sequence[str] = (),
) -> Pattern:
    """A pattern of weights drawn at log odds of layers, by their weight's name, and of positions of 3×3 kernels."""
    layers = weight_layers(space, keep)
    rng, masks = np.random.default_rng(seed), {}
    for layer in layers.layers:
        own_P = np.array(positions) if layer.kernel == (3, 3) else np.zeros(prod(layer.kernel))
        density_P = sigmoid(odds.get(layer.name, 0.0) + own_P)
        mask = rng.random((layer.size // len(own_P), len(own_P))) < density_P
        mask[0, 0] = True
        masks[layer.name] = torch.from_numpy(mask).reshape(layer.shape)
    return pattern_of(
        space,
        costs_of(space, layers),
        masks,
        method=PatternMethod(name=method),
        seed=seed,
        budget="nonzero<=50%",
    )


def guideline_of(
    densities: Mapping[tuple[LayerKind, int], float],
    positions: Mapping[tuple[int, tuple[int, int]], Sequence[float]] | None = None,
    *,
    is_found: bool = True,
) -> PatternGuideline:
    """A guideline that says so much of densities, and of positions."""
    agree = Agreement(is_found=is_found, p_value=0.01 if is_found else 0.5, test="by hand")
    return PatternGuideline(
        densities=tuple(
            DensityCell(kind=kind, stage=stage, log_odds=odds, of=2)
            for (kind, stage), odds in densities.items()
        ),
        positions=tuple(
            PositionCell(stage=stage, shape=shape, log_odds=tuple(odds), half_width=0.2, of=2)
            for (stage, shape), odds in (positions or {}).items()
        ),
        of_densities=agree,
        of_positions=agree,
        level="seed",
        covers=(0.1, 0.5),
        sources=(),
    )
