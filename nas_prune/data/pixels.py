"""Changing the size and the channels of images that are already in memory."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

# ITU-R 601 luma in 65536ths, rounded as Pillow rounds, so that folders and downloaded sets agree to the bit.
_LUMA = (19595, 38470, 7471)
_CHUNK = 2048


def fit_images(images: Tensor, image_size: int, in_channels: int) -> Tensor:
    """The images with `image_size` pixels a side and `in_channels` channels.

    Sizes change bilinearly with antialiasing; grey becomes colour by repetition, and colour becomes grey by
    ITU-R 601 luma.

    Args:
        images: uint8, N×C×H×W with C 1 or 3.
        image_size: pixels a side.
        in_channels: 1 or 3.

    Returns:
        uint8, N×in_channels×image_size×image_size; contiguous.
    """
    grey = _luma(images) if images.shape[1] > in_channels else images
    sized = grey if grey.shape[-1] == grey.shape[-2] == image_size else _resized(grey, image_size)
    return sized.expand(-1, in_channels, -1, -1).contiguous()


def _luma(images: Tensor) -> Tensor:
    red, green, blue = (
        channel.int() * weight for channel, weight in zip(images.unbind(1), _LUMA, strict=True)
    )
    return ((red + green + blue + (1 << 15)) >> 16).to(torch.uint8).unsqueeze(1)


def _resized(images: Tensor, size: int) -> Tensor:
    resized = torch.empty((len(images), images.shape[1], size, size), dtype=torch.uint8)
    for into, chunk in zip(resized.split(_CHUNK), images.split(_CHUNK), strict=True):
        smooth = interpolate(chunk.float(), size=(size, size), mode="bilinear", antialias=True)
        into.copy_(smooth.round_().clamp_(0, 255))
    return resized
