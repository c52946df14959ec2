"""How large a network's weights are in a file or in flash, as a function of widths."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas_prune.hardware.memory import FLOAT32
from nas_prune.space.cost import Polynomial, Switched
from nas_prune.space.search_space import SearchSpace


@dataclass(frozen=True)
class Size:
    """The bytes of all parameters, a cost of widths and of which blocks are there.

    Norms and biases count like all others, though a converter may fold the former and hold the latter in more bytes;
    buffers, such as a norm's statistics, count nothing, as in `params`. Nor does what a file holds beside weights.

    Attributes:
        space: the network.
        weight_bytes: of a parameter.
    """

    space: SearchSpace = field(repr=False)
    weight_bytes: int = FLOAT32

    def __call__(self, vectors_NV: ArrayLike) -> NDArray[np.int64]:
        """The bytes for each of N vectors, or for one, exact."""
        return self._for(vectors_NV)(vectors_NV)

    def real(self, vectors_NV: ArrayLike) -> NDArray[np.float64]:
        """The bytes between whole widths."""
        return self._for(vectors_NV).real(vectors_NV)

    def _for(self, vectors_NV: ArrayLike) -> Polynomial | Switched:
        return self._switched if np.shape(vectors_NV)[-1] > len(self.space.groups) else self._of_widths

    @cached_property
    def _of_widths(self) -> Polynomial:
        return _times(self.space.cost.params, self.weight_bytes)

    @cached_property
    def _switched(self) -> Switched:
        params = self.space.switched("params")
        return Switched(
            self._of_widths, tuple(_times(inside, self.weight_bytes) for inside in params.inside_B)
        )


def _times(polynomial: Polynomial, factor: int) -> Polynomial:
    higher = tuple((monomial, factor * count) for monomial, count in polynomial.higher)
    return replace(polynomial, quadratic_GG=factor * polynomial.quadratic_GG, higher=higher)
