"""Data sets by name: the digits inside scikit-learn, and those that torchvision downloads."""

import sys
import warnings
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas_prune.data.source import Source, memory_reader
from nas_prune.data.split import split_off
from nas_prune.errors import DataError

_DIGITS = tuple("0123456789")


@dataclass(frozen=True, slots=True)
class _Download:
    """One data set of torchvision: its class there, how to ask for each part, whether to mirror it."""

    torchvision_class: str
    train: Mapping[str, Any]
    test: Mapping[str, Any]
    flip: bool
    class_names: tuple[str, ...] | None = None


_DOWNLOADS: dict[str, _Download] = {
    "cifar10": _Download("CIFAR10", {"train": True}, {"train": False}, flip=True),
    "cifar100": _Download("CIFAR100", {"train": True}, {"train": False}, flip=True),
    "mnist": _Download("MNIST", {"train": True}, {"train": False}, flip=False, class_names=_DIGITS),
    "fashion-mnist": _Download("FashionMNIST", {"train": True}, {"train": False}, flip=True),
    "svhn": _Download("SVHN", {"split": "train"}, {"split": "test"}, flip=False, class_names=_DIGITS),
}


@cache
def _digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pixels and labels, read once: they are text that takes a twentieth of a second."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return np.rint(found.images * (255 / 16)).astype(np.uint8), found.target.astype(np.int64)


def digits_source() -> Source:
    """The 1,797 scanned digits of scikit-learn, 8×8 and grey; a fixed fifth is the test part."""
    pixels, labels = _digits()
    images, labels = torch.from_numpy(pixels.copy()).unsqueeze(1), labels.copy()
    train, test = split_off(labels, 0.2, np.random.default_rng(0))
    return Source(
        labels,
        train,
        test,
        val=None,
        class_names=_DIGITS,
        flip=False,
        image_size=8,
        in_channels=1,
        read=memory_reader(images),
    )


def downloaded_source(name: str, directory: Path) -> Source:
    """A data set of torchvision, downloaded into `directory` unless it is there.

    torchvision's own progress bar goes to stderr, and so does whatever it prints.

    Raises:
        DataError: the download failed.
    """
    download = _DOWNLOADS[name]
    train, test = (_fetched(name, directory, which) for which in (download.train, download.test))
    images = torch.cat([_pixels(train), _pixels(test)])
    return Source(
        np.concatenate([_labels(train), _labels(test)]),
        train=np.arange(len(train)),
        test=np.arange(len(train), len(images)),
        val=None,
        class_names=download.class_names or tuple(train.classes),
        flip=download.flip,
        image_size=images.shape[-1],
        in_channels=images.shape[1],
        read=memory_reader(images),
    )


def _fetched(name: str, directory: Path, which: Mapping[str, Any]) -> Any:
    from torchvision import datasets

    try:
        with redirect_stdout(sys.stderr), warnings.catch_warnings():
            # CIFAR's pickles were written by an old numpy
            warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
            directory.mkdir(parents=True, exist_ok=True)
            return getattr(datasets, _DOWNLOADS[name].torchvision_class)(directory, download=True, **which)
    except (RuntimeError, OSError, EOFError, HTTPException) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(
            f"--data {name} must be downloaded once, and that failed ({reason}; into {directory}). Check "
            "the connection, or use your own images with --data folder:PATH, csv:FILE or hf:DIR, or --data digits (no "
            "download)."
        ) from None


def _pixels(part: Any) -> Tensor:
    pixels = torch.as_tensor(part.data)
    if pixels.ndim == 3:
        return pixels.unsqueeze(1)
    return pixels.permute(0, 3, 1, 2) if pixels.shape[-1] == 3 else pixels


def _labels(part: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.asarray(part.targets if hasattr(part, "targets") else part.labels, dtype=np.int64)
