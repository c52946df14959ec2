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
        output = quick_output(func, args, kwargs)
        if output is None:
            output = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            self.macs.append(formula(*args, **(kwargs or {}), out_val=output) // 2)
        return output


def quick_output(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> Any:
    """What an operation returns on meta tensors; None where PyTorch itself must say."""
    shortcut = _SHORTCUTS.get(func.overloadpacket.__name__)
    if shortcut is None or not args or not isinstance(args[0], Tensor) or not args[0].is_meta:
        return None
    return shortcut(args) if not kwargs else None


def _normed(args: tuple[Any, ...]) -> Any:
    image = args[0]
    return torch.empty_like(image), image.new_empty(image.shape[1]), image.new_empty(image.shape[1])


def _same(args: tuple[Any, ...]) -> Tensor:
    return torch.empty_like(args[0])


def _in_place(args: tuple[Any, ...]) -> Tensor:
    image: Tensor = args[0]
    return image


def _joined(args: tuple[Any, ...]) -> Tensor | None:
    """Two tensors of one shape, or one and a number."""
    first, second = args[:2]
    if isinstance(second, Tensor):
        is_alike = second.is_meta and second.shape == first.shape and second.dtype == first.dtype
        return torch.empty_like(first) if is_alike and second.stride() == first.stride() else None
    return torch.empty_like(first) if first.is_floating_point() else None


def _joined_in_place(args: tuple[Any, ...]) -> Tensor | None:
    first, second = args[:2]
    fits = not isinstance(second, Tensor) or second.shape == first.shape
    return first if fits else None


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
        ("relu", "silu", "gelu", "sigmoid", "hardswish", "hardsigmoid", "hardtanh", "tanh"), _same
    ),
    **dict.fromkeys(
        ("relu_", "silu_", "sigmoid_", "hardswish_", "hardsigmoid_", "hardtanh_", "tanh_"), _in_place
    ),
    **dict.fromkeys(("add", "mul"), _joined),
    **dict.fromkeys(("add_", "mul_"), _joined_in_place),
    "convolution": _convolved,
}
