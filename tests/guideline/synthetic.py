"""Widths made to a plan, as files of searches would hold them."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from nas_prune.graph.channels import Role
from nas_prune.guideline.sources import Setting, Source
from nas_prune.space.budget import Budget
from nas_prune.space.cut import cut
from nas_prune.space.load import load_space
from nas_prune.space.scores import shares_of
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.widths import DataRecord, MethodRecord, Widths

Floats: TypeAlias = "NDArray[np.float64]"
Place: TypeAlias = "tuple[int, Role | None]"

# Mean widths of VGG-16 on CIFAR-10 with 60 % of the channels pruned by network slimming, over 5 runs
# (Liu et al., ICLR 2019, appendix).
PAPER_VGG16 = (39.0, 64.0, 127.8, 128.0, 255.0, 250.5, 226.0, 217.3, 120.0, 63.0, 47.8, 62.0, 88.8)


@cache
def space(name: str = "vgg16", size: int = 32, classes: int = 10, factor: float = 1.0) -> SearchSpace:
    """A named space, loaded once."""
    return load_space(name, (3, size, size), num_classes=classes, width_multiplier=factor)


def found(
    network: SearchSpace,
    widths_G: Sequence[int],
    *,
    seed: int = 0,
    data: str = "cifar10",
    method: str = "slimming",
    budget: str = "channels<=40%",
    settings: "Mapping[str, str] | None" = None,
) -> Widths:
    """Widths as a search with these settings would have written them."""
    return network.widths(
        widths_G,
        budget=budget,
        seed=seed,
        method=MethodRecord(name=method, is_automatic=True, settings={"groups": "inner", **(settings or {})}),
        data=DataRecord(name=data, num_train=45_000, num_val=5_000),
        epochs=160,
    )


def with_mean(network: SearchSpace, means_G: Sequence[float], runs: int = 10) -> list[Widths]:
    """Whole widths of so many runs, whose mean is that of the table (its numbers have one digit behind the point)."""
    vectors = [
        [int(mean) + (number < round(runs * (mean % 1))) for mean in means_G] for number in range(runs)
    ]
    return [found(network, vector_G, seed=seed) for seed, vector_G in enumerate(vectors)]


def cut_to(network: SearchSpace, log_ratio_S: "NDArray[np.float64]", budget: str) -> tuple[int, ...]:
    """Whole widths in proportion to a pattern on the inner groups, cut to a budget."""
    columns = network.searched("inner")
    shares = np.exp(log_ratio_S - log_ratio_S.max())
    scores = [
        shares_of(network, column, float(shares[columns.index(column)])) if column in columns else None
        for column in range(len(network.groups))
    ]
    return cut(network, scores, Budget.parse(budget)).widths_G


def setting(network: SearchSpace) -> Setting:
    """A network with its inner groups searched."""
    return Setting(network, network.searched("inner"))


def truth_of(source: Source, level: Mapping[Place, float]) -> dict[Place, float]:
    """Log ratios to the uniform network of a source's cost that a pattern of one level in each cell has."""
    place = source.setting
    pattern = np.array([level[group.stage, group.role] for group in place.groups_S])
    factor_N = place.scaled(source.cost, pattern[None], np.array([source.limit]))
    return {
        (group.stage, group.role): float(factor_N[0] + own - source.log_uniform)
        for group, own in zip(place.groups_S, pattern, strict=True)
    }
