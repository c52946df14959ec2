"""What a network takes beside the sum of its layers, because its weights are more than caches hold.

Each layer is timed in networks of many sizes. Of a large one the weights are read from memory for every image, and each
of its layers takes longer than the same layer of a small network; nothing in that layer's own widths says so.

Shape suffixes: M networks, B bends.
"""

from typing import Annotated, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from nas_prune.hardware.ridge import ridge

# (weights, nanoseconds for each weight above these)
Beyond: TypeAlias = tuple[
    tuple[Annotated[float, Field(ge=0, le=1e15)], Annotated[float, Field(ge=-1e6, le=1e6)]], ...
]

_BENDS = (0.1, 0.3, 0.5, 0.7, 0.9)  # quantiles of the networks' weights; the first bend is at none
_FEWEST = 20  # networks
_LEAST, _MOST = (
    -0.3,
    1.0,
)  # of the sum of layers, that may be added: bends say little far from measured networks


def nanoseconds(beyond: Beyond, weights_N: ArrayLike, summed_N: ArrayLike) -> NDArray[np.float64]:
    """What is added to the sum of layers, for each of N networks.

    Args:
        beyond: the bends.
        weights_N: how many weights each has.
        summed_N: what its layers take together.

    Example:
        >>> nanoseconds(((0, 1.0), (100, 0.5)), [50, 300], [1000, 1000]).tolist()
        [50.0, 400.0]
    """
    weights = np.asarray(weights_N, dtype=np.float64)
    total = np.zeros(weights.shape)
    for bend, each in beyond:
        total = total + each * np.maximum(0.0, weights - bend)
    summed = np.asarray(summed_N, dtype=np.float64)
    return np.asarray(np.clip(total, _LEAST * summed, _MOST * summed))


def beyond_caches(weights_M: ArrayLike, summed_M: ArrayLike, measured_M: ArrayLike) -> Beyond:
    """What is to be added to the sum of layers, as straight lines from bend to bend; nothing if there is no need.

    Args:
        weights_M: how many weights each network has.
        summed_M: what its layers take together, by the prediction.
        measured_M: what it takes.
    """
    weights, summed, measured = (
        np.asarray(one, dtype=np.float64) for one in (weights_M, summed_M, measured_M)
    )
    if len(weights) < _FEWEST or weights.min() == weights.max():
        return ()
    bends_B = np.unique([0.0, *np.quantile(weights, _BENDS)])
    bends_B = bends_B[bends_B < weights.max()]
    shares_MB = np.maximum(0.0, weights[:, None] - bends_B) / summed[:, None]
    size_B = np.sqrt((shares_MB**2).sum(axis=0))
    each_B = ridge(shares_MB / size_B, measured / summed - 1, np.arange(len(weights))) / size_B
    return tuple((float(bend), float(each)) for bend, each in zip(bends_B, each_B, strict=True) if each)
