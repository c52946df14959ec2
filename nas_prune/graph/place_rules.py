"""What operations that look places up, order or transform them do to axes; channels must be none of these places."""

from collections.abc import Sequence

import torch

from nas_prune.graph.axes import constant
from nas_prune.graph.call import Axes, Call
from nas_prune.graph.table import AxisConflictError


def _dims(dims: "int | Sequence[int]", count: int) -> list[int]:
    return [dim % max(1, count) for dim in ([dims] if isinstance(dims, int) else dims)]


def sampled(call: Call) -> list[Axes]:
    """Pixels looked up at places that a grid says (`grid_sample`)."""
    (batch, channels, *places), (batch_of_grid, *grid) = map(call.axes, call.inputs[:2])
    for axis in (*places, *grid):
        call.freeze(axis, "used as height or width")
    return [(call.unify(batch, batch_of_grid), channels, *map(constant, call.output.shape[2:]))]


def put_back(call: Call) -> list[Axes]:
    """Pixels put where a pooling has found them (`max_unpool2d`)."""
    image, where = map(call.axes, call.inputs[:2])
    axes = [call.unify(own, other) for own, other in zip(image, where, strict=True)]
    for axis in axes[-2:]:
        call.freeze(axis, "used as height or width")
    return [(*axes[:-2], *map(constant, call.output.shape[-2:]))]


def gather(call: Call) -> list[Axes]:
    """Places of one dimension looked up by numbers, others for each place of the other dimensions."""
    image, dim, numbers = call.args[:3]
    (dim,) = _dims(dim, image.dim())
    axes, own = call.axes(image), list(call.axes(numbers))
    call.freeze(axes[dim], "looked up by number")
    for place, axis in enumerate(axes):
        if place != dim:
            if image.shape[place] != numbers.shape[place]:
                raise AxisConflictError
            own[place] = call.unify(axis, own[place])
    return [tuple(own)]


def sorted_out(call: Call) -> list[Axes]:
    """Places of one dimension put in order (`sort`), or the first of them (`topk`): values, and where they were."""
    image = call.inputs[0]
    (dim,) = _dims(call.argument(2 if call.name.endswith("topk") else 1, "dim", -1), image.dim())
    axes = list(call.axes(image))
    call.freeze(axes[dim], "put in order")
    call.reduces_over(axes[dim])
    axes[dim] = constant(call.outputs[0].shape[dim])
    return [tuple(axes)] * len(call.outputs)


def one_after_the_other(call: Call) -> list[Axes]:
    """Sums, products and maxima of all places up to each, along one dimension."""
    image = call.inputs[0]
    (dim,) = _dims(call.argument(1, "dim"), image.dim())
    axes = call.axes(image)
    call.freeze(axes[dim], "taken one after the other")
    call.reduces_over(axes[dim])
    return [axes] * len(call.outputs)


def transformed(call: Call) -> list[Axes]:
    """A Fourier transform over some dimensions."""
    image = call.inputs[0]
    axes = list(call.axes(image))
    for dim in _dims(call.args[1], image.dim()):
        call.freeze(axes[dim], "transformed")
        call.reduces_over(axes[dim])
        axes[dim] = constant(call.output.shape[dim])
    return [tuple(axes)]


def as_pairs(call: Call) -> list[Axes]:
    """Complex numbers as pairs of real ones."""
    return [(*call.axes(call.inputs[0]), constant(2))]


def from_pairs(call: Call) -> list[Axes]:
    """Pairs of real numbers as complex ones."""
    *axes, pair = call.axes(call.inputs[0])
    call.record.table.fix(pair)
    return [tuple(axes)]


def triangle(call: Call) -> list[Axes]:
    """What lies above or below the diagonal of matrices, which must hold no channels."""
    axes = call.axes(call.inputs[0])
    for axis in axes[-2:]:
        call.freeze(axis, "cut along the diagonal")
    return [axes]


def put(call: Call) -> list[Axes]:
    """Numbers put in, or added, at places of one dimension that others say for each (`scatter`, `scatter_add`)."""
    image, dim = call.args[:2]
    (dim,) = _dims(dim, image.dim())
    axes = list(call.axes(image))
    for other in call.inputs[1:]:
        if other.dim() != image.dim():
            raise AxisConflictError
        for place, axis in enumerate(call.axes(other)):
            if place == dim:
                call.freeze(axis, "put by number")
            elif other.shape[place] == image.shape[place]:
                axes[place] = call.unify(axes[place], axis)
            else:
                raise AxisConflictError
    call.freeze(axes[dim], "put by number")
    return [tuple(axes)]


def put_rows(call: Call) -> list[Axes]:
    """Slices put in, or added, at the places of one dimension that numbers say (`index_add`, `index_copy`)."""
    image, dim, numbers, rows = call.args[:4]
    (dim,) = _dims(dim, image.dim())
    axes, own = list(call.axes(image)), list(call.axes(rows))
    for axis in (axes[dim], own[dim], *call.axes(numbers)):
        call.freeze(axis, "put by number")
    for place in range(len(axes)):
        if place != dim:
            axes[place] = call.unify(axes[place], own[place])
    return [tuple(axes)]


def put_at(call: Call) -> list[Axes]:
    """`x[numbers] = values` and `x[mask] = values`: the dimensions that are not looked up are the values' last."""
    image, chosen, values = call.args[:3]
    axes, place = list(call.axes(image)), 0
    for numbers in chosen:
        if numbers is None:
            place += 1
        elif numbers.dtype in (torch.bool, torch.uint8):
            for axis in call.axes(numbers):
                axes[place] = call.unify(axes[place], axis)
                place += 1
        else:
            call.freeze(axes[place], "put by number")
            place += 1
    if any(numbers is None for numbers in chosen) and values.numel() > 1:
        raise AxisConflictError
    own = call.axes(values)
    for back in range(1, min(len(axes) - place, len(own)) + 1):
        if values.shape[-back] > 1:
            axes[-back] = call.unify(axes[-back], own[-back])
    for axis in own[: max(0, len(own) - (len(axes) - place))]:
        call.freeze(axis, "put by number")
    return [tuple(axes)]


def bag(call: Call) -> list[Axes]:
    """Sums or means of rows of a table, looked up by number: one for each bag (`nn.EmbeddingBag`)."""
    table, _, starts = call.args[:3]
    rows, *channels = call.axes(table)
    call.freeze(rows, "looked up by number")
    (bags,) = call.axes(starts)
    many = call.record.batch_or(call.output[0].shape[0]) or bags
    return [(many, *channels)]


def distances(call: Call) -> list[Axes]:
    """Distances between all rows of two matrices, over their last dimension (`cdist`)."""
    left, right = call.inputs[:2]
    (*many, rows, read), (*other_many, columns, other_read) = call.axes(left), call.axes(right)
    call.reduces_over(call.unify(read, other_read))
    if len(many) != len(other_many):
        raise AxisConflictError
    return [(*(call.unify(*pair) for pair in zip(many, other_many, strict=True)), rows, columns)]
