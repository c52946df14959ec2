"""A network that is saved, and rebuilt in another process from its widths file alone."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_model

from nas_prune import NasPruneError, load_space, rebuild
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.widths import Widths
from tests.properties import leaves

# A factory that another process can import, and what the network is called with.
FACTORIES = {
    "mine": """
from tests.space.test_inputs import Words as make, WORDS
example = {"words": WORDS}
""",
    "transformers": """
import torch, transformers
def make():
    config = transformers.BertConfig(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, vocab_size=100)
    return transformers.BertForSequenceClassification(config)
words = torch.ones(2, 9, dtype=torch.long)
example = {"input_ids": words * 99, "attention_mask": words}
""",
    "ultralytics": """
from ultralytics.nn.tasks import DetectionModel
def make():
    return DetectionModel("yolo11n.yaml", verbose=False)
example = (3, 64, 64)
""",
    "a YOLO around its backbone": """
from torch import nn
from ultralytics.nn.modules import Index
from ultralytics.nn.tasks import DetectionModel
class Backbone(nn.Sequential):
    def forward(self, image):
        maps = [image := layer(image) for layer in self]
        return [maps[4], maps[6], maps[10]]
def make():
    yolo = DetectionModel("yolo11n.yaml", nc=10, verbose=False)
    places = [Backbone(*yolo.model[:11]), *(Index({4: 0, 6: 1}.get(place, 2)) for place in range(1, 11))]
    for place, module in enumerate(places):
        module.i, module.f = place, 0 if place else -1
    yolo.model, yolo.save = nn.Sequential(*places, *yolo.model[11:]), [0, *yolo.save]
    return yolo
example, part = (3, 64, 64), "model.0"
""",
    "a part": """
from tests.space.test_part import Detector as make
example, part = (3, 8, 8), "backbone"
""",
}
OTHER_PROCESS = """
import sys, warnings, torch
warnings.simplefilter("ignore")
import nas_prune
network = nas_prune.rebuild("widths.json", "network.safetensors", space=sys.argv[1] or None).eval()
args, kwargs = torch.load("inputs.pt", weights_only=True)
with torch.no_grad():
    output = network(*args, **kwargs)
from tests.properties import leaves
torch.save(leaves(dict(output) if hasattr(output, "keys") else output), "outputs.pt")
"""


def saved_and_rebuilt(name: str, space: SearchSpace, folder: Path, typed: str) -> None:
    widths = [max(1, base * 2 // 3) for base in space.base_G]
    network = space.build(widths, seed=3).eval()
    space.widths(widths).write(folder / "widths.json")
    save_model(network, str(folder / "network.safetensors"))
    call = space.forward if not space.forward.part else type(space.forward)(space.reference.call)
    inputs = call.sampled(network, 2, seed=5)
    torch.save(inputs, folder / "inputs.pt")
    run = [sys.executable, "-c", OTHER_PROCESS, typed]
    root = Path(__file__).parents[2]
    environment = {
        "PYTHONPATH": f"{root}:{folder}",
        "OMP_NUM_THREADS": "1",
        "PATH": "/usr/bin",
        "HOME": str(folder),
    }
    subprocess.run(run, cwd=folder, check=True, env=environment)
    with torch.no_grad():
        output = call.run(network, inputs)
    here = leaves(dict(output) if hasattr(output, "keys") else output)
    there = torch.load(folder / "outputs.pt", weights_only=True)
    assert len(here) == len(there) > 0
    assert all(map(torch.equal, here, there)), name


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "mine",
        *(pytest.param(one, marks=pytest.mark.slow) for one in FACTORIES if one != "mine"),
    ],
)
def test_a_network_of_ones_own_is_rebuilt(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("transformers", "ultralytics"):
        if library in FACTORIES[name]:
            pytest.importorskip(library)
    module = f"factory_{name.replace(' ', '_')}"
    (tmp_path / f"{module}.py").write_text(FACTORIES[name], encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = __import__(module)
    space = load_space(f"{module}:make", found.example, part=getattr(found, "part", ""))
    saved_and_rebuilt(name, space, tmp_path, f"{module}:make")
    with pytest.raises(NasPruneError, match="must be given again"):
        rebuild(tmp_path / "widths.json")


@pytest.mark.slow
def test_a_network_of_a_library_is_rebuilt_from_the_file_alone(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    saved_and_rebuilt("timm", load_space("timm:mobilenetv3_small_050", (3, 32, 32)), tmp_path, "")


def test_weights_of_other_widths_are_refused_in_one_line(tmp_path: Path) -> None:
    space = load_space("vgg11", (1, 8, 8))
    save_model(space.build([8] * 8, seed=0), str(tmp_path / "weights.safetensors"))
    widths: Widths = space.widths([7] * 8)
    with pytest.raises(NasPruneError, match="weights must be a safetensors file of this network") as caught:
        rebuild(widths, tmp_path / "weights.safetensors")
    assert "\n" not in str(caught.value)
    with pytest.raises(NasPruneError, match="nowhere.safetensors"):
        rebuild(widths, tmp_path / "nowhere.safetensors")
    (tmp_path / "torn.safetensors").write_bytes((tmp_path / "weights.safetensors").read_bytes()[:1000])
    with pytest.raises(NasPruneError, match="torn.safetensors"):
        rebuild(space.widths([8] * 8), tmp_path / "torn.safetensors")
