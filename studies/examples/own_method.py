"""A width method of your own beside two of nas-prune's: how often a channel is zero behind its ReLU (APoZ).

    python studies/examples/own_method.py

What it shows: a method is one function, from what it may look at (`nas_prune.Evidence`) to a score for each channel.
Training, cutting at budgets, files and pictures are nas-prune's. This one follows Hu, Peng, Tai and Tang, Network
Trimming: A Data-Driven Neuron Pruning Approach towards Efficient Deep Architectures, 2016, arXiv 1607.03250.

What comes out: for each method the share of channels kept at each resolution, at half of the MACs; and `own-method-*`,
a directory for each search, with the widths, their picture and all settings.

In a package of your own no call is needed, and the command line knows the method too. Its pyproject.toml says

    [project.entry-points."nas_prune.methods"]
    apoz = "my_package.own_method:APOZ"

and where it is installed this works: nas-prune search --method apoz

Took 17 s on two cores of an AMD EPYC with another program on one of them (median, n = 5, 16 to 19; Python 3.11, torch
2.14.1).
"""

import argparse
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import nas_prune
from nas_prune.search.methods.layer_channels import ASKS_TO_GATE, can_gate, channel_dim, gate_places
from nas_prune.search.methods.samples import samples


def share_above_zero(evidence: nas_prune.Evidence) -> list[NDArray[np.float64] | None]:
    """1 - APoZ of each channel: the share of training images and positions where it is above zero (equation 1).

    Looked at in front of the ReLU, where the channel's norms put it out.
    """
    places = {column: gate_places(evidence.space, column) for column in evidence.columns}
    layers = {place.path: len(place.channels) for found in places.values() for place in found}
    shares = _shares(evidence, layers)

    def score(column: int) -> NDArray[np.float64]:
        kept = np.zeros(evidence.space.size_at(column))
        for place in places[column]:
            own = place.channels >= 0  # which channel of the group lies at each output of the layer; -1: none
            np.add.at(kept, place.channels[own], shares[place.path][own])
        return kept

    return list(evidence.for_each(score))


def _shares(evidence: nas_prune.Evidence, layers: dict[str, int]) -> dict[str, NDArray[np.float64]]:
    """For each of some layers how often each of its outputs is above zero."""
    above: dict[str, NDArray[np.float64]] = {path: np.zeros(count) for path, count in layers.items()}
    seen = dict.fromkeys(layers, 0)

    def watching(path: str) -> Callable[[nn.Module, object, Tensor], None]:
        def watch(module: nn.Module, _: object, output: Tensor) -> None:
            rows = output.movedim(channel_dim(module, output.shape, layers[path]), 0).flatten(1)
            above[path] += (rows > 0).sum(1).cpu().numpy()
            seen[path] += rows.shape[1]

        return watch

    model = evidence.model.eval()
    handles = [model.get_submodule(path).register_forward_hook(watching(path)) for path in layers]
    try:
        with torch.no_grad():
            for images, _ in samples(evidence):
                model(images)
    finally:
        for handle in handles:
            handle.remove()
    return {path: count / seen[path] for path, count in above.items()}


APOZ = nas_prune.WidthMethod(
    name="apoz",
    summary="how often the channel is above zero in front of its ReLU, after training",
    scope="global",
    citation="Hu et al., Network Trimming, 2016, arXiv 1607.03250",
    scores=share_above_zero,
    can_score=can_gate,
    asks=ASKS_TO_GATE,
)


def search_by(method: str, epochs: int) -> str:
    """Search a quarter-width VGG-11 on the digits by one method; a line for the table."""
    settings = {} if method == "uniform" else {"epochs": epochs}  # which trains nothing
    config = nas_prune.SearchConfig(
        space="vgg11", width_multiplier=0.25, method=method, budgets=("macs<=50%",), **settings
    )
    result = nas_prune.search(config, Path(f"own-method-{method}"))
    ratios = defaultdict(list)
    for column in result.columns:
        group = result.found[0].widths.groups[column]
        ratios[group.stage].append(group.width / group.base)
    return f"{method:<10}" + "".join(f"{np.mean(ratios[stage]):>8.2f}" for stage in sorted(ratios))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=20, help="of each search that trains")
    epochs = parser.parse_args().epochs
    nas_prune.register_method(APOZ)
    print("Share of the channels kept at 8, 4 and 2 pixels a side, at half of the MACs")
    for method in ("apoz", "slimming", "uniform"):
        print(search_by(method, epochs))
