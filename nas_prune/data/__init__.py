"""Data sets by name, held in memory as uint8 tensors, and batches of them augmented on the device."""

from nas_prune.data.batches import Augment, eval_batches, normalise, num_batches, train_batches
from nas_prune.data.images import ImageData, ImageSet
from nas_prune.data.load import KNOWN_DATA, load_data

__all__ = [
    "KNOWN_DATA",
    "Augment",
    "ImageData",
    "ImageSet",
    "eval_batches",
    "load_data",
    "normalise",
    "num_batches",
    "train_batches",
]
