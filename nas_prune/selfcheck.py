"""The channel graph proves itself: the network is resized and run, and what breaks is frozen."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from nas_prune.graph.channels import ChannelGraph
from nas_prune.resize import resized


def checked(
    template: nn.Module, graph: ChannelGraph, input_shape: tuple[int, ...], *, seed: int = 0
) -> ChannelGraph:
    """The graph with every group frozen whose narrowing the network's own code does not survive.

    Args:
        template: the network on meta tensors, or anywhere.
        graph: its channel graph.
        input_shape: one input without the batch dimension.
        seed: fixes the random widths tried.

    Returns:
        A graph for which three random width vectors (a third of the widths at least) ran forward.
    """
    rng = np.random.default_rng(seed)
    for _ in range(3):
        base = np.array([graph.groups[number].size for number in graph.searchable])
        widths = rng.integers(np.maximum(1, base // 3), base + 1) if len(base) else base
        if len(base) and failure(template, graph, input_shape, widths.tolist()) is not None:
            graph = _freeze_culprits(template, graph, input_shape)
    return graph


def failure(
    template: nn.Module, graph: ChannelGraph, input_shape: tuple[int, ...], widths_G: Sequence[int]
) -> str | None:
    """What the network's own forward says at the given widths on meta tensors; None when it runs."""
    model = resized(template, graph, widths_G).eval()
    try:
        with torch.no_grad():
            model.to("meta")(torch.empty(2, *input_shape, device="meta"))
    except Exception as error:  # noqa: BLE001  (whatever a foreign forward raises is the answer)
        return (str(error).strip() or type(error).__name__).splitlines()[0]
    return None


def _freeze_culprits(template: nn.Module, graph: ChannelGraph, input_shape: tuple[int, ...]) -> ChannelGraph:
    base = [graph.groups[number].size for number in graph.searchable]
    reasons = {}
    for column, number in enumerate(graph.searchable):
        alone = [*base[:column], max(1, base[column] // 2), *base[column + 1 :]]
        message = failure(template, graph, input_shape, alone)
        if message is not None:
            reasons[graph.groups[number].name] = (
                f"the network's code expects {base[column]} channels: {message}"
            )
    if not reasons:
        everything = "the network's code runs with each group narrowed, not with all of them"
        reasons = {graph.groups[number].name: everything for number in graph.searchable}
    return graph.freeze(reasons)
