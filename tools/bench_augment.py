"""Batches of augmented images a second, one thread, for each augmentation of a recipe.

    python tools/bench_augment.py [--data folder:cifar10-jpeg] [--image-size 32] [--images 5000] [--repeats 5]

Each leg takes one epoch of batches of 128 from memory, as a training does, and trains nothing. Legs come in turn, so
that a busy moment hits all alike. `plain` crops and mirrors.
"""

import argparse
import platform
from importlib.metadata import version
from statistics import median
from time import perf_counter
from typing import Any

import torch

from nas_prune.data import ImageData, load_data, train_batches
from nas_prune.training.recipe import Recipe

LEGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "randaugment (2 of 9)": {"randaugment": {}},
    "color_jitter 0.4": {"color_jitter": 0.4},
    "color_jitter 0.4, hue 0.1": {
        "color_jitter": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
    },
    "random_erasing 0.25": {"random_erasing": 0.25},
    "mixup 0.2 and cutmix 1": {"mixup": 0.2, "cutmix": 1.0},
    "balance: sampling": {"balance": "sampling"},
    "all": {"randaugment": {}, "color_jitter": 0.4, "random_erasing": 0.25, "mixup": 0.2, "cutmix": 1.0},
}


def main() -> None:
    """Measure and print."""
    options = _options()
    torch.set_num_threads(1)
    data = load_data(options.data, image_size=options.image_size, max_images=options.images)
    rates: dict[str, list[float]] = {name: [] for name in LEGS}
    for number in range(options.repeats + 1):
        for name, changes in LEGS.items():
            rate = images_per_second(data, changes, epoch=number)
            if number:  # the first warms up
                rates[name].append(rate)
    print(f"| recipe | images a second, n = {options.repeats} | smallest to largest |\n|---|---|---|")
    for name, found in rates.items():
        print(f"| {name} | {median(found):,.0f} | {min(found):,.0f} to {max(found):,.0f} |")
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision"))
    print(f"\n{options.image_size} px, batches of 128, one thread, {platform.processor()}, {versions}")


def images_per_second(data: ImageData, changes: dict[str, Any], *, epoch: int) -> float:
    """Of one epoch."""
    given = {"name": "x", "epochs": 1, "batch_size": 128, "learning_rate": 0.1, "schedule": "cosine"}
    recipe = Recipe.model_validate({**given, **changes})
    started, seen = perf_counter(), 0
    batches = train_batches(
        data.train,
        batch_size=128,
        mean=data.mean,
        std=data.std,
        augment=recipe.augment(data.image_size, can_mirror=True),
        seed=0,
        epoch=epoch,
        num_classes=data.num_classes,
        is_balanced=recipe.balance == "sampling",
    )
    for images, _ in batches:
        seen += len(images)
    return seen / (perf_counter() - started)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default="digits", help="a data set, or folder:PATH")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
