"""One child of bench_training.py: trains one network in one way, and reports images a second and memory.

    python tools/measure_training.py engine --data digits --image-size 16 [--steps 60] [--threads 1] [--device cpu]

Prints one JSON line. `engine` is this project's loop; `loader-1` and `loader-0` are the plain loop of the paper's code:
Pillow images, transforms one by one, a `DataLoader` with one worker process or none, `loss.item()` at every step.
`watched` is `engine` with a clock on forward and backward, which waits for the device: `outside` is the share of a step
that is neither. Seconds are between the ends of steps,
after a warm-up; epochs go over into each other, and what lies between them counts, but for evaluation, which no leg
does. Memory is the largest resident size of the process and of its children, the images included. Linux only.

    python tools/measure_training.py engine --data folder:cifar10-jpeg --space vgg16 --width-multiplier 0.5 --macs 0.4

trains another network than ResNet-20, at uniform widths of a share of its MACs; `--keep-memory` does so as the command
and its workers do.
"""

import argparse
import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from nas_prune.data import ImageData, load_data
from nas_prune.runs.memory import keep_freed_memory
from nas_prune.space.budget import Budget
from nas_prune.space.cut import matched
from nas_prune.space.load import load_space
from nas_prune.space.models.resnet import resnet
from nas_prune.training import loop
from nas_prune.training.compute import Compute
from nas_prune.training.loop import Training, fit
from nas_prune.training.recipe import Recipe, recipe_named
from nas_prune.training.state import start

WARM_UP = 10  # steps
_POLL_SECONDS = 0.05


class _EnoughError(Exception):
    """The steps asked for are done."""


def main() -> None:
    """Train, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("leg", choices=LEGS)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--image-size", type=int, default=16)
    parser.add_argument("--max-images", type=int)
    parser.add_argument("--depth", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["float32", "bf16"], default="float32")
    parser.add_argument("--space", help="another network than ResNet-20")
    parser.add_argument("--width-multiplier", type=float, default=1.0)
    parser.add_argument("--macs", type=float, default=1.0, help="share of its MACs")
    parser.add_argument("--keep-memory", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.keep_memory:
        keep_freed_memory()
    data = load_data(
        options.data, image_size=options.image_size, in_channels=3, max_images=options.max_images
    )
    device = torch.device(options.device)
    torch.manual_seed(0)
    network = _network(options, data.num_classes).to(device)
    compute = Compute(
        device, options.precision, channels_last=True
    )  # as `nas-prune` chooses for this network
    recipe = recipe_named("paper-cifar").model_copy(update={"batch_size": options.batch_size})
    ends = _Ends(options.steps, device)
    with _Memory() as memory, contextlib.suppress(_EnoughError):
        LEGS[options.leg](network, data, recipe, compute, ends)
    report = {
        "seconds_a_step": ends.seconds_a_step(),
        "peak_mib": memory.peak_mib,
        "outside": ends.outside(),
    }
    print(json.dumps(report | {"images_a_second": options.batch_size / report["seconds_a_step"]}))


def _network(options: argparse.Namespace, classes: int) -> nn.Module:
    size = options.image_size
    if options.space is None:
        return resnet(options.depth, in_channels=3, num_classes=classes, image_size=size)
    space = load_space(
        options.space, (3, size, size), num_classes=classes, width_multiplier=options.width_multiplier
    )
    if options.macs == 1:
        return space.build(seed=0)
    return space.build(matched(space, space.searched("inner"), Budget("macs", options.macs)).widths_G, seed=0)


class _Ends:
    """When steps ended."""

    def __init__(self, steps: int, device: torch.device) -> None:
        self._left, self._steps, self._device = steps + WARM_UP, steps, device
        self._first = 0.0
        self._last = 0.0
        self._inside = 0.0

    def note(self, *_: object) -> None:
        """A step has ended."""
        self._left -= 1
        if self._left == self._steps:
            self._first, self._inside = self._now(), 0.0
        if self._left == 0:
            self._last = self._now()
            raise _EnoughError

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return perf_counter()

    def clocked(self, run: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time counted as that of forward and backward."""

        def clocked(*arguments: object, **settings: object) -> Any:
            started = self._now()
            result = run(*arguments, **settings)
            self._inside += self._now() - started
            return result

        return clocked

    def outside(self) -> float:
        """The share of the steps after the warm-up that no clocked function took."""
        return 1 - self._inside / (self._last - self._first)

    def seconds_a_step(self) -> float:
        """Mean over the steps after the warm-up."""
        return (self._last - self._first) / self._steps


