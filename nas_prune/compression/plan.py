"""How each tensor of a network is written: how many values its weights share, by bits that are asked for or a budget.

Shape letters: N non-zeros of a layer.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nas_prune.coding.file import is_writable
from nas_prune.coding.sharing import shared
from nas_prune.coding.tensor import CodedTensor, PlainTensor, Tensors, Written, coded, plain
from nas_prune.compression.config import ALL, CompressConfig
from nas_prune.errors import BadInputError, BudgetError

_KINDS = ("conv", "linear")
_MOST_BITS = 8  # that a budget gives a layer
_COUNTED = ("running_mean", "running_var")  # of norms, which change as a network trains


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """The tensors of a network.

    Attributes:
        arrays: all that it saves, by name.
        same_as: names of tensors that are others again, by theirs.
        kinds: of those whose non-zeros share values, `conv` or `linear`, by name.
        exact: names of those of which no number may move: what is neither learned nor counted on the way.
    """

    arrays: Mapping[str, npt.NDArray[np.generic]]
    same_as: Mapping[str, str]
    kinds: Mapping[str, str]
    exact: frozenset[str] = frozenset()

    @property
    def float_bytes(self) -> int:
        """Of all tensors, as they are."""
        return sum(array.nbytes for name, array in self.arrays.items() if name not in self.same_as)

    def values(self, name: str) -> npt.NDArray[np.float32]:
        """A tensor whose non-zeros share values."""
        return self.arrays[name].astype(np.float32, copy=False)


def weights_of(network: nn.Module) -> Weights:
    """The tensors of a network; those of two dimensions or more that it learns share values.

    Raises:
        BadInputError: one of them has no weight that is not zero.
    """
    state = network.state_dict()
    parameters = dict(network.named_parameters(remove_duplicate=False))
    first: dict[int, str] = {}
    same_as = {
        name: first[id(parameters[name])]
        for name in state
        if name in parameters and first.setdefault(id(parameters[name]), name) != name
    }
    arrays = {name: array_of(tensor) for name, tensor in state.items()}
    kinds = {
        name: "conv" if parameters[name].dim() > 2 else "linear"
        for name in state
        if name in parameters
        and name not in same_as
        and parameters[name].dim() > 1
        and parameters[name].is_floating_point()
        and (parameters[name].requires_grad or np.any(arrays[name]))
    }
    _check(arrays, kinds)
    exact = {name for name in state if name not in parameters and not name.endswith(_COUNTED)}
    return Weights(arrays, same_as, kinds, frozenset(exact))


def _check(arrays: Mapping[str, npt.NDArray[np.generic]], kinds: Iterable[str]) -> None:
    for name, array in arrays.items():
        if not is_writable(array.dtype):
            raise BadInputError(
                f"a network must hold real numbers to be compressed, got {array.dtype} in {name}. Export it: "
                "nas-prune export --to safetensors."
            )
    for name in kinds:
        if not np.any(arrays[name]):
            raise BadInputError(
                f"each layer must have a weight that is not zero, got none in {name}. Leave it some: nas-prune "
                "sparsify with a larger --budget, or --keep."
            )


def array_of(tensor: Tensor) -> npt.NDArray[np.generic]:
    """A tensor for numpy, which knows no bfloat16."""
    own = tensor.detach().cpu().contiguous()
    return (own.float() if own.dtype in (torch.bfloat16, torch.float16) else own).numpy()


def check_bits(config: CompressConfig, weights: Weights) -> None:
    """Refuse bits of layers that there are not, and more than a layer has values.

    Raises:
        BadInputError: the first of these.
    """
    names = {name for one in weights.kinds for name in (one, one.rpartition(".")[0])}
    for key in config.bits or {}:
        if key in _KINDS and key not in weights.kinds.values():
            raise BadInputError(
                f"--bits must be of layers that there are, got {key}, of which the network has none."
            )
        if key not in (ALL, *_KINDS) and key not in names:
            known = ", ".join(sorted(one.rpartition(".")[0] for one in weights.kinds)[:8])
            raise BadInputError(
                f"--bits must name conv, linear or a layer of the network, got {key!r}. Layers: {known}."
            )
    asked: dict[str, list[tuple[str, int]]] = {}
    for name, kind in weights.kinds.items():
        own = weights.arrays[name]
        typed = config.key_for(name, kind)
        if typed is not None:
            asked.setdefault(typed, []).append((name, len(np.unique(own[own != 0]))))
    for key, layers in asked.items():
        bits, (name, most) = (config.bits or {})[key], max(layers, key=lambda layer: layer[1])
        if bits > 1 and 1 << (bits - 1) >= most:
            others = [f"{one}={number}" for one, number in (config.bits or {}).items() if one != key]
            advised = ",".join([*others, f"{key}={max(1, (most - 1).bit_length())}"]).replace(f"{ALL}=", "")
            raise BadInputError(
                f"--bits must leave a layer no more values than it has, got {bits} for {name}, whose weights have "
                f"{most} without zero{', the most' if len(layers) > 1 else ''}. Use --bits {advised}."
            )


def planned(weights: Weights, bits: Callable[[str, str], int]) -> dict[str, Written | str]:
    """How each tensor is written.

    Args:
        weights: of the network.
        bits: of a layer's indices, by its name and kind.
    """
    return _all(
        weights, {name: _written(weights, name, bits(name, kind)) for name, kind in weights.kinds.items()}
    )


def _written(weights: Weights, name: str, bits: int) -> Written:
    """With shared values, or number by number where that is shorter: a layer of few weights."""
    found, whole = coded(shared(weights.values(name), 1 << bits)), plain(weights.arrays[name])
    return found if found.with_line < whole.total else whole


def _all(weights: Weights, own: Mapping[str, Written]) -> dict[str, Written | str]:
    return {
        name: weights.same_as.get(name) or own.get(name) or plain(array, is_exact=name in weights.exact)
        for name, array in weights.arrays.items()
    }


def planned_within(
    weights: Weights,
    limit: int,
    header: Callable[[Tensors], int],
    curvatures: Mapping[str, float],
    asked: str,
) -> dict[str, Written | str]:
    """How each tensor is written so that the file has at most so many bytes.

    Every layer starts with 8 bits. Where a bit less of one layer adds least to Σ h (value − weight)² for the bytes that
    it saves, it is taken, until the file fits; then bits are given back where they still fit.

    Args:
        weights: of the network.
        limit: bytes of the file.
        header: bytes of a file that are no tensor's.
        curvatures: h, the mean second derivative of the loss by a layer's weights, by name.
        asked: the budget, in words.

    Raises:
        BudgetError: no file is as small; the smallest is printed.
    """
    choices = {name: _choices(weights, name) for name in weights.kinds}
    at = {name: len(own) - 1 for name, own in choices.items()}

    def plan() -> dict[str, Written | str]:
        return _all(weights, {name: choices[name][place] for name, place in at.items()})

    def size() -> int:
        own = plan()
        return header(own) + sum(one.total for one in own.values() if not isinstance(one, str))

    while (now := size()) > limit:
        name = _cheapest_loss(choices, at, curvatures)
        if name is None:
            raise BudgetError(
                f"--budget must be at least size<={now}B, which is what two values for each layer take, got "
                f"{asked}. Leave fewer of them: nas-prune sparsify, nas-prune search."
            )
        at[name] -= 1
    for name in sorted(at, key=lambda one: _gain(choices[one], at[one], curvatures[one]), reverse=True):
        while at[name] + 1 < len(choices[name]):
            at[name] += 1
            if size() > limit:
                at[name] -= 1
                break
    return plan()


def _choices(weights: Weights, name: str) -> list[Written]:
    """A layer with more and more values, each larger and nearer to the weights than the one before."""
    found: list[CodedTensor] = []
    for bits in range(1, _MOST_BITS + 1):
        one = coded(shared(weights.values(name), 1 << bits))
        if not found or (one.total > found[-1].total and _error(one) < _error(found[-1])):
            found.append(one)
    whole = plain(weights.arrays[name])
    kept: list[Written] = [one for one in found if one.with_line < whole.total]
    return [*kept, whole] if len(kept) < len(found) or not kept else kept


def _error(tensor: Written) -> float:
    return tensor.shared.squared_error if isinstance(tensor, CodedTensor) else 0.0


def _cheapest_loss(
    choices: Mapping[str, Sequence[Written]], at: Mapping[str, int], curvatures: Mapping[str, float]
) -> str | None:
    """The layer that a bit less costs least for the bytes that it saves; None where all are at their least."""
    left = {name: _loss(choices[name], place, curvatures[name]) for name, place in at.items() if place}
    return min(left, key=lambda name: left[name]) if left else None


def _loss(own: Sequence[Written], place: int, curvature: float) -> float:
    """What one step down adds to the error for each byte that it saves."""
    less, now = own[place - 1], own[place]
    saved = now.total - less.total
    return curvature * (_error(less) - _error(now)) / saved if saved > 0 else -inf


def _gain(own: Sequence[Written], place: int, curvature: float) -> float:
    return _loss(own, place + 1, curvature) if place + 1 < len(own) else -inf


def shared_layers(tensors: Tensors) -> dict[str, CodedTensor]:
    """The tensors whose non-zeros share values, by name."""
    return {name: one for name, one in tensors.items() if isinstance(one, CodedTensor)}


def rewritten(tensors: Tensors, network: nn.Module) -> dict[str, Written | str]:
    """The same plan with the numbers of a network whose weights share values as planned."""
    state = network.state_dict()
    found: dict[str, Written | str] = {}
    for name, tensor in tensors.items():
        if isinstance(tensor, str):
            found[name] = tensor
            continue
        array = array_of(state[name])
        if isinstance(tensor, PlainTensor):
            found[name] = tensor.with_values(array)
            continue
        own = tensor.shared
        firsts = np.full(len(own.values_K), -1, np.int64)
        firsts[own.indices_N[::-1]] = own.places_N[::-1]
        found[name] = tensor.with_values(array.reshape(-1)[firsts].astype(np.float32))
    return found


def arrays_of(tensors: Tensors) -> dict[str, npt.NDArray[np.generic]]:
    """All tensors as they are read again."""
    found: dict[str, npt.NDArray[np.generic]] = {}
    for name, tensor in tensors.items():
        if isinstance(tensor, str):
            found[name] = found[tensor]
        else:
            found[name] = tensor.shared.dense() if isinstance(tensor, CodedTensor) else tensor.dense()
    return found
