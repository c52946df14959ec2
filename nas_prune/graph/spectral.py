"""Spectral norm: weights divided by an estimate of their largest singular value.

The singular vectors that the estimate rests on are buffers. They are statistics of the weights, like those of norms:
they may have any size, and start anew with other weights.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.spectral_norm import SpectralNorm  # the older kind, a hook

_STEPS = 15  # of the power method, as PyTorch's own constructor makes


@dataclass(frozen=True, slots=True)
class _Estimate:
    """The singular vectors of a weight.

    Attributes:
        names: of their buffers.
        left, right: themselves.
        matrix: gives the weight as a matrix.
    """

    names: tuple[str, str]
    left: Tensor
    right: Tensor
    matrix: Callable[[], Tensor]

    def improve(self) -> None:
        """Bring the vectors nearer to the matrix's own, in place."""
        matrix = self.matrix()
        if not self.left.any():
            self.left.fill_(1)
        for _ in range(_STEPS):
            self.right.copy_(F.normalize(matrix.t() @ self.left, dim=0))
            self.left.copy_(F.normalize(matrix @ self.right, dim=0))


def names_of_estimates(model: nn.Module) -> frozenset[str]:
    """Names of the buffers that hold such vectors."""
    return frozenset(name for estimate in _estimates(model) for name in estimate.names)


@torch.no_grad()
def estimate_anew(model: nn.Module, *, by_chance: bool) -> None:
    """Estimate the largest singular values of a network's weights again, in place.

    Args:
        model: the network.
        by_chance: begin with random vectors, and not with those that are there.
    """
    for estimate in _estimates(model):
        if not estimate.left.is_meta:
            if by_chance:
                estimate.left.normal_()
            estimate.improve()


def _estimates(model: nn.Module) -> Iterator[_Estimate]:
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        if isinstance(module, ParametrizationList):
            for number, part in enumerate(module.children()):
                if isinstance(part, _SpectralNorm) and hasattr(part, "_u"):
                    names = (f"{prefix}{number}._u", f"{prefix}{number}._v")
                    yield _Estimate(names, part._u, part._v, partial(_matrix, module, number))  # noqa: SLF001
        for hook in module._forward_pre_hooks.values():  # noqa: SLF001
            if isinstance(hook, SpectralNorm):
                left, right, weight = (getattr(module, hook.name + end) for end in ("_u", "_v", "_orig"))
                names = (f"{prefix}{hook.name}_u", f"{prefix}{hook.name}_v")
                yield _Estimate(names, left, right, partial(hook.reshape_weight_to_matrix, weight))


def _matrix(parts: ParametrizationList, number: int) -> Tensor:
    """What one parametrisation of several works on, as it sees it: a weight that those before have made."""
    originals = [own for name, own in parts.named_parameters(recurse=False) if name.startswith("original")]
    before: list[Any] = list(parts.children())
    for place, part in enumerate(before[:number]):
        originals = [part(*originals) if place == 0 else part(originals[0])]
    matrix: Tensor = before[number]._reshape_weight_to_matrix(originals[0])  # noqa: SLF001
    return matrix
