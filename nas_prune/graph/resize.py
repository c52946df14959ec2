"""Networks of other widths: fresh ones from widths, narrowed ones from the indices of kept channels."""

from collections.abc import Callable, Mapping, Sequence
from math import isclose
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_prune.errors import WidthsError
from nas_prune.graph.axes import Atom, Axis, length, positions
from nas_prune.graph.channels import ChannelGraph
from nas_prune.graph.copies import copied
from nas_prune.graph.fans import SINGLE
from nas_prune.graph.known import without_storage
from nas_prune.graph.spectral import estimate_anew
from nas_prune.graph.tensors import constant_parameters, named_tensors

Kept: TypeAlias = "Sequence[NDArray[np.int64]]"


def resized(
    template: nn.Module, graph: ChannelGraph, widths_G: Sequence[int], *, device: torch.device | str = "meta"
) -> nn.Module:
    """A network of the given widths whose parameters, but constants, are not initialised (on meta: have no storage)."""
    sizes, constants = group_sizes(graph, widths_G), constant_parameters(template)

    def size_of(atom: Atom) -> int:
        return sizes[atom.index]

    def empty(name: str, tensor: Tensor) -> Tensor:
        axes = graph.parameters.get(name)  # of what is searched
        shape = list(tensor.shape) if axes is None else [length(axis, size_of) for axis in axes]
        if (isinstance(tensor, nn.Parameter) and id(tensor) not in constants) or tensor.is_meta:
            return torch.zeros(shape, dtype=tensor.dtype, device=device)
        if shape == list(tensor.shape):
            is_meta = torch.device(device).type == "meta"
            return without_storage(tensor) if is_meta else tensor.detach().clone().to(device)
        known = tensor.detach().to(device)
        for dim, size in enumerate(shape):
            if size != tensor.shape[dim]:  # the same all along it, or a norm's
                known = known.narrow(dim, 0, 1)
        return known.expand(shape).clone()

    return _rebuilt(template, graph, sizes, empty, inherits=False)


def narrowed(model: nn.Module, graph: ChannelGraph, kept_G: Kept) -> nn.Module:
    """A trained network with only some channels of each group left, weights and statistics inherited.

    Args:
        model: a network of the graph's base widths; it is not changed and shares no storage with the result.
        graph: its channel graph.
        kept_G: for each searchable group the indices kept, sorted, at least one.
    """
    kept = kept_of_all(graph, kept_G)
    sizes = [len(indices) for indices in kept]

    def sliced(name: str, tensor: Tensor) -> Tensor:
        result = tensor.detach()
        for dim, axis in enumerate(graph.parameters.get(name, ())):
            result = result.index_select(dim, indices_of(graph, axis, kept).to(result.device))
        return result.clone()

    result = _rebuilt(model, graph, sizes, sliced, inherits=True)
    if sizes != [group.size for group in graph.groups]:
        estimate_anew(result, by_chance=False)
    return result


def group_sizes(graph: ChannelGraph, widths_G: Sequence[int]) -> list[int]:
    """The width of every group, frozen ones at their base.

    Raises:
        WidthsError: the vector is not one positive integer for each searchable group.
    """
    if len(widths_G) != len(graph.searchable):
        raise WidthsError(f"a width vector must have {len(graph.searchable)} numbers, got {len(widths_G)}.")
    sizes = [group.size for group in graph.groups]
    for number, width in zip(graph.searchable, widths_G, strict=True):
        if width < 1:
            raise WidthsError(f"a width must be at least 1, got {width} (group {graph.groups[number].name}).")
        sizes[number] = int(width)
    return sizes


def kept_of_all(graph: ChannelGraph, kept_G: Kept) -> list[NDArray[np.int64]]:
    """The indices kept of every group, frozen ones whole, from those of each searchable group.

    Raises:
        WidthsError: they are not so many, or not in order, or none of the group's channels.
    """
    if len(kept_G) != len(graph.searchable):
        raise WidthsError(
            f"the channels kept must be given for {len(graph.searchable)} groups, got {len(kept_G)}."
        )
    kept = [np.arange(group.size) for group in graph.groups]
    for own, number in zip(kept_G, graph.searchable, strict=True):
        indices, group = np.asarray(own), graph.groups[number]
        is_whole = indices.ndim == 1 and len(indices) > 0 and np.issubdtype(indices.dtype, np.integer)
        if not is_whole or indices[0] < 0 or indices[-1] >= group.size or (np.diff(indices) <= 0).any():
            raise WidthsError(
                f"the channels kept of group {group.name} must be numbers below {group.size} in order, each once and "
                f"at least one, got {np.array2string(indices, threshold=8)}."
            )
        kept[number] = indices.astype(np.int64)
    return kept


