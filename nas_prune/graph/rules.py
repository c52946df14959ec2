"""What each ATen operation does to axes, a few lines each.

A rule reads a `Call` and returns the axes of its outputs, in order; outputs it does not mention are constant.
Raising `AxisConflictError` freezes what the operation touched. An operation without a rule does the same.
"""

from collections.abc import Callable
from math import isclose, prod
from typing import Any, TypeAlias

import torch

from nas_prune.graph import layer_rules, place_rules, shape_rules
from nas_prune.graph.axes import ONE, Axis, constant, is_constant
from nas_prune.graph.call import Axes, Call, name_of
from nas_prune.graph.shape_rules import same_shape, takes_positions
from nas_prune.graph.table import AxisConflictError

Rule: TypeAlias = Callable[[Call], "list[Axes] | None"]

_TOO_ROUND = 4  # of which a half is the scale: code halves numbers for many reasons


def broadcast(call: Call) -> list[Axes]:
    """Element by element: dimensions of one length are the same channels; length 1 stretches."""
    shape = call.outputs[0].shape
    result: list[Axis] = []
    for back in range(len(shape), 0, -1):
        axis: Axis | None = None
        for tensor in call.inputs:
            if tensor.dim() < back:
                continue
            own = call.axes(tensor)[-back]
            if tensor.shape[-back] != shape[-back]:
                call.freeze(own, "stretched")
            elif axis is None:
                axis = own
            else:
                common = call.unify(axis, own)
                axis = own if is_constant(common) else common
        result.append(constant(shape[-back]) if axis is None else axis)
    return [tuple(call.record.table.resolve(axis) for axis in result)]


def scale(call: Call) -> list[Axes]:
    """A product or quotient; by 1/√d, as attention does it, it reduces over the d channels.

    PyTorch's own attention scales queries and keys by the fourth root each, in an overload that Python does not use.
    """
    (axes,) = broadcast(call)
    number = call.argument(1, "other")
    if axes and isinstance(number, float) and number > 0:
        size = call.record.table.length(axes[-1])
        is_own = str(call.func).endswith(".Scalar") and isclose(number, size**-0.25)
        if size > 1 and (is_own or (size != _TOO_ROUND and isclose(min(number, 1 / number), size**-0.5))):
            call.reduces_over(axes[-1])
        if call.record.contracted:  # after the product, that of what it has summed over
            read = call.record.contracted[-1][0]
            if isclose(min(number, 1 / number), call.record.table.length(read) ** -0.5):
                call.reduces_over(read)
    return [axes]


def add(call: Call) -> list[Axes]:
    """An addition; of two activations of one shape it is a residual add."""
    (axes,) = broadcast(call)
    activations = call.activations()
    if len(activations) > 1 and len({tensor.shape for tensor in call.inputs}) == 1:
        call.record.added.extend(axes[1:])
        call.node = call.record.add_node(f"add in {call.where}", activations)
    return [axes]


def pool(call: Call) -> list[Axes]:
    """Positions change, channels stay: for each pixel of the last dimensions of an N×C×… tensor."""
    image, shape = call.inputs[0], call.outputs[0].shape
    call.pools = "avg" in call.name and prod(shape[2:]) == 1 and prod(image.shape[2:]) > 1
    axes = call.axes(image)
    kept = min(2, len(axes) - 1)
    for place in axes[kept:]:
        call.freeze(place, "used as height or width")
    return [(*axes[:kept], *map(constant, shape[kept:]))] * len(call.outputs)


def reduce(call: Call) -> list[Axes]:
    """A mean, norm, maximum, … over some dimensions, or over all."""
    position = 2 if call.name.endswith("norm") else 1
    dims = call.argument(position, "dim")
    return _reduced(call, dims, keeps=bool(call.argument(position + 1, "keepdim", default=False)))


def variance(call: Call) -> list[Axes]:
    """A variance or standard deviation; `var_mean` gives the mean as well."""
    return _reduced(call, call.argument(1, "dim"), keeps=bool(call.kwargs.get("keepdim", False)))


def _reduced(call: Call, dims: Any, *, keeps: bool) -> list[Axes]:
    image = call.inputs[0]
    wanted = range(image.dim()) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
    reduced = {dim % max(1, image.dim()) for dim in wanted}
    axes = call.axes(image)
    for dim in reduced:
        call.reduces_over(axes[dim])
    left = tuple(
        ONE if dim in reduced else axis for dim, axis in enumerate(axes) if keeps or dim not in reduced
    )
    call.pools = takes_positions(call, axes, left)
    return [left] * len(call.outputs)


def softmax(call: Call) -> list[Axes]:
    """Exponentials, divided by their sum over one dimension."""
    axes = call.axes(call.inputs[0])
    call.reduces_over(axes[call.args[1]])
    return [axes]


