"""safetensors with a `model.py`: writing both, and running them as where nas-prune is not installed."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from nas_prune.errors import BadInputError
from nas_prune.export.model_source import Source
from nas_prune.runs.files import write_whole
from nas_prune.runs.text import one_line
from nas_prune.training.model_file import MODEL

_RUN = """
import json, sys
for name in ("nas_prune", "torchvision", "timm"):
    sys.modules[name] = None  # as where they are not installed
from time import perf_counter
import torch
from safetensors.torch import load_file, save_file
folder, given, scores, threads, runs, batch = sys.argv[1:]
sys.path.insert(0, folder)
import model
torch.set_num_threads(int(threads))
network = model.load(folder + "/model.safetensors")
images = load_file(given)["images"]
takes = getattr(model, "normalised", lambda images: images)
with torch.inference_mode():
    found = torch.cat([network(takes(some)) for some in images.split(int(batch))])
    save_file({"scores": found.contiguous()}, scores)
    image, seconds, warm_up = takes(images[:1]), [], min(10, int(runs))
    for _ in range(int(runs) + warm_up):
        start = perf_counter()
        network(image)
        seconds.append(perf_counter() - start)
        if sum(seconds) > 20:
            break
print(json.dumps(seconds[min(warm_up, len(seconds) // 2):]))
"""


@dataclass(frozen=True, slots=True, eq=False)
class Ran:
    """What a fresh process has done: scores, N×classes, and how long each run of a single image took."""

    scores: Tensor
    seconds: tuple[float, ...]


def write_plain(folder: Path, source: Source, facts: Mapping[str, str]) -> None:
    """Write `model.safetensors` and `model.py`."""
    tensors = {name: one.detach().clone().contiguous() for name, one in source.tensors.items()}
    # Not by save_file, whose file nobody but its owner could read.
    (folder / "model.safetensors").write_bytes(save(tensors, metadata=dict(facts)))
    write_whole(folder / MODEL, source.text)


def run_plain(folder: Path, images: Tensor, elsewhere: Path, *, threads: int, runs: int, batch: int) -> Ran:
    """Run what `write_plain` wrote in a fresh process that has no nas-prune, torchvision or timm.

    Args:
        folder: of both files.
        images: uint8, N×C×H×W.
        elsewhere: a folder for what is handed over.
        threads: of the process.
        runs: of a single image, for its time.
        batch: images at once.

    Raises:
        BadInputError: it fails.
    """
    given, scores = elsewhere / "images.safetensors", elsewhere / "scores.safetensors"
    save_file({"images": images.contiguous()}, given)
    words = map(str, (folder, given, scores, threads, runs, batch))
    done = subprocess.run(  # noqa: S603  (this Python, and a file that was just written)
        [sys.executable, "-B", "-c", _RUN, *words], cwd=elsewhere, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise BadInputError(
            f"{MODEL} must run by itself, got {one_line(last):.300}. Nothing was written. Use --to onnx or pt2."
        )
    return Ran(load_file(scores)["scores"].to(torch.float32), tuple(json.loads(done.stdout)))
