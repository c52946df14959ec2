"""Outputs of operations whose own shape functions are slow, as shapes alone.

PyTorch works out a batch norm on meta tensors by decomposing it into some twenty operations in Python, and an
activation function by half as many. That took most of the time of a trace. Only shapes matter here, and those of
these operations are simple.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from nas_prune.graph.known import value_of


class Quickly(TorchDispatchMode):
    """Runs a network on meta tensors for nothing but its shapes, and what PyTorch counts.

    Attributes:
        macs: multiply-accumulates of each operation that has some, by `torch.utils.flop_counter`.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs: list[int] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = output_of(func, args, kwargs)
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            self.macs.append(formula(*args, **(kwargs or {}), out_val=output) // 2)
        return output


def output_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> Any:
    """What an operation returns, by the short way where there is one."""
    output = quick_output(func, args, kwargs)
    return func(*args, **(kwargs or {})) if output is None else output


def quick_output(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> Any:
    """What an operation returns on meta tensors; None where PyTorch itself must say."""
    shortcut = _SHORTCUTS.get(func.overloadpacket.__name__)
    if shortcut is None or kwargs or not args:
        return None
    first = args[0][0] if isinstance(args[0], list) and args[0] else args[0]
    is_free = isinstance(first, Tensor) and first.is_meta and value_of(first) is None
    return shortcut(args) if is_free else None


def _like(image: Tensor) -> Tensor:
    """A tensor of the same shape and type; `torch.empty_like` takes five times as long, and minds the strides."""
    return image.new_empty(image.shape) if image.is_contiguous() else torch.empty_like(image)


def _normed(args: tuple[Any, ...]) -> Any:
    image = args[0]
    return _like(image), image.new_empty(image.shape[1]), image.new_empty(image.shape[1])


def _same(args: tuple[Any, ...]) -> Tensor:
    return _like(args[0])


def _turned(args: tuple[Any, ...]) -> Tensor:
    image: Tensor = args[0]
    return image.new_empty(image.shape)


def _in_place(args: tuple[Any, ...]) -> Tensor:
    image: Tensor = args[0]
    return image


def _joined(args: tuple[Any, ...]) -> Tensor | None:
    """Two tensors, or one and a number."""
    first, second = args[:2]
    if not isinstance(second, Tensor):
        return _like(first) if first.is_floating_point() else None
    if not second.is_meta or second.dtype != first.dtype:
        return None
    if second.shape == first.shape and second.stride() == first.stride():
        return _like(first)
    plain = first.is_contiguous() and second.is_contiguous()
    return first.new_empty(torch.broadcast_shapes(first.shape, second.shape)) if plain else None


def _joined_in_place(args: tuple[Any, ...]) -> Tensor | None:
    first, second = args[:2]
    fits = not isinstance(second, Tensor) or second.shape == first.shape
    return first if fits else None


def _layer_normed(args: tuple[Any, ...]) -> Any:
    image, sizes = args[:2]
    kept = image.dim() - len(sizes)
    if list(image.shape[kept:]) != list(sizes):
        return None  # PyTorch says what is wrong
    places = image.new_empty((*image.shape[:kept], *[1] * len(sizes)))
    return image.new_empty(image.shape), places, _like(places)


def _group_normed(args: tuple[Any, ...]) -> Any:
    image, weight, bias, count, channels, _, groups = args[:7]
    fits = all(vector is None or vector.shape == (channels,) for vector in (weight, bias))
    if not fits or channels % groups or not image.is_contiguous():
        return None  # PyTorch says what is wrong
    return _like(image), image.new_empty((count, groups)), image.new_empty((count, groups))


def _measured(args: tuple[Any, ...]) -> Tensor | None:
    """Lengths of vectors along some dimensions."""
    image: Tensor = args[0]
    return _averaged((image, *args[2:])) if len(args) > 2 and image.is_floating_point() else None


def _covered(args: tuple[Any, ...]) -> Tensor | None:
    image, mask = args[:2]
    fits = isinstance(mask, Tensor) and mask.dim() <= image.dim()
    return _like(image) if fits and torch.broadcast_shapes(image.shape, mask.shape) == image.shape else None


def _multiplied(args: tuple[Any, ...]) -> Tensor | None:
    bias, left, right = args
    fits = left.shape[1] == right.shape[0] and bias.shape == right.shape[1:]
    return left.new_empty((left.shape[0], right.shape[1])) if fits else None


def _concatenated(args: tuple[Any, ...]) -> Tensor | None:
    tensors, dim = args[0], args[1] if len(args) > 1 else 0
    first, place = tensors[0], dim % max(1, tensors[0].dim())
    rest = (*first.shape[:place], *first.shape[place + 1 :])
    for tensor in tensors:
        own = (*tensor.shape[:place], *tensor.shape[place + 1 :])
        if own != rest or tensor.dtype != first.dtype or not tensor.is_meta or not tensor.is_contiguous():
            return None
    length = sum(tensor.shape[place] for tensor in tensors)
    joined: Tensor = first.new_empty((*first.shape[:place], length, *first.shape[place + 1 :]))
    return joined


def _averaged(args: tuple[Any, ...]) -> Tensor | None:
    image: Tensor = args[0]
    dims, keeps = (args[1] if len(args) > 1 else None), len(args) > 2 and args[2]
    if not dims or isinstance(dims, int):
        return None
    gone = {dim % image.dim() for dim in dims}
    shape = [1 if dim in gone else size for dim, size in enumerate(image.shape) if keeps or dim not in gone]
    return image.new_empty(shape)


def _convolved(args: tuple[Any, ...]) -> Tensor | None:
    image, weight, bias, stride, padding, dilation, is_transposed, _, groups = args
    dims = image.dim() - 2
    fits = bias is None or bias.shape == weight.shape[:1]
    if is_transposed or image.dim() != weight.dim() or not fits:
        return None
    if image.shape[1] != weight.shape[1] * groups:
        raise RuntimeError(f"a convolution of {weight.shape[1] * groups} channels got {image.shape[1]}")
    if weight.shape[0] % groups:
        return None  # PyTorch says what is wrong
    places = []
    for dim in range(dims):
        step, around, apart = (
            values[dim if len(values) > 1 else 0] for values in (stride, padding, dilation)
        )
        kernel = apart * (weight.shape[dim + 2] - 1) + 1
        places.append((image.shape[dim + 2] + 2 * around - kernel) // step + 1)
    return image.new_empty((image.shape[0], weight.shape[0], *places)) if min(places) > 0 else None


_SHORTCUTS: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    **dict.fromkeys(
        ("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training"), _normed
    ),
    **dict.fromkeys(
        (
            "relu",
            "silu",
            "gelu",
            "sigmoid",
            "hardswish",
            "hardsigmoid",
            "hardtanh",
            "tanh",
            "clamp_min",
        ),
        _same,
    ),
    **dict.fromkeys(
        ("relu_", "silu_", "sigmoid_", "hardswish_", "hardsigmoid_", "hardtanh_", "tanh_"), _in_place
    ),
    **dict.fromkeys(("add", "mul", "div", "sub"), _joined),
    **dict.fromkeys(("add_", "mul_"), _joined_in_place),
    **dict.fromkeys(("_softmax", "_safe_softmax"), _same),
    "native_layer_norm": _layer_normed,
    "native_group_norm": _group_normed,
    "addmm": _multiplied,
    "cat": _concatenated,
    "mean": _averaged,
    "linalg_vector_norm": _measured,
    "masked_fill": _covered,
    "roll": _turned,
    "convolution": _convolved,
}
