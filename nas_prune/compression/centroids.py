"""Training the values that weights share: the step of a value is the mean of those its weights would take.

A value's gradient is the sum of its weights' gradients (Han et al. 2016, section 3.3). A step along it, in units of the
weights, is the sum divided by how many there are: the nearest step to the one that the weights would take by themselves
that keeps them equal. So the rate that suits fine-tuning suits values of ten weights and of ten thousand; with the bare
sum the step of a value grows with its weights. Norms and biases are trained as ever; zeros stay zeros, to the bit.

Shape letters: N non-zeros, K values.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor, nn

from nas_prune.coding.tensor import CodedTensor
from nas_prune.training.state import TrainState


@dataclass(frozen=True, slots=True, eq=False)
class _Members:
    """The weights of a layer, those of the first value first.

    Attributes:
        order_N: their places in the flat tensor.
        counts_K: how many have each value; firsts_K: where in `order_N` they begin.
    """

    order_N: Tensor
    counts_K: Tensor
    firsts_K: Tensor

    def spread(self, values_K: Tensor) -> Tensor:
        """A value for each weight, N, in the order of `order_N`."""
        return values_K.repeat_interleave(self.counts_K, output_size=len(self.order_N))


class Centroids:
    """What keeps the weights of a network equal that share a value, while it trains."""

    def __init__(self, layers: Mapping[str, CodedTensor], device: torch.device) -> None:
        self._members = {name: _members(layer, device) for name, layer in layers.items()}
        digest = blake2b(digest_size=16)
        for name in sorted(layers):
            own = layers[name].shared
            digest.update(f"{name} {own.shape} ".encode())
            digest.update(own.places_N.tobytes() + own.indices_N.tobytes() + own.values_K.tobytes())
        self.identity = digest.hexdigest()

    @torch.no_grad()
    def gather(self, network: nn.Module, _: float = 0.0) -> None:
        """Give the weights of each value the mean of their gradients, and zeros none, in place."""
        parameters = dict(network.named_parameters())
        for name, own in self._members.items():
            parameter = parameters[name]
            if parameter.grad is None:
                continue
            gradient = parameter.grad.reshape(-1)[own.order_N]
            means_K = torch.segment_reduce(gradient, "mean", lengths=own.counts_K)
            flat = torch.zeros(parameter.numel(), dtype=gradient.dtype, device=gradient.device)
            flat[own.order_N] = own.spread(means_K)
            parameter.grad.copy_(flat.view(parameter.shape))

    @torch.no_grad()
    def settle(self, state: TrainState) -> None:
        """Make weights of one value equal to the bit: an optimiser may round some of them otherwise."""
        parameters = dict(state.model.named_parameters())
        for name, own in self._members.items():
            parameter = parameters[name]
            values_N = parameter.reshape(-1)[own.order_N]
            flat = torch.zeros(parameter.numel(), dtype=parameter.dtype, device=parameter.device)
            flat[own.order_N] = own.spread(values_N[own.firsts_K])
            parameter.copy_(flat.view(parameter.shape))


def _members(layer: CodedTensor, device: torch.device) -> _Members:
    own = layer.shared
    order = np.argsort(own.indices_N, kind="stable")
    counts_K = np.bincount(own.indices_N, minlength=len(own.values_K))
    firsts_K = np.cumsum(counts_K) - counts_K
    return _Members(*(torch.from_numpy(one).to(device) for one in (own.places_N[order], counts_K, firsts_K)))
