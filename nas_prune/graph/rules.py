"""What each ATen operation does to axes, a few lines each.

A rule reads a `Call` and returns the axes of its outputs, in order; outputs it does not mention are constant.
Raising `AxisConflictError` freezes what the operation touched. An operation without a rule does the same.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from nas_prune.graph.axes import ONE, Axis, constant, is_constant
from nas_prune.graph.call import Axes, Call
from nas_prune.graph.record import INPUT, LayerNote, positions_of
from nas_prune.graph.table import AxisConflictError

Rule: TypeAlias = Callable[[Call], "list[Axes] | None"]


def broadcast(call: Call) -> list[Axes]:
    """Element by element: dimensions of one length are the same channels; length 1 stretches."""
    shape = _first_output(call).shape
    result: list[Axis] = []
    for back in range(len(shape), 0, -1):
        axis: Axis | None = None
        for tensor in call.inputs:
            if tensor.dim() < back:
                continue
            own = call.axes(tensor)[-back]
            if tensor.shape[-back] != shape[-back]:
                call.record.table.freeze(own, f"stretched by {call.name} in {call.where}")
            elif axis is None:
                axis = own
            else:
                common = call.unify(axis, own)
                axis = own if is_constant(common) else common
        result.append(constant(shape[-back]) if axis is None else axis)
    return [tuple(call.record.table.resolve(axis) for axis in result)]


def add(call: Call) -> list[Axes]:
    """An addition; of two activations of one shape it is a residual add."""
    (axes,) = broadcast(call)
    activations = call.activations()
    if len(activations) > 1 and len({tensor.shape for tensor in call.inputs}) == 1:
        call.record.added.extend(axes[1:])
        call.node = call.record.add_node(f"add in {call.where}", activations)
    return [axes]


def same_shape(call: Call) -> list[Axes]:
    """The output has the axes of the first input (copies, dropout)."""
    return [call.axes(call.inputs[0])] * len(_outputs(call))


def convolution(call: Call) -> list[Axes]:
    """Input channels meet the weight's second dimension; output channels are its first."""
    image, weight, bias = call.args[:3]
    groups, is_transposed = call.args[8], call.args[6]
    if is_transposed:
        raise AxisConflictError
    batch, channels, *places = call.axes(image)
    _freeze_positions(call, places)
    out, read, *kernel = call.axes(weight)
    for axis in kernel:
        call.record.table.fix(axis)
    if groups == 1:
        call.unify(channels, read)
    else:
        _grouped(call, weight, channels, groups)
    if bias is not None:
        call.unify(call.axes(bias)[0], out)
    out = call.record.table.resolve(out)
    output: Axes = (batch, out, *map(constant, call.output.shape[2:]))
    _add_layer(call, "conv", weight, output, out)
    if call.record.keeps_costs:
        path = _layer_path(call, weight)
        call.record.products.append((path, (*call.axes(weight), batch, *output[2:])))
    return [output]


def _freeze_positions(call: Call, axes: Sequence[Axis]) -> None:
    """A kernel reads neighbouring places together, so none of them can be taken out."""
    for axis in axes:
        call.record.table.freeze(axis, f"used as height or width by {call.name} in {call.where}")


