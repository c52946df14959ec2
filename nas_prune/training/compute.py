"""How a training is computed, not what: device, precision, memory format, compilation, processes."""

import copy
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from nas_prune.errors import BadInputError
from nas_prune.training.ranks import ALONE, Ranks, main_output

Precision: TypeAlias = Literal["float32", "bf16"]
_CPU = torch.device("cpu")
_CHANNELS_AT_ONCE = 16  # of oneDNN with AVX-512; 8 with AVX2


@dataclass(frozen=True, slots=True)
class Compute:
    """How a training is computed.

    Attributes:
        device: where.
        precision: `bf16` runs convolutions and linear layers in bfloat16, with weights and sums in float32.
        channels_last: whether images and weights store the channels of each pixel together.
        compiles: whether `torch.compile` is used; the first step of each size then takes long.
        ranks: the processes that train together.
    """

    device: torch.device = _CPU
    precision: Precision = "float32"
    channels_last: bool = False
    compiles: bool = False
    ranks: Ranks = ALONE

    def prepared(self, model: nn.Module, image_shape: tuple[int, int, int]) -> nn.Module:
        """What to call instead of a network in training; the network's parameters are shared."""
        wrapped = self.ranks.wrapped(model, torch.zeros(2, *image_shape, device=self.device))
        return cast("nn.Module", torch.compile(wrapped)) if self.compiles else wrapped

    def laid_out(self, images: Tensor) -> Tensor:
        """Images in the best memory layout."""
        return images.contiguous(memory_format=torch.channels_last) if self.channels_last else images

    def rounding(self) -> AbstractContextManager[object]:
        """The precision of what runs inside the block."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")


PLAIN = Compute()


def takes_channels_last(
    model: nn.Module, image_shape: tuple[int, int, int], device: torch.device = _CPU
) -> str | None:
    """Why a network cannot be trained with images in channels-last layout; None if it can.

    Code that flattens images with `view` fails on them. On the CPU so does a 1×1 convolution with a
    stride and few channels: oneDNN writes beyond its working memory there when it computes the gradient of the weights
    (its issue 6035, in PyTorch up to 2.14 at least), which ends in wrong gradients, a crash, or threads that wait for
    ever.

    Args:
        model: the network.
        image_shape: channels, height and width of an image.
        device: where it is to be trained.
    """
    layout = torch.channels_last
    twin = copy.deepcopy(model).train().to(device).to(memory_format=layout)
    images = torch.zeros(2, *image_shape, device=device).contiguous(memory_format=layout)
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            with _NarrowStrides() as found:
                scores = main_output(twin(images))
            if found.channels is not None and device.type == "cpu":
                return f"a 1×1 convolution with a stride reads {found.channels} channels, which oneDNN gets wrong"
            scores.sum().backward()
    except Exception as error:  # noqa: BLE001  (whatever it is, the plain layout is tried next)
        return str(error).partition("\n")[0]
    return None


class _NarrowStrides(TorchDispatchMode):
    """Looks for convolutions of which oneDNN gets the weights' gradient wrong.

    Attributes:
        channels: how many one of them reads; None if there is none.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.channels: int | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.convolution.default:
            weight, stride = args[1], args[3]
            if weight.shape[2:] == (1, 1) and max(stride) > 1 and weight.shape[1] < _CHANNELS_AT_ONCE:
                self.channels = weight.shape[1]
        return func(*args, **(kwargs or {}))


SMALL_STEP_MACS = 500_000_000  # forward MACs of a batch below which a second thread gains little


def pick_threads(asked: int | None, macs: int, batch_size: int) -> int:
    """How many CPU threads a training uses: what is asked for, or one where a step is small.

    Threads wait for each other at every operation. In small steps that costs as much as it gains, and many
    times more on a machine that is also busy with something else. The number is a function of the settings alone,
    since it decides the order of sums and with it the last bits of the result.
    """
    return asked or (1 if macs * batch_size < SMALL_STEP_MACS else torch.get_num_threads())


@contextmanager
def limited_threads(count: int) -> Iterator[None]:
    """Run with a number of CPU threads, then restore the old number."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def pick_device(name: str) -> torch.device:
    """The device of a name; `auto` is CUDA where there is one.

    Raises:
        BadInputError: CUDA is asked for and not there.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise BadInputError("--device cuda must have a CUDA device, found none. Use --device cpu.")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
