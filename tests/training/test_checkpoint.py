"""Checkpoints with a right checksum and wrong content, as whoever writes files can make them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from nas_prune.data import ImageData, load_data
from nas_prune.errors import BadInputError
from nas_prune.training import checkpoint
from nas_prune.training.resumable import PREVIOUS, train_in
from tests.training.test_resumable import CHECKPOINT, restless, stopped


@pytest.fixture(scope="module")
def data() -> ImageData:
    return load_data("digits", max_images=400)


def rewritten(path: Path, change: Callable[[dict[str, Any], dict[str, Tensor]], object]) -> None:
    """Another content with a checksum of its own, as whoever writes files can make it."""
    with safe_open(path, framework="pt") as file:
        content = json.loads(file.metadata()["state"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    del content["checksum"]
    change(content, tensors)
    content["checksum"] = checkpoint._checksum(content, tensors)
    path.write_bytes(save(tensors, metadata={"state": json.dumps(content)}))


CHANGES: dict[str, Callable[[dict[str, Any], dict[str, Tensor]], object]] = {
    "no facts": lambda content, _: content.pop("facts"),
    "facts that are none": lambda content, _: content.update(facts=[1]),
    "no epochs": lambda content, _: content.pop("epochs_done"),
    "words for epochs": lambda content, _: content.update(epochs_done="3"),
    "epochs before the first": lambda content, _: content.update(epochs_done=-1),
    "a step of no state": lambda content, _: content.update(steps_done=1, chance={}),
    "other momentum": lambda _, tensors: tensors.update(
        {name: torch.zeros(7) for name in tensors if name.startswith("momentum.")}
    ),
    "weights gone": lambda _, tensors: tensors.pop(
        next(name for name in tensors if name.startswith("model."))
    ),
    "sums of another kind": lambda _, tensors: tensors.update({"sums.loss": torch.zeros(3)}),
    "no generator": lambda _, tensors: tensors.update({"chance.torch": torch.zeros(3, dtype=torch.uint8)}),
    "another chance": lambda content, _: content.update(chance={"python": [1], "numpy": []}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_checkpoint_with_a_right_checksum_and_wrong_content_is_refused(
    tmp_path: Path, data: ImageData, change: str
) -> None:
    training = stopped(tmp_path, data)
    for name in (CHECKPOINT, PREVIOUS):
        if (tmp_path / name).exists():
            rewritten(tmp_path / name, CHANGES[change])
    with pytest.raises(BadInputError, match="checkpoint must"):
        train_in(tmp_path, restless(), training)
