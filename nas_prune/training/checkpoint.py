"""Checkpoints: one safetensors file, equal bytes for equal states, with a checksum, never a pickle."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from nas_prune.errors import BadInputError, DamagedError
from nas_prune.runs.files import write_whole
from nas_prune.runs.reading import check_regular, load_json
from nas_prune.training.optimiser import kept_by, stored_for
from nas_prune.training.recipe import as_written_now
from nas_prune.training.state import Best, RngState, Sums, TrainState, check_rng_state, rng_state_now

_KEY = "state"
_HEADER = 2**24  # bytes


def write_checkpoint(
    path: Path, state: TrainState, facts: Mapping[str, Any] | None = None, *, previous: Path | None = None
) -> None:
    """Write all that a training resumes from.

    Args:
        path: the file; whole or as it was, whatever happens.
        state: at the end of an epoch, or after any step of one.
        facts: plain JSON that says whose checkpoint it is.
        previous: where the old checkpoint is moved; None to overwrite it.
    """
    tensors = _tensors(state)
    content: dict[str, Any] = {
        "epochs_done": state.epochs_done,
        "steps_done": state.steps_done,
        "facts": dict(facts or {}),
    }
    if state.best is not None:
        best = state.best
        content["best"] = {
            "epoch": best.epoch,
            "accuracy": best.accuracy,
            "loss": best.loss,
            "risen_at": best.risen_at,
        }
    if state.steps_done:
        rng_state = state.rng_state or rng_state_now(_device(state))
        tensors |= {"chance.torch": rng_state.torch}
        tensors |= {} if rng_state.device is None else {"chance.device": rng_state.device}
        content["chance"] = {"python": rng_state.python, "numpy": rng_state.numpy}
    write_tensors(path, tensors, content, previous=previous)


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], content: Mapping[str, Any], *, previous: Path | None = None
) -> None:
    """Write tensors and plain JSON into one safetensors file, with a checksum over both.

    Args:
        path: the file; whole or as it was, whatever happens.
        tensors: by name.
        content: the JSON.
        previous: where the file that was there is moved; None to overwrite it.
    """
    # Cloned, since tied weights share memory.
    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    known = {**content, "checksum": _checksum(content, copies)}
    write_whole(path, save(copies, metadata={_KEY: json.dumps(known, sort_keys=True)}), previous=previous)


def read_checkpoint(path: Path, state: TrainState, facts: Mapping[str, Any] | None = None) -> None:
    """Set a state to that of a checkpoint.

    Args:
        path: the checkpoint.
        state: a state of the same network, changed in place.
        facts: what the checkpoint must record about itself; not checked if None.

    Raises:
        DamagedError: the file is missing or damaged.
        BadInputError: it is of another network or another run. In both cases the state is unchanged.
    """
    content, tensors = read_tensors(path, most=most_of(state.model))
    known = content.get("facts")
    check_same_run(path, known if isinstance(known, dict) else {}, facts)
    weights, average = _part(tensors, "model."), _part(tensors, "average.")
    check_same_network(path, state.model.state_dict(), weights)
    if state.average is not None:
        check_same_network(path, state.average.state_dict(), average)
    try:
        stored = _stored(content, tensors, state)
    except (LookupError, TypeError, ValueError, RuntimeError, AttributeError, OverflowError) as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise DamagedError(
            f"checkpoint must hold a training's state, got {path.name} ({said:.200})."
        ) from None
    state.model.load_state_dict(weights)
    if state.average is not None:
        state.average.load_state_dict(average)
    state.optimiser.state.clear()
    for parameter, kept in stored.kept:
        state.optimiser.state[parameter] = kept
    state.epochs_done, state.steps_done = stored.epochs_done, stored.steps_done
    state.sums, state.rng_state, state.best = stored.sums, stored.rng_state, stored.best


@dataclass(frozen=True, slots=True)
class _Stored:
    """What a checkpoint holds beside the weights."""

    epochs_done: int
    steps_done: int
    kept: list[tuple[nn.Parameter, dict[str, Tensor]]]
    best: Best | None
    sums: Sums | None = None
    rng_state: RngState | None = None


def _stored(content: Mapping[str, Any], tensors: Mapping[str, Tensor], state: TrainState) -> _Stored:
    """What a checkpoint holds beside the weights; whatever is wrong with it is raised here, before anything is set."""
    epochs, steps = content["epochs_done"], content["steps_done"]
    if type(epochs) is not int or type(steps) is not int or min(epochs, steps) < 0:
        raise ValueError(f"{epochs!r} epochs and {steps!r} steps are done")
    kept = stored_for(state.optimiser, state.model, tensors)
    best = _best(content, tensors, state) if state.keeps_best and epochs else None
    if not steps:
        return _Stored(epochs, steps, kept, best)
    loss, hits = tensors["sums.loss"], tensors["sums.hits"]
    # Earlier versions counted right answers in whole numbers.
    is_right = loss.dtype == torch.float64 and hits.dtype in (torch.float64, torch.int64)
    if loss.shape or hits.shape or not is_right:
        raise ValueError("the sums of the epoch are none")
    device = _device(state)
    sums = Sums(loss.to(device), hits.to(device, torch.float64))
    rng_state = RngState(tensors["chance.torch"], tensors.get("chance.device"), **content["chance"])
    check_rng_state(rng_state)
    return _Stored(epochs, steps, kept, best, sums, rng_state)


def _best(content: Mapping[str, Any], tensors: Mapping[str, Tensor], state: TrainState) -> Best:
    """The network of the best epoch so far."""
    said, own = content["best"], state.trained.state_dict()
    weights = _part(tensors, "best.")
    if {name: tensor.shape for name, tensor in weights.items()} != {
        name: tensor.shape for name, tensor in own.items()
    }:
        raise ValueError("the network of the best epoch is another one")
    if type(said["epoch"]) is not int or type(said["risen_at"]) is not int:
        raise ValueError(f"the best epoch is {said['epoch']!r}")
    found = {name: tensor.to(own[name].device, own[name].dtype) for name, tensor in weights.items()}
    return Best(said["epoch"], float(said["accuracy"]), float(said["loss"]), said["risen_at"], found)


def read_weights(path: Path, like: nn.Module | None = None) -> dict[str, Tensor]:
    """The trained weights in a checkpoint, by name; the moving average where there is one.

    Args:
        path: the file.
        like: a network of the same sizes; a file that is much too large for it is not read.

    Raises:
        DamagedError: the file is missing, too large or damaged.
    """
    _, tensors = read_tensors(path, most=most_of(like))
    return _part(tensors, "average.") or _part(tensors, "model.")


def _tensors(state: TrainState) -> dict[str, Tensor]:
    tensors = {f"model.{name}": tensor for name, tensor in state.model.state_dict().items()}
    tensors |= dict(kept_by(state.optimiser, state.model))
    if state.best is not None:
        tensors |= {f"best.{name}": tensor for name, tensor in state.best.weights.items()}
    if state.average is not None:
        tensors |= {f"average.{name}": tensor for name, tensor in state.average.state_dict().items()}
    if state.steps_done and state.sums is not None:
        tensors |= {"sums.loss": state.sums.loss, "sums.hits": state.sums.hits}
    return tensors


def _device(state: TrainState) -> torch.device:
    return next((parameter.device for parameter in state.model.parameters()), torch.device("cpu"))


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def most_of(network: nn.Module | None) -> int | None:
    """Bytes that a checkpoint of a network may have: weights, two moments, average and best, and a header."""
    if network is None:
        return None
    tensors = (*network.parameters(), *network.buffers())
    return 5 * sum(tensor.numel() * tensor.element_size() for tensor in tensors) + _HEADER


def read_tensors(
    path: Path, what: str = "checkpoint", most: int | None = None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What `write_tensors` wrote: the JSON, and the tensors by name.

    Args:
        path: the file.
        what: it is called in an error.
        most: bytes that it may have; None for any number.

    Raises:
        DamagedError: it is missing, too large or damaged.
    """
    with _whole(path, what):
        if most is not None and (size := path.stat().st_size) > most:
            raise ValueError(f"it has {size:,} bytes, more than {most:,}")
        content = _content(path)
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        said = content.pop("checksum")
    if said != _checksum(content, tensors):
        raise DamagedError(f"{what} must be as it was written, got {path.name}, whose checksum differs.")
    return content, tensors


