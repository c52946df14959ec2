"""Networks of every kind, cut and trained: exported, and run where nas-prune is not installed."""

from pathlib import Path

import pytest
import torch

import nas_prune
from nas_prune.data import load_data
from nas_prune.data.preprocessing import preprocessing_of
from nas_prune.export.config import ExportConfig
from nas_prune.training.evaluation import class_scores
from tests.export.conftest import NETS, in_onnx_runtime

NETWORKS = [
    ("resnet20", 12, 0.02),
    ("torchvision:mobilenet_v2", 20, 0.05),
    ("densenet40", 3, 0.1),
    (f"{NETS}:Attention", 25, 0.05),
    (f"{NETS}:Small", 12, 0.1),
]


@pytest.fixture(scope="module", params=NETWORKS, ids=lambda one: one[0].rpartition(":")[2])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A network's name, and a training of it at 60 % of its widths."""
    name, epochs, rate = request.param
    size = 32 if "mobilenet" in name else 8
    data = {"name": "digits", "image_size": size, "max_images": 400 if size > 8 else None}
    channels = 3 if name.startswith("torchvision") else 1
    space = nas_prune.load_space(name, (channels, size, size), num_classes=10)
    vector = [
        max(int(least), int(0.6 * base)) for least, base in zip(space.floor_G, space.base_G, strict=True)
    ]
    recipe = nas_prune.TrainConfig(data=data, epochs=epochs).recipe.model_copy(update={"learning_rate": rate})
    config = nas_prune.TrainConfig(data=data, recipe=recipe, schedule="scratch-e", threads=1, device="cpu")
    out = tmp_path_factory.mktemp("families") / "run"
    nas_prune.train(config, space.widths(vector), out, space=name)
    return name, out


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"folds_norms": True, "with_preprocessing": True},
        {"to": "pt2"},
        {"to": "safetensors"},
        {"to": "int8-onnx"},
    ],
    ids=["onnx", "folded", "pt2", "safetensors", "int8"],
)
def test_every_network_says_the_same_of_every_image(
    run: tuple[str, Path], settings: dict[str, object], tmp_path: Path
) -> None:
    name, trained = run
    config = ExportConfig(**{"runs": 5, **settings})
    result = nas_prune.export_network(trained, config, out=tmp_path / "out", space=name)
    assert result.agreement.images == 359
    if config.to == "int8-onnx":
        assert result.agreement.accuracy > result.agreement.accuracy_before - 0.1
        return
    assert result.agreement.differing == 0
    if config.to != "onnx":
        return
    network = nas_prune.load_network(trained, space=name)
    channels, size = (3, 32) if "mobilenet" in name else (1, 8)
    data = load_data("digits", image_size=size, in_channels=channels, max_images=400 if size > 8 else None)
    known, images = preprocessing_of(data), data.test.sample()
    with torch.no_grad():
        found = torch.cat([class_scores(network, known.batch(some)).argmax(1) for some in images.split(100)])
    assert len(found.unique()) > 5  # it tells digits apart
    assert in_onnx_runtime(result.path, images, tmp_path)["found"] == found.tolist()
