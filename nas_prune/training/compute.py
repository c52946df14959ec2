"""How a training is computed, as against what it computes: device, precision, memory format, compilation, processes."""

import copy
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

import torch
from torch import Tensor, nn

from nas_prune.training.ranks import ALONE, Ranks, main_output

Precision: TypeAlias = Literal["float32", "bf16"]
_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Compute:
    """How a training is computed.

    Attributes:
        device: where.
        precision: `bf16` runs convolutions and linear layers in bfloat16, with weights and sums in float32.
        channels_last: whether images and weights lie channel by channel for each pixel.
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
        """Images as they lie best in memory."""
        return images.contiguous(memory_format=torch.channels_last) if self.channels_last else images

    def rounding(self) -> AbstractContextManager[object]:
        """The precision of what runs inside the block."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")


PLAIN = Compute()


def takes_channels_last(model: nn.Module, image_shape: tuple[int, int, int]) -> str | None:
    """Why a network cannot be trained with images that lie channel by channel for each pixel; None if it can.

    `view` is what fails on them, where code flattens pictures with it.
    """
    twin = copy.deepcopy(model).train().to(memory_format=torch.channels_last)
    device = next((parameter.device for parameter in model.parameters()), _CPU)
    images = torch.zeros(2, *image_shape, device=device).contiguous(memory_format=torch.channels_last)
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            main_output(twin(images)).sum().backward()
    except Exception as error:  # noqa: BLE001  (whatever it is, the plain layout is tried next)
        return str(error).partition("\n")[0]
    return None