def read_content(path: Path, what: str) -> dict[str, Any]:
    """The JSON alone of what `write_tensors` wrote, unchecked.

    Raises:
        DamagedError: it is missing or damaged.
    """
    with _whole(path, what):
        return _content(path)


def _content(path: Path) -> dict[str, Any]:
    check_regular(path)
    with safe_open(path, framework="pt") as file:
        content = load_json(file.metadata()[_KEY])
    if not isinstance(content, dict):
        raise TypeError("its metadata is no object")
    return content


@contextmanager
def _whole(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        why = "no such file" if isinstance(error, FileNotFoundError) else " ".join(str(error).split())
        raise DamagedError(f"{what} must be whole, got {path.name} ({why}).") from None


def _checksum(content: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    digest = blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_same_run(path: Path, found: Mapping[str, Any], expected: Mapping[str, Any] | None) -> None:
    """Refuse a file whose facts are not those expected; nothing is checked if none are.

    Raises:
        BadInputError: the first one that differs.
    """
    for name in expected or {}:
        own, theirs = json.loads(json.dumps((expected or {})[name])), found.get(name)
        theirs = as_written_now(theirs) if name == "recipe" else theirs
        if theirs != own:
            if isinstance(own, dict) and isinstance(theirs, dict):
                name = next(key for key in {**own, **theirs} if own.get(key) != theirs.get(key))  # noqa: PLW2901
                own, theirs = own.get(name), theirs.get(name)
            raise BadInputError(
                f"checkpoint must be of this run, got {path.name}, where {name} is {theirs}, not {own}. "
                "Start another run for other settings."
            )


def check_same_network(path: Path, own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    """Refuse weights that are not those of a network.

    Raises:
        BadInputError: the first name whose shape differs.
    """
    for name in sorted({*own, *weights}):
        expected, found = own.get(name), weights.get(name)
        if expected is None or found is None or expected.shape != found.shape:
            shapes = [list(t.shape) if isinstance(t, torch.Tensor) else "nothing" for t in (expected, found)]
            raise BadInputError(
                f"checkpoint must be of this network, got {path.name}, where {name} is {shapes[1]}, not {shapes[0]}."
            )
