"""Data sets by name, in memory as uint8 tensors or streamed from files, and batches of them augmented on the device."""

from nas_prune.data.augment import Augment
from nas_prune.data.batches import (
    Share,
    eval_batches,
    normalise,
    num_batches,
    train_batches,
)
from nas_prune.data.chance import epoch_seed
from nas_prune.data.images import ImageData, ImageSet, Part
from nas_prune.data.known import KNOWN_DATA
from nas_prune.data.load import load_data
from nas_prune.data.shared import SharedImages, share

__all__ = [
    "KNOWN_DATA",
    "Augment",
    "ImageData",
    "ImageSet",
    "Part",
    "Share",
    "SharedImages",
    "epoch_seed",
    "eval_batches",
    "load_data",
    "normalise",
    "num_batches",
    "share",
    "train_batches",
]
