"""`model.py` makes the trained network in plain torch, to the bit, or is not written."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nas_prune.cli import main
from nas_prune.data.decode import decode_files
from nas_prune.data.preprocessing import Preprocessing
from nas_prune.space.load import load_space
from nas_prune.space.search_space import SearchSpace
from nas_prune.training import model_file
from nas_prune.training.model_file import MODEL, write_model
from tests.kinds_of_pictures import MADE

PLAIN = """
import sys
sys.modules["nas_prune"] = None  # as where it is not installed
sys.path.insert(0, "t")
from pathlib import Path
import torch
from model import CLASSES, load, normalised, read

network = load("t/seed-0/network.safetensors")
hits = count = 0
for label, name in enumerate(CLASSES):
    images = torch.stack([read(file) for file in sorted(sorted(Path("images/test").iterdir())[label].iterdir())])
    with torch.no_grad():
        hits += int((network(normalised(images)).argmax(1) == label).sum())
    count += len(images)
print(hits / count)
"""


def preprocessing(space: SearchSpace) -> Preprocessing:
    channels, size, _ = space.reference.image
    classes = tuple(f"class {label} \"'{{}}" for label in range(space.reference.num_classes))
    return Preprocessing(
        classes=classes, channels=channels, size=size, mean=(0.5,) * channels, std=(0.25,) * channels
    )


def why_not(space: SearchSpace, tmp_path: Path, keep: float = 0.7) -> str | None:
    vector = [max(floor, int(keep * base)) for floor, base in zip(space.floor_G, space.base_G, strict=True)]
    return write_model(tmp_path, space, space.widths(vector), preprocessing(space))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("resnet20", (1, 8, 8)),
        ("vgg11", (3, 16, 16)),
        ("densenet40", (3, 8, 8)),
        ("lenet5", (1, 8, 8)),
        pytest.param("preresnet164", (3, 8, 8), marks=pytest.mark.slow),
        ("torchvision:shufflenet_v2_x0_5", (3, 32, 32)),
        pytest.param("torchvision:mobilenet_v2", (3, 32, 32), marks=pytest.mark.slow),
        pytest.param("torchvision:swin_t", (3, 64, 64), marks=pytest.mark.slow),
        pytest.param("torchvision:vit_b_16", (3, 32, 32), marks=pytest.mark.slow),
        pytest.param("timm:regnety_002", (3, 64, 64), marks=pytest.mark.slow),
        pytest.param("timm:vit_tiny_patch16_224", (3, 64, 64), marks=pytest.mark.slow),
    ],
)
def test_named_networks_are_made_without_nas_prune(
    name: str, shape: tuple[int, int, int], tmp_path: Path
) -> None:
    if name.startswith("timm"):
        pytest.importorskip("timm")
    assert why_not(load_space(name, shape, num_classes=4), tmp_path) is None
    text = (tmp_path / MODEL).read_text(encoding="utf-8")
    assert "import nas_prune" not in text
    assert "from nas_prune" not in text


def test_what_cannot_be_made_so_is_said(tmp_path: Path) -> None:
    space = load_space("resnet20", (1, 8, 8))
    shorter = space.widths(space.base_G, removed=["layer1.1"])
    why = write_model(tmp_path, space, shorter, preprocessing(space))
    assert "parts that the whole one has not, or is without some" in str(why)
    given = load_space(load_space("vgg11", (1, 8, 8)).build(seed=0), (1, 8, 8))
    assert "no name" in str(why_not(given, tmp_path))
    assert not (tmp_path / MODEL).exists()


@pytest.mark.slow
def test_plain_torch_gives_the_accuracy_that_the_run_reports(
    in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    for part, count in (("train", 12), ("test", 7)):
        for label, name in enumerate(("a", "b b", "c\udcff")):  # a name that is no UTF-8
            folder = Path("images", part, name)
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 120, (33, 40 + number, 3)) + 60 * label
                image = Image.fromarray(pixels.astype(np.uint8))
                exif = Image.Exif()
                exif[0x0112] = 1 + number % 8
                image.save(folder / f"{number}.{('jpg', 'png', 'tif')[number % 3]}", exif=exif)
    common = ["--data", "folder:images", "--out"]
    budget = ["--image-size", "8", "--budget", "macs<=50%"]
    assert main(["search", "--method", "uniform", *budget, *common, "s"]) == 0
    assert (
        main(["train", "--widths", "s/widths/macs-50pct.json", "--epochs", "2", "--seeds", "1", *common, "t"])
        == 0
    )
    said = json.loads(Path("t/result.json").read_text(encoding="utf-8"))
    assert said["classes"] == ["a", "b b", r"c\udcff"]
    assert [line["epoch"] for line in said["seeds"][0]["epochs"]] == list(range(1, said["epochs"] + 1))
    Path("plain.py").write_text(PLAIN, encoding="utf-8")
    done = subprocess.run([sys.executable, "plain.py"], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert float(done.stdout) == said["seeds"][0]["test_accuracy"]
    capsys.readouterr()
    assert main(["predict", "t", "--data", "images", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == said["seeds"][0]["test_accuracy"]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", MADE)
def test_images_of_every_kind_are_read_as_here(name: str, channels: int, tmp_path: Path) -> None:
    MADE[name][0](tmp_path / name)
    ours = decode_files([tmp_path / name], image_size=12, in_channels=channels, root=tmp_path).images[0]
    namespace: dict[str, Any] = {"torch": torch, "CHANNELS": channels, "SIZE": 12}
    exec(model_file.READ, namespace)  # noqa: S102
    assert torch.equal(namespace["read"](tmp_path / name), ours)
