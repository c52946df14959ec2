"""The parts of a person's own images: what they may be called, and which images are for what."""

from collections.abc import Collection, Sequence

import numpy as np

from nas_prune.data.split import IntArray, split_off

PARTS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}


def part_called(name: str) -> str | None:
    """Which part goes by a name, in any capitals: `train`, `val` or `test`."""
    return PARTS.get(name.strip().lower())


def parts_used(there: Collection[str]) -> list[str]:
    """Those that are there: the training part, the one to test with, and the one to validate with, in that order.

    With `val` and no `test`, `val` is tested with. Without `train` the one to test with comes first.
    """
    return [part for part in ("train", "test", "val") if part in there]


def said_of_parts(there: Collection[str]) -> tuple[str, ...]:
    """What a person should know where a part is not for what it is called."""
    if "val" in there and "test" not in there and "train" in there:
        return ("There is no part test: val is tested with, and a part of train validates.",)
    return ()


def indices_of_parts(labels: Sequence[IntArray]) -> tuple[IntArray, IntArray, IntArray | None]:
    """Which of the images, part after part, are for training, testing and validation.

    Args:
        labels: the class of each image of each part, in the order of `parts_used`. Of a part alone a fixed fifth of
            each class is tested with.
    """
    if len(labels) == 1:
        return *split_off(labels[0], 0.2, np.random.default_rng(0), is_every_class_held=True), None
    ends = np.cumsum([len(own) for own in labels])
    places = np.split(np.arange(ends[-1]), ends[:-1])
    return places[0], places[1], places[2] if len(places) == 3 else None
