"""`network.safetensors`: a trained network's weights under its own names, and what is needed to use them.

`safetensors.torch.load_file` reads the weights. What else is known (widths, classes, the images' mean and deviation)
stands in the file's metadata as JSON, so that the file alone is enough.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor, nn

from nas_prune.coding.file import is_compressed, read_compressed, read_header
from nas_prune.data.preprocessing import Preprocessing
from nas_prune.errors import DamagedError
from nas_prune.runs.problems import first_problem
from nas_prune.space.widths import Widths
from nas_prune.training.checkpoint import (
    check_same_network,
    check_same_run,
    most_of,
    read_content,
    read_tensors,
    write_tensors,
)
from nas_prune.training.weights_file import as_tensors


class NetworkRecord(BaseModel):
    """What a network's file says of it.

    Attributes:
        widths: of the network.
        preprocessing: of its images.
        facts: all that decided the training, as its checkpoints have it.
        epochs_done: of the training.
        kept_epoch: whose network it is; None for the last.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    widths: Widths
    preprocessing: Preprocessing
    facts: dict[str, Any] = {}
    epochs_done: int = Field(default=0, ge=0, strict=True)
    kept_epoch: int | None = Field(default=None, ge=1, strict=True)

    @model_validator(mode="after")
    def _of_one_network(self) -> "NetworkRecord":
        known, space = self.preprocessing, self.widths.space
        shape = (known.channels, known.size, known.size)
        if (shape, len(known.classes)) != (space.input_shape, space.num_classes):
            raise ValueError(
                f"images of {shape} in {len(known.classes)} classes are not those of the widths, {space.input_shape} "
                f"in {space.num_classes}"
            )
        return self


@dataclass(frozen=True, slots=True)
class NetworkFile:
    """A network as its file has it; the record is None in files of versions that wrote none."""

    path: Path
    weights: Mapping[str, Tensor]
    record: NetworkRecord | None

    def of_same_run(self, facts: Mapping[str, Any]) -> NetworkRecord:
        """The record of a training that these facts decide.

        Raises:
            BadInputError: the network is of another run.
        """
        check_same_run(self.path, {} if self.record is None else self.record.facts, facts)
        assert self.record is not None
        return self.record


def write_network(path: Path, model: nn.Module, record: NetworkRecord | None = None) -> None:
    """Write a network's weights, and what is needed to use them.

    Args:
        path: the file; whole or as it was, whatever happens.
        model: the network.
        record: what else is known of it.
    """
    content = {} if record is None else {"network": record.model_dump(mode="json")}
    write_tensors(path, model.state_dict(), content)


def read_network(path: Path, like: nn.Module) -> NetworkFile:
    """What `write_network` wrote.

    Args:
        path: the file.
        like: a network of the same sizes; a file that is much too large for it is not read.

    Raises:
        DamagedError: the file is missing, too large or damaged, or says of the network what cannot be.
    """
    if is_compressed(path):
        return _of_compressed(path, like)
    content, weights = read_tensors(path, "a network", most_of(like))
    return NetworkFile(path, weights, _record_in(content, path))


def read_record(path: Path) -> NetworkRecord | None:
    """What a network's file says of it, without its weights; None if it is of a version that wrote nothing.

    Raises:
        DamagedError: as `read_network`.
    """
    if is_compressed(path):
        return _record_in({"network": read_header(path)}, path)
    return _record_in(read_content(path, "a network"), path)


def _of_compressed(path: Path, like: nn.Module) -> NetworkFile:
    own = like.state_dict()
    file = read_compressed(path, most=sum(tensor.numel() for tensor in own.values()))
    return NetworkFile(path, as_tensors(file.arrays), _record_in({"network": dict(file.network)}, path))


def _record_in(content: Mapping[str, Any], path: Path) -> NetworkRecord | None:
    said = content.get("network")
    try:
        return None if said is None else NetworkRecord.model_validate_json(json.dumps(said))
    except ValidationError as error:
        raise DamagedError(
            f"a network must say what it is, got {path.name}: {first_problem(error)}."
        ) from None


def set_weights(network: nn.Module, file: NetworkFile) -> None:
    """Give a network the weights of a file, in place.

    Raises:
        BadInputError: the file is of another network.
        DamagedError: it holds what no training gives.
    """
    own = network.state_dict()
    check_same_network(file.path, own, file.weights)
    for name, tensor in file.weights.items():
        if tensor.is_floating_point() != own[name].is_floating_point() or not tensor.isfinite().all():
            raise DamagedError(
                f"a network must hold finite numbers, got {file.path.name}, where {name} does not."
            )
    network.load_state_dict(dict(file.weights))
