"""What convolutions, linear layers and norms do to axes: they are the layers whose widths are searched."""

from torch import Tensor

from nas_prune.graph import shape_rules
from nas_prune.graph.axes import Axis, constant, is_constant
from nas_prune.graph.call import Axes, Call
from nas_prune.graph.record import BARE_NORM, INPUT, SELECTION, LayerNote, positions_of
from nas_prune.graph.table import AxisConflictError


def convolution(call: Call) -> list[Axes]:
    """Input channels meet the weight's second dimension, output channels are its first; transposed, the reverse."""
    image, weight, bias = call.args[:3]
    is_transposed, groups = call.args[6], call.args[8]
    batch, channels, *places = call.axes(image)
    for place in places:
        call.freeze(place, "used as height or width")  # a kernel reads neighbours together
    first, second, *kernel = call.axes(weight)
    for axis in kernel:
        call.record.table.fix(axis)
    out, read = (second, first) if is_transposed else (first, second)
    try:
        if groups == 1:
            call.unify(channels, read)
        elif is_transposed:
            out = _grouped_transposed(call, weight, channels, groups)
        else:
            _grouped(call, weight, channels, groups)
    except AxisConflictError:  # it is a layer all the same
        for axis in (channels, read, out):
            call.freeze(axis, f"cut into {groups} groups")
        out = constant(call.output.shape[1]) if is_transposed else out
    if bias is not None:
        call.unify(call.axes(bias)[0], out)
    out = call.record.table.resolve(out)
    output: Axes = (batch, out, *map(constant, call.output.shape[2:]))
    add_layer(call, "conv", weight, output, 1, channels)
    if call.record.keeps_costs:
        moved = places if is_transposed else output[2:]
        call.record.products.append((layer_path(call, weight), (*call.axes(weight), batch, *moved)))
    return [output]


