"""One child of bench_graph.py: builds one network, then times and weighs one tool's work on it.

    python tools/measure_graph.py resnet18 ours REPORT [--repeats 3] [--threads 1]

Writes into REPORT one JSON line when the network stands, and one as each leg ends: `trace` and `checked` for this
project; for Torch-Pruning `peer`, its dependency graph, and `grouped`, that and all its groups. What a leg times is
the tool's call alone: imports, building the network, a warm-up on a tiny network and a collection of Python's garbage
come before. Memory is the largest resident size during the leg less that of the process when the network stood, its
weights (zeros) included. Linux only.
"""

import argparse
import contextlib
import gc
import json
import re
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, TypeAlias

import torch
from torch import nn

from nas_prune.graph.channels import ChannelGraph, channel_graph
from nas_prune.graph.check import checked
from nas_prune.graph.tensors import structure
from nas_prune.space.initialise import record_inits
from nas_prune.space.models.resnet import resnet

Shape: TypeAlias = tuple[int, int, int]
Work: TypeAlias = Callable[[], object]

CIFAR = "cifar_resnet"  # and its depth: names that torchvision does not know
_ENOUGH_SECONDS = 5.0  # a leg that has taken as long is not repeated


def main() -> None:
    """Build, warm up, measure leg by leg."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("tool", choices=LEGS)
    parser.add_argument("report", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model, shape = _built(options.model)
    legs = LEGS[options.tool]
    for prepare in legs.values():
        prepare(_tiny(), (3, 32, 32))()
    gc.collect()
    before_mib = _resident_mib("VmRSS")
    _write(options.report, {"leg": "ready"})
    for name, prepare in legs.items():
        _write(options.report, {"leg": name} | _measured(prepare, model, shape, options.repeats, before_mib))


def _built(name: str) -> tuple[nn.Module, Shape]:
    """A network whose weights are zeros, and the shape of its input."""
    network, _ = record_inits(lambda: _constructed(name))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()  # so that its memory is there before anything is measured
    size = 32 if name.startswith(CIFAR) else 299 if name == "inception_v3" else 224
    return network, (3, size, size)


def _constructed(name: str) -> nn.Module:
    if name.startswith(CIFAR):
        return resnet(int(name.removeprefix(CIFAR)), in_channels=3, num_classes=10, image_size=32)
    from torchvision import models

    is_segmentation = name in models.list_models(module=models.segmentation)
    backbone = {"weights_backbone": None} if is_segmentation else {}
    network: nn.Module = models.get_model(name, weights=None, **backbone)
    return network


def _tiny() -> nn.Module:
    """A network with the commonest layers, so that what torch loads on first use is loaded."""
    features = (nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1))
    return nn.Sequential(*features, nn.Flatten(), nn.Linear(8, 4))


def _trace(model: nn.Module, shape: Shape) -> Work:
    return lambda: channel_graph(model, shape)


def _checked(model: nn.Module, shape: Shape) -> Work:
    template = structure(model)
    return lambda: checked(template, shape)


def _peer(model: nn.Module, shape: Shape) -> Callable[[], Any]:
    """Torch-Pruning's graph, in the manner of its example for torchvision."""
    import torch_pruning

    model.eval().requires_grad_()
    images = torch.randn(1, *shape)
    return lambda: torch_pruning.DependencyGraph().build_dependency(model, example_inputs=images)


def _grouped(model: nn.Module, shape: Shape) -> Work:
    """Torch-Pruning's graph and then its groups one by one, as its pruners ask for them."""
    build = _peer(model, shape)
    return lambda: sum(1 for _ in build().get_all_groups())


LEGS: dict[str, dict[str, Callable[[nn.Module, Shape], Work]]] = {
    "ours": {"trace": _trace, "checked": _checked},
    "peer": {"peer": _peer, "grouped": _grouped},
}


def _measured(
    prepare: Callable[[nn.Module, Shape], Work],
    model: nn.Module,
    shape: Shape,
    repeats: int,
    before_mib: float,
) -> dict[str, Any]:
    """Seconds of each repeat and the memory of all, or what the tool raised."""
    seconds: list[float] = []
    _forget_peak()
    try:
        work = prepare(model, shape)
        while len(seconds) < repeats and sum(seconds) < _ENOUGH_SECONDS:
            taken, layers = _timed(work)
            seconds.append(taken)
    except Exception as error:  # noqa: BLE001  (whatever a tool raises is its row's answer)
        return {"error": _in_short(error)}
    extra_mib = max(0.0, _resident_mib("VmHWM") - before_mib)
    return {"seconds": seconds, "extra_mib": extra_mib, "layers": layers}


def _timed(work: Work) -> tuple[float, int | None]:
    """Seconds of one call, and the number of layers if it found a channel graph."""
    gc.collect()  # else the first call pays for the garbage of the imports
    started = perf_counter()
    result = work()
    taken = perf_counter() - started
    return taken, len(result.layers) if isinstance(result, ChannelGraph) else None


def _in_short(error: Exception) -> str:
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _forget_peak() -> None:
    """Let the largest resident size begin at the present one; where the kernel refuses, it is of the whole process."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _resident_mib(field: str) -> float:
    """Resident memory of this process: `VmRSS` now, `VmHWM` at its largest."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    found = re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def _write(report: Path, line: dict[str, Any]) -> None:
    with report.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