def _engine(network: nn.Module, data: ImageData, recipe: Recipe, compute: Compute, ends: _Ends) -> None:
    loop.evaluate = lambda *_, **__: (0.0, 0.0)
    training = Training(data.to(compute.device), recipe, 0, compute)
    fit(start(network, recipe), training, on_step=ends.note)


def _watched(network: nn.Module, data: ImageData, recipe: Recipe, compute: Compute, ends: _Ends) -> None:
    forward, backward = loop._Loop._loss, Tensor.backward  # noqa: SLF001
    loop._Loop._loss = ends.clocked(forward)  # type: ignore[method-assign]  # noqa: SLF001
    Tensor.backward = ends.clocked(backward)  # type: ignore[method-assign]
    _engine(network, data, recipe, compute, ends)


class _Pictures(Dataset[tuple[Tensor, int]]):
    """Pictures as torchvision's CIFAR keeps them: one array, an image made of a row when it is asked for."""

    def __init__(self, data: ImageData, vary: Callable[[Image.Image], Tensor]) -> None:
        self._pixels = data.train.sample().permute(0, 2, 3, 1).contiguous().numpy()
        self._labels = data.train.labels.tolist()
        self._vary = vary

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        return self._vary(Image.fromarray(self._pixels[place])), self._labels[place]


def _loader(workers: int) -> Callable[[nn.Module, ImageData, Recipe, Compute, _Ends], None]:
    def train(network: nn.Module, data: ImageData, recipe: Recipe, compute: Compute, ends: _Ends) -> None:
        for images, labels in _forever(data, recipe, workers, compute.device):
            for group in optimiser.param_groups:
                group["lr"] = recipe.learning_rate
            here, wanted = images.to(compute.device), labels.to(compute.device)
            optimiser.zero_grad()
            scores = network(here)
            loss = cross_entropy(scores, wanted)
            totals[0] += loss.item()
            totals[1] += float((scores.argmax(1) == wanted).sum().item())
            loss.backward()
            optimiser.step()
            ends.note()

    totals = [0.0, 0.0]

    def prepared(network: nn.Module, data: ImageData, recipe: Recipe, compute: Compute, ends: _Ends) -> None:
        nonlocal optimiser
        optimiser = torch.optim.SGD(
            network.parameters(), recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay
        )
        network.train()
        train(network, data, recipe, compute, ends)

    optimiser: torch.optim.SGD
    return prepared


def _forever(
    data: ImageData, recipe: Recipe, workers: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    padding = round(recipe.crop_share * data.image_size)
    vary = transforms.Compose(
        [
            transforms.Pad(padding),
            transforms.RandomCrop(data.image_size),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(data.mean, data.std),
        ]
    )
    loader = DataLoader(
        _Pictures(data, vary),
        recipe.batch_size,
        shuffle=True,
        num_workers=workers,
        pin_memory=device.type == "cuda",
    )
    while True:
        yield from loader


LEGS: dict[str, Callable[[nn.Module, ImageData, Recipe, Compute, _Ends], None]] = {
    "engine": _engine,
    "loader-1": _loader(1),
    "loader-0": _loader(0),
    "watched": _watched,
}


class _Memory:
    """The largest resident size of this process and its children inside the block."""

    def __init__(self) -> None:
        self.peak_mib = 0.0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "_Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.is_set():
            self.peak_mib = max(self.peak_mib, sum(map(_private_mib, _family(os.getpid()))))
            sleep(_POLL_SECONDS)


def _family(process: int) -> list[int]:
    try:
        tasks = Path(f"/proc/{process}/task").iterdir()
        children = [int(one) for task in tasks for one in (task / "children").read_text().split()]
    except OSError:
        return [process]
    return [process, *(other for child in children for other in _family(child))]


def _private_mib(process: int) -> float:
    """Proportional set size: pages that two processes share count half for each."""
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("Pss:")), 0.0)


if __name__ == "__main__":
    main()
