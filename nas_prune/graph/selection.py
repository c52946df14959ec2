"""Input selections: a reader takes some channels of a stream that others read as well, and leaves the stream whole."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

_GOLDEN = (5**0.5 - 1) / 2


class ChannelSelection(nn.Module):
    """Hands on some channels of what it is given, by their indices: structure, stored like one, and no weights."""

    indices: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("indices", torch.arange(channels))

    @torch.no_grad()
    def choose(self, indices: Sequence[int] | NDArray[np.int64]) -> None:
        """Select other channels, as many as before, in place."""
        self.indices.copy_(torch.as_tensor(indices))

    def reset_parameters(self) -> None:
        """The first channels, until others are chosen."""
        self.choose(range(len(self.indices)))

    def forward(self, x: Tensor) -> Tensor:
        """The selected channels of N×C×… values, laid out in memory as these are."""
        if x.is_contiguous() or x.dim() != 4 or not x.is_contiguous(memory_format=torch.channels_last):
            return x.index_select(1, self.indices)
        # Selected along the second dimension, these would be laid out anew, and training take 1.6 to 2 times as long.
        return x.permute(0, 2, 3, 1).index_select(3, self.indices).permute(0, 3, 1, 2)


def spread_order(size: int) -> NDArray[np.int64]:
    """Channels in an order of which every beginning lies evenly over all of them (multiples of the golden ratio).

    What a dense block or a stream has gathered lies in order of depth: its first channels alone would leave out all
    that later layers have made.

    Example:
        >>> spread_order(8).tolist()
        [0, 5, 2, 7, 4, 1, 6, 3]
    """
    return np.argsort(np.arange(size) * _GOLDEN % 1, kind="stable")


def spread(size: int, width: int) -> NDArray[np.int64]:
    """So many of a number of channels, spread evenly; sorted."""
    return np.sort(spread_order(size)[:width])
