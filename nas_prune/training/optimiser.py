"""The optimisers of a recipe, and what each keeps for a parameter from step to step."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from nas_prune.training.recipe import Recipe

# What an optimiser keeps: a checkpoint's word for it, and PyTorch's.
_KEPT: dict[type[Optimizer], dict[str, str]] = {
    SGD: {"momentum": "momentum_buffer"},
    AdamW: {"mean": "exp_avg", "square": "exp_avg_sq", "steps": "step"},
}


def optimiser_for(model: nn.Module, recipe: Recipe) -> Optimizer:
    """The recipe's optimiser of all parameters that take gradients, before the first step."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    weights = [parameter for parameter in parameters if recipe.decay_norms or parameter.dim() > 1]
    vectors = [parameter for parameter in parameters if not recipe.decay_norms and parameter.dim() <= 1]
    groups: list[dict[str, Any]] = [{"params": weights}, {"params": vectors, "weight_decay": 0.0}]
    shared: dict[str, Any] = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay, "fused": True}
    if recipe.optimizer == "adamw":
        return AdamW(groups, betas=recipe.betas, eps=recipe.eps, **shared)
    return SGD(groups, momentum=recipe.momentum, nesterov=recipe.nesterov, **shared)


def kept_by(optimiser: Optimizer, model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """What an optimiser keeps for the parameters of a network, by a checkpoint's names."""
    words = _KEPT[type(optimiser)]
    for name, parameter in model.named_parameters():
        own = optimiser.state.get(parameter, {})
        for word, key in words.items():
            if own.get(key) is not None:
                yield f"{word}.{name}", own[key]


def stored_for(
    optimiser: Optimizer, model: nn.Module, tensors: Mapping[str, Tensor]
) -> list[tuple[nn.Parameter, dict[str, Tensor]]]:
    """What a checkpoint holds for an optimiser, in the memory layout of each parameter; nothing is set.

    Raises:
        ValueError: it is of other shapes, or not all of it is there.
    """
    words, found = _KEPT[type(optimiser)], []
    for name, parameter in model.named_parameters():
        own = {key: tensors[f"{word}.{name}"] for word, key in words.items() if f"{word}.{name}" in tensors}
        if own and len(own) != len(words):
            raise ValueError(f"of what is kept for {name} there is {', '.join(own)} alone")
        if own:
            found.append((parameter, {key: _as_kept(key, name, own[key], parameter) for key in own}))
    return found


def lay_out_as_weights(optimiser: Optimizer) -> None:
    """Store what an optimiser keeps in the memory layout of its weights, in place.

    A fused step reads the memory of both in the same order and ignores strides.
    """
    for parameter, kept in optimiser.state.items():
        for key in _KEPT[type(optimiser)].values():
            if kept.get(key) is not None and key != "step":
                kept[key] = torch.empty_like(parameter, requires_grad=False).copy_(kept[key])


def _as_kept(key: str, name: str, stored: Tensor, parameter: nn.Parameter) -> Tensor:
    shape = torch.Size() if key == "step" else parameter.shape
    if stored.shape != shape:
        raise ValueError(f"what is kept for {name} ({key}) is {list(stored.shape)}, not {list(shape)}")
    if key == "step":
        return stored.to(parameter.device, torch.float32)
    # in the parameter's memory layout, or sums would be taken in another order
    return torch.empty_like(parameter, requires_grad=False).copy_(stored)
