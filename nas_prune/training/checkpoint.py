"""Checkpoints: one safetensors file, equal bytes for equal states, never a pickle."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from nas_prune.errors import BadInputError
from nas_prune.files import write_whole
from nas_prune.training.loop import TrainState

_KEY = "state"


def write_checkpoint(path: Path, state: TrainState, **facts: Any) -> None:
    """Write network, optimiser and progress; `facts` must be plain JSON and are kept beside them."""
    tensors = {f"model.{name}": tensor for name, tensor in state.model.state_dict().items()}
    for name, parameter in state.model.named_parameters():
        momentum = state.optimiser.state.get(parameter, {}).get("momentum_buffer")
        if momentum is not None:
            tensors[f"momentum.{name}"] = momentum
    content = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in tensors.items()}
    text = json.dumps({"epochs_done": state.epochs_done, **facts}, sort_keys=True)
    write_whole(path, save(content, metadata={_KEY: text}))


def read_checkpoint(path: Path, state: TrainState) -> dict[str, Any]:
    """Bring a state to where a checkpoint left it.

    Args:
        path: the checkpoint.
        state: a state of the same network, changed in place.

    Returns:
        The facts written with it.

    Raises:
        BadInputError: the file is missing, damaged, or of another network; the state is then as it was.
    """
    try:
        with safe_open(path, framework="pt") as file:
            facts: dict[str, Any] = json.loads(file.metadata()[_KEY])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BadInputError(
            f"checkpoint must be whole, got {path.name} ({error}). Start the run again."
        ) from None
    weights = {
        key.removeprefix("model."): value for key, value in tensors.items() if key.startswith("model.")
    }
    _check_same_network(path, state, weights)
    state.model.load_state_dict(weights)
    for name, parameter in state.model.named_parameters():
        momentum = tensors.get(f"momentum.{name}")
        if momentum is not None:
            state.optimiser.state[parameter] = {"momentum_buffer": momentum.to(parameter.device)}
    state.epochs_done = int(facts.pop("epochs_done"))
    return facts


def _check_same_network(path: Path, state: TrainState, weights: dict[str, Tensor]) -> None:
    own = state.model.state_dict()
    for name in sorted({*own, *weights}):
        expected, found = own.get(name), weights.get(name)
        if expected is None or found is None or expected.shape != found.shape:
            shapes = [list(t.shape) if isinstance(t, torch.Tensor) else "nothing" for t in (expected, found)]
            raise BadInputError(
                f"checkpoint must be of this network, got {path.name}, where {name} is {shapes[1]}, not {shapes[0]}."
            )