def gated_halves(call: Call) -> list[Axes]:
    """`glu`: the first half times the sigmoid of the second, channel by channel."""
    image = call.inputs[0]
    dim = call.argument(1, "dim", -1)
    axes = list(call.axes(image))
    first, second = call.record.table.cut(axes[dim], image.shape[dim] // 2)
    axes[dim] = call.unify(first, second)
    return [tuple(axes)]


def restrided(call: Call) -> list[Axes]:
    """Other strides for the same shape, as pooling makes them for channels-last tensors."""
    if call.outputs[0].shape != call.inputs[0].shape:
        raise AxisConflictError
    return [call.axes(call.inputs[0])]


RULES: dict[str, Rule] = {
    "add": add,
    "add_": add,
    **dict.fromkeys(("mul", "mul_", "div", "div_"), scale),
    "convolution": layer_rules.convolution,
    **dict.fromkeys(
        (
            "native_batch_norm",
            "_native_batch_norm_legit",
            "_native_batch_norm_legit_no_training",
        ),
        layer_rules.batch_norm,
    ),
    "native_layer_norm": layer_rules.layer_norm,
    "native_group_norm": layer_rules.group_norm,
    "mm": layer_rules.matrix_product,
    "addmm": layer_rules.matrix_product,
    "bmm": layer_rules.batched_product,
    **dict.fromkeys(("mv", "dot", "vdot"), layer_rules.by_vector),
    "baddbmm": layer_rules.batched_product,
    **dict.fromkeys(
        (
            "max_pool2d_with_indices",
            "max_pool3d_with_indices",
            "avg_pool2d",
            "avg_pool3d",
            "_adaptive_avg_pool2d",
            "_adaptive_avg_pool3d",
            "adaptive_max_pool2d",
            "adaptive_max_pool3d",
            "reflection_pad1d",
            "reflection_pad2d",
            "reflection_pad3d",
            "replication_pad1d",
            "replication_pad2d",
            "replication_pad3d",
            "upsample_nearest1d",
            "upsample_nearest2d",
            "_upsample_nearest_exact2d",
            "upsample_nearest3d",
            "upsample_linear1d",
            "upsample_bilinear2d",
            "_upsample_bilinear2d_aa",
            "upsample_bicubic2d",
            "_upsample_bicubic2d_aa",
            "upsample_trilinear3d",
        ),
        pool,
    ),
    **dict.fromkeys(
        (
            "mean",
            "sum",
            "amax",
            "amin",
            "linalg_vector_norm",
            "norm",
            "max",
            "min",
            "logsumexp",
            "argmax",
            "argmin",
        ),
        reduce,
    ),
    **dict.fromkeys(("var", "std", "var_mean", "std_mean"), variance),
    **dict.fromkeys(("_softmax", "_safe_softmax", "_log_softmax"), softmax),
    "glu": gated_halves,
    "as_strided_": restrided,
    **dict.fromkeys(
        ("view", "_unsafe_view", "unsqueeze", "unsqueeze_", "squeeze", "squeeze_"), shape_rules.view
    ),
    "permute": shape_rules.permute,
    "transpose": shape_rules.transpose,
    "transpose_": shape_rules.transpose,
    "t": shape_rules.transpose,
    "cat": shape_rules.cat,
    "stack": shape_rules.stack,
    "slice": shape_rules.cut,
    "split": shape_rules.split,
    "split_with_sizes": shape_rules.split,
    "unsafe_split": shape_rules.split,
    **dict.fromkeys(("grid_sampler_2d", "grid_sampler_3d"), place_rules.sampled),
    "max_unpool2d": place_rules.put_back,
    "gather": place_rules.gather,
    **dict.fromkeys(
        ("scatter", "scatter_", "scatter_add", "scatter_add_", "scatter_reduce"), place_rules.put
    ),
    **dict.fromkeys(("index_add", "index_add_", "index_copy", "index_copy_"), place_rules.put_rows),
    **dict.fromkeys(("index_put", "index_put_"), place_rules.put_at),
    "_embedding_bag": place_rules.bag,
    **dict.fromkeys(("_euclidean_dist", "_cdist_forward"), place_rules.distances),
    **dict.fromkeys(("sort", "topk"), place_rules.sorted_out),
    **dict.fromkeys(
        ("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp"), place_rules.one_after_the_other
    ),
    **dict.fromkeys(("_fft_r2c", "_fft_c2c", "_fft_c2r"), place_rules.transformed),
    "view_as_real": place_rules.as_pairs,
    "view_as_complex": place_rules.from_pairs,
    "_conj": same_shape,
    **dict.fromkeys(("tril", "triu"), place_rules.triangle),
    "_trilinear": layer_rules.bilinear,
    "_weight_norm_interface": layer_rules.weight_norm,
    "select": shape_rules.select,
    "unbind": shape_rules.unbind,
    "index": shape_rules.index,
    "index_select": layer_rules.index_select,
    "embedding": shape_rules.index_select,
    "expand": shape_rules.expand,
    "repeat": shape_rules.repeat,
    "constant_pad_nd": shape_rules.pad,
    "roll": shape_rules.roll,
    "flip": shape_rules.roll,
    "pixel_shuffle": shape_rules.pixel_shuffle,
    "pixel_unshuffle": shape_rules.pixel_unshuffle,
    "channel_shuffle": shape_rules.channel_shuffle,
    "im2col": shape_rules.patches,
    "unfold": shape_rules.windows,
    "arange": shape_rules.numbered,
    "linspace": shape_rules.numbered,
    "copy_": broadcast,
    "complex": broadcast,
    "_prelu_kernel": broadcast,
    "hardswish": same_shape,
    "hardswish_": same_shape,
    **dict.fromkeys(
        (
            "clone",
            "detach",
            "alias",
            "_to_copy",
            "empty_like",
            "zeros_like",
            "ones_like",
            "full_like",
            "rand_like",
            "randn_like",
            "bernoulli",
            "bernoulli_",
            "uniform_",
            "normal_",
            "zero_",
            "fill_",
            "native_dropout",
        ),
        same_shape,
    ),
    **dict.fromkeys(
        (
            "empty",
            "zeros",
            "ones",
            "full",
            "rand",
            "randn",
            "new_empty",
            "new_zeros",
            "new_ones",
            "new_full",
        ),
        shape_rules.made,
    ),
}


def rule_for(func: Any) -> Rule | None:
    """The rule of an ATen operation, None if there is none; every pointwise operation broadcasts."""
    name = name_of(func).removeprefix("aten.")
    if name in RULES:
        return RULES[name]
    return broadcast if torch.Tag.pointwise in func.tags else None
