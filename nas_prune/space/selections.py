"""Where a network's readers may select their own channels of a stream or a concatenation (Liu et al. 2017, 2019).

A selection stands in front of a batch norm. Behind it, where the paper's code has it, the function is the same, and so
is the training; the norm then computes, holds and decays channels that nothing reads: two parameters for each.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import replace

from torch import nn

from nas_prune.graph.channels import ChannelGraph, channel_graph
from nas_prune.graph.inputs import Forward
from nas_prune.graph.record import INPUT
from nas_prune.graph.selection import ChannelSelection
from nas_prune.graph.tensors import structure
from nas_prune.space.initialise import Init

_SELECT, _NORM = "select", "norm"  # the parts that a norm becomes


def selectable(network: nn.Module, forward: Forward) -> tuple[str, ...]:
    """Paths of the batch norms in front of which a selection can stand, in order of execution.

    They read what others read as well, or a sum or concatenation, and hand it on to convolutions and linear layers
    alone: where it is added to something, say, it must be as wide as that.
    """
    paths = tuple(_readers_of_shared(network, channel_graph(network, forward)))
    while paths:
        graph = channel_graph(with_selections(network, paths), forward)
        free = {group.layers for group in graph.groups if group.role == "selection" and group.frozen is None}
        left = tuple(path for path in paths if (f"{path}.{_SELECT}", f"{path}.{_NORM}") in free)
        if left == paths:
            break
        paths = left
    return paths


def with_selections(network: nn.Module, paths: Collection[str]) -> nn.Module:
    """A copy of a network's structure in which a selection of all channels stands in front of some batch norms."""
    result = structure(network)
    for path in paths:
        parent, _, name = path.rpartition(".")
        norm = result.get_submodule(path)
        assert isinstance(norm, nn.modules.batchnorm._BatchNorm)  # noqa: SLF001
        parts = OrderedDict({_SELECT: ChannelSelection(norm.num_features), _NORM: norm})
        setattr(result.get_submodule(parent), name, nn.Sequential(parts))
    return result


def renamed(inits: tuple[Init, ...], paths: Collection[str]) -> tuple[Init, ...]:
    """How a network was initialised, by the names that its parameters have beside selections."""
    inner = {f"{path}.": f"{path}.{_NORM}." for path in paths}

    def new(name: str) -> str:
        path, dot, own = name.rpartition(".")
        return inner.get(path + dot, path + dot) + own

    return tuple(replace(init, parameter=new(init.parameter)) for init in inits)


def _readers_of_shared(network: nn.Module, graph: ChannelGraph) -> Iterator[str]:
    """Batch norms that read what others read as well, or what was joined."""
    modules = dict(network.named_modules())
    layers = {layer.path for layer in graph.layers}
    for path in dict.fromkeys(layer.path for layer in graph.layers):
        if isinstance(modules.get(path), nn.modules.batchnorm._BatchNorm):  # noqa: SLF001
            source = next(graph.flow.predecessors(path), INPUT)
            is_joined = source.partition("#")[0] not in layers
            if source != INPUT and (is_joined or graph.flow.out_degree(source) > 1):
                yield path
