"""What is to be learned of an image: its class, several classes, numbers, or a class for each of its pixels.

Shape letters: N images, K classes, D numbers, H rows, W columns.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from nas_prune.data.split import IntArray

# `class`: int64, N. `classes`: float32, N×K, 1 where an image is of a class. `numbers`: float32, N×D. `mask`: uint8,
# N×H×W, the class of each pixel.
TargetKind: TypeAlias = Literal["class", "classes", "numbers", "mask"]
UNLABELLED = 255  # of a mask: a pixel that counts nowhere
MOST_MASK_CLASSES = 255
_SMALLEST_STD = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """What is to be learned of the images of a source, where it is not one class of each.

    Attributes:
        kind: which.
        read: from indices and pixels a side to the targets of these images, as `kind` says; it reports how far it is as
            (done, total).
    """

    kind: TargetKind
    read: Callable[[IntArray, int, Callable[[int, int], None] | None], Tensor]


@dataclass(frozen=True, slots=True)
class TargetScale:
    """Numbers are learned with a mean of 0 and a deviation of 1; this leads back to their own units.

    Attributes:
        mean, std: of each number over the training images.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, numbers_ND: Tensor) -> "TargetScale":
        """The scale of some images' numbers; what is the same for all has a deviation of 1.

        Example:
            >>> TargetScale.of(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
            TargetScale(mean=(2.0, 5.0), std=(1.0, 1.0))
        """
        exact_ND = numbers_ND.double()
        mean_D = exact_ND.mean(0)
        std_D = (exact_ND - mean_D).square().mean(0).sqrt()
        is_constant_D = std_D <= _SMALLEST_STD * mean_D.abs().clamp(min=1.0)
        return cls(tuple(mean_D.tolist()), tuple(torch.where(is_constant_D, 1.0, std_D).tolist()))

    def scaled(self, numbers: Tensor) -> Tensor:
        """Numbers in their own units, …×D, as they are learned: float32."""
        mean, std = self._tensors(numbers)
        return ((numbers.double() - mean) / std).float()

    def unscaled(self, numbers: Tensor) -> Tensor:
        """The reverse of `scaled`, as float64."""
        mean, std = self._tensors(numbers)
        return numbers.double() * std + mean

    def _tensors(self, like: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = (
            torch.tensor(values, dtype=torch.float64, device=like.device) for values in (self.mean, self.std)
        )
        return mean, std
