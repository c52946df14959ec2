"""What operations that look places up, order or transform them do to axes; channels must be none of these places."""

from collections.abc import Sequence

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
