"""Integers that modules hold beside their parameters (`num_heads`, `embed_dim`, timm's `feature_info`).

Which of them is the length of which axis cannot be seen in the code, only guessed: by its name, its value, and the
axes met in the module. The self-check proves the guesses that the network's forward depends on.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from math import isclose, isqrt
from typing import Any

from torch import nn

from nas_prune.graph.axes import Axis
from nas_prune.graph.inputs import is_within
from nas_prune.graph.record import ROOT, Record

# Names under which networks keep numbers of channels or heads.
_NAMES = re.compile(
    r"dim|d_model|input_size|hidden_size|chan|chs|feat|width|embed|planes|hidden|filter|head|group|shape|split|(^|_)(c|d|h|ch|dh|d_k|d_v)$",
    re.IGNORECASE,
)
_SCALE = re.compile(r"((softmax|sm|qk|attn|attention)_?)?scal(e|ing)(_factor)?")
ASKED = frozenset(
    f"aten.{name}"
    for name in (
        "view",
        "_unsafe_view",
        "_reshape_alias",
        "expand",
        "split",
        "split_with_sizes",
        "unsafe_split",
    )
)
_PLAIN = (
    nn.modules.conv._ConvNd,  # noqa: SLF001
    nn.Linear,
    nn.modules.batchnorm._NormBase,  # noqa: SLF001
    nn.GroupNorm,
    nn.RNNBase,
    nn.RNNCellBase,
)


def held_sizes(
    model: nn.Module, record: Record, *, of_any_name: type[nn.Module] | None = None
) -> dict[tuple[str, str], Axis]:
    """Which integers of which modules are lengths of axes that may change.

    Args:
        model: the network that was traced.
        record: what its trace showed; axes are the record's own.
        of_any_name: a type of module whose integers count whatever they are called.

    Returns:
        {(module path, attribute): axis}. `feature_info.2.num_chs` is an entry of a list of dictionaries, and
        `scale**-0.5` a number that is not the length itself but a power of it.
    """
    asked: dict[str, list[Axis]] = defaultdict(list)
    shapes: dict[str, list[list[Axis]]] = defaultdict(list)
    made: dict[str, list[Sequence[Axis]]] = defaultdict(list)
    met: dict[str, list[Axis]] = defaultdict(list)
    for step in record.steps:
        axes = [axis for output in step.outputs for axis in output]
        met[step.where].extend(axes)
        made[step.where].extend(step.outputs[:1])
        if step.operation in ASKED:
            asked[step.where].extend(axes)
            shapes[step.where].extend(
                [record.table.resolve(axis) for axis in output] for output in step.outputs
            )
    found: dict[tuple[str, str], Axis] = {}
    for path, module in model.named_modules():
        if not is_within(path, record.root):
            continue
        if isinstance(module, _PLAIN):
            # resize.py knows where these hold their sizes, but for those that have no tensors
            if isinstance(module, nn.modules.batchnorm._NormBase) and not any(_tensors(module)):  # noqa: SLF001
                found.update(((path, "num_features"), axis) for axis in record.inputs.get(path, ())[1:2])
            continue
        taken: set[Axis] = set()
        for name, value in _integers(module, of_any_name=type(module) is of_any_name):
            candidates = _candidates(_axes_about(path, name, module, record, asked, met), record)
            fitting = list(dict.fromkeys(axis for axis in candidates if record.table.length(axis) == value))
            if fitting:
                rivals = next((dims for dims in shapes[path or ROOT] if _count(dims, fitting) > 1), None)
                # Where the code asks for two dimensions of this length, two attributes hold one each, in order.
                free = [axis for axis in rivals or () if axis in fitting and axis not in taken]
                found[path, name] = next(iter(free), fitting[0])
                taken.add(found[path, name])
        for name, value, power in _scales(module):
            candidates = _candidates(_axes_about(path, name, module, record, asked, met), record)
            axis = next((axis for axis in candidates if record.table.length(axis) == value), None)
            if axis is not None:
                found[path, f"{name}**{power}"] = axis
        for name, values in _lists(module):
            found.update(
                ((path, key), axis) for key, axis in _listed(record, path, name, values, made[path or ROOT])
            )
    return found


def _count(dims: Sequence[Axis], fitting: Sequence[Axis]) -> int:
    return sum(axis in fitting for axis in dict.fromkeys(dims))


def _tensors(module: nn.Module) -> Iterator[bool]:
    yield from (tensor is not None for tensor in (*module._parameters.values(), *module._buffers.values()))  # noqa: SLF001


def _integers(module: nn.Module, *, of_any_name: bool) -> Iterator[tuple[str, int]]:
    """Integers above 1 among a module's own attributes that may count channels."""
    for name, value in vars(module).items():
        is_count = isinstance(value, int) and not isinstance(value, bool) and value > 1
        if is_count and (_may_count(name) or (of_any_name and not name.startswith("_"))):
            yield name, value
        elif isinstance(value, list):
            yield from _nested(name, value)


