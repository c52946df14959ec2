"""Seconds of every width method, as multiples of plain training.

    python tools/bench_methods.py --data folder:cifar10-jpeg --image-size 16 --max-images 10000 --json FILE

Learned methods: a whole training with the method over one without it, both for all epochs. Scored ones: scoring a
trained network, in epochs of plain training. The legs run in turn, so that a busy moment hits all alike; each ratio is
taken within a turn, and the median over the turns is printed with the smallest and the largest.
"""

import argparse
import json
import os
import platform
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median

import torch

from nas_prune.data.config import DataConfig
from nas_prune.errors import BadInputError
from nas_prune.search.config import SearchConfig
from nas_prune.search.methods.registry import METHODS
from nas_prune.search.prepared import LoadedInputs
from nas_prune.search.run import search
from nas_prune.training.recipe import recipe_named

PLAIN = "l1-norm"  # trained as usual, and scored in milliseconds


def main() -> None:
    """Measure and print."""
    options = _options()
    report = {}
    for space, multiplier in (("vgg16", 0.5), ("resnet20", 1.0)):
        print(f"{space} × {multiplier:g}", flush=True)
        loaded = LoadedInputs()
        turns = [_turn(options, space, multiplier, loaded) for _ in range(options.repeats)]
        ratios = {name: [turn[name] for turn in turns] for name in turns[0]}
        report[space] = ratios
        for name, values in ratios.items():
            what = "× plain training" if METHODS[name].changes_training else "epochs' worth"
            spread = f"{min(values):.2f} to {max(values):.2f}"
            print(f"  {name:<20} {median(values):5.2f} {what} ({spread}, n = {len(values)})", flush=True)
    print(
        f"{os.cpu_count()} cores, {platform.machine()}, {options.threads} thread(s), torch {torch.__version__}"
    )
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--image-size", type=int, default=16)
    parser.add_argument("--max-images", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _turn(
    options: argparse.Namespace, space: str, multiplier: float, loaded: LoadedInputs
) -> dict[str, float]:
    """One run of each leg: the ratio of each method."""
    seconds: dict[str, float] = defaultdict(float)
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain"
        for name, method in METHODS.items():
            if method.is_control:
                continue
            config = SearchConfig(
                space=space,
                width_multiplier=multiplier,
                method=name,
                data=DataConfig(
                    name=options.data, image_size=options.image_size, max_images=options.max_images
                ),
                recipe=recipe_named("fast"),
                epochs=options.epochs,
                stop=False if method.shows_widths() else None,
                threads=options.threads,
            )
            if not plain.exists():
                usual = config.model_copy(update={"method": PLAIN, "stop": None})
                training = search(usual, plain, loaded=loaded).seconds
            try:
                trained = None if method.changes_training else plain
                seconds[name] = search(config, Path(folder) / name, trained=trained, loaded=loaded).seconds
            except BadInputError:
                continue  # it finds nothing to judge there
    per_epoch = training / options.epochs
    unit = {name: training if METHODS[name].changes_training else per_epoch for name in seconds}
    return {name: value / unit[name] for name, value in seconds.items()}


if __name__ == "__main__":
    main()
