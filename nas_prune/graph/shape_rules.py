"""What operations that move, cut, join or repeat places do to axes; none of them computes anything."""

from collections.abc import Sequence
from math import prod

from torch import Tensor

from nas_prune.graph.axes import ONE, Axis, atoms_of, constant, is_constant
from nas_prune.graph.call import Axes, Call
from nas_prune.graph.table import AxisConflictError


def view(call: Call) -> list[Axes]:
    """Dimensions are flattened and cut again; a run of neighbours on each side holds the same channels."""
    # Not the tensor's own shape, which an operation in place has already changed.
    old = [call.record.table.length(axis) for axis in call.axes(call.inputs[0])]
    new = list(call.outputs[0].shape)
    call.pools = len(old) == 4 and len(new) == 2 and old[0] == new[0] and prod(old[2:]) > 1
    axes, result = list(call.axes(call.inputs[0])), list[Axis]()
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
    return [tuple(axes[dim % len(axes)] for dim in call.args[1])]


def transpose(call: Call) -> list[Axes]:
    """Two dimensions change places; without arguments, the two of a matrix."""
    axes = list(call.axes(call.inputs[0]))
    first, second = call.argument(1, "dim0", 0), call.argument(2, "dim1", 1)
    if len(axes) > 1:
        axes[first], axes[second] = axes[second], axes[first]
    return [tuple(axes)]


def cat(call: Call) -> list[Axes]:
    """Axes one after the other along one dimension; all others are the same. Empty tensors add nothing."""
    tensors = [tensor for tensor in call.args[0] if tensor.numel()] or call.args[0]
    dim = call.argument(1, "dim", 0) % tensors[0].dim()
    joined: Axis = ()
    axes = list(call.axes(tensors[0]))
    for tensor in tensors:
        own = call.axes(tensor)
        joined += own[dim]
        axes = [axis if place == dim else _either(call, axis, own[place]) for place, axis in enumerate(axes)]
    axes[dim] = call.record.table.product([joined])
    if len({call.axes(tensor)[dim] for tensor in tensors}) > 1 and len(call.activations()) > 1:
        call.record.concatenated.append(axes[dim])
    return [tuple(axes)]


def _either(call: Call, left: Axis, right: Axis) -> Axis:
    common = call.unify(left, right)
    return right if is_constant(common) else common


def stack(call: Call) -> list[Axes]:
    """Tensors of one shape along a new dimension."""
    tensors = call.args[0]
    dim = call.argument(1, "dim", 0) % (tensors[0].dim() + 1)
    axes = list(call.axes(tensors[0]))
    for tensor in tensors[1:]:
        axes = [_either(call, axis, own) for axis, own in zip(axes, call.axes(tensor), strict=True)]
    return [(*axes[:dim], constant(len(tensors)), *axes[dim:])]


def cut(call: Call) -> list[Axes]:
    """A slice of one dimension; every second, third, … place is one of each piece of so many."""
    image = call.inputs[0]
    dim = call.argument(1, "dim", 0) % image.dim()
    size = image.shape[dim]
    start, end = call.argument(2, "start") or 0, call.argument(3, "end")
    start, end = (start + size if start < 0 else start), (size if end is None else end)
    start, end = min(max(start, 0), size), min(end + size if end < 0 else end, size)
    axes = list(call.axes(image))
    step = call.argument(4, "step", 1)
    if step != 1:
        axes[dim] = _every(call, axes[dim], step, is_whole=start < step and end == size and size % step == 0)
    elif (start, end) != (0, size):
        try:
            pieces = _pieces(call, axes[dim], [start, end - start, size - end])
        except AxisConflictError:  # the other dimensions are what they were
            call.freeze(axes[dim], "channels arranged in another way")
            pieces = [(), call.record.batch_or(end - start) or constant(end - start)]
        axes[dim] = pieces[1]
        # The middle, or a third, or … : pieces of one size may be meant to be equal.
        call.record.pieces.append((call.where, tuple(piece for piece in pieces if piece)))
    return [tuple(call.record.table.resolve(axis) for axis in axes)]