def _grouped(call: Call, weight: Tensor, channels: Axis, groups: int) -> None:
    """Channels are (group, within): the group is shared by input and output, and may be all there is."""
    table = call.record.table
    out, read = call.axes(weight)[:2]
    if table.length(read) == 1:
        table.fix(read)
    outer, within = table.factor(channels, [groups, table.length(channels) // groups])
    call.unify(read, within)
    outer_of_output, _ = table.factor(out, [groups, table.length(out) // groups])
    outer = call.unify(outer, outer_of_output)
    call.record.conv_groups[_layer_path(call, weight)] = outer


def batch_norm(call: Call) -> list[Axes]:
    """One value for each channel in up to four vectors."""
    image, weight, *_ = call.args
    batch, channels, *rest = call.axes(image)
    for vector in call.inputs[1:]:
        channels = call.unify(channels, call.axes(vector)[0])
    output = (batch, channels, *rest)
    if weight is not None:
        _add_layer(call, "norm", weight, output, channels)
    return [output]


def pool(call: Call) -> list[Axes]:
    """Positions change, channels stay."""
    shape = _first_output(call).shape
    is_average = "avg" in call.name
    call.pools = is_average and prod(shape[2:]) == 1 and prod(call.inputs[0].shape[2:]) > 1
    leading = call.axes(call.inputs[0])[:-2]
    _freeze_positions(call, call.axes(call.inputs[0])[-2:])
    axes = (*leading, *map(constant, shape[-2:]))
    return [axes] * len(_outputs(call))


def reduce(call: Call) -> list[Axes]:
    """A mean, sum or maximum over some dimensions; channels that are reduced over are frozen."""
    image = call.inputs[0]
    dims = call.argument(1, "dim")
    wanted = range(image.dim()) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
    reduced = {dim % image.dim() for dim in wanted}
    keeps = bool(call.argument(2, "keepdim", default=False))
    axes = call.axes(image)
    for dim in reduced:
        call.record.table.freeze(axes[dim], f"reduced over by {call.name} in {call.where}")
    spatial = set(range(2, image.dim())) if image.dim() == 4 else {1}
    call.pools = image.dim() > 2 and spatial <= reduced
    left = tuple(
        ONE if dim in reduced else axis for dim, axis in enumerate(axes) if keeps or dim not in reduced
    )
    return [left]


def view(call: Call) -> list[Axes]:
    """Dimensions are flattened and cut again; a run of neighbours on each side holds the same channels."""
    image = call.inputs[0]
    old, new = list(image.shape), list(_first_output(call).shape)
    call.pools = len(old) == 4 and len(new) == 2 and prod(old[2:]) > 1
    axes, result = list(call.axes(image)), list[Axis]()
    while old or new:
        olds, news = _segment(old, new)
        taken, axes = axes[:olds], axes[olds:]
        sizes = new[:news]
        del old[:olds], new[:news]
        result += _rearranged(call, taken, sizes)
    return [tuple(call.record.table.resolve(axis) for axis in result)]


def _segment(old: Sequence[int], new: Sequence[int]) -> tuple[int, int]:
    """How many leading dimensions of each side hold the same elements; as few as possible."""
    if not old or not new:
        return len(old), len(new)
    olds = news = 1
    while prod(old[:olds]) != prod(new[:news]):
        if prod(old[:olds]) < prod(new[:news]):
            olds += 1
        else:
            news += 1
    return olds, news


def _rearranged(call: Call, axes: Sequence[Axis], sizes: Sequence[int]) -> list[Axis]:
    if len(axes) == len(sizes) == 1:
        return [axes[0]]
    if not sizes:
        return []
    return call.record.table.factor(call.record.table.product(axes) if axes else ONE, sizes)


def permute(call: Call) -> list[Axes]:
    """Dimensions change places."""
    axes = call.axes(call.inputs[0])
    order = [dim % len(axes) for dim in call.args[1]]
    return [tuple(axes[dim] for dim in order)]


def transpose(call: Call) -> list[Axes]:
    """Two dimensions change places; without arguments, the two of a matrix."""
    axes = list(call.axes(call.inputs[0]))
    first, second = call.argument(1, "dim0", 0), call.argument(2, "dim1", 1)
    if len(axes) > 1:
        axes[first], axes[second] = axes[second], axes[first]
    return [tuple(axes)]


def matrix_product(call: Call) -> list[Axes]:
    """A (rows, read) times (read, columns); `addmm` adds a bias over the columns."""
    *bias, left, right = call.inputs
    rows, read = call.axes(left)
    other_read, columns = call.axes(right)
    call.unify(read, other_read)
    for vector in bias:
        columns = call.unify(call.axes(vector)[-1], columns)
    output = (rows, call.record.table.resolve(columns))
    if call.record.note(right).source is None:
        _add_layer(call, "linear", right, output, output[1])
    if call.record.keeps_costs:
        call.record.products.append((_layer_path(call, right), (rows, call.axes(right)[0], output[1])))
    return [output]


def cat(call: Call) -> list[Axes]:
    """Axes one after the other along one dimension; all others are the same."""
    tensors = call.args[0]
    dim = call.argument(1, "dim", 0) % tensors[0].dim()
    joined: Axis = ()
    axes = list(call.axes(tensors[0]))
    for tensor in tensors:
        own = call.axes(tensor)
        joined += own[dim]
        axes = [axis if place == dim else call.unify(axis, own[place]) for place, axis in enumerate(axes)]
    axes[dim] = call.record.table.product([joined])
    if dim == 1 and len(call.activations()) > 1:
        call.record.concatenated.append(axes[dim])
    return [tuple(axes)]


def cut(call: Call) -> list[Axes]:
    """A slice with step 1 of one dimension."""
    image = call.inputs[0]
    dim = call.argument(1, "dim", 0) % image.dim()
    start, end = call.argument(2, "start") or 0, call.argument(3, "end")
    size = image.shape[dim]
    start, end = (start + size if start < 0 else start), (size if end is None else end)
    end = min(end + size if end < 0 else end, size)
    axes = list(call.axes(image))
    if call.argument(4, "step", 1) != 1:
        raise AxisConflictError
    if (start, end) != (0, size):
        call.record.table.cut(axes[dim], start)
        _, rest = call.record.table.cut(axes[dim], start)
        axes[dim], _ = call.record.table.cut(rest, end - start)
    return [tuple(call.record.table.resolve(axis) for axis in axes)]


def _add_layer(call: Call, kind: str, weight: Tensor, output: Axes, produced: Axis) -> None:
    image = call.inputs[-2] if kind == "linear" else call.inputs[0]
    note = call.record.note(image)
    path = _layer_path(call, weight)
    is_new = call.record.keeps_costs or path not in call.record.flow
    call.node = call.record.add_node(path, call.activations())
    call.is_layer = True
    if is_new:
        size = positions_of(_first_output(call).shape)
        call.record.layers.append(
            LayerNote(
                path=path,
                kind=kind,
                output=output,
                produced=produced,
                read=note.axes[1],
                source=note.source,
                output_size=size,
                node=call.node,
                reads_input=note.source == INPUT,
                is_pooled=note.is_pooled,
                reads_shifted=note.is_shifted,
            )
        )


def _layer_path(call: Call, weight: Tensor) -> str:
    parameter = call.record.note(weight).parameter
    return call.where if parameter is None else parameter.rpartition(".")[0] or parameter


def _outputs(call: Call) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(call.output) if isinstance(leaf, Tensor)]


def _first_output(call: Call) -> Tensor:
    return _outputs(call)[0]


RULES: dict[str, Rule] = {
    "add": add,
    "add_": add,
    "convolution": convolution,
    "native_batch_norm": batch_norm,
    "_native_batch_norm_legit": batch_norm,
    "cudnn_batch_norm": batch_norm,
    "_batch_norm_with_update": batch_norm,
    "max_pool2d_with_indices": pool,
    "avg_pool2d": pool,
    "_adaptive_avg_pool2d": pool,
    "adaptive_max_pool2d": pool,
    "mean": reduce,
    "sum": reduce,
    "amax": reduce,
    "view": view,
    "_unsafe_view": view,
    "_reshape_alias": view,
    "unsqueeze": view,
    "squeeze": view,
    "permute": permute,
    "transpose": transpose,
    "t": transpose,
    "mm": matrix_product,
    "addmm": matrix_product,
    "cat": cat,
    "slice": cut,
    "clone": same_shape,
    "detach": same_shape,
    "alias": same_shape,
    "_to_copy": same_shape,
    "empty_like": same_shape,
    "bernoulli_": same_shape,
    "native_dropout": same_shape,
}


def rule_for(func: Any) -> Rule | None:
    """The rule of an ATen operation, None if there is none; every pointwise operation broadcasts."""
    name = str(func.overloadpacket).removeprefix("aten.")
    if name in RULES:
        return RULES[name]
    return broadcast if torch.Tag.pointwise in func.tags else None
