"""The channel graph proves itself: the network is resized, run and traced again, and what differs is frozen."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn

from nas_prune.errors import BadInputError
from nas_prune.graph.channels import ChannelGraph, channel_graph
from nas_prune.resize import group_sizes, resized


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
        A graph for which the network ran at random widths and at one channel a group, in evaluation and in
        training, and lay its channels out at the random ones as the graph says.
    """
    rng = np.random.default_rng(seed)
    while graph.searchable and _has_problem(template, graph, input_shape, rng):
        reasons = _culprits(template, graph, input_shape)
        if not reasons:
            everything = "the network's code runs with each group narrowed alone, not with all of them"
            reasons = {graph.groups[number].name: everything for number in graph.searchable}
        graph = graph.freeze(reasons)
    return graph


def _has_problem(
    template: nn.Module, graph: ChannelGraph, input_shape: tuple[int, ...], rng: np.random.Generator
) -> bool:
    """Whether the network disagrees with the graph when its groups are narrowed together."""
    base = np.array([graph.groups[number].size for number in graph.searchable])
    lower = np.minimum(np.maximum(2, base // 3), base)
    random = rng.integers(lower, np.maximum(base, lower + 1))
    alternate = np.where(np.arange(len(base)) % 2, base, lower)  # so that halves of one layer differ
    return (
        difference(template, graph, input_shape, alternate.tolist()) is not None
        or failure(template, graph, input_shape, [1] * len(base)) is not None
        # By chance two layouts look the same or different at some widths: only a second failure counts.
        or all(difference(template, graph, input_shape, widths.tolist()) for widths in (random, lower))
    )


def failure(
    template: nn.Module, graph: ChannelGraph, input_shape: tuple[int, ...], widths_G: Sequence[int]
) -> str | None:
    """What the network's own forward says at the given widths on meta tensors; None when it runs in both modes."""
    model = resized(template, graph, widths_G).to("meta")
    try:
        with torch.no_grad():
            for training in (False, True):
                model.train(training)(torch.empty(4, *input_shape, device="meta"))
    except Exception as error:  # noqa: BLE001  (whatever a foreign forward raises is the answer)
        return _first_line(error)
    return None


def difference(
    template: nn.Module, graph: ChannelGraph, input_shape: tuple[int, ...], widths_G: Sequence[int]
) -> str | None:
    """What is wrong with the graph at the given widths, by tracing the resized network; None when nothing is."""
    model = resized(template, graph, widths_G)
    try:
        found = channel_graph(model, input_shape)
    except BadInputError as error:
        return _first_line(error.__cause__ or error)
    frozen = {group.name for group in graph.groups if group.frozen is not None}
    expected = graph.resized_groups(group_sizes(graph, widths_G)).arrangement(frozen)
    actual = found.arrangement(frozen)
    wrong = next((name for name in expected if expected[name] != actual[name]), None)
    return (
        None if wrong is None else f"it lays out the channels of {wrong} in another way when they are fewer"
    )


def _culprits(template: nn.Module, graph: ChannelGraph, input_shape: tuple[int, ...]) -> dict[str, str]:
    """Groups that cannot even be narrowed alone, and why."""
    base = [graph.groups[number].size for number in graph.searchable]
    reasons = {}
    for column, number in enumerate(graph.searchable):
        problems = _alone(template, graph, input_shape, base, column)
        problem = next((found for found in problems if found is not None), None)
        if problem is not None:
            reasons[graph.groups[number].name] = (
                f"the network's code expects {base[column]} channels: {problem}"
            )
    return reasons


def _alone(
    template: nn.Module, graph: ChannelGraph, input_shape: tuple[int, ...], base: list[int], column: int
) -> Iterator[str | None]:
    """What is wrong when one group alone is narrowed, to about a half and to a single channel."""
    half = max(1, base[column] // 2 - 1)
    for width, check in ((half, difference), (1, failure)):
        if width < base[column]:
            yield check(template, graph, input_shape, [*base[:column], width, *base[column + 1 :]])


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
