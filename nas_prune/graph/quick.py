"""Outputs of the two operations whose own shape functions are slow, as shapes alone.

PyTorch works out a batch norm on meta tensors by decomposing it into some twenty operations in Python, which took
half of the time of a trace. Only shapes matter here, and those of these operations are simple.
"""

from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_NORMS = frozenset({"native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training"})


class Quickly(TorchDispatchMode):
    """Runs a network on meta tensors for nothing but its shapes."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = quick_output(func, args) if not kwargs else None
        return func(*args, **(kwargs or {})) if output is None else output


def quick_output(func: Any, args: tuple[Any, ...]) -> Any:
    """What an operation returns on meta tensors; None where PyTorch itself must say."""
    name = func.overloadpacket.__name__
    if name in _NORMS and args[0].is_meta:
        channels = args[0].shape[1]
        return args[0].new_empty(args[0].shape), args[0].new_empty(channels), args[0].new_empty(channels)
    if name == "convolution" and args[0].is_meta and not args[6] and args[0].dim() == args[1].dim():
        return _convolved(*args)
    return None


def _convolved(
    image: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    _: bool,  # noqa: FBT001
    __: list[int],
    groups: int,
) -> Tensor | None:
    dims = image.dim() - 2
    fits = bias is None or bias.shape == weight.shape[:1]
    if not fits or image.shape[1] != weight.shape[1] * groups or weight.shape[0] % groups:
        return None  # PyTorch says what is wrong
    stride, padding, dilation = (
        value * dims if len(value) == 1 else value for value in (stride, padding, dilation)
    )
    places = [
        (image.shape[dim + 2] + 2 * padding[dim] - dilation[dim] * (weight.shape[dim + 2] - 1) - 1)
        // stride[dim]
        + 1
        for dim in range(dims)
    ]
    if min(places) < 1:
        return None
    return image.new_empty((image.shape[0], weight.shape[0], *places))
