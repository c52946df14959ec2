"""Shared by all tests: one thread, since small operations are faster so; an empty directory; folders of real images."""

import os
import signal
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

torch.set_num_threads(1)
threadpool_limits(1, user_api="blas")  # the same for a rule's small matrices
# A shell's background job ignores it, and trainings are interrupted in tests.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def in_empty_directory(tmp_path: Path) -> Iterator[Path]:
    """Run the test in a directory of its own."""
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


WriteDigits = Callable[..., Path]


@cache
def _digits() -> Any:
    return load_digits()


@pytest.fixture
def write_digits(tmp_path: Path) -> WriteDigits:
    """A function that writes so many images of each class below a folder of `tmp_path`."""
    digits = _digits()

    def write(part: str, counts: dict[str, int], *, suffix: str = ".png", size: int = 8) -> Path:
        for name, count in counts.items():
            folder = tmp_path / part / name
            folder.mkdir(parents=True, exist_ok=True)
            for i in np.flatnonzero(digits.target == int(name))[:count]:
                image = Image.fromarray((digits.images[i] * 15).astype(np.uint8)).resize((size, size))
                image.save(folder / f"{i:04}{suffix}")
        return tmp_path

    return write