def _scales(module: nn.Module) -> Iterator[tuple[str, int, float]]:
    """Numbers 1/√d or √d among a module's own attributes, d, and the power: what attention divides by.

    An irrational one tells by itself. One like 1/4 may be anything: it must be called a scale, and of nothing else.
    """
    for name, value in vars(module).items():
        if isinstance(value, float) and value > 0 and not name.startswith("_"):
            power = -0.5 if value < 1 else 0.5
            size = round(value ** (1 / power)) if 1e-4 < value < 1e4 else 0
            is_root = size > 1 and isclose(size**power, value, rel_tol=1e-12)
            if is_root and (isqrt(size) ** 2 != size or (power < 0 and _SCALE.fullmatch(name))):
                yield name, size, power


def _may_count(name: str) -> bool:
    return not name.startswith("_") and _NAMES.search(name) is not None


def _nested(name: str, values: list[Any]) -> Iterator[tuple[str, int]]:
    for number, entry in enumerate(values):
        if isinstance(entry, dict):
            for key, value in entry.items():
                if isinstance(value, int) and value > 1 and key == "num_chs":
                    yield f"{name}.{number}.{key}", value


def _lists(module: nn.Module) -> Iterator[tuple[str, Sequence[int]]]:
    """Lists and tuples of integers among a module's own attributes that may count channels."""
    for name, values in vars(module).items():
        is_list = isinstance(values, (list, tuple)) and len(values) > 0 and _may_count(name)
        if is_list and all(isinstance(value, int) for value in values):
            yield name, values


def _listed(
    record: Record, path: str, name: str, values: Sequence[int], shapes: Sequence[Sequence[Axis]]
) -> Iterator[tuple[str, Axis]]:
    """A list that is a shape some operation of the module gave, or the sizes of the pieces it cut."""
    table, where = record.table, path or ROOT
    pieces = [axes for at, axes in record.pieces if at == where]
    for axes in (*pieces, *shapes):
        if [table.length(axis) for axis in axes] == list(values):
            may_change = (axis for axis in enumerate(axes) if not table.is_constant(axis[1]))
            yield from ((f"{name}.{number}", axis) for number, axis in may_change)
            return


def _candidates(axes: Iterable[Axis], record: Record) -> Iterator[Axis]:
    """Those of some axes, and what is left of them without the batch, that may change."""
    for axis in axes:
        resolved = record.table.resolve(axis)
        for part in (resolved, _without_batch(resolved, record)):
            if not record.table.is_constant(part):
                yield part


def _axes_about(
    path: str,
    name: str,
    module: nn.Module,
    record: Record,
    asked: dict[str, list[Axis]],
    met: dict[str, list[Axis]],
) -> Iterator[Axis]:
    """Axes whose length an attribute may be, the likeliest first."""
    where = path or ROOT
    if "." in name:
        yield from _named_output(module, name, path, record)
        return
    yield from asked[where]
    for parameter in (*module._parameters, *module._buffers):  # noqa: SLF001
        yield from record.parameters.get(f"{path}.{parameter}" if path else parameter, ())
    yield from met[where]
    yield from record.outputs.get(path, ())
    for child, _ in module.named_children():
        yield from _output(path, child, record)
    for step in () if path else reversed(record.steps):
        yield from (axis for out in step.outputs[:1] for axis in out)


def _output(path: str, child: str, record: Record) -> tuple[Axis, ...]:
    return record.outputs.get(f"{path}.{child}" if path else child, ())


def _named_output(module: nn.Module, name: str, path: str, record: Record) -> list[Axis]:
    """The output of the module that an entry of timm's `feature_info` names."""
    attribute, number, _ = name.split(".")
    named = getattr(module, attribute)[int(number)].get("module", "")
    return list(_output(path, named, record))


def _without_batch(axis: Axis, record: Record) -> Axis:
    """What is left of an axis (batch × heads) without the batch."""
    if len(axis) == 1 and axis[0][0] == record.batch_atom:
        rest = tuple(factor for factor in axis[0][1:] if not isinstance(factor, int))
        return (rest,) if rest else axis
    return axis
