"""What methods judge by, with real digits at the size of a space's images."""

from collections.abc import Sequence
from functools import cache

from torch import nn

from nas_prune.data import ImageData, load_data
from nas_prune.search.methods.contract import Evidence
from nas_prune.space.search_space import SearchSpace


@cache
def digits(image_size: int = 8, in_channels: int = 1) -> ImageData:
    """Some digits, as large and of as many channels as wanted."""
    return load_data("digits", image_size=image_size, in_channels=in_channels, max_images=300)


def evidence(model: nn.Module, space: SearchSpace, columns: Sequence[int], seed: int = 0) -> Evidence:
    """Evidence on digits that are as large as the space's images."""
    channels, size, _ = space.reference.input_shape
    return Evidence(model, space, tuple(columns), digits(size, channels), seed)
