"""Networks of which some weights are zero and stay so: the masks, and training with them.

A mask says for each weight of a layer whether it is there. A weight that is not starts at zero, gets no gradient and,
with momentum and decay of zero, stays zero to the bit, its sign too; so nothing of it is in a network's file, or in a
checkpoint.

Random weights start with a deviation that is larger by 1/√density of their layer, so that what a layer puts out is as
large as in the whole network: He's rule with the fan-in that is left, as the code of Liu et al. (2019) has it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from math import prod, sqrt
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from nas_prune.errors import BadInputError, DamagedError
from nas_prune.training.checkpoint import read_tensors, write_tensors

Masks: TypeAlias = Mapping[str, Tensor]  # by a parameter's name: which of its weights are there, of its shape
MASKS = "masks"  # a directory of a run
_SHARED = "all.safetensors"
_FORMAT = "nas-prune/mask/1"
_MOST_WEIGHTS = 2**33  # bits that a file of masks may have: a gigabyte


@dataclass(frozen=True, slots=True)
class GivenMasks:
    """The masks that networks are trained with.

    Attributes:
        name: of the pattern that they are of.
        shared: the same for all seeds; None where each has its own.
        by_seed: the masks of each seed, where they are drawn.
    """

    name: str
    shared: Masks | None = None
    by_seed: Mapping[int, Masks] | None = None

    def of(self, seed: int) -> Masks:
        """The masks of one seed."""
        if self.shared is not None:
            return self.shared
        assert self.by_seed is not None
        return self.by_seed[seed]

    @property
    def identity(self) -> str:
        """What tells them from others."""
        if self.shared is not None:
            return identity_of_masks(self.shared)
        own = {str(seed): identity_of_masks(masks) for seed, masks in (self.by_seed or {}).items()}
        return " ".join(f"{seed}:{own[seed]}" for seed in sorted(own))


def write_given(run: Path, given: GivenMasks) -> None:
    """Keep the masks in the directory of the training that is masked by them."""
    folder = run / MASKS
    folder.mkdir(exist_ok=True)
    for name, masks in _files(given).items():
        write_masks(folder / name, masks)


def _files(given: GivenMasks) -> dict[str, Masks]:
    if given.shared is not None:
        return {_SHARED: given.shared}
    return {_of_seed(seed): masks for seed, masks in (given.by_seed or {}).items()}


def read_given(run: Path, name: str, seeds: Iterable[int]) -> GivenMasks:
    """What `write_given` kept.

    Raises:
        DamagedError: it is not there, or damaged.
    """
    folder = run / MASKS
    if (folder / _SHARED).exists():
        return GivenMasks(name, shared=read_masks(folder / _SHARED))
    return GivenMasks(name, by_seed={seed: read_masks(folder / _of_seed(seed)) for seed in seeds})


def _of_seed(seed: int) -> str:
    return f"seed-{seed}.safetensors"


@torch.no_grad()
def hold(network: nn.Module, masks: Masks, *, scales: bool) -> nn.Module:
    """Set the weights that a mask leaves out to zero and keep them there while the network trains, in place.

    Args:
        network: before its first step.
        masks: of some of its parameters.
        scales: whether the weights that stay are made larger by 1/√density of their layer, as random ones are to be.

    Raises:
        BadInputError: a mask is of no parameter of the network, of another shape, or leaves nothing.
    """
    parameters = dict(network.named_parameters())
    for name, mask in masks.items():
        if name not in parameters or parameters[name].shape != mask.shape:
            known = "none of the network" if name not in parameters else list(parameters[name].shape)
            raise BadInputError(
                f"a pattern must be of the network that is trained, got {name} of shape {list(mask.shape)}, which is "
                f"{known}."
            )
        parameter = parameters[name]
        gone, density = ~mask.bool().to(parameter.device), float(mask.float().mean())
        if not density:
            raise BadInputError(f"a pattern must leave each layer a weight, got none for {name}.")
        parameter.masked_fill_(gone, 0.0)
        if scales:
            parameter.mul_(1 / sqrt(density))
        if parameter.requires_grad:
            parameter.register_hook(_Without(gone))
    return network


@dataclass(frozen=True, slots=True)
class _Without:
    """A gradient with zeros where weights are gone, even where it is no number there."""

    gone: Tensor

    def __call__(self, gradient: Tensor) -> Tensor:
        return gradient.masked_fill(self.gone, 0.0)


def masked(network: nn.Module, masks: Masks) -> nn.Module:
    """The same network with zeros where a mask leaves a weight out, in place; nothing is held."""
    parameters = dict(network.named_parameters())
    with torch.no_grad():
        for name, mask in masks.items():
            parameters[name].masked_fill_(~mask.bool().to(parameters[name].device), 0.0)
    return network


def count(masks: Masks) -> int:
    """How many weights are there."""
    return sum(int(mask.sum()) for mask in masks.values())


def identity_of_masks(masks: Masks) -> str:
    """What tells masks from others: a digest of their names, shapes and bits."""
    digest = blake2b(digest_size=16)
    for name in sorted(masks):
        digest.update(f"{name} {list(masks[name].shape)} ".encode())
        digest.update(_packed(masks[name]).numpy().tobytes())
    return digest.hexdigest()


def write_masks(path: Path, masks: Masks) -> None:
    """Write masks, a bit for each weight, with a checksum; equal masks are equal bytes."""
    packed = {name: _packed(mask) for name, mask in masks.items()}
    shapes = {name: list(mask.shape) for name, mask in masks.items()}
    write_tensors(path, packed, {"format": _FORMAT, "shapes": shapes})


def read_masks(path: Path) -> dict[str, Tensor]:
    """What `write_masks` wrote.

    Raises:
        DamagedError: the file is missing, damaged, or of something else.
    """
    content, tensors = read_tensors(path, "masks", most=_MOST_WEIGHTS // 8)
    if content.get("format") != _FORMAT or not isinstance(content.get("shapes"), dict):
        raise DamagedError(f"{path} must hold masks ({_FORMAT}), got {content.get('format')!r:.100}.")
    shapes = content["shapes"]
    if shapes.keys() != tensors.keys():
        raise DamagedError(f"{path} must say the shape of each mask, got others.")
    return {name: _unpacked(path, name, tensors[name], shapes[name]) for name in shapes}


def _packed(mask: Tensor) -> Tensor:
    """Eight weights in a byte, the first in its highest bit."""
    bits = mask.detach().cpu().reshape(-1).to(torch.uint8)
    bits = nn.functional.pad(bits, (0, -len(bits) % 8)).reshape(-1, 8)
    return (bits << torch.arange(7, -1, -1, dtype=torch.uint8)).sum(1, dtype=torch.uint8)


def _unpacked(path: Path, name: str, packed: Tensor, shape: Any) -> Tensor:
    is_shape = isinstance(shape, list) and shape and all(type(size) is int and size > 0 for size in shape)
    size = prod(shape) if is_shape else -1
    if not is_shape or packed.dtype != torch.uint8 or packed.shape != (-(-size // 8),):
        raise DamagedError(f"{path} must hold a bit for each weight of {name}, of shape {shape!r:.100}.")
    bits = (packed[:, None] >> torch.arange(7, -1, -1, dtype=torch.uint8)) & 1
    flat = bits.reshape(-1)
    if bool(flat[size:].any()):
        raise DamagedError(f"{path} must hold zeros behind the last weight of {name}.")
    return flat[:size].bool().reshape(shape)
