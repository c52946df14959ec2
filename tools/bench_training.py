"""Images a second of this project's training loop, beside the plain loop of the paper's code; and workers.

    python tools/bench_training.py --data folder:cifar10-jpeg [--sizes 16 32] [--repeats 5] [--json FILE]

ResNet-20, batches of 64 as in the paper. Each leg runs in a process of its own (measure_training.py says what it is
and what is timed), the legs in turn, so that a busy moment hits all alike. `loader-1` and `loader-0` are the plain loop
with one loader process, as in the paper's code, and with none. `outside` is the share of a step that is neither
forward nor backward, from one more leg that has a clock on both. The last lines train four candidates from start to
end: by two workers of one thread, and one after the other with two threads. `--only engine` is another table: networks
and widths as studies train them, in batches of 128, by this project's loop alone: as it was (float32, memory given back
to the system after every step), with memory that is kept, and that in bf16. On a CUDA device, where there is one, the
first table comes once more, in bf16 as this project chooses there; the plain loop is in float32, as in the paper's
code.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch

from nas_prune.data.config import DataConfig
from nas_prune.space.load import load_space
from nas_prune.training.config import TrainConfig
from nas_prune.training.recipe import recipe_named
from nas_prune.training.run import train

CHILD = Path(__file__).resolve().with_name("measure_training.py")
ENGINES = {
    "as it was": (),
    "memory kept": ("--keep-memory",),
    "kept, bf16": ("--keep-memory", "--precision", "bf16"),
}
NETWORKS = {
    "VGG-16 x 0.5": ("--space", "vgg16", "--width-multiplier", "0.5"),
    "VGG-16 x 0.5, 40 % MACs": ("--space", "vgg16", "--width-multiplier", "0.5", "--macs", "0.4"),
    "ResNet-20, 40 % MACs": ("--space", "resnet20", "--macs", "0.4"),
}
LEGS = ("engine", "loader-1", "loader-0", "watched")


def main() -> None:
    """Measure and print."""
    options = _options()
    devices = [] if options.only in ("workers", "engine") else ["cpu", *["cuda"] * torch.cuda.is_available()]
    report: dict[str, Any] = {"command": sys.argv, "legs": [], "workers": {}}
    if devices:
        print(_heading(), flush=True)
    for device in devices:
        for size in options.sizes:
            for threads in options.threads if device == "cpu" else [2]:
                row = _row(options, device, size, threads)
                report["legs"].append({"device": device, "size": size, "threads": threads, **row})
                print(_line(device, size, threads, row), flush=True)
    if options.only == "engine":
        report["engine"] = _engine(options)
    if options.only in (None, "workers"):
        report["workers"] = _workers(options)
        print("\n" + "\n".join(_worker_lines(report["workers"])))
    print("\n" + "\n".join(_setting(options)))
    if options.json is not None:
        report["setting"] = _setting(options)
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="digits", help="as for `nas-prune search`")
    parser.add_argument("--max-images", type=int, default=10_000)
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 32], help="pixels a side")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of torch, on the CPU")
    parser.add_argument("--steps", type=int, default=60, help="timed in each leg, after 10 more")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=["loop", "workers", "engine"], help="one of the tables")
    parser.add_argument("--epochs", type=int, default=4, help="of each candidate of the last table")
    parser.add_argument("--json", type=Path, metavar="FILE", help="save every number")
    return parser.parse_args()


def _row(
    options: argparse.Namespace, device: str, size: int, threads: int
) -> dict[str, list[dict[str, float]]]:
    row: dict[str, list[dict[str, float]]] = {leg: [] for leg in LEGS}
    for _ in range(options.repeats):
        for leg in LEGS:
            row[leg].append(_measured(options, leg, device, size, threads))
    return row


def _measured(
    options: argparse.Namespace, leg: str, device: str, size: int, threads: int
) -> dict[str, float]:
    settings = {
        "--image-size": size,
        "--threads": threads,
        "--device": device,
        "--precision": "bf16" if device == "cuda" and leg in ("engine", "watched") else "float32",
    }
    flags = [str(part) for pair in settings.items() for part in pair]
    more = ["--steps", str(5 * options.steps)] if device == "cuda" else []
    return _child(options, leg, [*flags, *more])


def _engine(options: argparse.Namespace) -> dict[str, dict[str, list[dict[str, float]]]]:
    """Networks as studies train them, by how this project's loop runs; printed."""
    print(
        f"images a second: median (smallest to largest)\n{'network':<26}"
        + "".join(f"{one:>24}" for one in ENGINES)
    )
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    for name, settings in NETWORKS.items():
        own: dict[str, list[dict[str, float]]] = {engine: [] for engine in ENGINES}
        for _ in range(options.repeats):
            for engine, flags in ENGINES.items():
                more = ["--batch-size", "128", "--image-size", str(options.sizes[0]), *settings, *flags]
                own[engine].append(_child(options, "engine", more))
        found[name] = own
        rates = {engine: [one["images_a_second"] for one in rows] for engine, rows in own.items()}
        cells = "".join(f"{_rate(each):>24}" for each in rates.values())
        first, *others = rates.values()
        print(
            f"{name:<26}{cells}   " + ", ".join(f"{median(_ratios(one, first)):.2f}" for one in others),
            flush=True,
        )
        memory = ", ".join(f"{median(one['peak_mib'] for one in rows):.0f}" for rows in own.values())
        print(f"{'':<26}MiB: {memory}", flush=True)
    return found