def _grouped(call: Call, weight: Tensor, channels: Axis, groups: int) -> None:
    """Channels are (group, within): the group is shared by input and output, and may be all there is."""
    table = call.record.table
    out, read = call.axes(weight)[:2]
    outer, within = table.factor(channels, [groups, table.length(channels) // groups])
    call.unify(read, within)
    outer_of_output, _ = table.factor(out, [groups, table.length(out) // groups])
    outer = call.unify(outer, outer_of_output)
    call.record.attributes[layer_path(call, weight), "groups"] = outer


def _grouped_transposed(call: Call, weight: Tensor, channels: Axis, groups: int) -> Axis:
    """The weight's first dimension is (group, within) as the input is; the output is (group, second dimension)."""
    table = call.record.table
    read, within = call.axes(weight)[:2]
    channels = call.unify(channels, read)
    outer, _ = table.factor(channels, [groups, table.length(channels) // groups])
    call.record.attributes[layer_path(call, weight), "groups"] = outer
    return table.product([outer, within])


def batch_norm(call: Call) -> list[Axes]:
    """One value for each channel in up to four vectors."""
    image, weight, *_ = call.args
    batch, channels, *rest = call.axes(image)
    for vector in call.inputs[1:]:
        channels = call.unify(channels, call.axes(vector)[0])
    output = (batch, channels, *rest)
    for axis in (batch, *rest):  # channels among them where it is a weight that is normed, row by row
        call.reduces_over(axis)
    add_layer(call, "norm" if weight is not None else BARE_NORM, weight, output, 1, channels)
    return [output]


def by_vector(call: Call) -> list[Axes]:
    """A matrix times a vector, or two vectors: the places of the last dimension are summed up."""
    left, right = call.inputs[:2]
    read = call.unify(call.axes(left)[-1], call.axes(right)[0])
    call.reduces_over(read)
    return [tuple(map(call.record.table.resolve, call.axes(left)[:-1]))]


def bilinear(call: Call) -> list[Axes]:
    """Two vectors and a tensor of weights: (output, left, right) times left times right, summed up (`nn.Bilinear`)."""
    left, weight, right, *how = call.args[:7]
    if [list(one) for one in how] != [[1, 3], [0], [1, 2], [2, 3]]:
        raise AxisConflictError
    output, *reads = call.axes(weight)
    many, read = call.axes(left)
    other_many, other_read = call.axes(right)
    for own, wanted in zip((read, other_read), reads, strict=True):
        call.reduces_over(call.unify(own, wanted))
    axes = (call.unify(many, other_many), output)
    add_layer(call, "linear", weight, axes, -1, read)
    return [axes]


def weight_norm(call: Call) -> list[Axes]:
    """A weight as direction and length: rows along one dimension, each divided by its own norm, times a number each."""
    direction, lengths, dim = (*call.args, 0)[:3]
    axes, own = list(call.axes(direction)), list(call.axes(lengths))
    axes[dim] = own[dim] = call.unify(axes[dim], own[dim])
    for place, axis in enumerate(axes):
        if place != dim % len(axes):
            call.reduces_over(axis)
    return [tuple(axes), tuple(own)]


def layer_norm(call: Call) -> list[Axes]:
    """One value for each place of the last dimensions, which are reduced over."""
    image, sizes = call.args[:2]
    axes = list(call.axes(image))
    first = len(axes) - len(sizes)
    for vector in call.inputs[1:]:
        for dim, axis in enumerate(call.axes(vector), first):
            axes[dim] = call.unify(axes[dim], axis)
    for number, axis in enumerate(axes[first:]):
        call.reduces_over(axis)
        call.record.attributes[call.path, f"normalized_shape.{number}"] = axis
    has_weight = len(call.inputs) > 1
    if len(sizes) == 1 or not has_weight:
        weight = call.inputs[1] if has_weight else None
        add_layer(call, "norm" if has_weight else BARE_NORM, weight, tuple(axes), -1, axes[-1])
    return [tuple(axes)]


def group_norm(call: Call) -> list[Axes]:
    """Channels are (group, within); what lies within a group is reduced over, its positions too."""
    image, groups = call.inputs[0], call.args[6]
    table = call.record.table
    batch, channels, *rest = call.axes(image)
    for vector in call.inputs[1:]:
        channels = call.unify(channels, call.axes(vector)[0])
    try:
        outer, within = table.factor(channels, [groups, table.length(channels) // groups])
    except AxisConflictError:  # it is a layer all the same
        call.freeze(channels, f"cut into {groups} groups")
        outer, within = constant(groups), channels
    call.reduces_over(within)
    output = (batch, table.resolve(channels), *rest)
    weight = call.inputs[1] if len(call.inputs) > 1 else None
    call.record.attributes[layer_path(call, weight), "num_groups"] = outer
    add_layer(call, "norm" if weight is not None else BARE_NORM, weight, output, 1, output[1])
    return [output]


def index_select(call: Call) -> list[Axes]:
    """Places looked up by number; those of an input selection are channels of its own, of a stream that stays whole."""
    image, dim, numbers = call.args
    if call.record.note(numbers).parameter not in call.record.selections:
        return shape_rules.index_select(call)
    axes = list(call.axes(image))
    read, axes[dim] = axes[dim], call.axes(numbers)[0]
    call.freeze(read, "selected from")
    add_layer(call, SELECTION, numbers, tuple(axes), dim, read)
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
        add_layer(call, "linear", right, output, -1, read)
    if call.record.keeps_costs:
        call.record.products.append((layer_path(call, right), (rows, call.axes(right)[0], output[1])))
    return [output]


def batched_product(call: Call) -> list[Axes]:
    """Many (rows, read) times (read, columns), one for each place of the first dimension; `baddbmm` adds a third."""
    *added, left, right = call.inputs
    many, rows, read = call.axes(left)
    other_many, other_read, columns = call.axes(right)
    many = merged(call, many, other_many)
    read = call.unify(read, other_read)
    notes = (call.record.note(left), call.record.note(right))
    call.record.contracted.extend((read, note.source, note.is_shifted) for note in notes if note.source)
    output = [many, rows, columns]
    for tensor in added:
        own = call.axes(tensor)
        for dim in range(1, len(own) + 1):
            if tensor.shape[-dim] == call.output.shape[-dim]:
                output[-dim] = merged(call, output[-dim], own[-dim])
    axes = tuple(map(call.record.table.resolve, output))
    if call.record.keeps_costs:
        call.record.products.append((call.where, (*axes, call.record.table.resolve(read))))
    return [axes]


def merged(call: Call, left: Axis, right: Axis) -> Axis:
    """The common axis of two; a constant gives way to what is known of the other."""
    common = call.unify(left, right)
    return call.record.table.resolve(right) if is_constant(common) else common


def add_layer(call: Call, kind: str, weight: Tensor | None, output: Axes, channels: int, read: Axis) -> None:
    """Write down a call of a layer.

    Args:
        call: the operation.
        kind: `conv`, `linear`, `norm`, `BARE_NORM` or `SELECTION`.
        weight: its parameter; None if it has none.
        output: the axes of its output.
        channels: the dimension of the output that holds its channels.
        read: the axis of the channels it reads.
    """
    image = call.inputs[-2] if kind == "linear" else call.inputs[0]
    note = call.record.note(image)
    path = layer_path(call, weight)
    is_new = call.record.keeps_costs or path not in call.record.flow
    call.node = call.record.add_node(path, call.activations())
    call.is_layer = True
    if is_new:
        batch = call.record.table.length(call.record.batch)
        call.record.layers.append(
            LayerNote(
                path=path,
                kind=kind,
                output=output,
                produced=output[channels],
                read=read,
                source=note.source,
                output_size=positions_of(call.outputs[0].shape, channels, batch),
                node=call.node,
                reads_input=note.source == INPUT,
                is_pooled=note.is_pooled,
                reads_shifted=note.is_shifted,
            )
        )


def layer_path(call: Call, weight: Tensor | None) -> str:
    """The path of the module that holds a weight; of the running module when it is no parameter."""
    parameter = None if weight is None else call.record.note(weight).parameter
    return call.where if parameter is None else parameter.rpartition(".")[0] or parameter
