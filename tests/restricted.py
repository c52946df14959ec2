"""A whole network run so that its reductions over channels see only the kept ones.

A layer norm, a softmax or the scale of an attention sees even a dead channel. What a narrowed network must equal is
the whole one with its dead channels, and with these reductions restricted to the kept places.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from nas_prune.graph.axes import Atom, Axis, constant, positions
from nas_prune.graph.call import Call
from nas_prune.graph.record import INPUT, ROOT, Record, TensorNote
from nas_prune.graph.trace import Running, observe, slow_attention
from nas_prune.space.search_space import SearchSpace

_OVER_DIMS = {"mean", "linalg_vector_norm", "amax", "amin", "var", "var_mean", "std"}
_SOFTMAX = {"_softmax", "_safe_softmax", "_log_softmax"}


class Restricted(TorchDispatchMode):
    """Follows a run operation by operation, knowing from the graph which channels lie where.

    Attributes:
        precision: of the coarsest type that the network's code has cast to (EfficientViT's attention is in float32).
    """

    @property
    def is_lost(self) -> bool:
        """Whether a rule has taken a group's channels for something else.

        The graph was found from simpler axes: with its final ones (a group norm over the sum of a frozen and a free
        part, say) a rule may know less, and what follows is then not restricted.
        """
        groups = (Atom(number) for number in range(len(self._sizes)))
        return any(self._record.table.resolve(((atom,),)) != ((atom,),) for atom in groups)

    def __init__(
        self, model: nn.Module, space: SearchSpace, kept: Sequence[NDArray[np.int64]], images: Tensor
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        graph = space.graph
        self._sizes = [group.size for group in graph.groups]
        self._kept = [np.arange(size) for size in self._sizes]
        for column, number in enumerate(graph.searchable):
            self._kept[number] = kept[column]
        self.precision = torch.finfo(images.dtype).eps
        self._record = Record()
        for size in self._sizes:
            self._record.table.new(size)  # so that atom i is group i
        self._record.batch = self._record.table.new(len(images))
        self.running = Running(dict(model.named_modules()))
        self._scales = self._held_scales(space)
        tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        for name, axes in graph.parameters.items():
            self._record.remember(tensors[name], TensorNote(axes, parameter=name))
        axes = (self._record.batch, *map(constant, images.shape[1:]))
        self._record.flow.add_node(INPUT)
        self._record.remember(images, TensorNote(axes, source=INPUT))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        axes = self._axes_of(args[0]) if args and isinstance(args[0], Tensor) else []
        output = self._restricted(func.overloadpacket.__name__, func, axes, args, kwargs)
        if func.overloadpacket.__name__ == "_to_copy" and output.is_floating_point():
            self.precision = max(self.precision, torch.finfo(output.dtype).eps)
        observe(Call(func, args, kwargs, output, self._record, ROOT))
        return output

    def _restricted(self, name: str, func: Any, axes: list[Axis], args: Any, kwargs: Any) -> Any:
        if name == "native_layer_norm":
            return self._layer_norm(func, axes, args)
        if name == "native_group_norm":
            return self._group_norm(func, axes, args)
        if name == "native_batch_norm" and args[5]:
            return self._standardised(func, axes, args)
        if name in _SOFTMAX:
            return self._softmax(func, axes, args, kwargs)
        if name in _OVER_DIMS:
            return func(self._reduced(name, axes, args, kwargs), *args[1:], **kwargs)
        if name in ("mul", "div", "mul_", "div_"):
            args = self._rescaled(axes, args)
        return func(*args, **kwargs)

    def _axes_of(self, tensor: Tensor) -> list[Axis]:
        return [self._record.table.resolve(axis) for axis in self._record.note(tensor).axes]

    def _places(self, axis: Axis) -> Tensor:
        def kept(atom: Atom) -> NDArray[np.int64]:
            known = atom.index < len(self._kept)
            return self._kept[atom.index] if known else np.arange(self._record.table.atom_size(atom))

        return torch.from_numpy(positions(axis, self._record.table.atom_size, kept))

    def _layer_norm(self, func: Any, axes: list[Axis], args: Any) -> Any:
        image, sizes, weight, bias, eps = args
        places = self._places(axes[-1])
        if len(sizes) > 1 or len(places) == sizes[0]:
            return func(*args)
        small = [None if vector is None else vector[places] for vector in (weight, bias)]
        result, *rest = func(image.index_select(-1, places), [len(places)], *small, eps)
        return (torch.zeros_like(image).index_copy(-1, places, result), *rest)

    def _group_norm(self, func: Any, axes: list[Axis], args: Any) -> Any:
        image, weight, bias, count, channels, area, groups, eps = args
        places = self._places(axes[1])
        width = channels // groups
        left = len({int(place) // width for place in places})
        small = [None if vector is None else vector[places] for vector in (weight, bias)]
        cut = image.index_select(1, places).contiguous()
        result, *rest = func(cut, *small, count, len(places), area, left, eps)
        return (torch.zeros_like(image).index_copy(1, places, result), *rest)

    def _standardised(self, func: Any, axes: list[Axis], args: Any) -> Any:
        """A norm over what is no batch: weights standardised over their fan-in."""
        image, *rest = args
        places = [self._places(axis) if dim > 1 else None for dim, axis in enumerate(axes)]
        cut = image
        for dim, kept in enumerate(places):
            cut = cut if kept is None else cut.index_select(dim, kept)
        result, *statistics = func(cut, *rest)
        for dim, kept in reversed(list(enumerate(places))):
            if kept is not None:
                shape = [*result.shape]
                shape[dim] = image.shape[dim]
                result = result.new_zeros(shape).index_copy(dim, kept, result)
        return (result, *statistics)

    def _softmax(self, func: Any, axes: list[Axis], args: Any, kwargs: Any) -> Any:
        image, dim = args[:2]
        places = self._places(axes[dim])
        result = func(image.index_select(dim, places), *args[1:], **kwargs)
        return torch.zeros_like(image).index_copy(dim, places, result)

    def _reduced(self, name: str, axes: list[Axis], args: Any, kwargs: Any) -> Tensor:
        image: Tensor = args[0]
        position = 2 if name.endswith("vector_norm") else 1
        dims = args[position] if len(args) > position else kwargs.get("dim")
        dims = range(image.dim()) if not dims else [dims] if isinstance(dims, int) else dims
        for dim in dims:
            image = image.index_select(dim, self._places(axes[dim]))
        return image

    def _held_scales(self, space: SearchSpace) -> dict[str, dict[float, float]]:
        """1/√d and its root, as modules hold it, before and after, by the module's path."""
        scales: dict[str, dict[float, float]] = defaultdict(dict)
        for (path, name), axis in space.graph.attributes.items():
            if name.endswith("**-0.5"):
                before, after = self._record.table.length(axis), len(self._places(axis))
                scales[path] |= {before**power: after**power for power in (-0.5, -0.25)}
        return scales

    def _rescaled(self, axes: list[Axis], args: Any) -> Any:
        """Factors like 1/√d that the network works out from a width."""
        image, factor = args[:2]
        value = factor if isinstance(factor, float) else None
        if isinstance(factor, Tensor) and factor.dim() == 0:
            value = float(factor)
        if value is None:
            return args
        for before, after in self._scales.get(self.running.where(), {}).items():
            if abs(value - before) < 1e-12:
                return (image, after, *args[2:])
        if isinstance(image, Tensor):
            for dim, axis in enumerate(axes):
                size, left = image.shape[dim], len(self._places(axis))
                for power in (-0.5, -0.25, 0.5, 0.25):
                    if left < size and abs(value - size**power) < 1e-12:
                        return (image, left**power, *args[2:])
        return args


def restricted_outputs(
    model: nn.Module, space: SearchSpace, kept: Sequence[NDArray[np.int64]], images: Tensor
) -> tuple[Any, Restricted]:
    """What the whole network puts out when its reductions see the kept channels only, and how that was worked out."""
    model = model.eval()
    restricted = Restricted(model, space, kept, images)
    with (
        torch.no_grad(),
        sdpa_kernel(SDPBackend.MATH),
        slow_attention(),
        restricted.running.watched(),
        restricted,
    ):
        output = model(images)
    return output, restricted
