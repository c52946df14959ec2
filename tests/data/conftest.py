"""Folders of real images: the digits of scikit-learn, written as files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

WriteDigits = Callable[..., Path]


@pytest.fixture
def write_digits(tmp_path: Path) -> WriteDigits:
    """A function that writes so many images of each class below a folder of `tmp_path`."""
    digits = load_digits()

    def write(part: str, counts: dict[str, int], *, suffix: str = ".png", size: int = 8) -> Path:
        for name, count in counts.items():
            folder = tmp_path / part / name
            folder.mkdir(parents=True, exist_ok=True)
            for i in np.flatnonzero(digits.target == int(name))[:count]:
                image = Image.fromarray((digits.images[i] * 15).astype(np.uint8)).resize((size, size))
                image.save(folder / f"{i:04}{suffix}")
        return tmp_path

    return write
