"""What every width method provides."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import nn

from nas_prune.space import SearchSpace

Scores: TypeAlias = "Sequence[NDArray[np.float64] | None]"


@dataclass(frozen=True, slots=True)
class WidthMethod:
    """A width method that learns scores during a training of the whole network.

    Attributes:
        name: what `--method` takes.
        summary: one line.
        is_automatic: it decides by itself how many channels each layer keeps.
        citation: where it was published.
        prepare: changes a fresh network before training, in place.
        penalty: makes the function that adds the method's pull to the gradients after each backward pass,
            for the searched columns of a space and a strength.
        scores: one value for each channel of each searched group, larger is more worth keeping; None for
            groups that are not searched.
        can_score: whether the method can judge the channels of a group at all.
    """

    name: str
    summary: str
    is_automatic: bool
    citation: str
    prepare: Callable[[nn.Module, SearchSpace, Sequence[int]], None]
    penalty: Callable[[SearchSpace, Sequence[int], float], Callable[[nn.Module], None]]
    scores: Callable[[nn.Module, SearchSpace, Sequence[int]], Scores]
    can_score: Callable[[SearchSpace, int], bool]
