"""Trained networks to export, and running what was exported where nas-prune is not installed."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import nas_prune
from nas_prune.data.config import DataConfig, load_images
from nas_prune.data.preprocessing import preprocessing_of
from nas_prune.runs.progress import SILENT
from nas_prune.training.network_file import NetworkRecord, write_network

NETS = "tests.export.nets"
FRESH = """
import json, sys
for name in ("nas_prune", "torch"):
    sys.modules[name] = None  # as where they are not installed
import numpy, onnxruntime
onnxruntime.set_default_logger_severity(3)
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
known = session.get_modelmeta().custom_metadata_map
images = numpy.load(sys.argv[2])
if session.get_inputs()[0].type == "tensor(float)":
    mean, std = (numpy.array(json.loads(known[name]), numpy.float32).reshape(-1, 1, 1) for name in ("mean", "std"))
    images = (images.astype(numpy.float32) / 255 - mean) / std
batches = numpy.array_split(images, max(1, len(images) // 100))
scores = numpy.concatenate([session.run(["scores"], {"images": some})[0] for some in (images[:1], *batches)])
print(json.dumps({"found": scores[1:].argmax(1).tolist(), "alone": int(scores[0].argmax()), "known": known}))
"""


def in_onnx_runtime(file: Path, images: torch.Tensor, folder: Path) -> dict[str, Any]:
    """What a file of ONNX says of images, uint8, in a new process that has neither nas-prune nor torch."""
    import numpy as np

    np.save(folder / "images.npy", images.numpy())
    done = subprocess.run(
        [sys.executable, "-c", FRESH, str(file), str(folder / "images.npy")],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    said: dict[str, Any] = json.loads(done.stdout)
    return said


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of two seeds of a small network, cut, on digits; it tells them apart."""
    space = nas_prune.load_space(f"{NETS}:Small", (1, 8, 8), num_classes=10)
    config = nas_prune.TrainConfig(
        data="digits", epochs=6, schedule="scratch-e", seeds=2, threads=1, device="cpu"
    )
    run = tmp_path_factory.mktemp("exported") / "trained"
    nas_prune.train(config, space.widths([13] * len(space.base_G)), run, space=f"{NETS}:Small")
    return run


@pytest.fixture
def untrained(tmp_path: Path) -> Callable[[str], Path]:
    """A function that writes a network of `nets.py` as it is made, cut, as a training on digits would leave it."""

    def write(name: str) -> Path:
        torch.manual_seed(0)
        space = nas_prune.load_space(f"{NETS}:{name}", (1, 8, 8), num_classes=10)
        widths = space.widths([base // 2 for base in space.base_G])
        known = preprocessing_of(load_images(DataConfig(name="digits"), 0, SILENT))
        (tmp_path / name).mkdir()
        path = tmp_path / name / "network.safetensors"
        write_network(path, space.build(widths, seed=0), NetworkRecord(widths=widths, preprocessing=known))
        return path

    return write