def _every(call: Call, axis: Axis, step: int, *, is_whole: bool) -> Axis:
    """One place of each piece of so many; places that hold no channels may be left over."""
    if call.record.table.is_constant(axis):
        return constant(call.output.shape[call.argument(1, "dim", 0)])
    if not is_whole:
        raise AxisConflictError
    outer, inner = call.record.table.factor(axis, [call.record.table.length(axis) // step, step])
    call.record.table.fix(inner)
    return outer


def split(call: Call) -> list[Axes]:
    """One dimension cut into several, by one size for all or by a list of sizes."""
    image, sizes = call.inputs[0], call.args[1]
    dim = call.argument(2, "dim", 0) % image.dim()
    if isinstance(sizes, int):
        sizes = [output.shape[dim] for output in call.outputs]
    axes = call.axes(image)
    pieces = _pieces(call, axes[dim], sizes)
    call.record.pieces.append((call.where, tuple(pieces)))
    return [(*axes[:dim], piece, *axes[dim + 1 :]) for piece in pieces]


def _pieces(call: Call, axis: Axis, sizes: Sequence[int]) -> list[Axis]:
    table, place = call.record.table, 0
    for size in sizes[:-1]:
        place += size
        table.cut(axis, place)
    pieces, rest = [], axis
    for size in sizes[:-1]:
        piece, rest = table.cut(rest, size)
        pieces.append(piece)
    return [table.resolve(piece) for piece in (*pieces, rest)]


def select(call: Call) -> list[Axes]:
    """One place of a dimension; whether that freezes it, `Record.settle_picked` decides in the end."""
    image = call.inputs[0]
    dim = call.argument(1, "dim", 0) % image.dim()
    axes = call.axes(image)
    place = call.argument(2, "index") % image.shape[dim]
    call.record.picked.append((axes[dim], place, f"picked one by one by {call.name} in {call.where}"))
    left = (*axes[:dim], *axes[dim + 1 :])
    call.pools = takes_positions(call, axes, left)
    return [left]


def unbind(call: Call) -> list[Axes]:
    """Every place of a dimension on its own."""
    image = call.inputs[0]
    dim = call.argument(1, "dim", 0) % image.dim()
    axes = call.axes(image)
    call.record.table.fix(axes[dim])  # all are picked: it holds roles (query, key, value), no channels
    return [(*axes[:dim], *axes[dim + 1 :])] * len(call.outputs)


def index(call: Call) -> list[Axes]:
    """Places looked up by number: dimensions that are looked up must hold no channels, the others stay."""
    image, chosen = call.args[:2]
    axes = call.axes(image)
    looked_up = [dim for dim, numbers in enumerate(chosen) if numbers is not None]
    for dim in looked_up:
        call.freeze(axes[dim], "looked up by number")
    if looked_up != list(range(looked_up[0], looked_up[-1] + 1)):
        raise AxisConflictError
    kept = [axis for dim, axis in enumerate(axes) if dim not in looked_up]
    count = call.output.dim() - len(kept)
    new = _shape_of(call, [numbers for numbers in chosen if numbers is not None], count)
    return [(*kept[: looked_up[0]], *new, *kept[looked_up[0] :])]


def _shape_of(call: Call, numbers: Sequence[Tensor], count: int) -> list[Axis]:
    """The axes of the numbers that places are looked up by, broadcast: there is one result for each."""
    table, batch = call.record.table, set(atoms_of(call.record.table.resolve(call.record.batch)))
    found: list[Axis] = []
    for back in range(count, 0, -1):
        own = [call.axes(one)[-back] for one in numbers if one.dim() >= back]
        axis = next((axis for axis in own if axis != ONE), ONE)
        # Places of a table of numbers are no channels; the batch must not get lost.
        is_plain = table.is_constant(axis) and not batch & set(atoms_of(axis))
        found.append(constant(table.length(axis)) if is_plain else axis)
    return found


def index_select(call: Call) -> list[Axes]:
    """Places of one dimension looked up by number (rows of an embedding too)."""
    if call.name.endswith("embedding"):
        table, numbers = call.args[:2]
        call.freeze(call.axes(table)[0], "looked up by number")
        return [(*_shape_of(call, [numbers], numbers.dim()), *call.axes(table)[1:])]
    image, dim, numbers = call.args[0], call.args[1] % call.args[0].dim(), call.args[2]
    axes = call.axes(image)
    call.freeze(axes[dim], "looked up by number")
    return [(*axes[:dim], *_shape_of(call, [numbers], 1), *axes[dim + 1 :])]


def expand(call: Call) -> list[Axes]:
    """Dimensions of length 1 are stretched; what they are stretched to may turn out to be channels."""
    image, shape = call.inputs[0], call.outputs[0].shape
    own = call.axes(image)
    new = len(shape) - len(own)
    stretched = [_asked_for(call, size) for size in shape]
    for dim, axis in enumerate(own):
        if image.shape[dim] == shape[new + dim]:
            stretched[new + dim] = axis
        else:
            call.freeze(axis, "stretched")
    return [tuple(stretched)]


def repeat(call: Call) -> list[Axes]:
    """Dimensions repeated whole, one copy after the other."""
    counts = call.args[1]
    axes = [ONE] * (len(counts) - call.inputs[0].dim()) + list(call.axes(call.inputs[0]))
    table = call.record.table
    return [
        tuple(
            axis if count == 1 else table.product([_asked_for(call, count), axis])
            for count, axis in zip(counts, axes, strict=True)
        )
    ]


def pad(call: Call) -> list[Axes]:
    """Zeros before and after; channels keep their places between them."""
    image, amounts = call.inputs[0], call.args[1]
    axes = list(call.axes(image))
    for back in range(len(amounts) // 2):
        dim, before, after = len(axes) - 1 - back, amounts[2 * back], amounts[2 * back + 1]
        if call.record.table.is_constant(axes[dim]):
            axes[dim] = constant(call.output.shape[dim])
        elif before < 0 or after < 0:
            raise AxisConflictError
        elif before or after:
            parts = [constant(before)] if before else []
            axes[dim] = sum((*parts, axes[dim], *([constant(after)] if after else [])), ())
    return [tuple(call.record.table.product([axis]) for axis in axes)]


def roll(call: Call) -> list[Axes]:
    """Places shifted around or turned; channels must not be among them."""
    axes = call.axes(call.inputs[0])
    dims = call.args[2] if len(call.args) > 2 else call.args[1] if call.name.endswith("flip") else []
    for dim in dims or range(len(axes)):
        call.freeze(axes[dim], "shifted around")
    return [axes]


def pixel_shuffle(call: Call) -> list[Axes]:
    """Channels (c, r, r) become c channels and r times the height and width."""
    image, factor = call.args[:2]
    *batch, channels, _, _ = call.axes(image)
    outer, inner = call.record.table.factor(channels, [image.shape[-3] // factor**2, factor**2])
    call.record.table.fix(inner)  # places of a pixel, no channels
    return [(*batch, outer, *map(constant, call.output.shape[-2:]))]


def pixel_unshuffle(call: Call) -> list[Axes]:
    """The c channels become (c, r, r), and height and width an r-th."""
    image, factor = call.args[:2]
    *batch, channels, _, _ = call.axes(image)
    inner = call.record.table.product([channels, constant(factor**2)])
    return [(*batch, inner, *map(constant, call.output.shape[-2:]))]


def channel_shuffle(call: Call) -> list[Axes]:
    """Channels (group, within) become (within, group)."""
    image, groups = call.args[:2]
    batch, channels, *rest = call.axes(image)
    table = call.record.table
    parts = table.factor(channels, [groups, image.shape[1] // groups])
    return [(batch, table.product(parts[::-1]), *rest)]


def patches(call: Call) -> list[Axes]:
    """Channels become (channel, place in the patch), positions the patches."""
    image = call.inputs[0]
    batch, channels, *_ = call.axes(image)
    inner = call.record.table.product([channels, constant(call.output.shape[1] // image.shape[1])])
    return [(batch, inner, constant(call.output.shape[2]))]


def windows(call: Call) -> list[Axes]:
    """Overlapping windows of one dimension, which must hold no channels, along a new last one."""
    image = call.inputs[0]
    dim = call.args[1] % image.dim()
    axes = list(call.axes(image))
    call.freeze(axes[dim], "cut into windows")
    axes[dim] = constant(call.output.shape[dim])
    return [(*axes, constant(call.output.shape[-1]))]


def same_shape(call: Call) -> list[Axes]:
    """The output has the axes of the first input (copies, dropout)."""
    return [call.axes(call.inputs[0])] * len(call.outputs)


def made(call: Call) -> list[Axes]:
    """A tensor made from nothing but sizes; what they are may show later."""
    return [tuple(_asked_for(call, size) for size in call.output.shape)]


def numbered(call: Call) -> list[Axes]:
    """Values that count places: another one for each, so that they can stand for no channels."""
    return [tuple(call.record.batch_or(size) or constant(size) for size in call.output.shape)]


def _asked_for(call: Call, size: int) -> Axis:
    """An axis of a size that the code asked for: the batch, or what will show later."""
    known = call.record.batch_or(size)
    return known or (call.record.table.loose(size) if size > 1 else constant(size))


def takes_positions(call: Call, before: Axes, after: Axes) -> bool:
    """Whether an operation leaves no positions where there were some."""
    batch = call.record.table.resolve(call.record.batch)

    def count(axes: Axes) -> int:
        held = (axis for axis in axes if axis != batch and call.record.table.is_constant(axis))
        return prod(map(call.record.table.length, held))

    return len(before) > 2 and count(before) > 1 and count(after) == 1