def _child(options: argparse.Namespace, leg: str, more: Sequence[str]) -> dict[str, float]:
    common = ["--data", options.data, "--max-images", str(options.max_images), "--steps", str(options.steps)]
    command = [sys.executable, str(CHILD), leg, *common, *more]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    report: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return report


def _rate(rate: Sequence[float]) -> str:
    return f"{median(rate):,.0f} ({min(rate):,.0f} to {max(rate):,.0f})"


def _heading() -> str:
    rates = "".join(f"{leg:>24}" for leg in LEGS)
    return (
        f"images a second: median (smallest to largest)\n{'device':<7}{'size':>5}{'threads':>8}{rates}"
        f"{'/loader-1':>11}{'/loader-0':>11}{'outside':>9}{'MiB':>6}{'loader-1 MiB':>14}{'loader-0 MiB':>14}"
    )


def _line(device: str, size: int, threads: int, row: dict[str, list[dict[str, float]]]) -> str:
    rates = {leg: [one["images_a_second"] for one in row[leg]] for leg in LEGS}
    cells = "".join(f"{_rate(rate):>24}" for rate in rates.values())
    ratios = [median(_ratios(rates["engine"], rates[leg])) for leg in ("loader-1", "loader-0")]
    outside = median(one["outside"] for one in row["watched"])
    memory = {leg: median(one["peak_mib"] for one in row[leg]) for leg in LEGS}
    return (
        f"{device:<7}{size:>5}{threads:>8}{cells}{ratios[0]:>11.2f}{ratios[1]:>11.2f}{outside:>9.1%}"
        f"{memory['engine']:>6.0f}{memory['loader-1']:>14.0f}{memory['loader-0']:>14.0f}"
    )


def _ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Repeat by repeat, since they ran side by side."""
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def _workers(options: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds for four candidates, by how they were trained."""
    size = options.sizes[0]
    seconds: dict[str, list[float]] = {"two workers, one thread each": [], "one process, two threads": []}
    for _ in range(options.repeats):
        for (_, taken), (workers, threads) in zip(seconds.items(), ((2, 1), (1, 2)), strict=True):
            taken.append(_candidates(options, size, workers, threads))
    return seconds


def _candidates(options: argparse.Namespace, size: int, workers: int, threads: int) -> float:
    space = load_space("resnet20", (3, size, size))
    config = TrainConfig(
        data=DataConfig(name=options.data, image_size=size, max_images=options.max_images),
        recipe=recipe_named("paper-cifar").with_epochs(options.epochs),
        schedule="scratch-e",
        seeds=(0, 1, 2, 3),
        threads=threads,
        device="cpu",
    )
    with tempfile.TemporaryDirectory() as folder:
        started = perf_counter()
        train(config, space.widths(space.base_G), Path(folder) / "run", workers=workers)
        return perf_counter() - started


def _worker_lines(seconds: dict[str, list[float]]) -> list[str]:
    lines = [
        f"{what}: {4 * 3600 / median(taken):,.0f} candidates an hour ({median(taken):.0f} s for four, "
        f"{min(taken):.0f} to {max(taken):.0f})"
        for what, taken in seconds.items()
    ]
    workers, alone = seconds.values()
    return [*lines, f"ratio: {median(_ratios(alone, workers)):.2f}"]


def _setting(options: argparse.Namespace) -> list[str]:
    """Under what all this was measured."""
    gpu = [torch.cuda.get_device_name()] if torch.cuda.is_available() else []
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "pillow"))
    images = 128 if options.only == "engine" else 64
    return [
        f"n = {options.repeats}, {options.steps} steps of {images} images each, legs in turn; {options.data}",
        f"memory: largest proportional set size of the process and its children, {options.max_images:,} images",
        ", ".join(
            [_processor(), f"{os.cpu_count()} cores", *gpu, f"Python {platform.python_version()}", libraries]
        ),
    ]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


if __name__ == "__main__":
    main()
