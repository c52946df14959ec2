"""Weights that a person names: a safetensors file, or one of PyTorch's, read without running anything in it.

A `.pth` file is a pickle. PyTorch's own restricted reader (`weights_only=True`) makes tensors and plain containers of
it and refuses the rest; it is used for a file that a person has named, and for no other.
"""

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from warnings import catch_warnings, simplefilter

import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from nas_prune.coding.file import SUFFIX, read_compressed
from nas_prune.errors import BadInputError
from nas_prune.runs.reading import check_regular
from nas_prune.runs.text import one_line

_SAFE = ".safetensors"
_PICKLED = (".pth", ".pt", ".bin", ".ckpt", ".tar")
# What training scripts put around a network's own weights; the average is what they would use.
_INSIDE = (
    "state_dict_ema",
    "model_ema",
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "weights",
    "params",
)
_MOST_DEEP = 3


def read_weights_file(path: Path) -> dict[str, Tensor]:
    """The tensors in a file of weights, by the names that they have there.

    Args:
        path: `.safetensors`, `.nasp` (a compressed network), or one of PyTorch's: a state dictionary, or a checkpoint
            that holds one.

    Raises:
        BadInputError: it cannot be read, or holds no weights.
    """
    try:
        check_regular(path)
        if path.suffix == SUFFIX:
            return as_tensors(read_compressed(path).arrays)
        found = _read_safe(path) if path.suffix == _SAFE else _read_pickled(path)
    except (OSError, SafetensorError, UnpicklingError, ValueError) as error:
        raise BadInputError(
            f"--weights must name a file that can be read, got {path}: {_said(error)}"
        ) from None
    if not found:
        raise BadInputError(
            f"--weights must name a file with a network's weights, got {path}, which holds none."
        )
    return found


def as_tensors(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
    """Arrays as tensors of their own, by name."""
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}


def _said(error: Exception) -> str:
    if isinstance(error, UnpicklingError):
        return (
            "it is no file of PyTorch's, or holds more than tensors, which is not loaded. Save the weights alone: "
            "torch.save(model.state_dict(), 'weights.pth')."
        )
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{one_line(said)[:200].rstrip('.')}."


def _read_safe(path: Path) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _read_pickled(path: Path) -> dict[str, Tensor]:
    if path.suffix not in _PICKLED:
        raise ValueError(f"its name must end in {_SAFE}, {SUFFIX} or one of {', '.join(_PICKLED)}")
    try:
        with catch_warnings():
            simplefilter("ignore")  # of files by other pickles
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, UnpicklingError):
        raise
    except Exception as error:  # noqa: BLE001  (it fails in any way on what is no pickle, or is damaged)
        raise ValueError(f"it is damaged, or no file of PyTorch's ({type(error).__name__})") from None
    return _weights_in(content, _MOST_DEEP)


def _weights_in(content: Any, depth: int) -> dict[str, Tensor]:
    """The weights that a checkpoint holds under one of the usual names, or those that it is."""
    for name in _INSIDE if isinstance(content, Mapping) and depth else ():
        if found := _weights_in(content.get(name), depth - 1):
            return found
    return _tensors(content)


def _tensors(content: Any) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        return {}
    found = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    odd = next((name for name, one in found.items() if not isinstance(name, str) or not _is_plain(one)), None)
    if odd is not None:
        raise ValueError(f"its tensors must be plain ones, got {odd}, which is sparse, quantised or complex")
    return {name: value.detach() for name, value in found.items()}


def _is_plain(tensor: Tensor) -> bool:
    is_stored = tensor.layout == torch.strided and not tensor.is_meta
    return is_stored and not tensor.is_quantized and not tensor.is_complex()
