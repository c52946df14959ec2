"""A network run at other widths with slices of its own parameters, gradients and all, without making a copy of it."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from nas_prune.graph.axes import Axis
from nas_prune.graph.channels import ChannelGraph
from nas_prune.graph.resize import Kept, indices_of, kept_of_all, tell_sizes
from nas_prune.graph.tensors import named_tensors, structure


class Slices:
    """Runs a network with some channels of each group.

    The parameters stay those of the network: a gradient of what is run is a gradient of them, zero outside the slices.
    Running statistics are copied and dropped. Nothing is traced or deep-copied for a run: one twin of the network's
    structure takes other tensors each time.

    Attributes:
        model: the network, of base widths.
        graph: its channel graph.
    """

    def __init__(self, model: nn.Module, graph: ChannelGraph) -> None:
        self.model, self.graph = model, graph
        self._twin = structure(model)
        self._modules = dict(self._twin.named_modules())
        first = {id(tensor): name for name, tensor in named_tensors(model)}  # of tied ones
        self._places = [
            _Place(self._modules[path], name, own, graph.parameters.get(first[id(own)], ()))
            for path, module in model.named_modules()
            for held in (module._parameters, module._buffers)  # noqa: SLF001
            for name, own in held.items()
            if own is not None
        ]

    def __call__(self, kept_G: Kept, images: Tensor) -> Any:
        """What the network puts out in training mode with the channels kept of each searchable group, sorted."""
        kept = kept_of_all(self.graph, kept_G)
        chosen: dict[Axis, Tensor] = {}
        for place in self._places:
            tensor = place.own
            for dim, axis in enumerate(place.axes):
                if axis not in chosen:
                    chosen[axis] = indices_of(self.graph, axis, kept)
                tensor = _some(tensor, dim, chosen[axis])
            place.put(tensor)
        tell_sizes(self._modules, self.graph, [len(indices) for indices in kept], inherits=True)
        self._twin.train()
        return self._twin(images)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a slice goes: a tensor's name in a module of the twin; the network's own, and its axes."""

    module: nn.Module
    name: str
    own: Tensor
    axes: tuple[Axis, ...]

    def put(self, tensor: Tensor) -> None:
        if isinstance(self.own, nn.Parameter):
            self.module._parameters[self.name] = tensor  # type: ignore[assignment]  # noqa: SLF001
        else:
            self.module._buffers[self.name] = tensor.clone()  # noqa: SLF001


def _some(tensor: Tensor, dim: int, places: Tensor) -> Tensor:
    """Some places of a dimension, sorted; a view where they are the first ones."""
    count = len(places)
    if count == tensor.shape[dim]:
        return tensor
    if int(places[-1]) == count - 1:
        return tensor.narrow(dim, 0, count)
    return tensor.index_select(dim, places.to(tensor.device))