def indices_of(graph: ChannelGraph, axis: Axis, kept: Sequence[NDArray[np.int64]]) -> Tensor:
    """Which places of an axis are left, from the indices kept of every group."""

    def size(atom: Atom) -> int:
        return graph.groups[atom.index].size

    return torch.from_numpy(positions(axis, size, lambda atom: kept[atom.index]))


def _rebuilt(
    model: nn.Module,
    graph: ChannelGraph,
    sizes: Sequence[int],
    tensor_for: Callable[[str, Tensor], Tensor],
    *,
    inherits: bool,
) -> nn.Module:
    memo: dict[int, Any] = {}
    for name, tensor in named_tensors(model):
        if id(tensor) not in memo:
            new = tensor_for(name, tensor)
            is_parameter = isinstance(tensor, nn.Parameter)
            memo[id(tensor)] = nn.Parameter(new, tensor.requires_grad) if is_parameter else new
    result = copied(model, memo)
    tell_sizes(dict(result.named_modules()), graph, sizes, inherits=inherits)
    return result


def tell_sizes(
    modules: Mapping[str, nn.Module], graph: ChannelGraph, sizes: Sequence[int], *, inherits: bool
) -> None:
    """Rewrite what modules, by path, hold of sizes beside their tensors, which have them already, in place.

    Args:
        modules: the network's.
        graph: its channel graph.
        sizes: the width of every group.
        inherits: the weights were trained at other widths, so that what a constructor worked out for its own first
            weights (a factor for their fan-in) stays.
    """
    for (path, name), axis in graph.attributes.items():
        is_for_first = "*" in name.replace("**", "")
        # A function of torch.nn.functional has a path, and holds nothing.
        if path in modules and not (inherits and is_for_first):
            _set(modules[path], name, length(axis, lambda atom: sizes[atom.index]))
    for module in modules.values():
        _tell_sizes(module)
        _forget_cached(module)


def _forget_cached(module: nn.Module) -> None:
    """Empty what a module has kept of its last run in another size (position biases of LeViT, say)."""
    for name, value in [*vars(module).items()]:
        if "cache" in name and isinstance(value, dict) and not name.startswith("_"):
            setattr(module, name, {})


def _set(module: nn.Module, name: str, value: int) -> None:
    """Set a number that a module holds.

    `shape.0` lies in a list or tuple, `feature_info.2.num_chs` deeper; `scale**-0.5` is a power of the value, and
    `scale*1.7**-0.5` that times a factor.
    """
    if "**" in name:
        name, _, power = name.partition("**")
        name, _, factor = name.partition("*")
        new, known = float(factor or 1) * value ** float(power), getattr(module, name)
        if isinstance(known, Tensor):
            if not known.is_meta and not isclose(new, float(known.reshape(-1)[0]), rel_tol=SINGLE):
                known.fill_(new)
        elif not isclose(new, known, rel_tol=1e-12):  # or it is the constructor's own, to the last digit
            setattr(module, name, new)
        return
    first, *steps = name.split(".")
    if hasattr(module, first):
        setattr(module, first, _with(getattr(module, first), steps, value))


def _with(holder: Any, steps: Sequence[str], value: int) -> Any:
    """A copy of nested lists, tuples and dictionaries with one entry replaced."""
    if not steps:
        return value
    if isinstance(holder, dict):
        return {**holder, steps[0]: _with(holder[steps[0]], steps[1:], value)}
    place = int(steps[0])
    entries = [*holder[:place], _with(holder[place], steps[1:], value), *holder[place + 1 :]]
    return tuple(entries) if isinstance(holder, tuple) else entries


def _tell_sizes(module: nn.Module) -> None:
    """Rewrite the Python copies of sizes that torch.nn modules hold."""
    weight = getattr(module, "weight", None)
    if isinstance(module, nn.modules.conv._ConvNd):  # noqa: SLF001
        outer, inner = module.weight.shape[0], module.weight.shape[1] * module.groups
        module.out_channels, module.in_channels = (inner, outer) if module.transposed else (outer, inner)
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.modules.batchnorm._NormBase):  # noqa: SLF001
        known = weight if weight is not None else module.running_mean
        module.num_features = module.num_features if known is None else known.shape[0]
    elif isinstance(module, (nn.LayerNorm, nn.RMSNorm)) and weight is not None:
        module.normalized_shape = tuple(weight.shape)
    elif isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
        _tell_recurrent(module)
    elif isinstance(module, nn.GroupNorm) and weight is not None:
        module.num_channels = weight.shape[0]


def _tell_recurrent(module: Any) -> None:
    """Rewrite the sizes that a recurrent layer or cell holds: what comes in and what goes round may be as wide."""
    layer = "" if isinstance(module, nn.RNNCellBase) else "_l0"
    module.input_size = getattr(module, f"weight_ih{layer}").shape[1]
    if getattr(module, "proj_size", 0):
        module.proj_size, module.hidden_size = module.weight_hr_l0.shape
    else:
        module.hidden_size = getattr(module, f"weight_hh{layer}").shape[1]
